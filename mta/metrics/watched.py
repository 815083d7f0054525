"""The figures of one process: counted from events, read off its parts, sampled from the spool.

The spool is sampled only while somebody scrapes: a scrape that finds the last sample old has a new
one taken and does not wait for it.  A sample that takes long is taken more seldom.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from mta.mail.queue_id import time_of
from mta.metrics.counting import Counting
from mta.metrics.families import Families
from mta.metrics.readiness import Readiness
from mta.spool import sample
from mta.spool.database import Database
from mta.spool.errors import SpoolUnavailable

_SHARE = 20  # a sample takes at most this part of the time


@dataclass(frozen=True, slots=True)
class Live:
    """What parts know without being asked for more than a number."""

    sessions: Callable[[], Mapping[str, int]]  # open, by listener
    active: Callable[[], int]  # recipients in memory
    running: Callable[[], int]  # attempts
    idle: Callable[[], int]  # outbound connections
    closing: Callable[[], bool]


class Watched:
    """Everything that the listener ``[metrics]`` has to say."""

    _log = Logger()

    def __init__(
        self,
        clock: Any,
        database: Database,
        live: Live,
        now_ms: Callable[[], int],
        sample_s: float,
    ) -> None:
        """``sample_s``: how old what is known of the spool may grow while somebody asks."""
        self.families = Families()
        self.emit = Counting(self.families)
        self.readiness = Readiness(clock, database, live.closing)
        self._clock = clock
        self._database = database
        self._live = live
        self._now_ms = now_ms
        self._sample_s = sample_s
        self._next = -1.0
        self._sampling = False

    def committed(self, writes: int, seconds: float) -> None:
        """Note a transaction of the spool; called in the thread that writes."""
        self.families.commit_writes.observe(writes)
        self.families.commit_seconds.observe(seconds)

    def refresh(self) -> None:
        """Set what is not counted, for a scrape."""
        families, live = self.families, self._live
        for listener, number in live.sessions().items():
            families.inbound.labels(listener).set(number)
        families.in_memory.set(live.active())
        families.running.set(live.running())
        families.idle.set(live.idle())
        if not self._sampling and self._clock.seconds() >= self._next:
            self._sampling = True
            begun = self._clock.seconds()
            taken = self._database.read(sample.sample, self._now_ms())
            taken.addCallback(self._take).addErrback(self._untaken).addBoth(self._taken, begun)

    def _taken(self, _ignored: object, begun: float) -> None:
        now = self._clock.seconds()
        self._sampling = False
        self._next = now + max(self._sample_s, _SHARE * (now - begun))

    def _untaken(self, failure: Failure) -> None:
        """Leave the figures as they are: their time says how old they are."""
        if failure.check(SpoolUnavailable) is None:
            self._log.failure("the spool could not be sampled", failure)

    def _take(self, found: sample.Sample) -> None:
        families, now_ms = self.families, self._now_ms()
        for state in ("new", "deferred", "held"):
            families.queue.labels(state).set(getattr(found, state))
        families.claimed.set(found.claimed)
        families.due.set(found.due)
        age_ms = 0 if found.oldest is None else now_ms - time_of(found.oldest)
        families.oldest.set(max(0, age_ms) / 1000)
        for verb in ("suspend", "slow"):
            families.restraints.labels(verb).set(found.restraints.get(verb, 0))
        families.brakes.set(found.brakes)
        families.alarms.set(found.alarms)
        families.sampled.set(now_ms / 1000)

    def ready(self) -> Deferred[str]:
        """Fire with why no mail is taken, "" where it is; the metric says the same."""

        def keep(why: str) -> str:
            self.families.ready.set(not why)
            return why

        return Deferred.fromCoroutine(self.readiness.why_not()).addCallback(keep)
