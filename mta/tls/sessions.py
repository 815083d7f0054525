"""TLS sessions to resume, and what was found out about the peer when they began.

A resumed handshake shows no certificate, so the finding of the full handshake is kept
beside the session, under the same host name, for the same requirement and in the same
context, and believed for an hour at most, counted from that full handshake: resuming again
and again does not prolong it.  Where something else is required than then (other TLSA records,
say), nothing is resumed.  A session is handed out once (RFC 8446 appendix C.4), which also
means that one that the peer chokes on is not tried again.

Bounded: at most ``hosts`` keys, a few sessions each; the least recently used go first.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from OpenSSL import SSL

from mta.mail.security import Flaw

_PER_HOST = 4


@dataclass(frozen=True, slots=True)
class Remembered:
    """A session and the finding of the full handshake that it goes back to."""

    session: SSL.Session
    pkix: Flaw | None  # why the peer was not verified; None when it was
    proof: Flaw | None  # what was missing of what was required
    examined_s: float  # when its certificate was looked at, on the cache's clock


class SessionCache:
    """The sessions of one TLS context, by host name and requirement."""

    def __init__(
        self, clock: Callable[[], float], *, hosts: int = 128, believed_s: float = 3600.0
    ) -> None:
        self._clock = clock
        self._hosts = hosts
        self._believed_s = believed_s
        self._kept: OrderedDict[Hashable, list[Remembered]] = OrderedDict()

    def now(self) -> float:
        """Return the cache's time in seconds."""
        return self._clock()

    def take(self, key: Hashable) -> Remembered | None:
        """Return a session to resume under ``key``, and forget it."""
        kept = self._kept.get(key)
        while kept:
            remembered = kept.pop()
            if not kept:
                del self._kept[key]
            if self._clock() - remembered.examined_s < self._believed_s:
                return remembered
        return None

    def keep(self, key: Hashable, remembered: Remembered) -> None:
        """Keep a session for the next connection under ``key``."""
        kept = self._kept.setdefault(key, [])
        self._kept.move_to_end(key)
        kept.append(remembered)
        del kept[:-_PER_HOST]
        while len(self._kept) > self._hosts:
            self._kept.popitem(last=False)

    def __len__(self) -> int:
        return sum(map(len, self._kept.values()))
