"""Guessing passwords: growing delays and temporary blocks, and nobody else locked out by them.

Three counts of failed log-ins, over a sliding window:

* of a *pair*, one login from one network.  Too many: that pair is blocked.
* of an *address* (IPv4 address, IPv6 network), whatever logins it tried.  Too many: blocked, but
  not for a pair that has logged in before: the colleague behind the same NAT works on.
* of a *login*, from everywhere.  It only ever delays, a few seconds at most, and not even
  that where that login has been at home before: a stranger must not be able to shut out
  the owner by failing on purpose, wherever the owner may be.

While something is blocked its attempts are not counted, so a block ends by itself as the
window slides on.  Passwords are not looked at; what is blocked is told the same as when the
back-end is away.
"""

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

from mta.policy.decision import Decision, refuse
from mta.policy.matching import network_of

TEXT = "Authentication is not possible at the moment; try again later"
HOME_MS = 30 * 24 * 3_600_000  # how long a network stays one where a login has been at home


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """How much is forgiven."""

    window_ms: int = 15 * 60_000
    free: int = 3  # failures without a delay; then 1, 2, 4, ... seconds
    longest_delay_s: float = 8.0
    per_address: int = 30  # failures until a block
    per_login: int = 10  # failures of one login from one network until a block
    ipv6_prefix: int = 64  # so many bits of an address are one client


@dataclass(frozen=True, slots=True)
class Tally:
    """Failures in the last window."""

    pair: float
    address: float
    login: float  # from everywhere
    at_home: bool  # this login has been used from this network before


def judge(settings: GuardSettings, tally: Tally) -> tuple[float, Decision | None]:
    """Return how many seconds to wait before the answer, and a refusal or None."""
    delay_s = growing(settings, tally.pair)
    if not tally.at_home:
        delay_s = max(delay_s, growing(settings, tally.address), growing(settings, tally.login - 2))
    if tally.pair >= settings.per_login:
        return delay_s, refuse("blocked: login from this network", 454, "4.7.0", TEXT)
    if tally.address >= settings.per_address and not tally.at_home:
        return delay_s, refuse("blocked: address", 454, "4.7.0", TEXT)
    return delay_s, None


def growing(settings: GuardSettings, failures: float) -> float:
    """Return the delay in seconds after so many failures."""
    beyond = int(failures) - settings.free
    return 0.0 if beyond < 0 else min(settings.longest_delay_s, 2.0 ** min(beyond, 20))


@lru_cache(maxsize=1024)
def keys(address: str, login: str, ipv6_prefix: int = 64) -> tuple[str, str, str, str]:
    """Return the counters of pair, address, login, and of being at home.

    What strangers call a login goes in as a digest: it may be long, and anything.
    """
    prepared = unicodedata.normalize("NFKC", login).casefold()
    digest = blake2b(prepared.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
    network = network_of(address, 32, ipv6_prefix)
    return (
        f"auth:pair:{digest}:{network}",
        f"auth:client:{network}",
        f"auth:login:{digest}",
        f"auth:home:{digest}:{network_of(address, 24, 48)}",
    )
