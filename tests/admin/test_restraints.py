"""``mta suspend``, ``resume`` and ``throttle``, and where what they hold is shown."""

import pytest

from mta.spool import leases, restraints
from mta.spool.engine import writing
from mta.spool.restraints import Wanted
from mta.spool.schema import State


def suspended(relay, *options):
    """Suspend something, and put back a message because of it, as a service does."""
    result = relay.run("suspend", *options, "--reason", "too many complaints")
    assert result.exit_code == 0, result.output
    [one] = relay.read(restraints.holding, relay.now)
    return one


def put_back(relay, id_, message_id):
    with writing(relay.engine) as conn:
        leases.register_node(conn, "n", "token", relay.now, 60_000, {})
        [claimed] = leases.claim_due(conn, "token", relay.now, relay.now + 1000, 10)
        assert claimed.envelope.id == message_id
        keys = [(message_id, one.number, one.attempts) for one in claimed.recipients]
        restraints.put_back(conn, "token", keys, relay.now + 86_400_000, id_, relay.now)


def test_suspend_and_resume(relay):
    """Who, whom, why and until when; then it is over, and what waited is due."""
    one = suspended(relay, "--domain", "Example.net", "--for", "2h")
    assert (one.scope, one.name, one.who, one.expires) == ("domain", "example.net", "anna", False)
    assert one.until_ms == relay.now + 7_200_000
    message_id = relay.accept("bo@example.net")
    put_back(relay, one.id, message_id)
    [listed] = relay.json("suspend", "list")
    assert (listed["waiting"], listed["reason"]) == (1, "too many complaints")
    assert "domain example.net" in relay.run("suspend", "list").output
    result = relay.run("resume", "--domain", "example.net")
    assert result.output.endswith("recipients that waited and are due now: 1\n")
    assert relay.json("suspend", "list") == []
    [ended] = relay.json("suspend", "list", "--ended")
    assert (ended["ended_by"], ended["waiting"]) == ("anna", 0)
    [row] = relay.json("queue", "list")
    assert (row["next_attempt_ms"], row["restraint"], row["attempts"]) == (relay.now, "", 0)
    assert relay.run("resume", str(one.id)).exit_code == 1


def test_the_reason_is_shown_wherever_mail_is(relay):
    """queue list, queue show, why and status say what it waits for."""
    one = suspended(relay, "--all")
    message_id = relay.accept("bo@example.net")
    put_back(relay, one.id, message_id)
    words = "all mail is suspended: too many complaints"
    for command in (
        ("queue", "list"),
        ("queue", "show", message_id),
        ("why", message_id),
        ("status",),
    ):
        assert words in relay.run(*command).output, command
    [answer] = relay.json("why", message_id)[0]["answers"]
    assert (answer["blocked_by"], answer["unblock"]) == ("restraint", [f"mta resume {one.id}"])


@pytest.mark.parametrize(
    "arguments",
    [
        ("suspend", "--reason", "x"),
        ("suspend", "--all", "--site", "x", "--reason", "x"),
        ("suspend", "--all"),
        ("suspend", "--all", "--source", "192.0.2.5", "--reason", "x"),
        ("suspend", "--source", "mail.example.org", "--reason", "x"),
        ("suspend", "--source", "192.0.2.5"),
        ("suspend", "--all", "--reason", "x", "--for", "2"),
        ("resume",),
        ("resume", "--all", "3"),
        ("throttle", "revoke"),
    ],
)
def test_what_is_not_clear_is_refused(local, arguments):
    """One of the scopes, a reason, a time with its unit."""
    assert local.run(*arguments).exit_code == 64
    assert local.read(restraints.holding, local.now) == []


@pytest.mark.parametrize(
    ("options", "whom"),
    [
        ((), "source address 2001:db8::5"),
        (("--site", "google"), "site google from 2001:db8::5"),
        (("--domain", "Example.net"), "domain example.net from 2001:db8::5"),
        (("--login", "app7"), "login app7 from 2001:db8::5"),
        (("--route", "out"), "route out from 2001:db8::5"),
    ],
)
def test_suspend_an_address_of_ours(relay, options, whom):
    """Alone or with a scope, however it is written; shown, and resumed by the same words."""
    with relay.config.open("a") as file:
        file.write('[delivery]\nsource = ["2001:db8::5"]\n')
    one = suspended(relay, "--source", "2001:DB8:0::5", *options)
    assert (one.whom, one.source) == (whom, "2001:db8::5")
    for command in (("suspend", "list"), ("status",), ("queue", "sites"), ("top", "--once")):
        assert whom in relay.run(*command).stdout, command
    [listed] = relay.json("queue", "sites")
    assert (listed["restraint"]["id"], listed["restraint"]["waiting"]) == (one.id, 0)
    [look] = relay.json("top", "--once")
    assert [it["source"] for it in look["restraints"]] == ["2001:db8::5"]
    if options:  # another suspension is meant
        assert relay.run("resume", "--source", "2001:db8::5").exit_code == 1
        assert relay.run("resume", *options).exit_code == 1
    assert relay.run("resume", "--source", "2001:db8::5", *options).exit_code == 0
    assert relay.json("suspend", "list") == []


def test_an_address_that_no_mail_goes_out_from(relay):
    """It is suspended (another host's configuration may have it), and a note says so."""
    result = relay.run("suspend", "--source", "192.0.2.9", "--reason", "x")
    assert result.exit_code == 0
    assert "by this configuration no mail goes out from 192.0.2.9" in result.output
    with relay.config.open("a") as file:
        file.write('[delivery]\nsource = ["192.0.2.9"]\n')
    again = relay.run("suspend", "--source", "192.0.2.9", "--reason", "x")
    assert "no mail goes out" not in again.output


def test_a_site_as_the_listing_of_sites_calls_it(relay):
    """ "SITE from ADDRESS" is taken for what it means; two addresses at once are not."""
    one = suspended(relay, "--site", "google from 192.0.2.20")
    assert (one.name, one.source) == ("google", "192.0.2.20")
    many = relay.run("suspend", "--site", "google from 192.0.2.20, 2001:db8::20", "--reason", "x")
    assert many.exit_code == 64
    assert relay.run("resume", "--site", "google from 192.0.2.20").exit_code == 0


@pytest.mark.parametrize(
    ("options", "doubt"),
    [
        (("--route", "tpyo"), "this configuration has no route tpyo"),
        (("--login", "nobody"), "there is no account nobody"),
        (("--site", "gogle"), "no mail has gone to a site gogle of late"),
        (("--route", "default"), ""),
        (("--site", "mx.example.com"), ""),
        (("--domain", "example.net"), ""),
    ],
)
def test_what_nobody_knows_is_suspended_and_said(relay, options, doubt):
    """A name that was mistyped would suspend nothing; it is not refused, for it may come."""
    relay.register()
    relay.settle(relay.accept("anna@example.com", claim=True), State.QUEUED, site="mx.example.com")
    result = relay.run("suspend", *options, "--reason", "x")
    assert result.exit_code == 0
    if doubt:
        assert doubt in result.output
    else:
        assert len(result.output.splitlines()) == 1, result.output


def test_a_throttle_of_one_source_address(relay):
    """It is said which address of ours is throttled there."""
    wanted = Wanted(
        "suspend", "site:x", "x.example", "192.0.2.5", "blocked-ip", "r", ("no",), 60_000
    )
    with writing(relay.engine) as conn:
        restraints.impose(conn, wanted, relay.now)
    assert "x.example from 192.0.2.5" in relay.run("throttle", "list").output
    [listed] = relay.json("throttle", "list")
    assert (listed["name"], listed["source"]) == ("x.example", "192.0.2.5")


def test_throttles(relay):
    """A decision is listed with its cause and its samples, and can be revoked."""
    said = ("421 4.7.28 slow\x1b[31m down", "421 4.7.28 slow down")
    wanted = Wanted("slow", "site:x", "x.example", "", "rate-limited", "r", said, 60_000)
    with writing(relay.engine) as conn:
        made = restraints.impose(conn, wanted, relay.now)
    [listed] = relay.json("throttle", "list")
    assert (listed["cause"], listed["was"], listed["level"]) == ("rate-limited", 0, 1)
    assert listed["samples"] == list(said)
    output = relay.run("throttle", "list").output
    assert "x.example" in output and "\x1b" not in output
    assert relay.json("suspend", "list") == []
    assert relay.run("resume", str(made.id)).exit_code == 1  # that is not an operator's
    assert relay.run("throttle", "revoke", str(made.id)).exit_code == 0
    assert relay.json("throttle", "list") == []
    assert relay.run("throttle", "revoke", str(made.id)).exit_code == 1
