"""Octets of finished messages that not everybody got, and how such mail comes back.

What was bounced or has expired is kept for a while, bounded in time and in octets, so that an
operator who has mended what was wrong can send it after all.  ``kept`` has a row for each such
message; whoever deletes the row decides: ``purge`` for the octets to go, ``resurrect`` for
the message to come back.  Two that meet wait for each other on that row, or pass it over.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

from sqlalchemy import Connection, delete, func, select, text

from mta.spool import bulk
from mta.spool.driver import run
from mta.spool.filters import Filter
from mta.spool.operated import done, pick
from mta.spool.schema import State, chunks, kept, messages, recipients

SLICE = 500
"""Messages that may come back, in one transaction."""

_BACK = "recipients.state IN ('bounced', 'expired')"
_CONTENT = (
    "(messages.finished_ms IS NULL"
    " OR EXISTS (SELECT 1 FROM kept WHERE kept.message_id = messages.id))"
)
_QUEUED = """UPDATE recipients SET state = v.column5, finished_ms = NULL, warned = v.column3,
  dotted_ms = NULL, dotted_to = NULL,
  next_attempt_ms = CASE WHEN claim IS NULL THEN v.column4 ELSE next_attempt_ms END,
  route = CASE WHEN v.column6 = '' THEN route ELSE v.column6 END FROM"""
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


def slices(
    read: Callable[[], AbstractContextManager[Connection]],
    wanted: Filter,
    rows: Callable[[], int],
) -> Iterator[Filter]:
    """Yield ``wanted`` for some messages at a time of all that can come back.

    What is finished can if it is in ``kept``, what is not if it waits: so neither the history nor
    the rest of a long queue is looked through.  Each is of ``rows()`` messages, ``SLICE`` at most.
    """
    for column, condition in (
        (kept.c.message_id, text("1 = 1")),
        (recipients.c.message_id, text("recipients.state IN ('queued', 'held')")),
    ):
        query = select(column).where(condition).group_by(column).order_by(column)
        after, ids = wanted.beyond, ("",)
        while ids:
            with read() as conn:
                some = query.where(column > after).limit(min(rows(), SLICE))
                ids = tuple(conn.execute(some).scalars())
            if ids:
                yield replace(wanted, ids=ids)
                after = ids[-1]


def resurrect(
    conn: Connection,
    wanted: Filter,
    now_ms: int,
    who: str,
    limit: int,
    *,
    held: bool = False,
    route: str = "",
) -> int:
    """Queue recipients again that were given up, due now, with a new lifetime; return how many.

    ``held``: nobody tries them before they are released.  ``route``: the one that they go by from
    now on; "" leaves that as it was.  A deadline of the sender's that is over is forgotten: it
    would send the mail back at once.
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
    state = State.HELD if held else State.QUEUED
    bulk.update(conn, _QUEUED, same, [(*key, False, now_ms, state.value, route) for key in keys])
    said = [f"by route {route}"] * len(keys) if route else ()
    number = done(conn, keys, now_ms, "resurrect", who, said)
    if held:
        done(conn, keys, now_ms, "hold", who)
    return number
