"""What has to be done again and again: small steps with pauses, each failure noted and survived.

``Periodic`` runs one duty; the scheduler has its polling and its lease renewed by it.
``Housekeeping`` removes what has been finished for the retention time, transcripts and the
content of what was given up long ago, chunks of messages that never came to be, the policy's
counters, and what was counted of TLS.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from mta.mail.events import Emit, Note
from mta.queue.settings import QueueSettings
from mta.spool import (
    counters,
    restraints,
    resurrection,
    retention,
    samples,
    shares,
    tls_reports,
    tls_sessions,
    transcripts,
)
from mta.spool.database import Database
from mta.spool.errors import SpoolUnavailable

_PURGE_EVERY_S = 60.0
_SWEEP_EVERY_S = 3600.0
_COUNT_EVERY_S = 600.0
_STEP = 100  # messages, or chunks, removed in one transaction: few, for mail waits for it
_PAUSE_S = 0.05  # between two of them, for those who want to write as well
_REST = 4  # times as long as a step took, where that is longer: there is much to do then
_MOST_PAUSE_S = 1.0
_LOOK_S = 0.05
_AGAIN_S = 5.0  # after a failure, where the duty's own interval is longer


def wait(clock: IReactorTime, seconds: float) -> "Deferred[None]":
    """Fire after ``seconds``."""
    return deferLater(clock, seconds)


async def until(clock: IReactorTime, done: Callable[[], bool], bound_s: float) -> None:
    """Wait until ``done()``, looking again and again, or for ``bound_s``."""
    end_s = clock.seconds() + bound_s
    while not done() and clock.seconds() < end_s:
        await wait(clock, _LOOK_S)


class Periodic:
    """One duty, done at intervals, the pause counted from the end of one to the next."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        emit: Emit,
        name: str,
        interval_s: Callable[[], float],
        duty: Callable[[], Awaitable[None]],
    ) -> None:
        """``name`` completes the sentence "... fails"."""
        self._clock = clock
        self._emit = emit
        self._name = name
        self._interval_s = interval_s
        self._duty = duty
        self._timer: IDelayedCall | None = None
        self._failing = False
        self._again = False
        self._stopped = True

    def start(self) -> None:
        """Begin, after one interval."""
        self._stopped = False
        self._timer = self._clock.callLater(self._interval_s(), self._fire)

    def stop(self) -> None:
        """Do not do it again; what is under way ends by itself."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def now(self) -> None:
        """Do it at once; if it is under way, once more when that has ended."""
        if self._timer is not None and not self._stopped:
            self._timer.cancel()
            self._fire()
        else:
            self._again = True

    def _fire(self) -> None:
        self._timer = None
        Deferred.fromCoroutine(self._once()).addBoth(self._next)

    def _next(self, _ignored: Any) -> None:
        if not self._stopped:
            pause_s = self._interval_s()
            if self._failing:
                pause_s = min(pause_s, _AGAIN_S)
            elif self._again:
                pause_s = 0.0
            self._again = False
            self._timer = self._clock.callLater(pause_s, self._fire)

    async def _once(self) -> None:
        try:
            await self._duty()
        except CancelledError:
            return
        except SpoolUnavailable as error:
            self._fails("warning", str(error))
        except Exception as error:
            self._log.failure("while {duty}", duty=self._name)
            self._fails("error", repr(error))
        else:
            if self._failing:
                self._failing = False
                self._emit(Note("info", "queue", f"{self._name} works again"))

    def _fails(self, level: str, why: str) -> None:
        if not self._failing:
            self._failing = True
            self._emit(Note(level, "queue", f"{self._name} fails: {why}"))


class Housekeeping:
    """Removes what nobody needs any more."""

    def __init__(
        self,
        clock: IReactorTime,
        database: Database,
        settings: QueueSettings,
        now_ms: Callable[[], int],
        emit: Emit,
    ) -> None:
        """``settings`` may be replaced at any time."""
        self.settings = settings
        self._clock = clock
        self._database = database
        self._now_ms = now_ms
        self._stopped = True
        self._duties = (
            Periodic(clock, emit, "purging finished mail", lambda: _PURGE_EVERY_S, self._purge),
            Periodic(clock, emit, "sweeping orphaned chunks", lambda: _SWEEP_EVERY_S, self._sweep),
            Periodic(clock, emit, "purging counters", lambda: _COUNT_EVERY_S, self._counters),
        )

    def start(self) -> None:
        """Begin; the first purge comes after a minute, the first sweep after an hour."""
        self._stopped = False
        for duty in self._duties:
            duty.start()

    def stop(self) -> None:
        """End, at the latest with the step under way."""
        self._stopped = True
        for duty in self._duties:
            duty.stop()

    async def _purge(self) -> None:
        from_ms = 0

        async def step() -> int:
            nonlocal from_ms
            keep_ms = int(self.settings.retention_s * 1000)
            gone, from_ms = await self._database.write(
                retention.purge, self._now_ms(), keep_ms, _STEP, from_ms
            )
            return gone

        await self._in_steps(step)
        await self._in_steps(self._purge_transcripts)
        await self._in_steps(self._purge_returned)
        await self._in_steps(self._purge_restraints)
        await self._in_steps(lambda: self._database.write(samples.purge, self._now_ms()))

    def _purge_transcripts(self) -> Awaitable[int]:
        before_ms = self._now_ms() - int(self.settings.transcript_retention_s * 1000)
        return self._database.write(transcripts.purge, before_ms, _STEP)

    def _purge_restraints(self) -> Awaitable[int]:
        before_ms = self._now_ms() - int(self.settings.retention_s * 1000)
        return self._database.write(restraints.purge, before_ms)

    def _purge_returned(self) -> Awaitable[int]:
        before_ms = self._now_ms() - int(self.settings.returned_retention_s * 1000)
        most = self.settings.returned_octets
        return self._database.write(resurrection.purge, before_ms, most, _STEP)

    async def _sweep(self) -> None:
        def step() -> Awaitable[int]:
            before_ms = self._now_ms() - int(self.settings.orphan_age_s * 1000)
            return self._database.write(retention.sweep_orphans, before_ms, _STEP)

        await self._in_steps(step)

    async def _counters(self) -> None:
        await self._in_steps(lambda: self._database.write(counters.purge, self._now_ms(), _STEP))
        await self._database.write(shares.purge, self._now_ms())
        kept_ms = int(self.settings.tls_report_retention_s * 1000)
        before_day = (self._now_ms() - kept_ms) // tls_sessions.DAY_MS
        await self._in_steps(lambda: self._database.write(tls_sessions.purge, before_day, _STEP))
        await self._database.write(tls_reports.purge, before_day)

    async def _in_steps(self, step: Callable[[], Awaitable[int]]) -> None:
        begun_s = self._clock.seconds()
        while not self._stopped and await step() >= _STEP:
            rest_s = _REST * (self._clock.seconds() - begun_s)
            await wait(self._clock, min(max(rest_s, _PAUSE_S), _MOST_PAUSE_S))
            begun_s = self._clock.seconds()
