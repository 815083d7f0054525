"""SRS, the Sender Rewriting Scheme: whom bounces of forwarded mail go back to.

A host that passes mail on for a foreign sender sends in its own name, or SPF fails at the next
hop: ``ann@example.com`` becomes ``SRS0=HHHH=TT=example.com=ann@ours``.  HHHH is a keyed hash, TT
the day.  Of a sender that another forwarder has written so already, ``SRS1=HHHH=that.host==...``
leads back to that forwarder, however many there are between.  The form is that of libsrs2,
Mail::SRS and postsrsd, so that secrets can be shared with them.

Trusts nothing in an address that claims to be ours: the hash is checked before anything else is
believed, in constant time, whatever the letters' case has become on the way.  Hashes are short
by design (20 bits in 4 letters that know no case): a forged one costs its author a million tries,
and gains one bounce to an address of his choice.
"""

import hashlib
import hmac
import re
from base64 import b64encode
from dataclasses import dataclass, field

from mta.mail.address import ascii_domain, quoted, split, unquoted

_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_DAYS = 1024  # two letters
_FORM = re.compile(r"SRS([01])([-+=])(.*)", re.IGNORECASE | re.DOTALL)
# Of a host that somebody else has put into an address: it becomes a domain again
_HOST = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*|\[[A-Za-z0-9:.]+\]")


class Forged(ValueError):
    """An address that we have not made."""


class Expired(ValueError):
    """One that we made too long ago."""


@dataclass(frozen=True, slots=True)
class Srs:
    """The scheme at one domain."""

    domain: str  # of ours, where the bounces come to
    secrets: tuple[bytes, ...] = field(repr=False)  # the first signs; all are believed
    max_age_days: int = 21
    hash_length: int = 4  # letters of base64; shorter ones are not believed

    def forward(self, sender: str, day: int) -> str:
        """Return the address to send with in the place of ``sender``, which is not the null one.

        ``day``: since the epoch.
        """
        local, domain = split(sender)
        user, host = unquoted(local), _plain(domain)
        form = _FORM.fullmatch(user)
        parts: tuple[str, ...]
        if form is not None and form[1] == "0":
            tag, parts = "SRS1", (host, form[2] + form[3])
        elif form is not None and len(hop := form[3].split("=", 2)) == 3 and _is_host(hop[1]):
            tag, parts = "SRS1", (hop[1], hop[2])
        else:
            tag, parts = "SRS0", (_timestamp(day), host, user)
        signed = "=".join((tag, self._hash(self.secrets[0], parts)[: self.hash_length], *parts))
        return f"{quoted(signed)}@{self.domain}"

    def claims(self, address: str) -> bool:
        """Tell whether ``address`` has our domain and the form, right or forged."""
        local, domain = split(address)
        return _plain(domain) == self.domain and _FORM.fullmatch(unquoted(local)) is not None

    def reverse(self, address: str, day: int) -> str:
        """Return whom a bounce to ``address`` is for; ``Forged``, ``Expired``."""
        form = _FORM.fullmatch(unquoted(split(address)[0]))
        if form is None:
            raise Forged("it has not the form of SRS")
        given, *parts = form[3].split("=", 3 if form[1] == "0" else 2)
        if len(parts) != (3 if form[1] == "0" else 2) or not _is_host(parts[-2]):
            raise Forged("it has not the form of SRS")
        self._verify(given, tuple(parts))
        if form[1] == "1":
            return f"{quoted(f'SRS0{parts[1]}')}@{parts[0]}"
        age = (day - _day(parts[0])) % _DAYS
        if age > self.max_age_days and age != _DAYS - 1:  # clocks of two hosts may differ
            raise Expired(f"it is {age} days old")
        return f"{quoted(parts[2])}@{parts[1]}"

    def _verify(self, given: str, parts: tuple[str, ...]) -> None:
        hash_ = given.lower().encode("utf-8")
        right = False
        for secret in self.secrets:
            made = self._hash(secret, parts)[: len(given)].lower().encode("ascii")
            right |= hmac.compare_digest(made, hash_)
        if not right or len(given) < self.hash_length:
            raise Forged("its hash is wrong")

    @staticmethod
    def _hash(secret: bytes, parts: tuple[str, ...]) -> str:
        text = "".join(parts).lower().encode("utf-8", "surrogatepass")
        return b64encode(hmac.new(secret, text, hashlib.sha1).digest()).decode("ascii")


def _is_host(text: str) -> bool:
    return _HOST.fullmatch(text) is not None


def _plain(domain: str) -> str:
    try:
        return ascii_domain(domain)
    except ValueError:
        return domain.lower()


def _timestamp(day: int) -> str:
    return _BASE32[day >> 5 & 31] + _BASE32[day & 31]


def _day(timestamp: str) -> int:
    letters = timestamp.upper()
    if len(letters) != 2 or not set(letters) <= set(_BASE32):  # and yet signed by us
        raise Expired("its day can't be read")
    return _BASE32.index(letters[0]) << 5 | _BASE32.index(letters[1])
