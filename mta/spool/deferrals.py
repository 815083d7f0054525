"""Recipients that were put off at least once, with all their attempts: for replays.

Bounded: the newest ``limit`` attempts are looked through, whatever the length of the history;
the answer says how far back that went.
"""

from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Select, func, or_, select

from mta.mail.queue_id import QueueId, new_queue_id, time_of
from mta.spool.schema import State, attempts, messages, recipients

NEWEST = 200_000


@dataclass(frozen=True, slots=True)
class Retried:
    """One recipient."""

    message: QueueId
    sender: str
    domain: str
    state: State
    expires_ms: int
    attempts_ms: tuple[int, ...]  # when each began, in order; those that were no attempt left out
    whole: bool  # the first one is among them


@dataclass(frozen=True, slots=True)
class Deferrals:
    """What was found."""

    recipients: tuple[Retried, ...]
    looked_at: int  # attempts
    back_to_ms: int | None  # when the oldest message of these was accepted


def retried(conn: Connection, since_ms: int, limit: int = NEWEST) -> Deferrals:
    """Return the recipients of messages since then that were put off."""
    newest = _newest(since_ms, limit).subquery()
    looked_at, oldest = conn.execute(select(func.count(), func.min(newest.c.message_id))).one()
    rows = conn.execute(_query(newest)).all()
    found = tuple(
        _retried(list(some))
        for _, some in groupby(rows, key=lambda row: (row.message_id, row.recipient))
    )
    back_to = None if oldest is None else time_of(oldest)
    return Deferrals(found, looked_at, back_to)


def _newest(since_ms: int, limit: int) -> Select[Any]:
    columns = attempts.c
    order = (columns.message_id.desc(), columns.recipient.desc(), columns.attempt.desc())
    first = new_queue_id(since_ms, lambda _: 0)
    query = select(
        columns.message_id,
        columns.recipient,
        columns.attempt,
        columns.started_ms,
        columns.verdict,
        columns.cause,
    ).where(columns.message_id >= first)
    return query.order_by(*order).limit(limit)


def _query(newest: Any) -> Select[Any]:
    query = (
        select(
            newest,
            messages.c.sender,
            messages.c.expires_ms,
            recipients.c.domain,
            recipients.c.state,
        )
        .join_from(newest, messages, messages.c.id == newest.c.message_id)
        .join(
            recipients,
            (recipients.c.message_id == newest.c.message_id)
            & (recipients.c.number == newest.c.recipient),
        )
        .where(or_(newest.c.verdict == "deferred", newest.c.attempt > 1))
    )
    return query.order_by(newest.c.message_id, newest.c.recipient, newest.c.attempt)


def _retried(rows: list[Any]) -> Retried:
    last = rows[-1]
    made = tuple(row.started_ms for row in rows if row.cause != "not attempted")
    return Retried(
        QueueId(last.message_id),
        last.sender,
        last.domain,
        State(last.state),
        last.expires_ms,
        made,
        rows[0].attempt == 1,
    )
