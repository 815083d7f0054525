"""Mail that waits for a budget of its smarthosts: it stays in the spool, and everybody can see why.

Asked about every entry before it lines up, and again when its turn has come, while some route has
a budget by the day.  The attempt is not counted.  The first entry that has to wait raises an
alarm with the reason and the moment, in the log and in the spool (``mta status``, ``mta why``); at
that moment it is taken back, or said anew.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from mta.mail.events import Emit, Note
from mta.queue.entry import Entry
from mta.queue.sites import PutOff
from mta.spool import alarms
from mta.spool.database import Database

_KIND = "smarthost:"  # how the destinations begin that can have budgets
_SLACK_S = 1.0
_AGAIN_S = 3600.0  # so often somebody looks whether a sender must be told that it is late


class Wait(Protocol):
    """Until when, and why."""

    @property
    def until_ms(self) -> int:
        """The moment, by the wall clock."""

    @property
    def reason(self) -> str:
        """Words; never empty."""


class Budgets:
    """Says what has to wait, and why."""

    def __init__(
        self,
        clock: IReactorTime,
        now_ms: Callable[[], int],
        database: Database,
        node: str,
        emit: Emit,
        wait: Callable[[str], Wait | None],
    ) -> None:
        """``wait`` says of a destination until when it has to wait, if it has."""
        self._clock = clock
        self._now_ms = now_ms
        self._database = database
        self._node = node
        self._emit = emit
        self._wait = wait
        self._alarms: dict[str, IDelayedCall] = {}  # by destination; each looks again when due

    def start(self) -> None:
        """What this process's last run said of them is found out anew."""
        ended = self._database.write(alarms.forget, self._node, _KIND)
        ended.addErrback(self._unsaid)

    def waits(self, entry: Entry) -> PutOff | None:
        """Say whether ``entry`` has to wait."""
        destination = entry.destination
        if not destination.startswith(_KIND) or (found := self._wait(destination)) is None:
            return None
        if destination not in self._alarms:
            self._raise(destination, found)
        wait_s = (found.until_ms - self._now_ms()) / 1000
        return PutOff(min(max(wait_s, _SLACK_S), _AGAIN_S), found.reason)

    def stop(self) -> None:
        """Look no more."""
        for call in self._alarms.values():
            call.cancel()
        self._alarms.clear()

    def _raise(self, destination: str, found: Wait) -> None:
        until = datetime.fromtimestamp(found.until_ms // 1000, UTC)
        text = f"{destination} waits until {until:%Y-%m-%dT%H:%M:%SZ}: {found.reason}"
        self._emit(Note("warning", "queue", text))
        self._put(destination, text)
        wait_s = max((found.until_ms - self._now_ms()) / 1000, 0.0) + _SLACK_S
        self._alarms[destination] = self._clock.callLater(wait_s, self._look, destination)

    def _look(self, destination: str) -> None:
        del self._alarms[destination]
        found = self._wait(destination)
        if found is not None:
            self._raise(destination, found)
        else:
            self._emit(Note("info", "queue", f"{destination} has a budget again"))
            self._put(destination, "")

    def _put(self, destination: str, text: str) -> None:
        put = self._database.write(alarms.put, self._node, destination, text, self._now_ms())
        put.addErrback(self._unsaid)

    def _unsaid(self, failure: Failure) -> None:
        self._emit(Note("warning", "queue", f"an alarm could not be written: {failure.value}"))
