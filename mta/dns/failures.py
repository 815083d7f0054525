"""Questions that nobody could answer lately, and for how long they are not asked again (RFC 9520).

A name whose servers are dead or whose signatures are wrong would otherwise be asked about for each
message, and each time with the patience of all servers.  Each question is left alone by itself:
a second at first, twice as long with each failure that follows, five minutes at most (§3.2).
What was found to be bogus is no exception (§3.4), and never kept longer than that.

Trusts nobody: what makes a question fail costs whoever asks it again, and nobody else.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from mta.dns.cache import Cache

FIRST_S = 1.0
MOST_S = 300.0


@dataclass(frozen=True, slots=True)
class _Failure:
    text: str
    until_s: float
    pause_s: float


class Failures:
    """What has failed; bounded in number, the least recently used go first."""

    def __init__(self, clock: Callable[[], float], size: int) -> None:
        """``clock`` returns seconds."""
        self._clock = clock
        self._kept: Cache[_Failure] = Cache(clock, size)

    def lately(self, key: Hashable) -> str | None:
        """Return why ``key`` has failed, if it is not to be asked about again yet."""
        kept = self._kept.get(key)
        return kept[0].text if kept is not None and self._clock() < kept[0].until_s else None

    def add(self, key: Hashable, text: str) -> None:
        """It has failed: leave it alone, longer than the last time."""
        before = self._kept.get(key)
        pause_s = FIRST_S if before is None else min(2 * before[0].pause_s, MOST_S)
        failure = _Failure(text, self._clock() + pause_s, pause_s)
        self._kept.put(key, failure, pause_s + MOST_S)  # how often is remembered for a while longer

    def forget(self, key: Hashable) -> None:
        """It has been answered."""
        self._kept.drop(key)
