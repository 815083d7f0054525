"""The mail log: takes events, renders them once for each kind of sink, writes in batches.

Lines are gathered for a tenth of a second and written together, so that a busy
relay makes ten writes a second, not ten thousand; warnings and errors are written at
once.  What was gathered and not yet written is lost when the process is killed: the
log is for people, and the truth about a message is in the spool.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mta.log.record import record
from mta.log.sinks import Sink
from mta.log.text import lines
from mta.mail.events import Emit, Event, Note

_pid = os.getpid()


def _forked() -> None:
    global _pid  # noqa: PLW0603 - asked for with every line; twistd forks after the import
    _pid = os.getpid()


os.register_at_fork(after_in_child=_forked)

_GATHER_S = 0.1
_GATHER_LINES = 2000


@dataclass(frozen=True, slots=True)
class Stamp:
    """What stands before the text of a line."""

    host: str
    dated: bool  # False where the reader dates lines itself: syslog, the journal
    process: bool = True  # False for syslog, which adds the process id

    def __call__(self, program: str, text: str, when: str) -> str:
        """Return the whole line."""
        if not self.process:
            return f"mta/{program}: {text}"
        if self.dated:
            return f"{when} {self.host} mta/{program}[{_pid}]: {text}"
        return f"mta/{program}[{_pid}]: {text}"


class MailLog:
    """An ``Emit``: call it with an event."""

    def __init__(
        self,
        clock: IReactorTime,
        text: Sequence[tuple[Sink, Stamp]] = (),
        records: Sequence[Sink] = (),
        now: Callable[[], float] = time.time,
    ) -> None:
        """Write lines to the sinks in ``text`` and JSON objects to those in ``records``."""
        self._clock = clock
        self._text: list[tuple[Sink, Stamp, list[str]]] = []
        self._records: list[tuple[Sink, list[str]]] = []
        self._now = now
        self._attach(text, records)
        self._second = -1
        self._second_text = ""
        self._pending = 0
        self._call: IDelayedCall | None = None
        self.also: Emit | None = None  # hears of every event: the metrics, where they are wanted

    def _attach(self, text: Sequence[tuple[Sink, Stamp]], records: Sequence[Sink]) -> None:
        self._text = [(sink, stamp, []) for sink, stamp in text]
        self._records = [(sink, []) for sink in records]

    def use(self, text: Sequence[tuple[Sink, Stamp]], records: Sequence[Sink]) -> None:
        """Write to these sinks from now on; the old ones get what waits and are closed."""
        self.flush()
        self._close_sinks()
        self._attach(text, records)

    def __call__(self, event: Event) -> None:
        """Take an event."""
        if self.also is not None:
            self.also(event)
        now = self._now()
        if self._text:
            when = self._when(now)
            for program, text in lines(event):
                for _, stamp, waiting in self._text:
                    waiting.append(stamp(program, text, when))
        if self._records:
            rendered = json.dumps(record(event, int(now * 1000)), ensure_ascii=False)
            if not rendered.isprintable():  # all of it is inside of strings
                rendered = "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in rendered)
            for _, waiting in self._records:
                waiting.append(rendered)
        self._schedule(isinstance(event, Note) and event.level != "info")

    def _when(self, now: float) -> str:
        second = int(now)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second_text}.{int(now * 1000) % 1000:03d}Z"

    def _schedule(self, urgent: bool) -> None:
        self._pending += 1
        if urgent or self._pending >= _GATHER_LINES:
            self.flush()
        elif self._call is None:
            self._call = self._clock.callLater(_GATHER_S, self._due)

    def _due(self) -> None:
        self._call = None
        self.flush()

    def flush(self) -> None:
        """Write what waits."""
        self._pending = 0
        for sink, _, waiting in self._text:
            if waiting:
                sink.write(waiting)
                waiting.clear()
        for sink, waiting in self._records:
            if waiting:
                sink.write(waiting)
                waiting.clear()

    def close(self) -> None:
        """Write what waits and close the sinks."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self.flush()
        self._close_sinks()

    def _close_sinks(self) -> None:
        for sink, _, _ in self._text:
            sink.close()
        for sink, _ in self._records:
            sink.close()
