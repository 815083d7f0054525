"""What stands in the way of mail that is no matter of routes and hosts, as the spool has it.

``mta explain`` asks here: suppressed addresses, sites that running services leave alone, alarms,
and whether anybody delivers at all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from mta.admin.render import moment, span
from mta.admin.status import alive
from mta.mail.site import Site
from mta.spool import alarms, leases, site_states, suppressions


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One of them."""

    kind: str  # "suppressed", "site", "alarm", "no service", "spool"
    text: str
    blocks: bool = False  # nothing is delivered while it lasts
    refuses: bool = False  # the message would not be accepted


def obstacles(
    conn: Any,
    addresses: Sequence[str],
    login: str,
    sites: Sequence[Site],
    when: tuple[int, tzinfo | None],
) -> list[Obstacle]:
    """Return what is known for mail of ``login`` to ``addresses`` at ``sites``; ``when``: now."""
    now_ms, zone = when
    found = list(_suppressed(conn, addresses, login))
    running = {node.name for node in leases.everyone(conn) if alive(node, now_ms)}
    if not running:
        found.append(Obstacle("no service", "no service is running that uses this spool"))
    for alarm in alarms.everybodys(conn):
        if alarm.node in running:
            found.append(Obstacle("alarm", f"{alarm.node}: {alarm.text}"))
    found += _left_alone(conn, {site.key for site in sites}, now_ms, zone)
    return found


def _suppressed(conn: Any, addresses: Sequence[str], login: str) -> Iterator[Obstacle]:
    for address in addresses:
        entry = suppressions.concerning(conn, suppressions.prepared(address), login)
        if entry is not None:
            why = f": {entry.reason}" if entry.reason else ""
            text = f"{entry.address} is suppressed (by {entry.who}{why}): mta suppress remove"
            yield Obstacle("suppressed", f"{text} {entry.address}", refuses=True)


def _left_alone(conn: Any, keys: set[str], now_ms: int, zone: tzinfo | None) -> Iterator[Obstacle]:
    for said in site_states.everywhere(conn, now_ms):
        for site in said.sites:
            if site.key not in keys:
                continue
            ago = span(now_ms - said.at_ms)
            load = (
                f"{said.node}: site {site.name}: {site.running} deliveries under way of"
                f" {site.window}, {site.waiting} recipients wait, {site.per_minute:g} a minute"
                f" ({ago} ago)"
            )
            if site.until_ms is None or site.until_ms <= now_ms:
                yield Obstacle("load", load)
                continue
            until = moment(site.until_ms, zone)
            text = f"{said.node} leaves site {site.name} alone until {until}: {site.reason}"
            yield Obstacle("site", text, blocks=True)
