"""Those who wait for the database's writer, and the bound on how long they do.

A server that is frozen, or a disk that hangs, answers nothing and fails nothing: no time-out of
a driver's sees it.  Whoever waits is told that the database is away, so that a client gets its
451 and does not hold a connection and a message for ever.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from mta.spool.errors import SpoolUnavailable

ANSWER_S = 60.0  # more than all time-outs of a database that is merely slow together


def silence() -> SpoolUnavailable:
    """Return what those are told who have waited too long."""
    return SpoolUnavailable(f"the database has not answered for {ANSWER_S:.0f} s")


class Unanswered:
    """Deferreds, each answered once: with its result, or after ``ANSWER_S`` without."""

    def __init__(
        self, clock: IReactorTime, late: Callable[[set[Deferred[Any]], SpoolUnavailable], None]
    ) -> None:
        """``late(those, why)`` is called before ``those`` are told that nobody answers."""
        self._clock = clock
        self._late = late
        self._since: dict[Deferred[Any], float] = {}  # the oldest first
        self._timer: IDelayedCall | None = None

    def add(self, deferred: Deferred[Any]) -> None:
        """Begin to count the time; one timer serves all."""
        self._since[deferred] = self._clock.seconds()
        if self._timer is None:
            self._timer = self._clock.callLater(ANSWER_S, self._look)

    def answer(self, deferred: Deferred[Any], result: Any) -> None:
        """Give ``deferred`` its result, unless it has been told that there is none."""
        if self._since.pop(deferred, None) is None:
            return
        if isinstance(result, Failure):
            deferred.errback(result)
        else:
            deferred.callback(result)

    def stop(self) -> None:
        """Leave nothing in the reactor."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        late = [one for one, since in self._since.items() if now - since >= ANSWER_S]
        for one in late:
            del self._since[one]
        if self._since:
            oldest = next(iter(self._since.values()))
            self._timer = self._clock.callLater(oldest + ANSWER_S - now, self._look)
        if late:
            why = silence()
            self._late(set(late), why)
            for one in late:
                one.errback(why)
