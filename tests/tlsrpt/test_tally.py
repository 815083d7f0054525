"""Sessions are counted in memory within bounds, and what cannot be written is not lost."""

from collections.abc import Callable
from dataclasses import replace
from time import perf_counter
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from mta.mail.security import Result
from mta.mail.tls_session import AppliedPolicy, PolicyType, TlsSession
from mta.spool.errors import SpoolUnavailable
from mta.spool.tls_sessions import DAY_MS, Counted
from mta.tlsrpt import tally
from mta.tlsrpt.tally import EVERY_S, NOBODYS, Tally

GOOD = TlsSession("example.org", AppliedPolicy(PolicyType.NONE, "example.org"))
BAD = replace(GOOD, result=Result.EXPIRED, host="mx.example.org")


class Store:
    """Takes what is written, or fails."""

    def __init__(self) -> None:
        self.rows: list[Counted] = []
        self.away = False

    def write(self, fn: Callable[..., Any], rows: list[Counted]) -> Deferred[None]:
        if self.away:
            return fail(SpoolUnavailable("away"))
        self.rows += rows
        return succeed(None)


class World:
    def __init__(self) -> None:
        self.clock, self.store, self.notes = Clock(), Store(), list[Any]()
        self.now_ms = 7 * DAY_MS
        self.tally = Tally(self.clock, self.store, self.notes.append, lambda: self.now_ms)
        self.tally.start()


@pytest.fixture
def world() -> World:
    return World()


def test_equal_sessions_are_one_row(world: World) -> None:
    """Nothing is written before its time, then one row for each kind; a day is by UTC."""
    for session in (GOOD, GOOD, BAD):
        world.tally.count(session)
    world.now_ms += DAY_MS - 1
    world.tally.count(GOOD)
    world.now_ms += 1
    world.tally.count(GOOD)
    assert world.store.rows == []
    world.clock.advance(EVERY_S)
    assert world.store.rows == [Counted(7, GOOD, 3), Counted(7, BAD, 1), Counted(8, GOOD, 1)]
    world.clock.advance(EVERY_S)
    assert len(world.store.rows) == 3 and len(world.tally) == 0


def test_counting_goes_on_while_the_spool_is_away(world: World) -> None:
    """What could not be written is written later, together with what came meanwhile; told once."""
    world.store.away = True
    world.tally.count(GOOD)
    world.clock.advance(EVERY_S)
    world.tally.count(GOOD)
    world.clock.advance(EVERY_S)
    world.store.away = False
    world.clock.advance(EVERY_S)
    assert world.store.rows == [Counted(7, GOOD, 2)]
    assert [(one.level, one.part) for one in world.notes] == [
        ("warning", "tlsrpt"),
        ("info", "tlsrpt"),
    ]


def test_a_peer_with_a_new_name_each_time_does_not_fill_memory(world: World) -> None:
    """Attack: another EHLO name, host and reason at every connection.  Sums stay right."""
    for number in range(5000):
        world.tally.count(replace(BAD, host=f"mx{number}", helo=f"{number}"))
    world.tally.count(GOOD)
    assert len(world.tally) == tally.MOST_OF_DOMAIN + 2
    world.clock.advance(EVERY_S)
    assert sum(one.count for one in world.store.rows) == 5001
    assert Counted(7, BAD.coarsened(), 5000 - tally.MOST_OF_DOMAIN) in world.store.rows


def test_ever_new_domains_do_not_fill_memory(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack: mail to a hundred thousand domains while the spool is away."""
    monkeypatch.setattr(tally, "MOST", 50)
    for number in range(1000):
        world.tally.count(replace(GOOD, domain=f"d{number}.example"))
    assert len(world.tally) == 51
    world.clock.advance(EVERY_S)
    assert Counted(7, NOBODYS, 950) in world.store.rows


def test_what_is_left_is_written_at_the_end(world: World) -> None:
    """A service that stops in order loses nothing."""
    world.tally.count(GOOD)
    done: list[Any] = []
    Deferred.fromCoroutine(world.tally.stop()).addBoth(done.append)
    assert done == [None] and world.store.rows == [Counted(7, GOOD, 1)]
    assert not world.clock.getDelayedCalls()


def test_counting_costs_microseconds(world: World) -> None:
    """What each connection pays; a bound that only a mistake would break."""
    began = perf_counter()
    for _ in range(10_000):
        world.tally.count(replace(BAD))
    assert (perf_counter() - began) / 10_000 < 200e-6
