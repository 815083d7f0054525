"""The figures of the spool: in which units, and how often they are asked for."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mta.mail.queue_id import new_queue_id, time_of
from mta.metrics.watched import Live, Watched
from mta.spool.sample import Sample

NOW_MS = 1_800_000_000_000


class _Spool:
    """Has every sample wait for the test."""

    troubled = False

    def __init__(self) -> None:
        self.asked: list[Deferred[Any]] = []

    def read(self, _fn: Any, *_arguments: Any) -> Deferred[Any]:
        self.asked.append(Deferred())
        return self.asked[-1]


def watched() -> tuple[Watched, _Spool, Clock]:
    """A process that nothing happens in; samples may be 30 s old."""
    clock, spool = Clock(), _Spool()
    live = Live(dict, lambda: 0, lambda: 0, lambda: 0, lambda: False)
    database: Any = spool
    return Watched(clock, database, live, lambda: NOW_MS, 30.0), spool, clock


def test_what_a_sample_says() -> None:
    """Ages and times are in seconds."""
    parts, spool, _ = watched()
    parts.refresh()
    oldest = new_queue_id(NOW_MS - 90_000)
    spool.asked[0].callback(Sample(1, 2, 3, 4, 5, oldest, {"slow": 6}, 7, 8))
    value = parts.families.registry.get_sample_value
    assert time_of(oldest) == NOW_MS - 90_000
    assert value("mta_queue_oldest_age_seconds") == 90
    assert value("mta_queue_sample_timestamp_seconds") == NOW_MS / 1000
    states = [value("mta_queue_recipients", {"state": s}) for s in ("new", "deferred", "held")]
    assert states == [1, 2, 3]
    assert value("mta_restraints", {"verb": "slow"}) == 6
    assert value("mta_restraints", {"verb": "suspend"}) == 0


def test_attack_scrapes_without_end() -> None:
    """However often somebody scrapes: one sample at a time, and none while one is fresh."""
    parts, spool, clock = watched()
    for _ in range(100):
        parts.refresh()
    assert len(spool.asked) == 1
    spool.asked[0].callback(Sample(0, 0, 0, 0, 0, None, {}, 0, 0))
    clock.advance(29.9)
    parts.refresh()
    assert len(spool.asked) == 1
    clock.advance(0.1)
    parts.refresh()
    assert len(spool.asked) == 2


def test_a_slow_sample_is_taken_seldom() -> None:
    """It takes a twentieth of the spool's time at most."""
    parts, spool, clock = watched()
    parts.refresh()
    clock.advance(10)
    spool.asked[0].callback(Sample(0, 0, 0, 0, 0, None, {}, 0, 0))
    clock.advance(199)
    parts.refresh()
    assert len(spool.asked) == 1
    clock.advance(1)
    parts.refresh()
    assert len(spool.asked) == 2
