"""Octets of finished messages that not everybody got, and how such mail comes back.

What was bounced or has expired is kept for a while, bounded in time and in octets, so that an
operator who has mended what was wrong can send it after all.  ``kept`` has a row for each such
message; whoever deletes the row decides: ``purge`` for the octets to go, ``resurrect`` for
the message to come back.  Two that meet wait for each other on that row, or pass it over.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, delete, func, select, text

from mta.spool import bulk
from mta.spool.driver import run
from mta.spool.filters import Filter
from mta.spool.operated import done, pick
from mta.spool.schema import chunks, kept, messages

_BACK = "recipients.state IN ('bounced', 'expired')"
_CONTENT = (
    "(messages.finished_ms IS NULL"
    " OR EXISTS (SELECT 1 FROM kept WHERE kept.message_id = messages.id))"
)
_QUEUED = """UPDATE recipients SET state = 'queued', finished_ms = NULL, warned = v.column3,
  next_attempt_ms = CASE WHEN claim IS NULL THEN v.column4 ELSE next_attempt_ms END FROM"""
_ALIVE = """UPDATE messages SET finished_ms = NULL,
  expires_ms = CASE WHEN expires_ms - created_ms + v.column2 > expires_ms
    THEN expires_ms - created_ms + v.column2 ELSE expires_ms END,
  deadline_ms = CASE WHEN deadline_ms < v.column2 THEN NULL ELSE deadline_ms END FROM"""
_KEEP = """INSERT INTO kept (message_id, finished_ms, octets)
SELECT id, finished_ms, size FROM messages
WHERE id IN {ids} AND EXISTS (SELECT 1 FROM recipients
  WHERE recipients.message_id = messages.id AND recipients.state IN ('bounced', 'expired'))
AND EXISTS (SELECT 1 FROM chunks WHERE chunks.message_id = messages.id)
ON CONFLICT DO NOTHING"""
_KEPT = "SELECT message_id FROM kept WHERE message_id IN {ids}"


def keep(conn: Connection, ids: Sequence[str]) -> set[str]:
    """Keep the octets of those of the messages, all finished, that somebody did not get."""
    found: set[str] = set()
    for marks, part in bulk.id_lists(conn, ids):
        if run(conn, _KEEP.format(ids=marks), part).rowcount:
            kept_ = run(conn, _KEPT.format(ids=marks), part)
            found.update(message_id for (message_id,) in kept_)
    return found


def purge(conn: Connection, before_ms: int, most_octets: int, limit: int) -> int:
    """Let the octets of up to ``limit`` messages go: older ones, or what is too much; how many."""
    columns = kept.c
    oldest = columns.finished_ms, columns.message_id
    query = select(columns.message_id).where(columns.finished_ms < before_ms)
    query = query.order_by(*oldest).limit(limit).with_for_update(skip_locked=True)
    ids = list(conn.execute(query).scalars())
    if not ids:
        total = conn.execute(select(func.coalesce(func.sum(columns.octets), 0))).scalar_one()
        sizes = select(columns.message_id, columns.octets).order_by(*oldest).limit(limit)
        over = int(total) - most_octets
        if over > 0:
            for message_id, octets in conn.execute(sizes.with_for_update(skip_locked=True)):
                if over <= 0:
                    break
                ids.append(message_id)
                over -= octets
    for table in (kept, chunks):
        conn.execute(delete(table).where(table.c.message_id.in_(ids)))
    return len(ids)


def resurrect(conn: Connection, wanted: Filter, now_ms: int, who: str, limit: int) -> int:
    """Queue recipients again that were given up, due now, with a new lifetime; return how many.

    A deadline of the sender's that is over is forgotten: it would send the mail back at once.
    """
    keys = pick(conn, wanted, now_ms, limit, f"{_BACK} AND {_CONTENT}")
    ids = sorted({message_id for message_id, _ in keys})
    finished = set(
        conn.execute(
            select(messages.c.id).where(messages.c.id.in_(ids), text("finished_ms IS NOT NULL"))
        ).scalars()
    )
    ours = set(
        conn.execute(
            delete(kept).where(kept.c.message_id.in_(finished)).returning(kept.c.message_id)
        ).scalars()
    )
    keys = [key for key in keys if key[0] not in finished or key[0] in ours]
    alive = sorted({message_id for message_id, _ in keys})
    same = "AS v WHERE messages.id = v.column1"
    bulk.update(conn, _ALIVE, same, [(message_id, now_ms) for message_id in alive])
    same = "AS v WHERE recipients.message_id = v.column1 AND recipients.number = v.column2"
    bulk.update(conn, _QUEUED, same, [(*key, False, now_ms) for key in keys])
    return done(conn, keys, now_ms, "resurrect", who)
