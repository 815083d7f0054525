"""``mta sts``: the policies that are kept, and what they mean."""

import json

import pytest

from mta.admin import sts_asking
from mta.admin.invocation import Invocation
from mta.admin.sts_asking import Fetched, Seen
from mta.admin.sts_reading import Looking
from mta.security.facts import StsMode
from mta.spool import sts
from mta.spool.sts import Stored
from mta.sts.policy import Policy

HOUR = 3_600_000
LINES = ("version: STSv1", "mode: enforce", "mx: *.e.test", "max_age: 86400")


@pytest.fixture
def policies(relay):
    """Put a policy in force, one that has ended, and a failure into the spool."""
    now = relay.now
    kept = Stored("e.test", "1", LINES, now - HOUR, now + 23 * HOUR, now)
    relay.write(sts.keep, kept)
    relay.write(sts.keep, Stored("over.test", "1", LINES, now - 9 * HOUR, now - HOUR))
    words = "HTTP\x1b status 404"
    relay.write(sts.failed, "bad.test", "sts-policy-fetch-error", words, now)
    return kept


def test_list(relay, policies):
    """One line for each domain; what has ended is in parentheses, what peers say is escaped."""
    found = relay.run("sts", "list")
    assert [line.split()[:2] for line in found.output.splitlines()[1:]] == [
        ["bad.test", "-"], ["e.test", "enforce"], ["over.test", "(enforce)"],
    ]  # fmt: skip
    assert "HTTP\\x1b status 404" in found.output
    records = [json.loads(line) for line in relay.run("sts", "list", "--json").output.splitlines()]
    assert [(one["domain"], one["in_force"]) for one in records] == [
        ("bad.test", False), ("e.test", True), ("over.test", False),
    ]  # fmt: skip


def test_none(relay):
    """An empty list is said, and is status 1."""
    found = relay.run("sts", "list")
    assert (found.exit_code, found.stderr) == (1, "no policy is kept\n")


@pytest.mark.parametrize(
    ("domain", "status", "words"),
    [
        (
            "e.test",
            0,
            ["id 1, in force until", "  mx: *.e.test", "mx.e.test: its certificate"],
        ),
        ("E.test.", 0, ["other.test: not named: no mail goes there"]),
        ("over.test", 1, ["id 1, ended", "mx.e.test: no policy: TLS where it works"]),
        ("bad.test", 1, ["no policy was ever fetched", "last fetch failed", "status 404"]),
        ("new.test", 1, ["no policy was ever fetched", "TXT record: id 7"]),
    ],
)
def test_show(relay, policies, monkeypatch, domain, status, words):
    """The policy, its times, the last failure, and what it says of each mail exchanger."""
    seen = Seen("id 7", ("mx.e.test", "other.test"))
    monkeypatch.setattr(sts_asking, "published", lambda settings, domain: seen)
    found = relay.run("sts", "show", domain)
    assert found.exit_code == status
    assert [word for word in words if word not in found.output] == []
    record = json.loads(relay.run("sts", "show", domain, "--json").output)
    assert (record["record"], list(record["hosts"])) == ("id 7", ["mx.e.test", "other.test"])


def test_refresh(relay, policies, monkeypatch):
    """What was fetched takes the place of what was there; a failure leaves it."""
    answers = [
        Fetched("2", trouble="mta-sts.e.test: 404", result="sts-policy-fetch-error"),
        Fetched("2", Policy(StsMode.TESTING, 600, ("new.e.test",))),
        Fetched(trouble="e.test has no TXT record of MTA-STS"),
    ]
    monkeypatch.setattr(sts_asking, "fetched", lambda settings, domain: answers.pop(0))
    found = relay.run("sts", "refresh", "e.test")
    assert (found.exit_code, "404" in found.stderr) == (1, True)
    assert relay.read(sts.get, "e.test").lines == LINES
    found = relay.run("sts", "refresh", "e.test")
    assert (found.exit_code, "mode: testing" in found.output) == (0, True)
    found = relay.run("sts", "refresh", "e.test")
    assert (found.exit_code, "no TXT record" in found.stderr) == (1, True)
    kept = relay.read(sts.get, "e.test")
    assert (kept.id, kept.failed_ms, kept.used_ms) == ("2", 0, policies.used_ms)


def test_looking(relay, policies):
    """Who explains reads the policies and writes nothing."""
    found = []
    invocation = Invocation(relay.config)
    looking = Looking(invocation)
    looking.read(sts.get, "e.test").addCallback(found.append)
    looking.write(sts.failed, "e.test", "x", "x", 1)
    invocation.close()
    assert found[0].lines == LINES
    assert relay.read(sts.get, "e.test").failed_ms == 0
