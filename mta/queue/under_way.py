"""The attempts under way, and why some of them were cancelled."""

from collections.abc import Iterable, Iterator

from twisted.internet.defer import Deferred

from mta.mail.outcome import Outcome
from mta.queue.entry import Entry

Ending = Deferred[list[Outcome]]


class UnderWay:
    """What has been begun and has not ended."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._running: dict[Entry, Ending] = {}
        self._cancelled: dict[Entry, str] = {}

    def __len__(self) -> int:
        """Count them."""
        return len(self._running)

    def __iter__(self) -> Iterator[Entry]:
        """Go through them."""
        return iter(self._running)

    def begin(self, entry: Entry, attempt: Ending) -> None:
        """Remember how to cancel the attempt for ``entry``."""
        self._running[entry] = attempt

    def ended(self, entry: Entry) -> str | None:
        """Forget it; return why it was cancelled, if it was."""
        self._running.pop(entry, None)
        return self._cancelled.pop(entry, None)

    def why(self, entry: Entry) -> str | None:
        """Return why it was cancelled, if it was."""
        return self._cancelled.get(entry)

    def cancel(self, some: Iterable[Entry], why: str) -> None:
        """Cancel those that are still under way."""
        for entry in list(some):
            attempt = self._running.get(entry)
            if attempt is not None:
                self._cancelled[entry] = why
                attempt.cancel()

    def since(self, before_s: float) -> list[Entry]:
        """Return those that were begun before."""
        return [entry for entry in self._running if entry.began_s < before_s]
