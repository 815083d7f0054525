"""The counters of this process, and what it knows of those of the others.

A copy in memory of what is in the spool, so that nothing is asked of SQL while a client
waits.  Once a second what was counted here is added there, and what has changed there comes
back: all processes know of each other's counts within about two seconds, and of
their own at once.  What a killed process had not yet handed over, a second's worth, is lost.

Bounded: beyond ``MOST`` counters the oldest windows are forgotten here, not in the spool.
"""

from collections import Counter
from collections.abc import Iterable

from mta.policy.limits import sliding
from mta.spool.counters import MOST_LOADED, Count

MOST = MOST_LOADED
_TOTAL, _FLYING, _PENDING, _WINDOW, _KEEP = range(5)


class Counts:
    """Implements ``mta.policy.limits.Counts``."""

    def __init__(self) -> None:
        self.in_use: Counter[str] = Counter()  # by this process
        self._others: dict[str, int] = {}  # in use by other processes
        self._windows: dict[tuple[str, int], list[int]] = {}
        self._changed: set[tuple[str, int]] = set()  # have something pending

    def used(self, key: str, window_ms: int, now_ms: int) -> float:
        """Return what was used in the last window, or with 0 what is in use."""
        if not window_ms:
            return self.in_use[key] + self._others.get(key, 0)
        elapsed = now_ms % window_ms
        start = now_ms - elapsed
        now, before = self._at(key, start), self._at(key, start - window_ms)
        return max(0.0, sliding(now, before, elapsed, window_ms))

    def add(self, key: str, window_ms: int, amount: int, now_ms: int, keep_ms: int = 0) -> None:
        """Count; the spool keeps it for two windows, or for ``keep_ms`` if that is longer."""
        where = key, now_ms - now_ms % window_ms
        window = self._windows.get(where)
        if window is None:
            keep_until = where[1] + max(keep_ms, 2 * window_ms)
            window = self._windows[where] = [0, 0, 0, window_ms, keep_until]
        window[_PENDING] += amount
        self._changed.add(where)

    def take(self) -> list[Count]:
        """Return what is to be added to the spool; ``done`` or ``failed`` follows."""
        taken = []
        for where in self._changed:
            window = self._windows[where]
            if amount := window[_PENDING]:
                window[_FLYING] += amount
                window[_PENDING] = 0
                taken.append(Count(*where, window[_WINDOW], amount, window[_KEEP]))
        self._changed.clear()
        return taken

    def done(self, taken: Iterable[Count], others: dict[str, int]) -> None:
        """What was taken is in the spool; ``others`` is what other processes have in use."""
        for one in taken:
            window = self._windows[one.name, one.start_ms]
            window[_TOTAL] += one.amount
            window[_FLYING] -= one.amount
        self._others = others

    def failed(self, taken: Iterable[Count]) -> None:
        """It is not there; try again."""
        for one in taken:
            where = one.name, one.start_ms
            window = self._windows[where]
            window[_PENDING] += one.amount
            window[_FLYING] -= one.amount
            self._changed.add(where)

    def known(self, totals: Iterable[Count]) -> None:
        """Take over what the spool says."""
        for one in totals:
            window = self._windows.get((one.name, one.start_ms))
            if window is None:
                self._windows[one.name, one.start_ms] = [
                    one.amount, 0, 0, one.window_ms, one.keep_until_ms,
                ]  # fmt: skip
            else:
                window[_TOTAL] = one.amount

    def tidy(self, now_ms: int) -> None:
        """Forget windows that count no more, and the oldest of too many."""
        old = [
            where
            for where, window in self._windows.items()
            if where[1] + 2 * window[_WINDOW] <= now_ms
            and not (window[_PENDING] or window[_FLYING])
        ]
        for where in old:
            del self._windows[where]
        if len(self._windows) > MOST:
            idle = [w for w, v in self._windows.items() if not (v[_PENDING] or v[_FLYING])]
            for where in sorted(idle, key=lambda where: where[1])[: len(self._windows) - MOST]:
                del self._windows[where]

    def _at(self, key: str, start: int) -> int:
        window = self._windows.get((key, start))
        return window[_TOTAL] + window[_FLYING] + window[_PENDING] if window is not None else 0
