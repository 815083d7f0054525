"""How many deliveries a site may be sent in a second, a minute, an hour.

A rate holds in *every* stretch of that length, to a sixtieth of it: after a burst of what an
hour allows nothing more is begun for an hour.  Whoever wants it even says so with a second
rate.  Counted by one process that is alone, and anew when it starts; of several see ``quota``.
Pure: the clock comes in as seconds of a monotonic clock.
"""

from collections import deque

_SLOTS = 60


class Pace:
    """The rates of one site, and what it has been sent."""

    def __init__(self, rates: tuple[tuple[int, float], ...]) -> None:
        """``rates``: counts, and the seconds in which so many may be begun."""
        self.rates = rates
        self._windows = [_Window(count, seconds) for count, seconds in rates]

    def wait_s(self, now_s: float) -> float:
        """Return in how many seconds the next delivery may begin; 0: now."""
        return max(window.wait_s(now_s) for window in self._windows)

    def take(self, now_s: float) -> None:
        """Note that a delivery begins."""
        for window in self._windows:
            window.take(now_s)

    @property
    def memory_s(self) -> float:
        """For how long what was sent counts."""
        return max(one.seconds for one in self._windows) * (1 + 1 / _SLOTS)

    def within(self, seconds: float) -> int:
        """Return how many may begin in the next ``seconds``, at least one."""
        return max(
            1, min(int(one.count * max(1.0, seconds / one.seconds)) for one in self._windows)
        )


class _Window:
    """One rate: counts in slots of a sixtieth of its length, the oldest first."""

    def __init__(self, count: int, seconds: float) -> None:
        self.count = count
        self.seconds = seconds
        self._slot_s = seconds / _SLOTS
        self._slots: deque[tuple[float, int]] = deque()  # when it begins, how many
        self._used = 0

    def wait_s(self, now_s: float) -> float:
        while self._slots and self._free_at(self._slots[0]) <= now_s:
            self._used -= self._slots.popleft()[1]
        return 0.0 if self._used < self.count else self._free_at(self._slots[0]) - now_s

    def take(self, now_s: float) -> None:
        self._used += 1
        if self._slots and now_s < self._slots[-1][0] + self._slot_s:
            began_s, used = self._slots.pop()
            self._slots.append((began_s, used + 1))
        else:
            self._slots.append((now_s, 1))

    def _free_at(self, slot: tuple[float, int]) -> float:
        return slot[0] + self._slot_s + self.seconds
