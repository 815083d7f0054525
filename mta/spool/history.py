"""The whole life of a message, also after it has left.

Finished messages keep their rows, without the octets, for a retention time
(``mta.spool.retention``).
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, func, select, text

from mta.mail.envelope import Envelope, Recipient
from mta.mail.outcome import Blame, Outcome, Peer, Timing, Tls, TlsLevel, Verdict
from mta.mail.queue_id import QueueId
from mta.mail.restraint import Restraint
from mta.spool import dotted, rows
from mta.spool.restraints import FOR_WHAT, for_what
from mta.spool.schema import (
    State,
    attempts,
    chunks,
    events,
    messages,
    nodes,
    recipients,
    restraints,
)

MOST_FOUND = 100
SENDERS = 200_000
"""Messages, the newest, that a sender is looked for in: senders have no index."""


@dataclass(frozen=True, slots=True)
class TracedRecipient:
    """Where one recipient stands."""

    recipient: Recipient
    state: State
    node: str | None  # who has it in hand: an attempt is under way or about to begin
    next_attempt_ms: int  # of interest while it is queued
    finished_ms: int | None
    restraint: Restraint | None = None  # what keeps it from being tried
    dotted_to: str = ""  # to whom its final dot was about to be sent, without an outcome yet


@dataclass(frozen=True, slots=True)
class TracedAttempt:
    """One attempt for one recipient (``outcome.recipient``)."""

    number: int  # 1 for the first
    node: str
    started_ms: int
    ended_ms: int
    state: State  # what became of the recipient
    next_attempt_ms: int
    cause: str
    outcome: Outcome
    site: str = ""  # its name


@dataclass(frozen=True, slots=True)
class TracedEvent:
    """An operator's verb, or another remark on a message."""

    recipient: int | None  # None: all
    at_ms: int
    verb: str
    who: str
    text: str


@dataclass(frozen=True, slots=True)
class Trace:
    """All that the spool knows of one message."""

    envelope: Envelope
    finished_ms: int | None
    octets_kept: bool
    parent: QueueId | None  # the message that this one, a report, is about
    recipients: tuple[TracedRecipient, ...]
    attempts: tuple[TracedAttempt, ...]  # by time
    events: tuple[TracedEvent, ...]  # by time
    reports: tuple[QueueId, ...]  # about this message


def find(conn: Connection, what: str, limit: int = MOST_FOUND) -> list[QueueId]:
    """Return the messages that ``what`` may mean, the newest ``limit``, oldest first.

    It is a queue id, a Message-ID with or without its brackets, or the address of a
    recipient, as it is or as the client gave it, or of the sender, who is looked for among the
    ``SENDERS`` newest messages.
    """
    what = what.strip()
    if not what:
        return []
    known = messages.c.id == what.upper()
    if found := conn.execute(select(messages.c.id).where(known)).scalar():
        return [QueueId(found)]
    header = what if what.startswith("<") else f"<{what}>"
    queries = (
        select(messages.c.id).where(messages.c.message_id == header, messages.c.message_id != ""),
        select(recipients.c.message_id.label("id")).where(
            func.lower(recipients.c.address) == func.lower(what)
        ),
        select(recipients.c.message_id.label("id")).where(
            func.lower(recipients.c.given) == func.lower(what), text("given <> ''")
        ),
        _from(what),
    )
    ids: set[str] = set()
    for query in queries:
        newest = query.order_by(query.selected_columns.id.desc()).limit(limit)
        ids.update(conn.execute(newest).scalars())
    return [QueueId(message_id) for message_id in sorted(ids)[-limit:]]


def has_older(conn: Connection) -> bool:
    """Tell whether there are messages that a sender is not looked for in."""
    beyond = select(messages.c.id).order_by(messages.c.id.desc()).offset(SENDERS).limit(1)
    return conn.execute(beyond).first() is not None


def _from(what: str) -> Select[Any]:
    columns = messages.c
    new = select(columns.id, columns.sender).order_by(columns.id.desc()).limit(SENDERS).subquery()
    return select(new.c.id).where(func.lower(new.c.sender) == func.lower(what))


def by_message_id(conn: Connection, what: str, limit: int = MOST_FOUND) -> list[QueueId]:
    """Return the newest messages with the Message-ID ``what``, brackets or not, newest first."""
    header = what if what.startswith("<") else f"<{what}>"
    query = select(messages.c.id).where(
        messages.c.message_id == header, messages.c.message_id != ""
    )
    return [
        QueueId(one)
        for one in conn.execute(query.order_by(messages.c.id.desc()).limit(limit)).scalars()
    ]


def trace(conn: Connection, message_id: str) -> Trace | None:
    """Return all that is known of a message; None if it is not, or no longer, known."""
    query: Select[Any] = select(*rows.ENVELOPE, messages.c.parent, messages.c.finished_ms)
    row = conn.execute(query.where(messages.c.id == message_id)).first()
    if row is None:
        return None
    first_chunk = select(chunks.c.number).where(chunks.c.message_id == message_id).limit(1)
    reports = select(messages.c.id).where(messages.c.parent == message_id).order_by(messages.c.id)
    return Trace(
        envelope=rows.envelope(row),
        finished_ms=row.finished_ms,
        octets_kept=conn.execute(first_chunk).first() is not None,
        parent=None if row.parent is None else QueueId(row.parent),
        recipients=_recipients(conn, message_id),
        attempts=_attempts(conn, message_id),
        events=_events(conn, message_id),
        reports=tuple(QueueId(report) for report in conn.execute(reports).scalars()),
    )


def note(  # one row, all of its columns
    conn: Connection,
    message_id: str,
    recipient: int | None,
    at_ms: int,
    verb: str,
    who: str,
    text: str,
) -> None:
    """Write a remark into the history of a message."""
    conn.execute(
        events.insert().values(
            message_id=message_id, recipient=recipient, at_ms=at_ms, verb=verb, who=who, text=text
        )
    )


def unanswered(conn: Connection, since_ms: int) -> dict[State, int]:
    """Count the deliveries that got no answer after the final dot, by what became of them then."""
    columns = attempts.c
    query = select(columns.state, func.count()).where(
        text("maybe_delivered"),
        columns.ended_ms >= since_ms,  # in the words of the index
    )
    return {State(row[0]): int(row[1]) for row in conn.execute(query.group_by(columns.state))}


def _recipients(conn: Connection, message_id: str) -> tuple[TracedRecipient, ...]:
    columns = recipients.c
    query: Select[Any] = (
        select(
            *rows.RECIPIENT,
            columns.state,
            columns.claim,
            columns.next_attempt_ms,
            columns.finished_ms,
            nodes.c.name.label("node"),
            *FOR_WHAT,
            *dotted.COLUMNS,
        )
        .join_from(recipients, nodes, nodes.c.token == columns.claim, isouter=True)
        .join(restraints, restraints.c.id == columns.restraint, isouter=True)
        .where(columns.message_id == message_id)
        .order_by(columns.number)
    )
    return tuple(
        TracedRecipient(
            rows.recipient(row),
            State(row.state),
            None if row.claim is None else row.node or "(unknown)",
            row.next_attempt_ms,
            row.finished_ms,
            for_what(row),
            (row.dotted_to or "") if dotted.in_doubt(row) else "",
        )
        for row in conn.execute(query)
    )


def _attempts(conn: Connection, message_id: str) -> tuple[TracedAttempt, ...]:
    columns = attempts.c
    query = select(attempts).where(columns.message_id == message_id)
    query = query.order_by(columns.started_ms, columns.recipient, columns.attempt)
    return tuple(
        TracedAttempt(
            row.attempt,
            row.node,
            row.started_ms,
            row.ended_ms,
            State(row.state),
            row.next_attempt_ms,
            row.cause,
            _outcome(row),
            row.site,
        )
        for row in conn.execute(query)
    )


def _outcome(row: Row[Any]) -> Outcome:
    peer = None
    if row.host:
        tls = Tls(
            TlsLevel(row.tls_level),
            row.tls_version,
            row.tls_cipher,
            row.tls_why,
            row.tls_required,
            row.tls_required_why,
            row.tls_observed,
        )
        peer = Peer(row.host, row.address, row.port, tls, row.use, row.source)
    return Outcome(
        recipient=row.recipient,
        verdict=Verdict(row.verdict),
        code=row.code,
        enhanced=row.enhanced,
        text=row.text,
        command=row.command,
        blame=Blame(row.blame),
        peer=peer,
        timing=Timing(row.connect_s, row.transmit_s),
        maybe_delivered=bool(row.maybe_delivered),
        sender=row.sender,
        cause=row.category,
    )


def _events(conn: Connection, message_id: str) -> tuple[TracedEvent, ...]:
    query = select(events).where(events.c.message_id == message_id).order_by(events.c.id)
    return tuple(
        TracedEvent(row.recipient, row.at_ms, row.verb, row.who, row.text)
        for row in conn.execute(query)
    )
