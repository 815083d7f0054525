"""Saying once that the database is away, and once that it is back."""

from collections.abc import Callable
from time import monotonic

from mta.mail.events import Note
from mta.spool.errors import SpoolFull, SpoolUnavailable

_FULL_FOR_S = 10.0  # small writes may pass on a full disk: do not cry "back" between them


class Availability:
    """What the writer thread knows about its database."""

    def __init__(self, tell: Callable[[Note], None]) -> None:
        self._tell = tell
        self._trouble: SpoolUnavailable | None = None
        self._since = 0.0
        self._last = 0.0

    @property
    def away(self) -> bool:
        """Whether the last write failed because of the database, not for want of room."""
        return self._trouble is not None and not isinstance(self._trouble, SpoolFull)

    @property
    def troubled(self) -> bool:
        """Whether it is away, or has no room."""
        return self._trouble is not None

    def failed(self, error: SpoolUnavailable) -> None:
        """A write has failed because of the database."""
        self._last = monotonic()
        if self._trouble is None or type(error) is not type(self._trouble):
            what = "full" if isinstance(error, SpoolFull) else "away"
            self._tell(Note("error", "spool", f"the database is {what}: {error}"))
            self._since = self._last
        self._trouble = error

    def worked(self) -> None:
        """A write has succeeded."""
        if self._trouble is None:
            return
        now = monotonic()
        if isinstance(self._trouble, SpoolFull) and now - self._last < _FULL_FOR_S:
            return
        self._trouble = None
        self._tell(Note("info", "spool", f"the database is back after {now - self._since:.1f} s"))
