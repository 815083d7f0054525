"""What stands in the way of mail that is no matter of routes and hosts, as the spool has it.

``mta explain`` asks here: suppressed addresses, sites that running services leave alone, alarms,
and whether anybody delivers at all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from mta.admin.render import moment, span
from mta.admin.status import alive, works
from mta.mail.restraint import Marks
from mta.mail.site import Site
from mta.spool import alarms, leases, restraints, site_states, suppressions


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

    sources: tuple[str, ...] = ()  # addresses of ours, of which a message has one of each family

    def marks(self, login: str) -> Marks:
        """Return what restraints know mail of ``login`` by."""
        site = self.site
        return Marks(login, self.route, self.domain, site.key, site.name, self.sources)


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
    mails = [one.marks(login) for one in aimed] or [Marks(login)]
    found += _restrained(conn, mails, now_ms, zone)
    nodes = leases.everyone(conn)
    running = {node.name for node in nodes if alive(node, now_ms)}
    if not any(works(node, now_ms) for node in nodes):
        found.append(Obstacle("no service", "no service is running that uses this spool"))
    for alarm in alarms.everybodys(conn):
        if alarm.node in running:
            found.append(Obstacle("alarm", f"{alarm.node}: {alarm.text}"))
    found += _left_alone(conn, {one.site.key for one in aimed}, now_ms, zone)
    return found


def _suppressed(conn: Any, addresses: Sequence[str], login: str) -> Iterator[Obstacle]:
    for address in addresses:
        entry = suppressions.concerning(conn, suppressions.prepared(address), login)
        if entry is not None:
            why = f": {entry.reason}" if entry.reason else ""
            text = f"{entry.address} is suppressed (by {entry.who}{why}): mta suppress remove"
            yield Obstacle("suppressed", f"{text} {entry.address}", refuses=True)


def _restrained(
    conn: Any, mails: Sequence[Marks], now_ms: int, zone: tzinfo | None
) -> Iterator[Obstacle]:
    for one in restraints.holding(conn, now_ms):
        concerned = [mail for mail in mails if one.concerns(mail)]
        if not concerned:
            continue
        until = "it is ended" if one.until_ms is None else moment(one.until_ms, zone)
        suspended = one.verb == "suspend"
        kind = "suspended" if suspended else "slow"
        text = f"{one.words} (by {one.who}, {kind} until {until})"
        # Of several source addresses another one may be this message's
        certain = not one.source or any(len(mail.sources) == 1 for mail in concerned)
        yield Obstacle(kind, text, blocks=suspended and certain)


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
