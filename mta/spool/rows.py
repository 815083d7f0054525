"""Rows of the spool as values of ``mta.mail``."""

from typing import Any

from sqlalchemy import Row

from mta.mail.envelope import (
    NOTHING,
    Asked,
    DeliverBy,
    Envelope,
    MessageKind,
    Origin,
    Recipient,
    Role,
)
from mta.mail.queue_id import QueueId
from mta.spool.schema import messages, recipients

ENVELOPE = [
    messages.c.id,
    messages.c.sender,
    messages.c.size,
    messages.c.eight_bit,
    messages.c.kind,
    messages.c.created_ms,
    messages.c.expires_ms,
    messages.c.message_id.label("header_id"),
    messages.c.listener,
    messages.c.client_address,
    messages.c.client_name,
    messages.c.login,
    messages.c.protocol,
    messages.c.tls,
    messages.c.chunks,
    messages.c.ret,
    messages.c.envid,
    messages.c.priority,
    messages.c.release_ms,
    messages.c.deadline_ms,
    messages.c.deadline_mode,
    messages.c.binary,
    messages.c.utf8,
    messages.c.require_tls,
    messages.c.tls_not_required,
    messages.c.hold,
]
"""Columns that ``envelope`` reads; ``chunks`` goes with them for whoever wants the body."""

RECIPIENT = [
    recipients.c.number,
    recipients.c.address,
    recipients.c.domain,
    recipients.c.attempts,
    recipients.c.warned,
    recipients.c.notify,
    recipients.c.orcpt,
    recipients.c.route,
    recipients.c.given,
    recipients.c.sender.label("owner"),
    recipients.c.role,
]
"""Columns that ``recipient`` reads."""


def envelope(row: Row[Any]) -> Envelope:
    """Return the envelope in a row that has the columns ``ENVELOPE``."""
    return Envelope(
        id=QueueId(row.id),
        sender=row.sender,
        size=row.size,
        created_ms=row.created_ms,
        expires_ms=row.expires_ms,
        eight_bit=bool(row.eight_bit),
        binary=bool(row.binary),
        utf8=bool(row.utf8),
        require_tls=bool(row.require_tls),
        tls_not_required=bool(row.tls_not_required),
        kind=MessageKind(row.kind),
        message_id=row.header_id,
        origin=Origin(
            listener=row.listener,
            client_address=row.client_address,
            client_name=row.client_name,
            login=row.login,
            protocol=row.protocol,
            tls=row.tls,
        ),
        asked=_asked(row),
    )


def _asked(row: Row[Any]) -> Asked:
    by = None
    if row.deadline_ms is not None:
        by = DeliverBy(row.deadline_ms, row.deadline_mode[:1], row.deadline_mode.endswith("T"))
    if row.release_ms is None and not (by or row.ret or row.envid or row.priority):
        return NOTHING
    return Asked(row.ret, row.envid, row.release_ms, row.priority, by, row.hold)


def recipient(row: Row[Any], more_attempts: int = 0) -> Recipient:
    """Return the recipient in a row that has the columns ``RECIPIENT``."""
    return Recipient(
        number=row.number,
        address=row.address,
        domain=row.domain,
        attempts=row.attempts + more_attempts,
        warned=bool(row.warned),
        notify=row.notify,
        orcpt=row.orcpt,
        route=row.route,
        given=row.given,
        sender=row.owner,
        role=Role(row.role),
    )
