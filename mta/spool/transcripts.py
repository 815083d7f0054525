"""What was said in attempts: written with their outcomes, read for ``trace``, forgotten early.

One row tells of all recipients of an attempt.  The text is deflated: a queue that waits for
days has some thirty attempts for each message.  Which attempts are kept at all is decided where
they are made (``mta.delivery.transcript``), and what is in the text is made safe there.
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, delete, func, select

from mta.spool import bulk
from mta.spool.schema import transcripts

Key = tuple[str, int, str]
"""Message, start of the attempt, node: what the recipients of one attempt share."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said in one attempt for ``recipients`` (their numbers)."""

    started_ms: int
    ended_ms: int
    node: str
    recipients: tuple[int, ...]
    text: str


def insert(conn: Connection, items: Iterable[tuple[str, Transcript]]) -> None:
    """Write transcripts of messages."""
    bulk.insert(conn, transcripts, [_row(message_id, item) for message_id, item in items])


def of_message(conn: Connection, message_id: str) -> tuple[Transcript, ...]:
    """Return all that are kept of a message, by time."""
    columns = transcripts.c
    query = select(transcripts).where(columns.message_id == message_id)
    return tuple(
        Transcript(
            row.started_ms,
            row.ended_ms,
            row.node,
            tuple(_numbers(row.numbers)),
            zlib.decompress(row.data).decode(),
        )
        for row in conn.execute(query.order_by(columns.started_ms, columns.first))
    )


def purge(conn: Connection, before_ms: int, limit: int) -> int:
    """Forget ``limit`` that ended before, and what ended with the last of them; return how many."""
    ended_ms = transcripts.c.ended_ms
    old = select(ended_ms).where(ended_ms < before_ms).order_by(ended_ms).limit(limit).subquery()
    last_ms = conn.execute(select(func.max(old.c.ended_ms))).scalar()
    if last_ms is None:
        return 0
    return conn.execute(delete(transcripts).where(ended_ms <= last_ms)).rowcount


def _row(message_id: str, item: Transcript) -> tuple[Any, ...]:
    numbers = sorted(item.recipients)
    data = zlib.compress(bulk.storable(item.text).encode())
    return (
        message_id,
        item.started_ms,
        numbers[0],
        ",".join(_ranges(numbers)),
        item.node,
        item.ended_ms,
        data,
    )


def _ranges(numbers: Sequence[int]) -> Iterator[str]:
    """Write sorted numbers with their runs as ranges."""
    for _, run in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        some = [number for _, number in run]
        yield str(some[0]) if len(some) == 1 else f"{some[0]}-{some[-1]}"


def _numbers(ranges: str) -> Iterator[int]:
    for part in ranges.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)
