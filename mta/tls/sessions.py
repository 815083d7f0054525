"""TLS sessions to resume, and what was found out about the peer when they began.

A resumed handshake shows no certificate, so the finding of the full handshake is kept
beside the session, under the same host name and in the same context, and believed for
an hour at most, counted from that full handshake: resuming again and again does not
prolong it.  A session is handed out once (RFC 8446 appendix C.4), which also means that
one that the peer chokes on is not tried again.

Bounded: at most ``hosts`` names, a few sessions each; the least recently used go first.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from OpenSSL import SSL

_PER_HOST = 4


@dataclass(frozen=True, slots=True)
class Remembered:
    """A session and the finding of the full handshake that it goes back to."""

    session: SSL.Session
    why: str  # why the peer was not verified; "" when it was
    examined_s: float  # when its certificate was looked at, on the cache's clock


class SessionCache:
    """The sessions of one TLS context, by host name."""

    def __init__(
        self, clock: Callable[[], float], *, hosts: int = 128, believed_s: float = 3600.0
    ) -> None:
        self._clock = clock
        self._hosts = hosts
        self._believed_s = believed_s
        self._kept: OrderedDict[str, list[Remembered]] = OrderedDict()

    def now(self) -> float:
        """Return the cache's time in seconds."""
        return self._clock()

    def take(self, host_name: str) -> Remembered | None:
        """Return a session to resume with ``host_name``, and forget it."""
        kept = self._kept.get(host_name)
        while kept:
            remembered = kept.pop()
            if not kept:
                del self._kept[host_name]
            if self._clock() - remembered.examined_s < self._believed_s:
                return remembered
        return None

    def keep(self, host_name: str, remembered: Remembered) -> None:
        """Keep a session for the next connection to ``host_name``."""
        kept = self._kept.setdefault(host_name, [])
        self._kept.move_to_end(host_name)
        kept.append(remembered)
        del kept[:-_PER_HOST]
        while len(self._kept) > self._hosts:
            self._kept.popitem(last=False)

    def __len__(self) -> int:
        return sum(map(len, self._kept.values()))
