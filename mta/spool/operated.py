"""What all operators' verbs share: the rows they are about, locked; the history they write."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, select, text

from mta.mail.queue_id import QueueId
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
    conn.execute(
        events.insert(),
        [
            {
                "message_id": message_id,
                "recipient": number,
                "at_ms": now_ms,
                "verb": verb,
                "who": who,
                "text": said,
            }
            for (message_id, number), said in zip(keys, texts or [""] * len(keys), strict=True)
        ],
    )
    wake(conn)
    return len(keys)
