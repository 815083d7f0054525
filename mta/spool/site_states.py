"""What running processes say of their sites: a bounded summary beside each lease.

It is for people and for other commands, and nothing of the mail depends on it.  A process writes
it every few seconds while it has something to say; how old it is stands beside it.  It ends
with the lease.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, select

from mta.spool.bulk import storable
from mta.spool.schema import nodes

MOST = 100  # sites in one summary


@dataclass(frozen=True, slots=True)
class SiteState:
    """One site in one process."""

    key: str
    name: str
    window: int  # deliveries at the same time that it may have now
    running: int
    waiting: int  # recipients in memory that wait for their turn
    per_minute: float  # deliveries that ended, of late
    until_ms: int | None = None  # nothing is begun before; None: nothing holds it
    reason: str = ""  # why, or the site's last fault
    shaping: tuple[str, ...] = ()  # names of the entries that shape it
    sources: tuple[str, ...] = ()  # addresses of ours that it is for; none: all that share it


@dataclass(frozen=True, slots=True)
class NodeSites:
    """What one process has said, and when."""

    node: str
    at_ms: int
    sites: tuple[SiteState, ...]


def publish(conn: Connection, token: str, at_ms: int, sites: Sequence[SiteState]) -> None:
    """Write the summary of the run ``token``; at most ``MOST`` sites are kept."""
    text = json.dumps([asdict(one) for one in sites[:MOST]], separators=(",", ":"))
    statement = nodes.update().where(nodes.c.token == token)
    conn.execute(statement.values(sites=storable(text), sites_ms=at_ms))


def everywhere(conn: Connection, now_ms: int) -> list[NodeSites]:
    """Return what every process whose lease has not run out has said, by name."""
    query = select(nodes.c.name, nodes.c.sites, nodes.c.sites_ms).order_by(nodes.c.name)
    found = conn.execute(
        query.where(nodes.c.sites_ms.is_not(None), nodes.c.lease_until_ms > now_ms)
    )
    return [
        NodeSites(row.name, row.sites_ms, tuple(map(_state, json.loads(row.sites))))
        for row in found
    ]


def _state(said: dict[str, object]) -> SiteState:
    """Read one; what a newer program adds is left out."""
    known = {name: said[name] for name in SiteState.__slots__ if name in said}
    for name in ("shaping", "sources"):
        known[name] = tuple(said.get(name, ()))  # type: ignore[arg-type]
    return SiteState(**known)  # type: ignore[arg-type]
