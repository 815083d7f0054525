"""What running processes report of themselves while somebody looks (``mta top``)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select, text

from mta.mail.queue_id import QueueId
from mta.spool.listening import tell
from mta.spool.schema import nodes, recipients, wakeups

_STUCK = text("state IN ('queued', 'held') AND (last_ms IS NOT NULL OR state = 'held')")


@dataclass(frozen=True, slots=True)
class Stuck:
    """What waits for one domain in spite of an attempt, or is held."""

    domain: str
    recipients: int
    oldest: QueueId


def watch(conn: Connection, until_ms: int) -> None:
    """Ask all processes to report until then, beginning within a second or two."""
    later = wakeups.update().where(wakeups.c.watched_until_ms < until_ms)
    conn.execute(later.values(watched_until_ms=until_ms))
    tell(conn)


def report(conn: Connection, token: str, words: str) -> None:
    """Write the report of the run ``token``, a JSON object."""
    conn.execute(nodes.update().where(nodes.c.token == token).values(report=words))


def reports(conn: Connection, now_ms: int) -> dict[str, Mapping[str, Any]]:
    """Return the last report of each process whose lease holds, by its name."""
    query = select(nodes.c.name, nodes.c.report).where(nodes.c.lease_until_ms > now_ms)
    found = conn.execute(query.order_by(nodes.c.name))
    return {name: json.loads(words) for name, words in found if words}


def stuck(conn: Connection, limit: int) -> list[Stuck]:
    """Return the domains for which most waits, read off one index."""
    number = func.count()
    columns = recipients.c
    query = (
        select(columns.domain, number, func.min(columns.message_id))
        .where(_STUCK)
        .group_by(columns.domain)
        .order_by(number.desc(), columns.domain)
        .limit(limit)
    )
    found: Any = conn.execute(query)
    return [Stuck(*row) for row in found]


def stuck_in_all(conn: Connection) -> tuple[int, QueueId | None]:
    """Return how many recipients wait in spite of an attempt, and the oldest message."""
    query = select(func.count(), func.min(recipients.c.message_id))
    query = query.where(_STUCK, recipients.c.domain >= "")  # names the index
    number, oldest = conn.execute(query).one()
    return number, None if oldest is None else QueueId(oldest)
