"""``mta queue hold|release|retry|bounce|remove``: counted, agreed to, written down."""

import email
from dataclasses import replace
from email.policy import default

import pytest

from mta.admin import queue_verbs
from mta.admin.invocation import Invocation
from mta.admin.pace import Pace
from mta.spool import leases, operate, resurrection
from mta.spool.errors import SpoolUnavailable
from mta.spool.filters import Filter
from mta.spool.schema import State

VERBS = ("hold", "release", "retry", "bounce", "remove")


def test_hold_and_release(relay):
    """Held recipients wait for their release, and then are due at once; both are audited."""
    one = relay.accept("anna@example.com", "bo@example.net")
    before = relay.read(leases.poll, relay.now).wake
    result = relay.run("queue", "hold", "--domain", "example.com", "--yes")
    assert (result.output, result.exit_code) == ("held 1 recipient\n", 0)
    assert relay.states(one) == ["held", "queued"]
    result = relay.run("queue", "release", one, "--yes")
    assert (result.output, result.exit_code) == ("released 1 recipient\n", 0)
    assert relay.states(one) == ["queued", "queued"]
    assert relay.events() == [
        (one, 0, relay.now, "hold", "anna"),
        (one, 0, relay.now, "release", "anna"),
    ]
    assert relay.read(leases.poll, relay.now).wake == before + 2


def test_retry(relay):
    """What waits for its next attempt becomes due now."""
    one = relay.accept(claim=True)
    relay.settle(one, State.QUEUED)
    assert relay.run("queue", "retry", "--reply", "greylisted", "--yes").output == (
        "made due 1 recipient\n"
    )
    (row,) = relay.json("queue", "list")
    assert row["next_attempt_ms"] == relay.now
    assert relay.run("queue", "retry", one, "--yes").exit_code == 1  # it is due already


def test_mail_from_the_future(relay):
    """When the clock was set back, what had arrived before is meant by filters all the same."""
    one = relay.accept(claim=True)
    relay.settle(one, State.QUEUED)
    before = relay.now - 7_200_000
    result = relay.run("queue", "retry", "--all", "--yes", now_ms=before)
    assert result.output == "made due 1 recipient\n"
    (row,) = relay.json("queue", "list")
    assert row["next_attempt_ms"] == before


def test_a_verb_that_makes_mail_means_none_from_the_future(relay):
    """A bounce of what arrived "later" than now could not be told from the reports it makes."""
    one = relay.accept(claim=True)
    relay.settle(one, State.QUEUED)
    before = relay.now - 7_200_000
    result = relay.run("queue", "bounce", "--all", "--yes", now_ms=before)
    assert "nothing to bounce" in result.output + result.stderr


def test_remove(relay):
    """What is removed is gone without a report, and its content with it."""
    one = relay.accept("anna@example.com", "bo@example.net")
    assert relay.run("queue", "remove", one, "--yes").output == "removed 2 recipients\n"
    assert relay.states(one) == ["removed", "removed"]
    (trace,) = relay.json("trace", one)
    assert (trace["content_kept"], trace["reports"]) == (False, [])


def test_bounce(relay):
    """The sender gets one report about all recipients, in the transaction that ends them."""
    one = relay.accept("anna@example.com", "bo@example.net", claim=True)
    relay.settle(one, State.QUEUED)
    result = relay.run("queue", "bounce", one, "--reason", "No such project", "--yes")
    assert (result.output, result.exit_code) == ("bounced 2 recipients\n", 0)
    assert relay.states(one) == ["bounced", "bounced"]
    (trace,) = relay.json("trace", one)
    (report,) = trace["reports"]
    assert [to["recipient"] for to in report["recipients"]] == ["app@example.org"]
    assert [event["text"] for event in trace["events"]] == ["No such project"] * 2
    content = relay.run("queue", "cat", report["id"]).stdout_bytes
    parsed = email.message_from_bytes(content, policy=default)
    assert parsed.get_content_type() == "multipart/report"
    fields = parsed.get_payload()[1].get_payload()
    assert [str(part["Final-Recipient"]) for part in fields[1:]] == [
        "rfc822; anna@example.com",
        "rfc822; bo@example.net",
    ]
    assert fields[1]["Status"] == "5.7.1"
    text = " ".join(parsed.get_payload()[0].get_content().split())
    assert "No such project; the last attempt was answered: 451 4.7.1 Greylisted" in text
    (child,) = relay.json("trace", report["id"])
    assert (child["parent"], child["sender"]) == (one, "")


def test_bounce_of_the_null_sender(relay):
    """Nobody is told about mail of the null sender (RFC 5321 §6.1: reports never loop)."""
    one = relay.accept(sender="")
    assert relay.run("queue", "bounce", one, "--yes").exit_code == 0
    (trace,) = relay.json("trace", one)
    assert (trace["recipients"][0]["state"], trace["reports"]) == ("bounced", [])


def test_bounce_without_a_way_back(local):
    """A sender that no report can go to does not keep mail in the queue; the operator hears it."""
    one = local.accept(sender="app@exa\u2024mple..org")
    result = local.run("queue", "bounce", one, "--yes")
    assert local.states(one) == ["bounced"]
    assert f"{one}: no report to" in result.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_refusal_without_consent(local, verb):
    """Without --yes and without a terminal to ask on nothing changes: status 64 and the count."""
    held, queued = local.accept(), local.accept(claim=True)
    local.settle(queued, State.QUEUED)
    local.run("queue", "hold", held, "--yes")
    result = local.run("queue", verb, held, queued)
    assert result.exit_code == 64
    assert f"would {verb}" in result.stderr
    assert "recipient" in result.stderr
    assert "--yes" in result.stderr
    assert local.states(held, queued) == ["held", "queued"]


@pytest.mark.parametrize("verb", VERBS)
def test_no_filter_is_not_everything(local, verb):
    """A verb without a filter wants --all, and --all together with a filter is a contradiction."""
    one = local.accept()
    assert local.run("queue", verb, "--yes").exit_code == 64
    assert local.run("queue", verb, "--all", "--domain", "example.com", "--yes").exit_code == 64
    assert (local.states(one), local.events()) == (["queued"], [])


@pytest.mark.parametrize("verb", VERBS)
def test_empty_stdin_is_not_everything(local, verb):
    """Ids on an empty standard input mean nothing at all, not the whole queue."""
    one = local.accept()
    for extra in ((), ("--all",), ("--domain", "example.com")):
        result = local.run("queue", verb, "-", "--yes", *extra, input="")
        assert result.exit_code in (1, 64)
    assert (local.states(one), local.events()) == (["queued"], [])


def test_all(relay):
    """--all acts on the whole queue, in steps, and on nothing that arrives afterwards."""
    ids = [relay.accept(*(f"u{n}@example.com" for n in range(300))) for _ in range(4)]
    later = relay.accept(created_ms=relay.now + 1000)
    assert relay.run("queue", "hold", "--all", "--yes").output == "held 1200 recipients\n"
    assert set(relay.states(*ids)) == {"held"}
    assert relay.states(later) == ["queued"]
    assert relay.run("queue", "bounce", "--all", "--yes").output == "bounced 1200 recipients\n"


def test_ids_from_stdin(local):
    """A listing can be piped into a verb as it is."""
    one, two, three = (local.accept() for _ in range(3))
    listing = local.run("queue", "list", one, two).output
    assert local.run("queue", "hold", "-", "--yes", input=listing).exit_code == 0
    assert local.states(one, two, three) == ["held", "held", "queued"]


def test_dry_run(local):
    """A dry run says how many, asks nothing and changes nothing."""
    one = local.accept("anna@example.com", "bo@example.net")
    result = local.run("queue", "remove", "--all", "--dry-run")
    assert (result.output, result.exit_code) == ("would remove 2 recipients\n", 0)
    assert (local.states(one), local.events()) == (["queued", "queued"], [])


def test_answer(local):
    """On a terminal the answer decides; no is status 1."""
    one = local.accept()
    result = local.run("queue", "hold", one, interactive=True, input="n\n")
    assert result.exit_code == 1
    assert "hold 1 recipient? [y/N]" in result.stderr
    assert local.states(one) == ["queued"]
    assert local.run("queue", "hold", one, interactive=True, input="y\n").exit_code == 0
    assert local.states(one) == ["held"]
    result = local.run("queue", "release", one, interactive=True, input="")  # Ctrl-D
    assert result.exit_code == 130
    assert local.states(one) == ["held"]


def test_nothing_matches(local):
    """A verb that finds nothing to do says so with status 1."""
    gone = local.accept(claim=True)
    local.settle(gone, State.DELIVERED)
    for arguments in ((gone,), ("--state", "delivered"), ("--domain", "nowhere.example")):
        result = local.run("queue", "hold", *arguments, "--yes")
        assert (result.exit_code, result.stderr) == (1, "nothing to hold\n")
    assert local.states(gone) == ["delivered"]


def test_active_recipient(local):
    """A recipient with an attempt under way can be held: the attempt's outcome still counts."""
    one = local.accept(claim=True)
    assert local.run("queue", "hold", one, "--yes").exit_code == 0
    assert (
        "waits for 'mta queue release'; an attempt is under way" in local.run("trace", one).output
    )
    local.settle(one, State.DELIVERED)
    assert local.states(one) == ["delivered"]


def test_resurrect(relay):
    """Bounced mail is queued again, counted and written down; 'why' offers it while it can be."""
    one, two = relay.accept(claim=True), relay.accept(claim=True)
    for message in (one, two):
        relay.settle(message, State.BOUNCED)
    assert f"do:      mta queue resurrect {one}" in relay.run("why", one).stdout
    result = relay.run("queue", "resurrect", one, "--yes")
    assert (result.output, result.exit_code) == ("resurrected 1 recipient\n", 0)
    assert relay.states(one, two) == ["queued", "bounced"]
    assert relay.events() == [(one, 0, relay.now, "resurrect", "anna")]
    assert relay.run("queue", "resurrect", "--state", "bounced", "--dry-run").output == (
        "would resurrect 1 recipient\n"
    )
    assert relay.run("queue", "resurrect", "--state", "queued", "--yes").exit_code == 1


def test_resurrect_what_is_gone(local):
    """Of mail whose content is gone it is said why it cannot come back."""
    one = local.accept(claim=True)
    local.settle(one, State.BOUNCED)
    for table in ("kept", "chunks"):
        local.write(lambda conn, table=table: conn.exec_driver_sql(f"DELETE FROM {table}"))
    result = local.run("queue", "resurrect", one, "--yes")
    assert (result.stdout, result.exit_code) == ("resurrected 0 recipients\n", 1)
    assert "the content is no longer kept" in result.stderr
    assert "resurrect" not in local.run("why", one).stdout


def test_resurrect_to_be_looked_at(relay):
    """--hold keeps what comes back until it is released, and --route says how it goes then."""
    with_route = relay.config.read_text() + '[[route]]\nname = "drop"\ndiscard = true\n'
    relay.config.write_text(with_route)
    one, two = relay.accept(claim=True), relay.accept(claim=True)
    for message in (one, two):
        relay.settle(message, State.BOUNCED)
    result = relay.run("queue", "resurrect", one, "--hold", "--route", "drop", "--yes")
    assert (result.output, result.exit_code) == ("resurrected and held 1 recipient\n", 0)
    assert relay.states(one, two) == ["held", "bounced"]
    (found,) = relay.json("trace", one)
    assert [to["route"] for to in found["recipients"]] == ["drop"]
    said = [(event["verb"], event["text"]) for event in found["events"]]
    assert said == [("resurrect", "by route drop"), ("hold", "")]
    assert f"mta queue release {one}" in relay.run("why", one).stdout
    assert relay.run("queue", "release", one, "--yes").exit_code == 0
    assert relay.states(one) == ["queued"]
    result = relay.run("queue", "resurrect", two, "--route", "dorp", "--yes")
    assert result.exit_code == 64
    assert "there are: drop, default" in result.stderr
    assert relay.states(two) == ["bounced"]


def test_resurrect_in_parts(relay, monkeypatch):
    """All that can come back does, some messages at a time, and no transaction has more of them."""
    monkeypatch.setattr(resurrection, "SLICE", 2)
    steps = []
    pick = resurrection.pick
    monkeypatch.setattr(
        resurrection,
        "pick",
        lambda conn, wanted, *rest: steps.append(wanted) or pick(conn, wanted, *rest),
    )
    ids = [relay.accept(*(f"u{n}@example.com" for n in range(2)), claim=True) for _ in range(5)]
    waits = relay.accept("a@example.com", "b@example.com", claim=True)
    for message in ids:
        relay.settle(message, State.BOUNCED, State.BOUNCED)
    relay.settle(waits, State.BOUNCED, State.QUEUED)
    result = relay.run("queue", "resurrect", "--state", "bounced", "--yes")
    assert result.output == "resurrected 11 recipients\n"
    assert relay.states(*ids, waits) == ["queued"] * 12
    assert all(0 < len(one.ids) <= 2 for one in steps)


def test_long_queue_in_parts(local, monkeypatch):
    """A verb goes through the queue part by part, and comes to all of it, whatever the parts."""
    monkeypatch.setattr(Pace, "size", 3, raising=False)
    monkeypatch.setattr(Pace, "__init__", lambda _self, **_: None)
    monkeypatch.setattr(Pace, "rest_s", lambda *_: 0.0)
    ids = [local.accept(*(f"u{n}@example.com" for n in range(2))) for _ in range(5)]
    assert local.run("queue", "hold", "--all", "--yes").output == "held 10 recipients\n"
    assert local.run("queue", "release", "--all", "--yes").output == "released 10 recipients\n"
    wanted = ("--to", "u1@example.com", "--yes")
    assert local.run("queue", "remove", *wanted).output == "removed 5 recipients\n"
    assert local.states(*ids) == ["queued", "removed"] * 5


def test_a_busy_spool_is_asked_again(local, monkeypatch):
    """A verb that the spool is too busy for waits and goes on; it gives up when that lasts."""
    one = local.accept()
    paused, failures = [], []
    invocation = Invocation(local.config, {}, who=lambda: "anna", pause=paused.append)

    def busy(*arguments):
        failures.append(1)
        if len(failures) < enough:
            raise SpoolUnavailable("database is locked")
        return operate.hold(*arguments)

    verb, wanted = replace(queue_verbs.HOLD, step=busy), Filter(ids=(one,))
    enough = 9
    with pytest.raises(SpoolUnavailable):
        queue_verbs._in_steps(invocation, verb, wanted, local.now, 1)
    assert (len(failures), paused, local.states(one)) == (5, [1.0] * 4, ["queued"])
    enough = 7
    assert queue_verbs._in_steps(invocation, verb, wanted, local.now, 1) == 1
    assert (len(failures), paused[4:5], local.states(one)) == (7, [1.0], ["held"])
    invocation.close()
