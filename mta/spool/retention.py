"""The end of the memory: what was finished longer ago than the retention time is forgotten.

In small steps, for a background task that calls them until there is no more, so that the one
writer is never kept from the mail.  A step is few statements that return one row: SQLite's driver
gives up the interpreter's lock at each row of each statement, and a busy reactor thread takes
milliseconds to give it back, while the mail of the same transaction waits.

Knowingly gives no room back to the file system: SQLite takes the free pages again, PostgreSQL's
autovacuum those of its tables.
"""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, select

from mta.mail.queue_id import new_queue_id
from mta.spool import bulk
from mta.spool.driver import run
from mta.spool.engine import is_sqlite
from mta.spool.schema import arriving, chunks

_RARE = ("transcripts", "events", "chunks", "kept")  # tables that have nothing of most messages
_ALWAYS = ("attempts", "recipients")

_OLD = """SELECT {list}(id), max(finished_ms), {flags} FROM (SELECT id, finished_ms FROM messages
WHERE finished_ms >= {mark} AND finished_ms < {mark}
ORDER BY finished_ms LIMIT {mark}{locked}) AS old"""
_HAS = "{any}(EXISTS (SELECT 1 FROM {table} WHERE {table}.message_id = old.id))"
_LOCKED = " FOR UPDATE SKIP LOCKED"  # not what an operator is bringing back just now
_SQLITE = {"list": "json_group_array", "any": "max", "locked": ""}
_POSTGRESQL = {"list": "array_agg", "any": "bool_or", "locked": _LOCKED}


def purge(
    conn: Connection, now_ms: int, keep_ms: int, limit: int, from_ms: int = 0
) -> tuple[int, int]:
    """Forget up to ``limit`` messages finished more than ``keep_ms`` ago, the oldest first.

    Return how many, and when the last of them was finished: with that as ``from_ms`` the next step
    need not walk on PostgreSQL over what is gone and not yet vacuumed, a million entries of the
    index perhaps.
    """
    words = _SQLITE if is_sqlite(conn) else _POSTGRESQL
    flags = ", ".join(_HAS.format(any=words["any"], table=table) for table in _RARE)
    query = _OLD.format(mark=bulk.mark(conn), flags=flags, **words)
    found, last_ms, *some = run(conn, query, (from_ms, now_ms - keep_ms, limit)).fetchone()
    ids = json.loads(found) if is_sqlite(conn) else found or []
    if ids:
        rare = [table for table, has in zip(_RARE, some, strict=True) if has]
        for table in (*rare, *_ALWAYS):
            _delete(conn, table, "message_id", ids)
        _delete(conn, "messages", "id", ids)
    return len(ids), last_ms or from_ms


def _delete(conn: Connection, table: str, column: str, ids: Sequence[str]) -> None:
    """Delete what belongs to messages, with one parameter for all of them."""
    sqlite = is_sqlite(conn)
    those = "IN (SELECT value FROM json_each(?))" if sqlite else "= ANY(%s)"
    given: Any = json.dumps(ids) if sqlite else list(ids)
    run(conn, f"DELETE FROM {table} WHERE {column} {those}", (given,))  # noqa: S608 - our words


def sweep_orphans(conn: Connection, before_ms: int, limit: int) -> int:
    """Remove up to ``limit`` messages that began to arrive before and were never accepted."""
    query = select(arriving.c.message_id)
    oldest = new_queue_id(before_ms, lambda _bits: 0)  # ids sort by time
    ids = list(conn.execute(query.where(arriving.c.message_id < oldest).limit(limit)).scalars())
    for table in (chunks, arriving):
        conn.execute(delete(table).where(table.c.message_id.in_(ids)))
    return len(ids)
