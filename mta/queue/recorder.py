"""Writes that must happen: outcomes of attempts, and mail given back.

What a peer has answered must not be lost while the process lives.  A write that the
spool refuses for the moment is kept and repeated, at growing intervals, until it goes
through.  What is kept is bounded by the active set, whose room it goes on using.  While
anything is kept because the spool is away, ``away`` is true, and the scheduler dials
nobody: what cannot be written down should not be done.

The first write to be repeated goes alone; the rest follows when it has succeeded, many at
a time, so that the spool's writer can put it into few transactions.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mta.mail.events import Emit, Note
from mta.spool.errors import SpoolUnavailable

Write: TypeAlias = Callable[[], "Deferred[Any]"]
Done: TypeAlias = Callable[[Any], None]

_FIRST_S = 1.0
_LONGEST_S = 30.0
_UNDER_WAY = 1000  # repeated writes that the spool has at the same time


class Recorder:
    """Repeats writes until they have happened."""

    _log = Logger()

    def __init__(self, clock: IReactorTime, emit: Emit, returned: Callable[[], None]) -> None:
        """``emit`` hears when the spool goes and when it is back; ``returned`` is called then."""
        self._clock = clock
        self._emit = emit
        self._returned = returned
        self._waiting: deque[tuple[Write, Done]] = deque()
        self._timer: IDelayedCall | None = None
        self._pause_s = _FIRST_S
        self._under_way = 0
        self._stopped = False
        self.pending = 0
        self.away = False

    def write(self, write: Write, done: Done) -> None:
        """See to it that ``write`` happens; then call ``done`` with its result."""
        self.pending += 1
        if self.away:
            self._waiting.append((write, done))
        else:
            self._send(write, done)

    def _send(self, write: Write, done: Done, tries: int = 0) -> None:
        self._under_way += 1
        write().addCallbacks(
            self._written, self._failed, callbackArgs=(done,), errbackArgs=(write, done, tries)
        )

    def _written(self, result: Any, done: Done) -> None:
        self.pending -= 1
        self._under_way -= 1
        if self.away:
            self._back()
        if self._waiting:
            self._send_more()
        try:
            done(result)
        except Exception:
            self._log.failure("after a write to the spool")
            self._emit(Note("error", "queue", "a fault of the program, see the log of the service"))

    def _failed(self, failure: Failure, write: Write, done: Done, tries: int) -> None:
        self._under_way -= 1
        if failure.check(SpoolUnavailable):
            self._waiting.append((write, done))
            self._went(failure)
            return
        if self.away:  # the spool has answered, if only to refuse this write
            self._back()
            self._send_more()
        self._refused(failure, write, done, tries)

    def _went(self, failure: Failure) -> None:
        if not self.away:
            self.away = True
            words = f"outcomes cannot be recorded and are kept: {failure.getErrorMessage()}"
            self._emit(Note("error", "queue", words))
        if self._timer is None and not self._stopped:
            self._timer = self._clock.callLater(self._pause_s, self._try)
            self._pause_s = min(self._pause_s * 2, _LONGEST_S)

    def _try(self) -> None:
        self._timer = None
        if self._waiting:
            self._send(*self._waiting.popleft())

    def _back(self) -> None:
        self.away = False
        self._pause_s = _FIRST_S
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._emit(Note("info", "queue", "the spool takes outcomes again"))
        self._returned()

    def _send_more(self) -> None:
        while self._waiting and self._under_way < _UNDER_WAY and not self.away:
            self._send(*self._waiting.popleft())

    def _refused(self, failure: Failure, write: Write, done: Done, tries: int) -> None:
        """Nobody foresaw this one: keep it apart, so that it holds up nothing else."""
        if not tries:
            self._log.failure("while writing to the spool", failure)
            words = f"{failure.type.__name__}: {failure.getErrorMessage()}" if failure.type else ""
            self._emit(Note("error", "queue", f"a write failed and will be repeated: {words}"))
        if not self._stopped:
            pause_s = min(_FIRST_S * 2**tries, _LONGEST_S)
            self._clock.callLater(pause_s, self._repeat, write, done, min(tries + 1, 20))

    def _repeat(self, write: Write, done: Done, tries: int) -> None:
        if not self._stopped:
            self._send(write, done, tries)

    def stop(self) -> int:
        """Repeat nothing any more; return how many writes are not known to have happened."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._waiting.clear()
        return self.pending
