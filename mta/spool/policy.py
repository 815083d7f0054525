"""What each process tells the others of its policy's state, and is told, once a second."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from mta.spool import brakes, counters, suppressions
from mta.spool.counters import Changes, Count


class Given(NamedTuple):
    """What a process has to tell."""

    counts: Sequence[Count]
    in_use: Sequence[tuple[str, int]]
    gauge_ms: int  # how long ``in_use`` is to be believed


class News(NamedTuple):
    """What it is told."""

    changes: Changes
    braked: frozenset[str]  # logins whose mail is held
    excused: frozenset[str]  # logins that the brake leaves alone
    suppressing: bool  # the suppression list is not empty


NOTHING = News(Changes([], {}), frozenset(), frozenset(), False)
"""Of a spool that is not there yet."""


def exchange(conn: Connection, given: Given, node: str, since_ms: int, now_ms: int) -> News:
    """Tell and be told."""
    changes = counters.exchange(
        conn, given.counts, given.in_use, node, given.gauge_ms, since_ms, now_ms
    )
    return _news(conn, changes, now_ms)


def look(conn: Connection, node: str, since_ms: int, now_ms: int) -> News:
    """Be told."""
    return _news(conn, counters.changes(conn, node, since_ms, now_ms), now_ms)


def first(conn: Connection, now_ms: int) -> News:
    """Be told all that matters, as a process that begins."""
    return _news(conn, Changes(counters.load(conn, now_ms), {}), now_ms)


def _news(conn: Connection, changes: Changes, now_ms: int) -> News:
    return News(changes, *brakes.states(conn, now_ms), suppressions.any_at_all(conn))
