"""What is in the queue, for operators: pages, counts, slices for verbs, the octets.

Synchronous, for the command line; it works beside a running service and without one.
Pages are cut by key, (message, recipient), so that each costs the same however long
the queue is, and what comes or goes between two pages moves nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, Select, func, or_, select, text

from mta.mail.envelope import Envelope, Recipient
from mta.mail.queue_id import QueueId
from mta.mail.restraint import Restraint
from mta.spool import rows
from mta.spool.body import read_chunk
from mta.spool.filters import Filter, conditions
from mta.spool.restraints import FOR_WHAT, for_what
from mta.spool.schema import State, messages, recipients, restraints

_WAITING = text("recipients.state IN ('queued', 'held')")

Position = tuple[QueueId, int]
"""Message and recipient number: the place of a row in every listing."""


@dataclass(frozen=True, slots=True)
class LastReply:
    """What the last attempt was told."""

    code: int
    enhanced: str
    text: str
    host: str
    at_ms: int
    category: str  # the cause, of ``mta.mail.cause``


@dataclass(frozen=True, slots=True)
class QueueRow:
    """One recipient, with the envelope that it shares."""

    envelope: Envelope
    recipient: Recipient
    state: State
    active: bool  # a process has it in hand: an attempt is under way or about to begin
    next_attempt_ms: int
    last: LastReply | None  # None: no attempt has ended
    chunks: int
    restraint: Restraint | None = None  # what keeps it from being tried

    @property
    def position(self) -> Position:
        """Where the row stands; give it to ``page`` to get what comes after."""
        return self.envelope.id, self.recipient.number


def page(
    conn: Connection, wanted: Filter, now_ms: int, limit: int, after: Position | None = None
) -> list[QueueRow]:
    """Return up to ``limit`` rows in the order of arrival, from ``after`` on."""
    query = page_query(wanted, now_ms, after).limit(limit)
    return [_queue_row(row) for row in conn.execute(query)]


def page_query(wanted: Filter, now_ms: int, after: Position | None = None) -> Select[Any]:
    """Return the statement behind ``page``."""
    query = (
        select(
            *rows.ENVELOPE,
            *rows.RECIPIENT,
            recipients.c.state,
            recipients.c.claim,
            recipients.c.next_attempt_ms,
            recipients.c.last_code,
            recipients.c.last_enhanced,
            recipients.c.last_text,
            recipients.c.last_host,
            recipients.c.last_ms,
            recipients.c.last_category,
            *FOR_WHAT,
        )
        .join_from(recipients, messages)
        .join(restraints, restraints.c.id == recipients.c.restraint, isouter=True)
        .where(*conditions(wanted, now_ms))
        .order_by(recipients.c.message_id, recipients.c.number)
    )
    if after is None:
        return query
    message_id, number = after
    beyond = or_(recipients.c.message_id > message_id, recipients.c.number > number)
    return query.where(recipients.c.message_id >= message_id, beyond)


def count(conn: Connection, wanted: Filter, now_ms: int) -> int:
    """Return how many recipients ``wanted`` means."""
    query = select(func.count()).select_from(messages.join(recipients))
    return conn.execute(query.where(*conditions(wanted, now_ms))).scalar_one()


def slices(
    read: Callable[[], AbstractContextManager[Connection]],
    wanted: Filter,
    rows_: Callable[[], int],
) -> Iterator[Filter]:
    """Yield ``wanted`` for one part of what waits after the other, in the order of arrival.

    Each is of ``rows_()`` recipients, to the end of their last message, and is found when it is
    its turn; the last one ends as ``wanted`` does.  So a verb looks through no more than that in
    one transaction, however little of it it means.
    """
    waiting = select(recipients.c.message_id).where(_WAITING)
    after = wanted.beyond
    while True:
        query = waiting.order_by(recipients.c.message_id).offset(rows_() - 1).limit(1)
        with read() as conn:
            end = conn.execute(query.where(recipients.c.message_id > after)).scalar()
        if end is None or (wanted.upto and end >= wanted.upto):
            yield replace(wanted, beyond=after)
            return
        yield replace(wanted, beyond=after, upto=end)
        after = end


def last(conn: Connection) -> tuple[QueueId, int] | None:
    """Return the youngest message that waits, by its id, and when it arrived."""
    newest = select(messages.c.id, messages.c.created_ms).join_from(recipients, messages)
    newest = newest.where(_WAITING).order_by(recipients.c.message_id.desc()).limit(1)
    found = conn.execute(newest).first()
    return None if found is None else (QueueId(found.id), found.created_ms)


def in_hand(conn: Connection) -> int:
    """Return how many recipients processes have claimed: the active queue of all of them."""
    query = select(func.count()).select_from(recipients)
    return conn.execute(query.where(text("claim IS NOT NULL"))).scalar_one()


def chunks(conn: Connection, message_id: str) -> Iterator[bytes]:
    """Yield the octets of a message, a chunk at a time.

    Raises ``LookupError`` where the spool does not have them: no such message, or it is
    finished.
    """
    number = conn.execute(select(messages.c.chunks).where(messages.c.id == message_id)).scalar()
    if number is None:
        raise LookupError(f"{message_id}: no such message")
    for chunk in range(number):
        yield read_chunk(conn, message_id, chunk)


def _queue_row(row: Row[Any]) -> QueueRow:
    last = None
    if row.last_ms is not None:
        last = LastReply(
            row.last_code,
            row.last_enhanced,
            row.last_text,
            row.last_host,
            row.last_ms,
            row.last_category,
        )
    return QueueRow(
        rows.envelope(row),
        rows.recipient(row),
        State(row.state),
        row.claim is not None,
        row.next_attempt_ms,
        last,
        row.chunks,
        for_what(row),
    )
