"""As whom a message goes out: from which address, under which name, by which family first.

Of several source addresses of a family a message has one, and keeps it at every attempt: a host
that greylists knows it again, and messages spread evenly over the addresses.  A family without
a source address leaves the choice to the system.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from math import lcm
from typing import Literal, TypeAlias
from zlib import crc32

Family: TypeAlias = Literal["ipv4", "ipv6"]
Prefer: TypeAlias = Literal["ipv4", "ipv6", "any"]

_MOST_SHOWN = 100


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

    def way(self, message_id: str) -> Way | None:
        """Return what holds for a message; None: nothing is said."""
        if not (self.ipv4 or self.ipv6 or self.ehlo):
            return None
        number = crc32(message_id.encode())
        return Way(_one(self.ipv4, number), _one(self.ipv6, number), self.ehlo)

    def sources(self, message_id: str) -> tuple[str, ...]:
        """Return from which address of each family in use a message goes out; "": the system's."""
        return self._sources(crc32(message_id.encode()))

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
        six = [one for one in addresses if ":" in one and "ipv6" in self.families]
        four = [one for one in addresses if ":" not in one and "ipv4" in self.families]
        first = self.prefer
        if first == "any":
            first = "ipv4" if crc32(message_id.encode()) & 0x100 else "ipv6"
        pair = (four, six) if first == "ipv4" else (six, four)
        return [one for turn in zip_longest(*pair) for one in turn if one is not None]


USUAL = Outgoing()


def _one(addresses: tuple[str, ...], number: int) -> str:
    return addresses[number % len(addresses)] if addresses else ""


def same_family(one: str, other: str) -> bool:
    """Tell whether two addresses are of one family."""
    return (":" in one) == (":" in other)
