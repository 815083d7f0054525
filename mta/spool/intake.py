"""Commit 1: a message becomes ours.

The envelope, its recipients and the octets are written in one transaction, and only its
commit allows the 250 (RFC 5321 §4.2.5, §6.1).  A message that the accepting process has
room for is *born claimed*: delivered from memory, without being read back.  Octets of a
message too long for memory are stored chunk by chunk while they arrive; they belong to
nobody until the row of the message is there.

Reports of our own (RFC 3464) are taken in by the same code, in the transaction of
``outcomes`` that gives rise to them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Connection

from mta.mail.envelope import Body, Envelope, Recipient
from mta.mail.value import value
from mta.spool import bulk
from mta.spool.engine import repeated
from mta.spool.listening import tell
from mta.spool.schema import State, arriving, chunks, events, messages, recipients

CHUNK_SIZE = 256 * 1024
"""Octets in one chunk at most."""


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that was done to a message on its way in."""

    verb: str
    text: str
    who: str = "policy"
    recipient: int | None = None  # its number; None: it is about all of the message


@value
class Intake:
    """One message to accept.

    ``chunks`` follow the ``stored`` ones that ``store_chunk`` has written.  A ``head``, which
    could only be written when all the rest had been seen, is chunk 0 before them all; the
    stored ones were numbered from 1 then.  With a
    ``claim`` the message is born claimed: ``next_attempt_ms`` is when it is due again
    if its process dies, and its recipients carry ``attempts=1``.  Without one it is due at
    ``next_attempt_ms`` and they carry 0.
    """

    envelope: Envelope
    recipients: tuple[Recipient, ...]
    chunks: tuple[bytes, ...]
    next_attempt_ms: int
    claim: str | None = None
    stored: int = 0
    head: bytes = b""
    held: str = ""  # why it is to be kept until an operator releases it; then without a claim
    remarks: tuple[Remark, ...] = ()  # for its history
    removed: frozenset[int] = frozenset()  # recipients that will not get it; ``remarks`` say why

    @property
    def finished(self) -> bool:
        """Whether nobody will get it: then nothing is kept but its history."""
        return bool(self.removed) and len(self.removed) == len(self.recipients)

    @property
    def remaining(self) -> tuple[Recipient, ...]:
        """Return those who will get it."""
        if not self.removed:
            return self.recipients
        return tuple(one for one in self.recipients if one.number not in self.removed)


@value
class Reservation:
    """Room in the active set of a scheduler, for one message not yet accepted."""

    claim: str
    next_attempt_ms: int


class Handover(Protocol):
    """What the inbound side asks of the queue: mail goes over in memory if there is room."""

    def reserve(self, recipients: int, octets: int, owner: str = "") -> Reservation | None:
        """Keep room for a message; ``octets`` of it are kept in memory.  None: no room.

        ``owner``: ``Origin.owner``.
        """

    def put_off_ms(self, envelope: Envelope, recipients: tuple[Recipient, ...]) -> int | None:
        """Tell when a message is due that is for a dead site: it stays in the spool till then.

        None: it may come in, as far as there is room.  ``accepted`` is not called for such mail.
        """

    def accepted(
        self,
        envelope: Envelope,
        recipients: tuple[Recipient, ...],
        body: Body,
        reservation: Reservation | None,
    ) -> None:
        """Commit 1 has happened.  With a reservation, ``recipients`` have ``attempts=1``."""

    def cancel(self, reservation: Reservation, recipients: int, octets: int) -> None:
        """The message was not accepted: the room is free again."""


def divided(octets: bytes) -> tuple[bytes, ...]:
    """Return ``octets`` in chunks: as a rule in one, none if there is nothing."""
    if 0 < len(octets) <= CHUNK_SIZE:
        return (octets,)
    return tuple(octets[at : at + CHUNK_SIZE] for at in range(0, len(octets), CHUNK_SIZE))


def accept(conn: Connection, items: Sequence[Intake]) -> list[None]:
    """Take in all ``items``; for ``Database.write_together``."""
    insert(conn, [(item, None) for item in items])
    return [None] * len(items)


def insert(conn: Connection, items: Sequence[tuple[Intake, str | None]]) -> None:
    """Take in messages, each with the id of the message that it is a report about, or None.

    Raises ``LookupError`` if the stored chunks of one have been swept away meanwhile.
    """
    if repeated(conn):
        items = _not_there(conn, items)
    for item, _ in items:
        if item.stored and not _arrived(conn, item.envelope.id):
            raise LookupError(f"{item.envelope.id}: its stored chunks are gone")
        if item.finished:
            conn.execute(chunks.delete().where(chunks.c.message_id == item.envelope.id))
    bulk.insert(conn, messages, [_message(item, parent) for item, parent in items])
    bulk.insert(conn, recipients, [row for item, _ in items for row in _recipients(item)])
    bulk.insert(conn, chunks, [row for item, _ in items for row in _chunks(item)])
    remarks = [row for item, _ in items if item.held or item.remarks for row in _remarks(item)]
    if remarks:
        conn.execute(events.insert(), remarks)
    if any(item.claim is None and not item.held for item, _ in items):
        tell(conn)  # whoever has room


def store_chunk(
    conn: Connection, message_id: str, number: int, data: bytes, first: int = 0
) -> None:
    """Write one chunk of a message that is still arriving; number ``first`` comes first."""
    if repeated(conn):
        columns = chunks.c
        same = (columns.message_id == message_id) & (columns.number == number)
        conn.execute(chunks.delete().where(same))
        if number == first:
            _arrived(conn, message_id)
    if number == first:
        bulk.insert(conn, arriving, [(message_id,)])
    bulk.insert(conn, chunks, [(message_id, number, data)])


def adopt(conn: Connection, message_id: str, other: str) -> None:
    """Put the chunks stored under ``other`` in the place of those of a message that is arriving."""
    if not _arrived(conn, other):
        if repeated(conn):  # it is done
            return
        raise LookupError(f"{message_id}: the chunks of its new body are gone")
    _arrived(conn, message_id)
    conn.execute(chunks.delete().where(chunks.c.message_id == message_id))
    moved = chunks.update().where(chunks.c.message_id == other)
    conn.execute(moved.values(message_id=message_id))
    bulk.insert(conn, arriving, [(message_id,)])


def discard(conn: Connection, message_id: str) -> None:
    """Remove the chunks of a message that was not accepted; of one that was, nothing."""
    if _arrived(conn, message_id):
        conn.execute(chunks.delete().where(chunks.c.message_id == message_id))


def _arrived(conn: Connection, message_id: str) -> bool:
    """Strike a message off the list of those that are arriving."""
    return conn.execute(arriving.delete().where(arriving.c.message_id == message_id)).rowcount == 1


def _not_there(
    conn: Connection, items: Sequence[tuple[Intake, str | None]]
) -> list[tuple[Intake, str | None]]:
    """Leave out what the lost commit has already accepted.

    An id is made of the time and 35 random bits, so a row with the same id, sender and
    size is the same message and not somebody else's.
    """
    return [
        (item, parent)
        for item, parent in items
        if conn.execute(
            messages.select().where(
                messages.c.id == item.envelope.id,
                messages.c.sender == item.envelope.sender,
                messages.c.size == item.envelope.size,
                messages.c.created_ms == item.envelope.created_ms,
            )
        ).first()
        is None
    ]


def _message(item: Intake, parent: str | None) -> tuple[Any, ...]:
    envelope = item.envelope
    origin, asked = envelope.origin, envelope.asked
    by = asked.deliver_by
    return (
        envelope.id,
        envelope.sender,
        envelope.size,
        envelope.eight_bit,
        envelope.kind.value,
        parent,
        envelope.created_ms,
        envelope.expires_ms,
        envelope.created_ms if item.finished else None,
        bulk.storable(envelope.message_id),
        origin.listener,
        origin.client_address,
        bulk.storable(origin.client_name),
        origin.login,
        origin.protocol,
        origin.tls,
        0 if item.finished else bool(item.head) + item.stored + len(item.chunks),
        asked.ret,
        asked.envid,
        asked.priority,
        asked.release_ms,
        None if by is None else by.deadline_ms,
        "" if by is None else by.mode + "T" * by.trace,
        envelope.binary,
        envelope.utf8,
        envelope.require_tls,
        envelope.tls_not_required,
        asked.hold,
    )


def _recipients(item: Intake) -> Iterable[tuple[Any, ...]]:
    message_id, due, claim = item.envelope.id, item.next_attempt_ms, item.claim
    urgency = item.envelope.asked.urgency
    state = State.HELD if item.held else State.QUEUED
    words, at_ms = bulk.storable(item.held), item.envelope.created_ms if item.held else None
    rows = [
        (
            message_id,
            recipient.number,
            recipient.address,
            recipient.domain,
            state.value,
            recipient.attempts,
            due,
            claim,
            recipient.warned,
            0,
            "",
            words,  # the listings show it where the last reply stands
            "",
            at_ms,
            None,
            recipient.notify,
            recipient.orcpt,
            urgency,
            recipient.route,
            recipient.given,
            recipient.sender,
            recipient.role.value,
            "",
            None,
        )
        for recipient in item.recipients
    ]
    if not item.removed:
        return rows
    return [_removed(item, row) if row[1] in item.removed else row for row in rows]


_STATE, _CLAIM, _FINISHED_MS = (
    [column.name for column in recipients.columns].index(name)
    for name in ("state", "claim", "finished_ms")
)


def _removed(item: Intake, row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the row of a recipient that will not get the message."""
    values = list(row)
    values[_STATE], values[_CLAIM] = State.REMOVED.value, None
    values[_FINISHED_MS] = item.envelope.created_ms
    return tuple(values)


def _remarks(item: Intake) -> Iterable[dict[str, Any]]:
    held = (Remark("hold", item.held),) if item.held else ()
    return [
        {
            "message_id": item.envelope.id,
            "recipient": remark.recipient,
            "at_ms": item.envelope.created_ms,
            "verb": remark.verb,
            "who": remark.who,
            "text": bulk.storable(remark.text),
        }
        for remark in (*item.remarks, *held)
    ]


def _chunks(item: Intake) -> Iterable[tuple[str, int, bytes]]:
    if item.finished:
        return ()
    message_id, begin = item.envelope.id, bool(item.head) + item.stored
    rows = [(message_id, number, data) for number, data in enumerate(item.chunks, begin)]
    return [(message_id, 0, item.head), *rows] if item.head else rows
