"""Policies of MTA-STS in the spool, on both databases."""

from dataclasses import replace

from mta.spool import sts
from mta.spool.sts import Stored

NOW = 1_800_000_000_000
POLICY = Stored(
    "e.test", "1", ("version: STSv1", "mode: none", "max_age: 60"), NOW, NOW + 60_000, NOW, NOW + 9
)


def test_a_failure_leaves_the_policy(table):
    """What was fetched stays as it is while fetches fail, until the next that works."""
    table.write(sts.keep, POLICY)
    table.write(sts.failed, "e.test", "sts-policy-fetch-error", "HTTP status 404", NOW + 5)
    failure = {"failed_ms": NOW + 5, "result": "sts-policy-fetch-error"}
    expected = replace(POLICY, failure="HTTP status 404", **failure)
    assert table.read(sts.get, "e.test") == expected
    assert expected.in_force(NOW + 59_999)
    assert not expected.in_force(NOW + 60_000)
    newer = replace(POLICY, id="2", fetched_ms=NOW + 9)
    table.write(sts.keep, newer)
    assert table.read(sts.everything) == [newer]


def test_a_failure_alone(table):
    """A domain whose policy never came has no policy, and its failure is known to all processes."""
    table.write(sts.failed, "e.test", "sts-policy-invalid", "no mx", NOW)
    table.write(sts.failed, "e.test", "sts-policy-invalid", "no mode", NOW + 1)
    found = table.read(sts.get, "e.test")
    assert (found.failed_ms, found.failure, found.lines) == (NOW + 1, "no mode", ())
    assert not found.in_force(NOW)
    assert table.read(sts.get, "f.test") is None


def test_what_is_due_is_one_process_s(table):
    """A policy is given out for renewal once, while it is in force and mail goes there."""
    table.write(sts.keep, POLICY)
    table.write(sts.keep, replace(POLICY, domain="over.test", expires_ms=NOW + 8))
    table.write(sts.keep, replace(POLICY, domain="idle.test", used_ms=NOW - 100))
    assert table.write(sts.claim_due, NOW + 8, NOW + 50, NOW - 10, 5) == []
    assert table.write(sts.claim_due, NOW + 9, NOW + 50, NOW - 10, 5) == [POLICY]
    assert table.write(sts.claim_due, NOW + 9, NOW + 50, NOW - 10, 5) == []
    table.write(sts.used, "idle.test", NOW)
    assert [one.domain for one in table.write(sts.claim_due, NOW + 9, NOW + 50, NOW, 5)] == [
        "idle.test"
    ]


def test_purge(table):
    """What was over long ago goes; a policy in force and a fresh failure stay."""
    table.write(sts.keep, POLICY)
    table.write(sts.failed, "bad.test", "sts-policy-invalid", "no mx", NOW)
    assert table.write(sts.purge, NOW) == 0
    assert table.write(sts.purge, NOW + 1) == 1
    assert table.read(sts.everything) == [POLICY]
