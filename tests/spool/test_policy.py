"""Counters, suppressions and brakes that all processes share, on both databases."""

import pytest

from mta.spool import brakes, counters, policy, suppressions
from mta.spool.counters import Count
from mta.spool.policy import Given
from mta.spool.suppressions import Suppression

NOW = 1_800_000_000_000
HOUR = 3_600_000


def count(name, amount, start=NOW, keep=NOW + 2 * HOUR):
    return Count(name, start, HOUR, amount, keep)


def test_counters_across_two_processes(table):
    """What two processes add comes together, and each reads the sum."""
    table.write(policy.exchange, Given([count("a", 2), count("b", 1)], (), 0), "one", 0, NOW)
    news = table.write(policy.exchange, Given([count("a", 3)], (), 0), "two", NOW, NOW + 10)
    assert sorted(news.changes.counts) == [count("a", 5), count("b", 1)]
    assert table.read(policy.look, "one", NOW + 60_000, NOW + 60_000).changes.counts == []


def test_counts_outlive_a_restart(table):
    """A new process reads what still matters, and nothing that is over."""
    old = count("old", 9, NOW - 3 * HOUR)
    table.write(policy.exchange, Given([count("a", 2), old], (), 0), "one", 0, NOW)
    assert table.read(policy.first, NOW).changes.counts == [count("a", 2)]


def test_a_start_reads_no_more_than_it_can_hold(table):
    """Attack: a million addresses, each with a counter, keep no process from starting again."""
    for moment, name in enumerate(("old", "new", "newest")):
        given = Given([count(name, 1)], (), 0)
        table.write(policy.exchange, given, "one", 0, NOW + moment)
    found = table.read(counters.load, NOW, "", 2)
    assert [one.name for one in found] == ["newest", "new"]


def test_many_counters_at_once(table):
    """More rows than one statement takes."""
    many = [count(f"n{n}", n) for n in range(200)]
    news = table.write(policy.exchange, Given(many, (), 0), "one", 0, NOW)
    assert sorted(news.changes.counts) == sorted(many)


def test_what_a_dead_process_had_in_use_is_over(table):
    """Gauges are summed over the others, and are believed for a time only."""
    table.write(policy.exchange, Given((), [("s", 3)], 60_000), "one", 0, NOW)
    table.write(policy.exchange, Given((), [("s", 4)], 60_000), "two", 0, NOW)
    assert table.read(policy.look, "two", NOW, NOW + 1).changes.in_use == {"s": 3}
    assert table.read(policy.look, "three", NOW, NOW + 1).changes.in_use == {"s": 7}
    assert table.read(policy.look, "three", NOW, NOW + 60_000).changes.in_use == {}
    table.write(counters.leave, "one")
    assert table.read(policy.look, "three", NOW, NOW + 1).changes.in_use == {"s": 4}


def test_purge(table):
    """Windows go when nobody needs them, in steps."""
    rows = [count(f"n{n}", 1, keep=NOW + n) for n in range(5)]
    table.write(policy.exchange, Given(rows, (), 0), "one", 0, NOW)
    assert table.write(counters.purge, NOW + 3, 2) == 2
    assert table.write(counters.purge, NOW + 3, 2) == 1
    assert table.rows("SELECT name FROM counters ORDER BY name") == [("n3",), ("n4",)]


def test_history(table):
    """The hours of one counter, in order."""
    rows = [count("a", n + 1, NOW + n * HOUR) for n in range(3)] + [count("b", 9)]
    table.write(policy.exchange, Given(rows, (), 0), "one", 0, NOW)
    found = table.read(counters.history, "a", NOW + 1)
    assert found == [(NOW + HOUR, 2), (NOW + 2 * HOUR, 3)]


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("Ann@EXAMPLE.org", "ann@example.org"),
        ("@Example.org", "@example.org"),
        ("ann@münchen.example", "ann@xn--mnchen-3ya.example"),
    ],
)
def test_prepared(written, kept):
    """Entries are kept in one form."""
    assert suppressions.prepared(written) == kept


def test_no_address():
    """A bare word is neither an address nor a domain."""
    with pytest.raises(ValueError, match="neither"):
        suppressions.prepared("example.org")


def test_suppressions(table):
    """For all and for one login, addresses and domains; the entry itself is found."""
    for address, login in (("ann@example.org", ""), ("@example.net", "app"), ("b@e.org", "app")):
        entry = Suppression(address, login, "asked", "me", NOW)
        assert table.write(suppressions.add, entry)
        assert not table.write(suppressions.add, entry)

    def found(address, login):
        entry = table.read(suppressions.concerning, address, login)
        return entry and entry.address

    assert found("ann@example.org", "x") == "ann@example.org"
    assert found("any@example.net", "app") == "@example.net"
    assert found("any@example.net", "x") is None
    assert found("b@e.org", "") is None
    assert table.read(suppressions.any_at_all)
    assert [one.address for one in table.read(suppressions.everything, "", "app")] == [
        "@example.net",
        "b@e.org",
    ]
    assert table.write(suppressions.remove, "b@e.org", "app")
    assert not table.write(suppressions.remove, "b@e.org", "app")


def test_one_alarm(table):
    """However many processes see it, one is told to raise the alarm."""
    assert table.write(brakes.trip, "ann", "why", NOW)
    assert not table.write(brakes.trip, "ann", "why", NOW + 1)
    assert table.read(brakes.states, NOW) == (frozenset({"ann"}), frozenset())


def test_released(table):
    """After a release the login is left alone for an hour; then it can trip again."""
    table.write(brakes.trip, "ann", "why", NOW)
    assert table.write(brakes.release, "ann", NOW + 5)
    assert not table.write(brakes.release, "ann", NOW + 6)
    assert table.read(brakes.states, NOW + 6) == (frozenset(), frozenset({"ann"}))
    assert not table.write(brakes.trip, "ann", "again", NOW + 7)
    assert table.write(brakes.trip, "ann", "again", NOW + 5 + HOUR)
    assert table.read(brakes.everything)[0].reason == "again"


def test_what_was_sent(table, mail):
    """What one login has sent since, by domain and state."""
    table.accept(
        mail.intake("a@x.org", "b@x.org", "c@y.org"),
        mail.intake("d@x.org", held="brake: x"),
        mail.intake("e@x.org", created_ms=NOW - 1000),
    )
    found = [
        (one.domain, one.state.value, one.recipients)
        for one in table.read(brakes.sent, "app7", NOW)
    ]
    assert found == [("x.org", "queued", 2), ("x.org", "held", 1), ("y.org", "queued", 1)]
    assert table.read(brakes.sent, "app8", 0) == []
