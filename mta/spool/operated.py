"""What all operators' verbs share: the rows they are about, locked; the history they write.

A running service reads from that history (``since``) what to write into its log.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select, text

from mta.mail.queue_id import QueueId
from mta.spool import bulk
from mta.spool.filters import Filter, conditions
from mta.spool.leases import wake
from mta.spool.listing import Position
from mta.spool.schema import events, messages, recipients


def pick(
    conn: Connection,
    wanted: Filter,
    now_ms: int,
    limit: int,
    condition: str,
    *more: ColumnElement[bool],
) -> list[Position]:
    """Lock and return what a verb is about; messages first, as everybody else does."""
    query = (
        select(recipients.c.message_id, recipients.c.number)
        .join_from(recipients, messages)
        .where(*conditions(wanted, now_ms), text(condition), *more)
        .order_by(recipients.c.message_id, recipients.c.number)
        .limit(limit)
        .with_for_update()
    )
    return [(QueueId(message_id), number) for message_id, number in conn.execute(query)]


def done(
    conn: Connection,
    keys: Sequence[Position],
    now_ms: int,
    verb: str,
    who: str,
    texts: Sequence[str] = (),
) -> int:
    """Write the history of a verb, with a text for each key or none, and wake the schedulers."""
    if not keys:
        return 0
    words = texts or [""] * len(keys)
    rows = [
        (message_id, recipient, now_ms, verb, who, said)
        for (message_id, recipient), said in zip(keys, words, strict=True)
    ]
    bulk.insert(conn, events, rows, first=1)  # the id is the database's
    wake(conn)
    return len(keys)


@dataclass(frozen=True, slots=True)
class Done:
    """One verb, as far as it went with the same words."""

    verb: str
    who: str
    text: str
    recipients: int
    messages: int
    first: QueueId


VERBS = ("hold", "release", "retry", "remove", "reroute", "bounce", "resurrect")
_POLICY = "policy"  # it holds, too, while mail arrives
_MOST = 200  # different verbs, or words, in one look


def since(conn: Connection, after: int | None) -> tuple[int, list[Done]]:
    """Return what operators have done since event ``after``, and what to ask with next time.

    With None nothing: only where to begin.  Two that commit at the same moment on PostgreSQL
    may do so in the other order than they were numbered, and one of them then be missed.
    """
    columns = events.c
    last = conn.execute(select(func.coalesce(func.max(columns.id), 0))).scalar_one()
    if after is None or last <= after:
        return last, []
    said = (columns.verb, columns.who, columns.text)
    first = func.min(columns.message_id)
    query = select(*said, func.count(), func.count(columns.message_id.distinct()), first)
    query = query.where(
        columns.id > after, columns.id <= last, columns.verb.in_(VERBS), columns.who != _POLICY
    )
    query = query.group_by(*said, columns.at_ms).order_by(func.min(columns.id)).limit(_MOST)
    found: Any = conn.execute(query)
    return last, [Done(*row) for row in found]
