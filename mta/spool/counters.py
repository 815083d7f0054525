"""Counters that all processes on one spool share, and what is used of something right now.

A counter has a name and is counted in windows of a fixed length that begin at multiples of it.
Processes add what they have counted in batches; everybody reads what has changed since
it last looked, so that all know all of it within the time between two batches.
A *gauge* is what one process has in use at the moment (sessions); it says so again and again,
and what it has not said for a while, because it died, is over.

A commit whose answer is lost may be counted twice.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, select, tuple_

from mta.spool import bulk
from mta.spool.schema import counters, gauges

SLACK_MS = 5_000
"""How far clocks of hosts, and the time from a change to its commit, may be apart."""

MOST_LOADED = 200_000
"""Counters that a process knows when it begins; a million would take 500 MB and several seconds."""


class Count(NamedTuple):
    """What one counter has in one window."""

    name: str
    start_ms: int
    window_ms: int
    amount: int
    keep_until_ms: int


class Changes(NamedTuple):
    """What others have done."""

    counts: list[Count]
    in_use: dict[str, int]  # gauges of other processes


def exchange(
    conn: Connection,
    added: Sequence[Count],
    in_use: Sequence[tuple[str, int]],
    node: str,
    gauge_ms: int,
    since_ms: int,
    now_ms: int,
) -> Changes:
    """Add counts, say what this process has in use for ``gauge_ms``, and read what is new."""
    bulk.update(
        conn,
        "INSERT INTO counters (name, start_ms, window_ms, count, keep_until_ms, updated_ms)"
        " SELECT * FROM",
        "AS v WHERE true ON CONFLICT (name, start_ms) DO UPDATE SET"
        " count = counters.count + excluded.count, updated_ms = excluded.updated_ms",
        [(*one, now_ms) for one in sorted(added)],  # sorted: two processes never deadlock
    )
    bulk.update(
        conn,
        "INSERT INTO gauges (node, name, in_use, until_ms) SELECT * FROM",
        "AS v WHERE true ON CONFLICT (node, name) DO UPDATE SET"
        " in_use = excluded.in_use, until_ms = excluded.until_ms",
        [(node, name, number, now_ms + gauge_ms) for name, number in sorted(in_use)],
    )
    return changes(conn, node, since_ms, now_ms)


def changes(conn: Connection, node: str, since_ms: int, now_ms: int) -> Changes:
    """Return what has changed since ``since_ms`` and what others have in use."""
    columns = counters.c
    query = select(
        columns.name, columns.start_ms, columns.window_ms, columns.count, columns.keep_until_ms
    ).where(columns.updated_ms >= since_ms - SLACK_MS)
    others = (
        select(gauges.c.name, func.sum(gauges.c.in_use))
        .where(gauges.c.until_ms > now_ms, gauges.c.node != node)
        .group_by(gauges.c.name)
    )
    return Changes(
        [Count(*row) for row in conn.execute(query)],
        {name: int(number) for name, number in conn.execute(others)},
    )


def load(conn: Connection, now_ms: int, prefix: str = "", most: int = MOST_LOADED) -> list[Count]:
    """Return the counters that matter at ``now_ms``, for a process that begins: at most so many.

    Those that were counted last; of the others one hears when they are counted again.  With
    ``prefix`` those whose names begin with it.
    """
    columns = counters.c
    query = select(
        columns.name, columns.start_ms, columns.window_ms, columns.count, columns.keep_until_ms
    ).where(columns.start_ms + 2 * columns.window_ms > now_ms)
    if prefix:
        query = query.where(columns.name.startswith(prefix, autoescape=True))
    query = query.order_by(columns.updated_ms.desc()).limit(most)
    return [Count(*row) for row in conn.execute(query)]


def history(conn: Connection, name: str, since_ms: int) -> list[tuple[int, int]]:
    """Return the windows of one counter, by time: when each began, and its count."""
    columns = counters.c
    query = select(columns.start_ms, columns.count).where(
        columns.name == name, columns.start_ms >= since_ms
    )
    return [(row[0], row[1]) for row in conn.execute(query.order_by(columns.start_ms))]


def sums(conn: Connection, prefix: str, since_ms: int) -> dict[str, int]:
    """Return what each counter whose name begins with ``prefix`` has counted since."""
    columns = counters.c
    query = (
        select(columns.name, func.sum(columns.count))
        .where(columns.name.startswith(prefix, autoescape=True), columns.start_ms >= since_ms)
        .group_by(columns.name)
    )
    return {name: int(number) for name, number in conn.execute(query)}


def leave(conn: Connection, node: str) -> None:
    """This process ends: nothing is in use by it."""
    conn.execute(delete(gauges).where(gauges.c.node == node))


def purge(conn: Connection, now_ms: int, limit: int) -> int:
    """Forget up to ``limit`` windows that nobody needs any more; return how many."""
    columns = counters.c
    key = tuple_(columns.name, columns.start_ms)
    old = select(columns.name, columns.start_ms).where(columns.keep_until_ms < now_ms)
    gone = conn.execute(delete(counters).where(key.in_(old.limit(limit)))).rowcount
    conn.execute(delete(gauges).where(gauges.c.until_ms < now_ms))
    return gone
