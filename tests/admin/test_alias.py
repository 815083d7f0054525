"""``mta alias``, and what ``mta trace`` and ``mta config check`` know of addresses."""

from mta.mail.envelope import Envelope, Recipient
from mta.mail.queue_id import new_queue_id
from mta.mail.srs import Srs
from mta.spool import intake
from mta.spool.intake import Intake, Remark

TABLES = """
[[domain]]
name = "example.org"
recipients = ["ann", "bob"]
aliases = { staff = ["ann", "x@example.net"], "owner-staff" = ["bob"] }
[srs]
domain = "example.org"
secret_file = "secret"
"""


def configure(relay, text=TABLES):
    """Add tables to the configuration."""
    (relay.directory / "secret").write_text("secret\n")
    relay.config.write_text(relay.config.read_text() + text)


def test_what_an_address_comes_to(local):
    """By which line, and whom failures go to."""
    configure(local)
    text = local.run("alias", "staff@example.org").output
    assert "staff@example.org -> ann@example.org, x@example.net" in text
    assert 'domain["example.org"].aliases.staff' in text
    (found,) = local.json("alias", "staff@example.org")
    assert found["recipients"] == [
        {"address": "ann@example.org", "owner": "owner-staff@example.org", "role": ""},
        {"address": "x@example.net", "owner": "owner-staff@example.org", "role": ""},
    ]


def test_what_is_not_there(local):
    """Status 1, and what a client would be told."""
    configure(local)
    result = local.run("alias", "nobody@example.org")
    assert result.exit_code == 1
    assert "550 5.1.1 There is no such address here" in result.output
    assert "no domain of ours" in local.run("alias", "x@example.com").output
    assert local.run("alias", "nobody").exit_code == 64


def test_an_srs_address_is_read(local):
    """It shows whom a bounce goes to."""
    configure(local)
    signed = Srs("example.org", (b"secret",)).forward("y@example.com", local.now // 86_400_000)
    (found,) = local.json("alias", signed)
    assert found["recipients"][0]["address"] == "y@example.com"


def test_config_check_reads_the_files(local):
    """A pipe in an alias file is found before any service sees it."""
    (local.directory / "aliases").write_text("ok: ann\nbad: |cat\n")
    configure(local, '[[domain]]\nname = "example.org"\nalias_files = ["aliases"]\n')
    result = local.run("config", "check")
    assert result.exit_code == 78
    assert "aliases:2" in result.output
    assert "commands are not run" in result.output


def test_a_message_is_found_by_what_was_named(relay):
    """The alias is in no envelope any more, and yet is what people ask about."""
    message_id = new_queue_id(relay.now, lambda _: 7)
    item = Intake(
        Envelope(message_id, "a@example.com", len(relay.body), relay.now, relay.now + 1),
        (Recipient(0, "x@example.net", "example.net", given="Staff@example.org"),),
        (relay.body,),
        relay.now,
        remarks=(Remark("alias", "Staff@example.org -> x@example.net (aliases:3)", "addresses"),),
    )
    relay.write(intake.insert, [(item, None)])
    (trace,) = relay.json("trace", "staff@EXAMPLE.org")
    assert (trace["id"], trace["recipients"][0]["given"]) == (message_id, "Staff@example.org")
    (why,) = relay.json("why", "staff@example.org")
    assert why["id"] == message_id
    assert relay.json("queue", "list", "--to", "staff@example.org")[0]["id"] == message_id
    assert relay.run("queue", "list", "--to", "nobody@example.org").exit_code == 1
    text = relay.run("trace", "staff@example.org").output
    assert "alias by addresses: Staff@example.org -> x@example.net (aliases:3)" in text
