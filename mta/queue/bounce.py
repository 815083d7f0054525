"""Which reports are due about a message, to whom, and as what they enter the queue.

One report for all recipients that failed with one attempt, one for all that are late.
The sender of a report is the null sender, and nobody is told about mail of the null
sender (RFC 5321 §4.5.5, §6.1): that is what keeps reports from chasing each other.  The
postmaster may have copies: of "failure" and "delay" reports, and of "double" failures, those of
reports themselves; a copy that fails is never reported to the postmaster again.

A report about a message with REQUIRETLS has its header only, and goes with REQUIRETLS itself
(RFC 8689 §5).

A report enters unclaimed and due at once, in the transaction that records the outcome;
the scheduler is kicked after its commit.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from mta.mail import dsn
from mta.mail.address import domain_of
from mta.mail.envelope import Body, Envelope, MessageKind, Origin, Recipient
from mta.mail.queue_id import new_queue_id
from mta.queue.settings import QueueSettings
from mta.queue.settling import warns
from mta.spool.errors import SpoolUnavailable
from mta.spool.intake import Intake
from mta.spool.outcomes import Settled
from mta.spool.schema import State


@dataclass(frozen=True, slots=True)
class Report:
    """A report ready for the spool; ``kind`` is "failure", "delay" or "postmaster copy"."""

    kind: str
    intake: Intake


async def first_chunk(body: Body) -> bytes:
    """Read the beginning of a message; b"" if it cannot be read: the report goes without it."""
    try:
        return await body.chunk(0) if body.count else b""
    except (LookupError, SpoolUnavailable):
        return b""


def reports(
    original: Envelope,
    settled: tuple[Settled, ...],
    chunk: bytes,
    settings: QueueSettings,
    now_ms: int,
) -> tuple[Report, ...]:
    """Make the reports that are due now that ``settled`` is what became of the recipients.

    ``chunk`` is the beginning of the message.  Raises ``ValueError`` if the sender's domain
    is no domain.
    """
    failed = tuple(
        dsn.Notice(one.recipient, one.outcome, one.state is State.EXPIRED)
        for one in settled
        if one.state in (State.BOUNCED, State.EXPIRED)
    )
    late = tuple(dsn.Notice(one.recipient, one.outcome) for one in settled if warns(one))
    made: list[Report] = []
    for notices, delayed in ((failed, False), (late, True)):
        if notices:
            for to, copy in _readers(original, notices, delayed, settings):
                made.append(
                    _report(original, notices, chunk, settings, (now_ms, to, delayed, copy))
                )
    return tuple(made)


def _readers(
    original: Envelope, notices: tuple[dsn.Notice, ...], delayed: bool, settings: QueueSettings
) -> Iterator[tuple[str, bool]]:
    """Yield who is told, and whether it is a copy for the postmaster."""
    postmaster = settings.postmaster
    kind = "delay" if delayed else "failure"
    if original.kind is MessageKind.DSN or not original.sender:
        kind = "double"
    else:
        yield original.sender, False
    concerned = {original.sender.lower(), *(one.recipient.address.lower() for one in notices)}
    if postmaster and kind in settings.postmaster_copies and postmaster.lower() not in concerned:
        yield postmaster, True


def _report(
    original: Envelope,
    notices: tuple[dsn.Notice, ...],
    chunk: bytes,
    settings: QueueSettings,
    about: tuple[int, str, bool, bool],
) -> Report:
    now_ms, to, delayed, copy = about
    report_id = new_queue_id(now_ms)
    whole = original.size <= settings.return_whole_octets and original.size == len(chunk)
    whole = whole and not original.require_tls  # RFC 8689 §5: as with RET=HDRS
    content = dsn.compose(
        dsn.Report(
            report_id,
            to,
            settings.host_name,
            now_ms,
            original,
            notices,
            delayed,
            copy,
            dsn.header_of(chunk),
            chunk if whole and chunk else None,
        )
    )
    envelope = Envelope(
        report_id,
        "",
        len(content),
        now_ms,
        now_ms + int(settings.expiry_s * 1000),
        kind=MessageKind.DSN,
        message_id=f"<{report_id}@{settings.host_name}>",
        eight_bit=not content.isascii(),
        utf8=not dsn.header_of(content).isascii(),
        require_tls=original.require_tls,
        origin=Origin(),
    )
    kind = "postmaster copy" if copy else "delay" if delayed else "failure"
    recipient = Recipient(0, to, domain_of(to))
    return Report(kind, Intake(envelope, (recipient,), (content,), now_ms))
