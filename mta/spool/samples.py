"""Replies that rules act upon, counted by all processes on one spool together.

A process writes what it has heard, and reads, after that has been committed, what all have heard:
of two that write at the same moment one at least sees both.  What has led to a decision, or is
too old for its rule, goes.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, delete, select, tuple_

from mta.mail.restraint import Restraint
from mta.spool import restraints
from mta.spool.bulk import storable
from mta.spool.restraints import Wanted
from mta.spool.schema import samples

MOST_SHOWN = 10  # kept with a decision
_AT_ONCE = 200  # keys in one statement

_KEY = (samples.c.site_key, samples.c.source, samples.c.rule)


class Wish(NamedTuple):
    """How many replies a rule wants, and within how long."""

    samples: int
    window_ms: int


class Key(NamedTuple):
    """What is counted: the replies of one site to one address of ours that one rule knows."""

    site_key: str
    source: str
    rule: str


class Sample(NamedTuple):
    """One of them."""

    key: Key
    at_ms: int
    window_ms: int  # for how long it counts
    said: str


def key_of(wanted: Wanted) -> Key:
    """Return under which key samples for ``wanted`` are counted."""
    return Key(wanted.site_key, wanted.source, wanted.rule)


def add(conn: Connection, heard: Sequence[Sample]) -> None:
    """Write what was heard."""
    rows = [
        {**one.key._asdict(), "at_ms": one.at_ms, "keep_until_ms": one.at_ms + one.window_ms,
         "said": storable(one.said)}
        for one in heard
    ]  # fmt: skip
    conn.execute(samples.insert(), rows)


def enough(conn: Connection, asked: dict[Key, Wish], now_ms: int) -> dict[Key, tuple[str, ...]]:
    """Return which of the keys have as many samples as they need, with the last of them."""
    found: dict[Key, list[str]] = {}
    keys = list(asked)
    for start in range(0, len(keys), _AT_ONCE):
        query = select(*_KEY, samples.c.at_ms, samples.c.said).where(
            tuple_(*_KEY).in_([tuple(key) for key in keys[start : start + _AT_ONCE]])
        )
        for row in conn.execute(query.order_by(samples.c.at_ms, samples.c.id)):
            key = Key(*row[:3])
            if row.at_ms > now_ms - asked[key].window_ms:
                found.setdefault(key, []).append(row.said)
    return {
        key: tuple(said[-MOST_SHOWN:])
        for key, said in found.items()
        if len(said) >= asked[key].samples
    }


def decide(conn: Connection, wanted: Wanted, now_ms: int) -> Restraint | None:
    """Begin what a rule asks for, as ``restraints.impose`` does; its samples are used up."""
    same = [column == value for column, value in zip(_KEY, key_of(wanted), strict=True)]
    conn.execute(delete(samples).where(*same))
    return restraints.impose(conn, wanted, now_ms)


def purge(conn: Connection, now_ms: int) -> int:
    """Forget what is too old to count; return how much."""
    return conn.execute(delete(samples).where(samples.c.keep_until_ms < now_ms)).rowcount
