"""How much mail for one site is in memory, and what becomes of that which finds no room.

A full site's further mail goes back to the spool.  Its domains are named, up to ``MOST_DOMAINS``,
so that they are not asked for until half of what was in memory is gone.  A site can have more
domains than anybody would name in a query: mail of the others is given a time at which the
site will probably have come to it, each a little later than the one before, so that a huge
backlog is neither read over and over nor all at the same moment.  Pure.
"""

from dataclasses import dataclass, field

PUT_OFF_MIN_S = 1.0
PUT_OFF_MAX_S = 900.0
_GUESS_S = 30.0  # as long as nothing is known of the site's speed


@dataclass(slots=True)
class Backlog:
    """Of one site; counts are recipients."""

    load: int = 0  # ready and running
    done: int = 0  # settled since it is full
    full_since_s: float | None = None
    domains: set[str] = field(default_factory=set)  # that were put off while it was full
    _full_at: int = 0  # its load when it became full
    _postponed: int = 0  # given a time since then

    def overflow(self, now_s: float, share: int) -> None:
        """Note that something found no room."""
        if self.full_since_s is None:
            self.full_since_s = now_s
            self._full_at = min(self.load, share)
            self.done = self._postponed = 0

    def postpone(self, now_s: float, weight: int) -> float:
        """Return in how many seconds there will be room for further ``weight`` recipients."""
        full_s = now_s - self.full_since_s if self.full_since_s is not None else 0.0
        ahead = (self.load + self._postponed) / 2
        self._postponed += weight
        wait_s = ahead * full_s / self.done if self.done else max(full_s, _GUESS_S)
        return min(max(wait_s, PUT_OFF_MIN_S), PUT_OFF_MAX_S)

    def lighten(self, weight: int) -> int | None:
        """Let go of ``weight``; if there is room again, return how many domains are released."""
        self.load -= weight
        if self.full_since_s is None or self.load * 2 > self._full_at:
            return None
        self.full_since_s = None
        return self.unname()

    def unname(self) -> int:
        """Forget the names of the domains; return how many it were."""
        released = len(self.domains)
        self.domains.clear()
        return released
