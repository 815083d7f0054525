"""What is allowed to all processes together is never more than the limit, and is used up."""

import pytest

from mta.spool import leases, shares
from mta.spool.shares import Ask, fair

NOW = 1_800_000_000_000
SITE = "site:mx.example"


def test_division_is_fair_and_whole():
    """Who wants little gets that; the rest share; nothing that is wanted is left over."""
    assert fair(10, {"a": 100, "b": 2, "c": 100}, 0) == {"a": 4, "b": 2, "c": 4}
    assert fair(6, {"a": 9, "b": 9, "c": 9}, 0) == {"a": 2, "b": 2, "c": 2}
    assert sum(fair(7, {"a": 9, "b": 9, "c": 9}, 1).values()) == 7
    assert fair(10, {"a": 2, "b": 2}, 0) == {"a": 5, "b": 5}
    assert fair(0, {"a": 1}, 0) == {"a": 0}


def test_what_does_not_divide_goes_round():
    """One connection and three processes: each has its turn."""
    turns = [fair(1, {"a": 1, "b": 1, "c": 1}, turn) for turn in range(3)]
    assert all(sum(turn.values()) == 1 for turn in turns)
    assert {name for turn in turns for name, part in turn.items() if part} == {"a", "b", "c"}


class Node:
    """A process that asks once a second and begins all that it may."""

    def __init__(self, table, name: str) -> None:
        self.table, self.name = table, name
        self.connections = self.held = self.running = 0

    def begins(self, second: int, wanted: int, *rates: tuple[int, int]) -> int:
        ask = Ask(SITE, ahead=True, rates=rates, begins=wanted)
        return self._ask(ask, second).begins

    def connects(self, second: int, limit: int, wanted: int) -> None:
        """Ask, then run as many as it may; what runs beyond its part goes on."""
        held = max(self.running, self.connections)
        ask = Ask(SITE, True, limit, held, self.running, min(wanted, limit))
        self.connections = self._ask(ask, second).connections
        self.running = max(self.running, min(wanted, self.connections))

    def end(self, count: int) -> None:
        self.running = max(0, self.running - count)

    def _ask(self, ask: Ask, second: int):
        return self.table.write(shares.exchange, self.name, [ask], NOW + second * 1000)[SITE]


@pytest.fixture
def nodes(table):
    """Three processes."""
    return [Node(table, name) for name in "abc"]


def busiest(counts: list[int], seconds: int) -> int:
    return max(sum(counts[at : at + seconds]) for at in range(len(counts)))


def test_a_rate_by_the_second_is_used_up_and_kept(nodes):
    """However the demand is divided: in each second what is allowed, and no more."""
    for second in range(10):
        wanted = [30, 2 if second < 5 else 0, 30 if second > 2 else 0]
        got = [node.begins(second, want, (20, 1)) for node, want in zip(nodes, wanted, strict=True)]
        assert sum(got) <= 20
        assert second < 8 or sum(got) == 20


def test_a_rate_by_the_minute_holds_in_every_minute(nodes):
    """A burst of what a minute allows, then what becomes free; at most 100 in any 60 seconds."""
    sent = [sum(node.begins(second, 40, (100, 60)) for node in nodes) for second in range(200)]
    assert busiest(sent, 60) <= 100
    assert sum(sent) >= 0.9 * 100 * 200 / 60


def test_the_stricter_of_two_rates_decides(nodes):
    """5 a second, 100 a minute: neither is broken, and what one forbids uses up nothing."""
    sent = [
        sum(node.begins(second, 9, (5, 1), (100, 60)) for node in nodes) for second in range(130)
    ]
    assert max(sent) <= 5
    assert busiest(sent, 60) <= 100
    assert sum(sent) >= 0.9 * 100 * 130 / 60


def test_a_process_that_is_gone_is_not_waited_for(nodes):
    """Three seconds after it last asked, the others begin all that may be begun."""
    for second in range(3):
        for node in nodes:
            node.begins(second, 30, (21, 1))
    for second in range(3, 8):
        got = sum(node.begins(second, 30, (21, 1)) for node in nodes[:2])
    assert got == 21


def test_what_is_not_used_is_allowed_to_others(nodes):
    """It is said within the stretch of the rate: there is no hole in it."""
    assert nodes[0].begins(0, 100, (100, 60)) == 100
    assert nodes[1].begins(1, 100, (100, 60)) == 0
    unused = ((60, NOW // 1000 + 1, 60),)
    ask = Ask(SITE, ahead=True, rates=((100, 60),), begins=0, unused=unused)
    nodes[0]._ask(ask, 2)
    assert nodes[1].begins(2, 100, (100, 60)) == 60


def test_connections_never_are_more_than_the_limit(nodes):
    """One has all; when others want some it gives them up as its deliveries end."""
    first, second, third = nodes
    for at in range(3):
        first.connects(at, 6, 100)
    assert first.running == 6
    for at in range(3, 30):
        for node in nodes:
            node.connects(at, 6, 100)
            assert sum(one.running for one in nodes) <= 6
        first.end(1)
    for at in range(30, 33):
        for node in nodes:
            node.connects(at, 6, 100)
    assert [node.running for node in nodes] == [2, 2, 2]
    third.end(9)
    for at in range(33, 37):
        for node, want in zip(nodes, (100, 100, 0), strict=True):
            node.connects(at, 6, want)
    assert [first.running, second.running, third.running] == [3, 3, 0]


def test_the_connections_of_the_dead_come_back(nodes, table):
    """After ten seconds of silence; at once where a lease is ended in order."""
    first, second, _ = nodes
    for at in range(2):
        first.connects(at, 4, 9)
    second.connects(3, 4, 9)
    assert second.running == 0
    second.connects(12, 4, 9)
    assert second.running == 4
    table.write(leases.release_all, "b", NOW)
    first.running = first.connections = 0
    first.connects(13, 4, 9)
    assert first.running == 4


def test_old_counts_are_purged(nodes, table):
    """What no rate looks at any more, and processes that are long gone."""
    nodes[0].begins(0, 5, (10, 1), (100, 60))
    table.write(shares.purge, NOW + 200_000)
    assert table.rows("SELECT count(*) FROM site_paces") == [(0,)]
    assert table.rows("SELECT count(*) FROM site_shares") == [(0,)]


def test_nobody_waits_for_a_host_that_is_cut_off_in_the_middle(table):
    """Attack on everybody's writers: one has the lock and says nothing more; the others go on."""
    if table.url.startswith("sqlite"):
        pytest.skip("one writer at a time anyway")
    with table.engine.begin() as conn:
        assert shares.exchange(conn, "a", [Ask(SITE, True)], NOW) is not None
        assert table.write(shares.exchange, "b", [Ask(SITE, True)], NOW) is None
    assert table.write(shares.exchange, "b", [Ask(SITE, True)], NOW) is not None
