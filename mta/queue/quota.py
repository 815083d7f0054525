"""This process's part of a site's limits, where other processes have parts as well.  Pure.

``mta.spool.shares`` says how large it is.  Connections: so many deliveries at the same time, none
before it has been said.  Rates: *grants*, each so many beginnings in one second of the clock that
all processes share, spread evenly over it; what is not used of one is given back.
"""

from collections import deque
from dataclasses import dataclass

from mta.queue.pace import Pace

Unused = tuple[int, int, int]
"""Seconds of the rate, the second, how many."""

_AGAIN_S = 1.0  # how soon something may be allowed, where nothing is
_WHOLE_S = 0.999
_MOST = 1000  # asked for in one second


@dataclass(slots=True)
class Grant:
    """So many beginnings in one second."""

    second: int  # by the spool's clock
    from_s: float  # the same by ours
    until_s: float
    count: int
    phase: float = 0.0  # of an interval between two, when the first may begin
    used: int = 0

    def next_s(self) -> float:
        """When the next may begin."""
        long_s = self.until_s - self.from_s
        return self.from_s + long_s * (self.used + self.phase) / self.count


class SharedPace(Pace):
    """As ``Pace``, but of what was allowed to us."""

    def __init__(self, rates: tuple[tuple[int, float], ...]) -> None:
        """``rates`` are those of all processes together."""
        super().__init__(rates)
        least: dict[int, int] = {}
        for count, seconds in rates:
            least[int(seconds)] = min(count, least.get(int(seconds), count))
        self.limits = tuple((count, seconds) for seconds, count in least.items())
        self.quiet_until_s = 0.0  # before that it is of no use to ask for more
        self._taken = 0  # since we last asked
        self._grants: deque[Grant] = deque()
        self._unused: list[Unused] = []

    def wait_s(self, now_s: float) -> float:
        """Return in how many seconds the next delivery may begin; 0: now."""
        self._tidy(now_s)
        if not self._grants:
            return _AGAIN_S
        return max(0.0, self._grants[0].next_s() - now_s)

    def lacks(self, now_s: float) -> bool:
        """Whether more should be asked for at once: nothing is left of what was allowed."""
        return not self._grants and now_s >= self.quiet_until_s

    def _tidy(self, now_s: float) -> None:
        grants = self._grants
        while grants and (grants[0].used >= grants[0].count or grants[0].until_s <= now_s):
            over = grants.popleft()
            if over.used < over.count:
                left = over.count - over.used
                self._unused += [(seconds, over.second, left) for _, seconds in self.limits]

    def take(self, now_s: float) -> None:
        """Note that a delivery begins; ``wait_s`` has just said that it may."""
        self._taken += 1
        self._grants[0].used += 1

    def allow(self, second: int, from_s: float, until_s: float, count: int) -> None:
        """Take over what was allowed for ``second``, or for what is left of it."""
        if count > 0:
            # Of a whole second nobody begins at its first moment, where all would meet
            phase = 0.5 if until_s - from_s > _WHOLE_S else 0.0
            self._grants.append(Grant(second, from_s, until_s, count, phase))

    def wants(self, ready: int) -> int:
        """How many to ask for in a second, with so many ready; begins to count anew."""
        taken, self._taken = self._taken, 0
        return min(ready + taken, _MOST)

    def unused(self, now_s: float) -> tuple[Unused, ...]:
        """Return, once, what was allowed and not used."""
        self._tidy(now_s)
        found, self._unused = tuple(self._unused), []
        return found

    def unheard(self, unused: tuple[Unused, ...]) -> None:
        """What was returned as unused has reached nobody."""
        self._unused += unused

    @property
    def holds(self) -> bool:
        """Whether anything was allowed that may have to be given back."""
        return bool(self._unused or self._grants)


@dataclass(slots=True, eq=False)
class Quota:
    """Our part of the connections to one site."""

    connections: int = 0
    held: int = 0  # what others believe that we have
    denied: bool = False  # we have asked for more, and it is of no use to ask again at once
