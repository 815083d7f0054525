"""As whom a message goes out: from which address, under which name, by which family first.

Of several source addresses of a family a message has one, and keeps it at every attempt: a host
that greylists knows it again, and messages spread evenly over the addresses.  A family without
a source address leaves the choice to the system.

A family whose address is suspended (``mta suspend --source``) is *closed*: the other one is used
alone, and a host that has no address of that has to wait.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from math import lcm
from typing import Literal, TypeAlias
from zlib import crc32

from mta.dns.answers import DnsTemporary

Family: TypeAlias = Literal["ipv4", "ipv6"]
Prefer: TypeAlias = Literal["ipv4", "ipv6", "any"]

_MOST_SHOWN = 100
_CLOSED = "closed"  # no address: connections that have one are not used for it


class OtherFamily(DnsTemporary):
    """A host has no address of a family that is used."""


class Closed(OtherFamily):
    """It has some, and no connection is made there now from the address of ours that it takes."""


@dataclass(frozen=True, slots=True)
class Way:
    """What connections of one message have in common at our end; ``""``: nothing is said."""

    ipv4: str = ""  # source address
    ipv6: str = ""
    ehlo: str = ""

    def source(self, address: str) -> str:
        """Return the address to dial ``address`` from."""
        return self.ipv6 if ":" in address else self.ipv4


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What a route, or the configuration for all of them, says about our end."""

    ipv4: tuple[str, ...] = ()
    ipv6: tuple[str, ...] = ()
    ehlo: str = ""
    prefer: Prefer = "ipv6"
    families: frozenset[Family] = frozenset({"ipv4", "ipv6"})
    closed: frozenset[Family] = frozenset()  # for a time

    def way(self, message_id: str) -> Way | None:
        """Return what holds for a message; None: nothing is said."""
        if not (self.ipv4 or self.ipv6 or self.ehlo):
            return None
        number = crc32(message_id.encode())
        return Way(_one(self.ipv4, number), _one(self.ipv6, number), self.ehlo)

    def sources(self, message_id: str) -> tuple[str, ...]:
        """Return from which address of each family in use a message goes out; "": the system's."""
        return self._sources(crc32(message_id.encode()))

    def without(self, suspended: Collection[str], message_id: str) -> "Outgoing":
        """Return what is left for a message, of whose ``sources`` some are suspended."""
        way = self.way(message_id) or Way()
        closed: frozenset[Family] = frozenset(
            one for one in self.families if (way.ipv4 if one == "ipv4" else way.ipv6) in suspended
        )
        return replace(
            self,
            ipv4=(_CLOSED,) if "ipv4" in closed else self.ipv4,
            ipv6=(_CLOSED,) if "ipv6" in closed else self.ipv6,
            families=self.families - closed,
            closed=closed,
        )

    def nobody(self, host: str, addresses: Sequence[str]) -> OtherFamily:
        """Say why ``host``, which has ``addresses``, is not dialled at any of them."""
        if any(family_of(one) in self.closed for one in addresses):
            families = " and ".join(sorted(self.closed))
            return Closed(f"{host} is not dialled by {families}, whose source address is suspended")
        families = " or ".join(sorted(self.families | self.closed))
        return OtherFamily(f"{host} has no address of {families}, which is all that is used")

    @property
    def all_sources(self) -> tuple[tuple[str, ...], ...]:
        """What ``sources`` can be, message by message; the first ``_MOST_SHOWN`` of it."""
        number = lcm(len(self.ipv4) or 1, len(self.ipv6) or 1)
        return tuple(map(self._sources, range(min(number, _MOST_SHOWN))))

    def _sources(self, number: int) -> tuple[str, ...]:
        found = {"ipv4": _one(self.ipv4, number), "ipv6": _one(self.ipv6, number)}
        return tuple(dict.fromkeys(found[one] for one in sorted(self.families)))

    def arrange(self, addresses: Sequence[str], message_id: str) -> Sequence[str]:
        """Return the ``addresses`` that may be dialled: the preferred family first, then by turns.

        So the other family has its turn however many addresses the preferred one has.
        """
        if self is USUAL:
            return addresses
        usable = [one for one in addresses if family_of(one) in self.families]
        six = [one for one in usable if ":" in one]
        four = [one for one in usable if ":" not in one]
        first = self.prefer
        if first == "any":
            first = "ipv4" if crc32(message_id.encode()) & 0x100 else "ipv6"
        pair = (four, six) if first == "ipv4" else (six, four)
        return [one for turn in zip_longest(*pair) for one in turn if one is not None]


USUAL = Outgoing()


def _one(addresses: tuple[str, ...], number: int) -> str:
    return addresses[number % len(addresses)] if addresses else ""


def family_of(address: str) -> Family:
    """Name the family of an IP address."""
    return "ipv6" if ":" in address else "ipv4"


def same_family(one: str, other: str) -> bool:
    """Tell whether two addresses are of one family."""
    return (":" in one) == (":" in other)
