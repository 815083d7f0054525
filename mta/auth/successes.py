"""Log-ins that succeeded a short while ago, so that busy clients pay one derivation in minutes.

The memory holds no password: the key of an entry is an HMAC of login and password under a
random key that never leaves the process.  An entry vouches only for the stored key that it was
made with, so a changed password ends it.  It knows no failures: a guesser gains nothing.
"""

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class _Success:
    login: str
    stored_key: bytes
    until: float
    confirmed: float


class RecentSuccesses:
    """A bounded memory of successes; the oldest goes when it is full.  Times in seconds.

    ``confirmed_s``: for so long after the account's row was read, a success is believed without
    reading it again.  That is the longest time for which a disabled account may still log in.
    """

    def __init__(
        self,
        seconds: Callable[[], float],
        *,
        ttl_s: float = 300.0,
        confirmed_s: float = 1.0,
        size: int = 10_000,
    ) -> None:
        self._seconds = seconds
        self._ttl_s = ttl_s
        self._confirmed_s = confirmed_s
        self._size = size
        self._secret = secrets.token_bytes(32)
        self._entries: OrderedDict[bytes, _Success] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def fingerprint(self, login: bytes, password: bytes) -> bytes:
        """Return what stands for these credentials, in this process only."""
        return hmac.digest(self._secret, b"%d:%s%s" % (len(login), login, password), "sha256")

    def confirmed(self, fingerprint: bytes) -> str | None:
        """Return the login if these credentials succeeded, and the row was read a moment ago."""
        entry = self._alive(fingerprint)
        if entry is None or self._seconds() - entry.confirmed >= self._confirmed_s:
            return None
        return entry.login

    def confirm(self, fingerprint: bytes, stored_key: bytes) -> bool:
        """Tell whether these credentials succeeded with the keys that the row has now."""
        entry = self._alive(fingerprint)
        if entry is None:
            return False
        if not hmac.compare_digest(entry.stored_key, stored_key):
            del self._entries[fingerprint]
            return False
        entry.confirmed = self._seconds()
        return True

    def remember(self, fingerprint: bytes, login: str, stored_key: bytes) -> None:
        """Keep a success that was derived just now."""
        now = self._seconds()
        self._entries[fingerprint] = _Success(login, stored_key, now + self._ttl_s, now)
        self._entries.move_to_end(fingerprint)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def forget(self, fingerprint: bytes) -> None:
        """Drop what is known of these credentials."""
        self._entries.pop(fingerprint, None)

    def _alive(self, fingerprint: bytes) -> _Success | None:
        entry = self._entries.get(fingerprint)
        if entry is not None and entry.until <= self._seconds():
            del self._entries[fingerprint]
            return None
        return entry
