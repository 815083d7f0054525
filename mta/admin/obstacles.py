"""What stands in the way of mail that is no matter of routes and hosts, as the spool has it.

``mta explain`` asks here: suppressed addresses, sites that running services leave alone, alarms,
and whether anybody delivers at all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from mta.admin.processes import alive, works
from mta.admin.queue_sites import from_sources
from mta.admin.rehearsing import FromSources
from mta.admin.render import moment, span
from mta.mail.restraint import Marks, keeping_back
from mta.mail.site import Site
from mta.spool import alarms, leases, restraints, site_states, suppressions
from mta.spool.site_states import SiteState


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One of them."""

    kind: str  # "suppressed", "suspended", "slow", "site", "load", "alarm", "no service", "spool"
    text: str
    blocks: bool = False  # nothing is delivered while it lasts
    refuses: bool = False  # the message would not be accepted


@dataclass(frozen=True, slots=True)
class Aimed:
    """Where some of the mail would go."""

    site: Site
    route: str
    domain: str  # of the recipient

    from_sources: tuple[FromSources, ...] = ()  # of ours; none: from the system's address

    @property
    def ways(self) -> list[tuple[tuple[str, ...], Site]]:
        """From which addresses of ours a message can go out, and its site then."""
        return [(one.sources, one.site) for one in self.from_sources] or [(("",), self.site)]

    def marks(self, login: str) -> list[Marks]:
        """Return what restraints know mail of ``login`` by, for each way."""
        site = self.site
        known = (login, self.route, self.domain, site.base, site.name)
        return [Marks(*known, sources) for sources, _ in self.ways]


def obstacles(
    conn: Any,
    addresses: Sequence[str],
    login: str,
    aimed: Sequence[Aimed],
    when: tuple[int, tzinfo | None],
) -> list[Obstacle]:
    """Return what is known for mail of ``login`` to ``addresses``, ``aimed`` so; ``when``: now."""
    now_ms, zone = when
    found = list(_suppressed(conn, addresses, login))
    mails = [one.marks(login) for one in aimed] or [[Marks(login)]]
    found += _restrained(conn, mails, now_ms, zone)
    nodes = leases.everyone(conn)
    running = {node.name for node in nodes if alive(node, now_ms)}
    if not any(works(node, now_ms) for node in nodes):
        found.append(Obstacle("no service", "no service is running that uses this spool"))
    for alarm in alarms.everybodys(conn):
        if alarm.node in running:
            found.append(Obstacle("alarm", f"{alarm.node}: {alarm.text}"))
    found += _left_alone(conn, aimed, now_ms, zone)
    return found


def _suppressed(conn: Any, addresses: Sequence[str], login: str) -> Iterator[Obstacle]:
    for address in addresses:
        entry = suppressions.concerning(conn, suppressions.prepared(address), login)
        if entry is not None:
            why = f": {entry.reason}" if entry.reason else ""
            text = f"{entry.address} is suppressed (by {entry.who}{why}): mta suppress remove"
            yield Obstacle("suppressed", f"{text} {entry.address}", refuses=True)


def _restrained(
    conn: Any, mails: Sequence[list[Marks]], now_ms: int, zone: tzinfo | None
) -> Iterator[Obstacle]:
    held = restraints.holding(conn, now_ms)
    kept: set[int] = set()
    for mail in mails:
        found = [keeping_back(held, way) for way in mail]
        if all(found):  # of several source addresses another one may be this message's
            kept.update(one.id for those in found for one in those)
    for one in held:
        if not any(one.concerns(way) for mail in mails for way in mail):
            continue
        until = "it is ended" if one.until_ms is None else moment(one.until_ms, zone)
        kind = "suspended" if one.verb == "suspend" else "slow"
        text = f"{one.words} (by {one.who}, {kind} until {until})"
        if one.verb == "suspend" and one.id not in kept:
            text += "; mail goes out from other addresses where hosts can be reached so"
        yield Obstacle(kind, text, blocks=one.id in kept)


def _left_alone(
    conn: Any, aimed: Sequence[Aimed], now_ms: int, zone: tzinfo | None
) -> Iterator[Obstacle]:
    for said in site_states.everywhere(conn, now_ms):
        for site in said.sites:
            ways = [way for one in aimed for way in one.ways if _for(site, *way)]
            if not ways:
                continue
            ago, name = span(now_ms - said.at_ms), from_sources(site.name, site.sources)
            load = (
                f"{said.node}: site {name}: {site.running} deliveries under way of"
                f" {site.window}, {site.waiting} recipients wait, {site.per_minute:g} a minute"
                f" ({ago} ago)"
            )
            if site.until_ms is None or site.until_ms <= now_ms:
                yield Obstacle("load", load)
                continue
            until = moment(site.until_ms, zone)
            text = f"{said.node} leaves site {name} alone until {until}: {site.reason}"
            certain = len(ways) == sum(len(one.ways) for one in aimed)
            yield Obstacle("site", text, blocks=certain)


def _for(said: SiteState, sources: tuple[str, ...], site: Site) -> bool:
    """Tell whether mail at ``site`` that goes out from ``sources`` may be in this queue."""
    if not said.sources:
        return said.key == site.key
    return set(said.sources) <= set(sources) and said.key == site.reached_from(said.sources).key
