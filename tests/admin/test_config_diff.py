"""``mta config diff --against queue``: what a changed file would do to mail that waits."""

import json

import pytest

from mta.config import load
from mta.config.running import as_text, from_text
from mta.spool import in_force

ROUTE = """
[[route]]
name = "provider"
recipient_domains = ["example.com"]
smarthost = { host = "smtp.provider.test", login = "us", password_file = "secret" }
"""
NEW = """
[[route]]
name = "quiet"
recipient_domains = ["example.net"]
sender_domains = ["example.org"]
discard = true
[[tls_policy]]
name = "strict"
recipient_domains = ["example.info"]
level = "verify"
[[shaping]]
name = "slowly"
mx = [".slow.test"]
messages_per_minute = 3
[source]
"""


def running(relay, text=ROUTE):
    """Let a service run by the configuration with ``text``."""
    (relay.directory / "secret").write_text("the password\n")
    relay.config.write_text(relay.config.read_text() + text)
    relay.register()
    settings = load(relay.config, {})
    relay.write(in_force.put, "node1", as_text(settings), relay.now - 60_000)


def changed(relay, old, new):
    """Return another file, in which ``new`` stands for ``old``."""
    file = relay.directory / "new.toml"
    text = relay.config.read_text()
    file.write_text(text.replace(old, new) if old else text + new)
    return str(file)


def diff(relay, *arguments):
    """Return the changes by what they are about, and the status."""
    result = relay.run("config", "diff", "--against", "queue", "--json", *arguments)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    return {(one["what"], one["some_domains"][0]): one for one in lines}, result.exit_code


def test_nothing_changes(relay):
    """Status 0, and how much was looked at; without a service there is nothing to compare with."""
    assert relay.run("config", "diff", "--against", "queue").exit_code == 69
    running(relay)
    relay.accept("a@example.com")
    result = relay.run("config", "diff", "--against", "queue")
    assert (result.exit_code, "1\nrecipients that wait none" in result.output) == (0, True)


def test_what_would_change(relay):
    """Grouped by change, with counts and samples; what has left does not count."""
    running(relay)
    first = relay.accept("a@example.com", "b@example.com")
    relay.accept("c@example.net", sender="")
    other = relay.accept("d@example.net")
    strict = relay.accept("e@example.info")
    new = NEW.replace("[source]\n", "")
    found, status = diff(relay, changed(relay, '"example.com"]', '"example.de"]'))
    assert status == 1
    route = found["route", "example.com"]
    assert (route["recipients"], route["ids"], route["domains"]) == (2, [first], 1)
    assert "smtp.provider.test:465" in route["now"]
    assert route["then"].startswith("default: to the mail exchangers")
    found, status = diff(relay, changed(relay, "", new))
    assert found["route", "example.net"]["ids"] == [other]  # not that of the null sender
    assert found["route", "example.net"]["then"] == "quiet: discard"
    assert found["TLS", "example.info"]["ids"] == [strict]
    assert (
        found["TLS", "example.info"]["then"]
        == "verify by tls_policy strict, else dane by route default"
    )
    text = relay.run("config", "diff", "--against", "queue", changed(relay, "", new)).output
    assert "quiet: discard" in text


def test_limits_by_the_host_of_the_last_attempt(relay):
    """Mail that was tried at a provider's host is shaped by what is said about that host."""
    running(relay)
    relay.accept("a@example.biz"), relay.accept("b@example.biz")
    relay.write(lambda conn: conn.exec_driver_sql(
        "UPDATE recipients SET last_host = 'mx.slow.test' WHERE address = 'b@example.biz'"
    ))  # fmt: skip
    found, _ = diff(relay, changed(relay, "", NEW.replace("[source]\n", "")))
    shaping = found["shaping", "example.biz"]
    assert (shaping["recipients"], shaping["now"]) == (1, "none")
    assert "messages/min 3" in shaping["then"]


def test_an_entry_about_one_of_our_addresses(relay):
    """What of the mail is shaped otherwise depends on where it goes out from: both are said."""
    running(relay, '[delivery]\nsource = ["192.0.2.5", "192.0.2.6"]\n')
    relay.accept("b@example.biz")
    entry = '[[shaping]]\nname = "new"\nsources = ["192.0.2.6"]\nmessages_per_hour = 9\n'
    found, _ = diff(relay, changed(relay, "", entry))
    shaping = found["shaping", "example.biz"]
    assert shaping["now"] == "none"
    assert shaping["then"] == "from 192.0.2.5: none, from 192.0.2.6: new; messages/h 9"


def test_no_secret_is_kept(local):
    """Of a password there is the name of its file; of the spool there is nothing."""
    running(local)
    (kept,) = local.read(in_force.everybodys, local.now)
    assert "the password" not in kept.text
    assert "sqlite" not in kept.text
    again = from_text(kept.text)
    assert again.route == load(local.config, {}).route
    assert as_text(again) == kept.text


@pytest.mark.parametrize("sender", ["x@example.org", '"odd@local"@Example.ORG', "", "a@b@ex.test"])
def test_the_domain_of_a_sender(relay, sender):
    """What is behind the last @, on both databases."""
    relay.accept("a@example.com", sender=sender)
    (kind,) = relay.read(in_force.waiting)
    assert kind.sender_domain == sender.rpartition("@")[2].lower()
    assert (kind.domain, kind.recipients) == ("example.com", 1)


def test_bounded(relay):
    """The most frequent kinds come first, and no more than so many."""
    for domain in ("a.test", "b.test", "b.test", "c.test"):
        relay.accept(f"x@{domain}")
    (kind,) = relay.read(in_force.waiting, 1)
    assert (kind.domain, kind.recipients) == ("b.test", 2)
