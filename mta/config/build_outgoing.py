"""Turn what is said about our end of connections into what ``mta.delivery`` takes."""

import errno
import socket
from collections.abc import Iterator, Sequence

from mta.config.route_sections import Route
from mta.config.sending_sections import Delivery
from mta.config.settings import Settings
from mta.delivery.outgoing import USUAL, Family, Outgoing

_BOTH: tuple[Family, ...] = ("ipv4", "ipv6")


def outgoing(delivery: Delivery) -> Outgoing:
    """Return what holds for all routes."""
    found = _outgoing(
        delivery.source, delivery.ehlo or "", delivery.prefer, _families(delivery) or _BOTH
    )
    return USUAL if found == USUAL else found


def outgoing_of(route: Route, delivery: Delivery) -> Outgoing | None:
    """Return what holds for ``route``; None: what holds for all."""
    if not (route.source or route.ehlo or route.prefer or route.families):
        return None
    families = _families(route) or _families(delivery) or _BOTH
    source = route.source or [one for one in delivery.source if _family(one) in families]
    ehlo = route.ehlo or delivery.ehlo or ""
    return _outgoing(source, ehlo, route.prefer or delivery.prefer, families)


def _families(section: Delivery | Route) -> tuple[Family, ...]:
    return section.families or tuple(dict.fromkeys(map(_family, section.source)))


def _family(address: str) -> Family:
    return "ipv6" if ":" in address else "ipv4"


def _outgoing(
    source: Sequence[str], ehlo: str, prefer: str, families: Sequence[Family]
) -> Outgoing:
    return Outgoing(
        tuple(one for one in source if ":" not in one),
        tuple(one for one in source if ":" in one),
        ehlo,
        prefer,  # type: ignore[arg-type]  # the section knows three values
        frozenset(families),
    )


def not_here(settings: Settings) -> Iterator[str]:
    """Yield the source addresses that this host does not have: mail from them would wait."""
    places = [("delivery.source", settings.delivery.source)]
    places += [(f'route["{one.name}"].source', one.source) for one in settings.route]
    for place, addresses in places:
        for address in addresses:
            why = _unusable(address)
            if why:
                yield f"{place}: {address}: {why}"


def _unusable(address: str) -> str:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            return "this host does not have the address"
        return error.strerror or str(error)
    return ""
