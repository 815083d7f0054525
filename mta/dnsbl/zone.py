"""One list: what is asked, and what an answer means (RFC 5782 §2).  Pure.

An answer is an address in 127.0.0.0/8, and which one it is says why.  127.255.255.0/24 is how
large lists say that they do not answer *this* resolver; an address outside 127.0.0.0/8 is no
answer of a list at all, but of whoever got its domain after it.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from mta.policy.decision import Action

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Codes: TypeAlias = tuple[tuple[ipaddress.IPv4Address, ipaddress.IPv4Address], ...]

_LISTS = ipaddress.IPv4Network("127.0.0.0/8")
_ERRORS = ipaddress.IPv4Network("127.255.255.0/24")
ANY: Codes = ((_LISTS[0], _LISTS[-1]),)

# RFC 5782 §5: on every list, on no list; for IPv4, for IPv6.
TESTS = {
    4: (ipaddress.ip_address("127.0.0.2"), ipaddress.ip_address("127.0.0.1")),
    6: (ipaddress.ip_address("::ffff:7f00:2"), ipaddress.ip_address("::ffff:7f00:1")),
}


@dataclass(frozen=True, slots=True)
class Blocklist:
    """A list, and what is done with who is on it."""

    zone: str
    action: Action = Action.REFUSE  # ACCEPT: it is recorded, no more
    codes: Codes = ANY  # answers that count, from and to
    text: str = "Client host [{address}] is listed by {zone}"  # to the client


class Meaning(Enum):
    """What an answer says."""

    LISTED = "listed"
    NOT_LISTED = "not listed"
    UNUSABLE = "unusable"


def client(text: str) -> Address | None:
    """Return the address of a client; None for what is no address."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def query_name(address: Address, zone: str) -> str:
    """Return the name to ask for the A record of (§2.1, §2.4)."""
    reversed_, _, _ = address.reverse_pointer.removesuffix(".arpa").rpartition(".")
    return f"{reversed_}.{zone}"


def meaning(answers: Iterable[str], codes: Codes = ANY) -> tuple[Meaning, str]:
    """Say what the A records of a name mean, and which of them say so."""
    listed, unusable = [], []
    for text in answers:
        try:
            answer = ipaddress.IPv4Address(text)
        except ValueError:
            continue
        if answer not in _LISTS or answer in _ERRORS:
            unusable.append(text)
        elif any(first <= answer <= last for first, last in codes):
            listed.append(text)
    if unusable:
        return Meaning.UNUSABLE, " ".join(unusable)
    return (Meaning.LISTED if listed else Meaning.NOT_LISTED), " ".join(listed)
