"""Who has one of the places for deliveries at the same time, and who goes on beside them.

There are ``total`` places.  A delivery that lasts gives its place away and goes on beside them,
for a peer may take minutes for each step (RFC 5321 §4.5.3.2), and hundreds of peers that do must
not stop the mail to everybody else.  At most ``_SLOW_FACTOR`` times ``total`` go on so.

* At a site that has answered of late, a delivery lasts when it has taken ten seconds.
* A site that has never answered (a *stranger*) may be silent for ever.  There it lasts as soon
  as it has taken a few times as long as deliveries that succeed do.
* When half of the room beside the places is used up, a quarter of the places is for sites that
  have answered: however many strangers are silent, who is known to answer is served.

Pure: the clock comes in as seconds of a monotonic clock.
"""

from collections import OrderedDict
from typing import Generic

from mta.queue.ready import L

_SLOW_S = 10.0  # nearly every delivery takes less
_SILENT_MIN_S, _SILENT_MAX_S = 0.5, 10.0
_SILENT_TIMES = 3  # of what a delivery usually takes
_FIRST_GUESS_S = 1.0  # as long as nothing has succeeded
_LEARN = 0.05  # what the last delivery counts in the usual time
_SLOW_FACTOR = 4


class Places(Generic[L]):
    """The places, and what is beside them."""

    def __init__(self, total: int) -> None:
        """All are free."""
        self.total = total
        self._known: OrderedDict[L, float] = OrderedDict()  # since when; the oldest first
        self._strange: OrderedDict[L, float] = OrderedDict()
        self._slow: dict[L, float] = {}
        self._usual_s = _FIRST_GUESS_S

    @property
    def taken(self) -> int:
        """How many places are taken."""
        return len(self._known) + len(self._strange)

    @property
    def free(self) -> int:
        """How many are free."""
        return self.total - self.taken

    @property
    def free_for_strangers(self) -> int:
        """How many of the free places may go to sites that have never answered."""
        kept = self.total // 4 if len(self._slow) > self._most_slow // 2 else 0
        return min(self.free, self.total - kept - len(self._strange))

    @property
    def strangers(self) -> int:
        """How many places are taken by sites that had never answered."""
        return len(self._strange)

    @property
    def _most_slow(self) -> int:
        return _SLOW_FACTOR * self.total

    @property
    def _silent_s(self) -> float:
        return min(max(_SILENT_TIMES * self._usual_s, _SILENT_MIN_S), _SILENT_MAX_S)

    def take(self, item: L, now_s: float, *, stranger: bool) -> None:
        """Give ``item`` a place; there must be one."""
        (self._strange if stranger else self._known)[item] = now_s

    def leave(self, item: L, now_s: float, *, good: bool) -> None:
        """``item`` has ended; ``good``: its site has answered."""
        since_s = self._known.pop(item, None)
        if since_s is None:
            since_s = self._strange.pop(item, None)
        if since_s is None:
            since_s = self._slow.pop(item)
        if good:
            self._usual_s += _LEARN * (min(now_s - since_s, _SLOW_S) - self._usual_s)

    def make_room(self, now_s: float) -> list[L]:
        """Take their places from the deliveries that last; return those at strangers."""
        if self._known:
            self._give_away(self._known, now_s - _SLOW_S)
        return self._give_away(self._strange, now_s - self._silent_s) if self._strange else []

    def _give_away(self, some: OrderedDict[L, float], before_s: float) -> list[L]:
        given: list[L] = []
        while some and len(self._slow) < self._most_slow:
            item, since_s = next(iter(some.items()))
            if since_s > before_s:
                break
            del some[item]
            self._slow[item] = since_s
            given.append(item)
        return given
