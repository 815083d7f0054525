"""Which reports are due about a message, to whom, and as what they enter the queue.

One report for all recipients that failed with one attempt, one for all that are late, one for
all whose arrival was asked for; in each only those for whom the sender wants it (NOTIFY, RFC
3461 §4.1).  What the sender does not want to hear the postmaster may still have a copy of.
The sender of a report is the null sender, and nobody is told about mail of the null
sender (RFC 5321 §4.5.5, §6.1): that is what keeps reports from chasing each other.  The
postmaster may have copies: of "failure" and "delay" reports, and of "double" failures, those of
reports themselves; a copy that fails is never reported to the postmaster again.

A report to an address of ours goes to what that stands for, as mail from elsewhere would: the
sender may be an alias, and the owner of a list nearly always is.

A report about a message with REQUIRETLS has its header only, and goes with REQUIRETLS itself
(RFC 8689 §5).

A report enters unclaimed and due at once, in the transaction that records the outcome;
the scheduler is kicked after its commit.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from mta.mail import dsn
from mta.mail.address import domain_of
from mta.mail.envelope import (
    NOTHING,
    Asked,
    Body,
    Envelope,
    MessageKind,
    Origin,
    Recipient,
)
from mta.mail.queue_id import new_queue_id
from mta.mail.report import Notice, header_of
from mta.mail.report import Report as Content
from mta.policy.aliases import Endless, LocalAddresses, UnknownAddress
from mta.queue.settings import QueueSettings
from mta.queue.settling import arrival, warns
from mta.spool.errors import SpoolUnavailable
from mta.spool.intake import Intake, Remark
from mta.spool.outcomes import Settled
from mta.spool.schema import State


@dataclass(frozen=True, slots=True)
class Report:
    """A report for the spool; ``kind``: "failure", "delay", "success" or "postmaster copy"."""

    kind: str
    intake: Intake


async def first_chunk(body: Body) -> bytes:
    """Read the beginning of a message; b"" if it cannot be read: the report goes without it."""
    try:
        return await body.chunk(0) if body.count else b""
    except (LookupError, SpoolUnavailable):
        return b""


async def whole_body(body: Body) -> bytes:
    """Read all of a message; b"" if it cannot be read."""
    try:
        return b"".join([await body.chunk(number) for number in range(body.count)])
    except (LookupError, SpoolUnavailable):
        return b""


def returned_octets(original: Envelope, settings: QueueSettings) -> int:
    """How large a message may be to come back whole (RET, RFC 3461 §4.3).

    With REQUIRETLS none is, whatever RET says (RFC 8689 §5).
    """
    ret = original.asked.ret
    if ret == "HDRS" or original.require_tls:
        return 0
    return settings.return_full_octets if ret == "FULL" else settings.return_whole_octets


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
        Notice(one.recipient, one.outcome, one.state is State.EXPIRED)
        for one in settled
        if one.state in (State.BOUNCED, State.EXPIRED)
    )
    late = tuple(Notice(one.recipient, one.outcome) for one in settled if warns(one))
    arrived = tuple(
        Notice(one.recipient, one.outcome, arrived=word == "delivered")
        for one in settled
        if (word := arrival(original, one))
    )
    made: list[Report] = []
    for kind, notices in (("failure", failed), ("delay", late), ("success", arrived)):
        for to, some in _readers(original, notices, kind, settings) if notices else ():
            about = (now_ms, to, kind, some is None)
            made.append(_report(original, some or notices, chunk, settings, about))
    return tuple(made)


def _readers(
    original: Envelope, notices: tuple[Notice, ...], kind: str, settings: QueueSettings
) -> Iterator[tuple[str, tuple[Notice, ...] | None]]:
    """Yield who is told, and of which recipients; None: all, as a copy for the postmaster."""
    postmaster = settings.postmaster
    concerned = {original.sender.lower(), *(one.recipient.address.lower() for one in notices)}
    if original.kind is MessageKind.DSN or not original.sender:
        kind = "double"
    else:
        for sender, some in _by_sender(original, notices).items():
            concerned.add(sender.lower())
            # Success was asked for, or they would not be here
            if wanted := tuple(
                one for one in some if kind == "success" or one.recipient.wants(kind.upper())
            ):
                yield sender, wanted
    if postmaster and kind in settings.postmaster_copies and postmaster.lower() not in concerned:
        yield postmaster, None


def _by_sender(original: Envelope, notices: tuple[Notice, ...]) -> dict[str, list[Notice]]:
    """Gather what the sender is told, and what owners of lists are (RFC 5321 §3.9.2)."""
    told: dict[str, list[Notice]] = {}
    for one in notices:
        told.setdefault(one.recipient.sender or original.sender, []).append(one)
    return told


def _report(
    original: Envelope,
    notices: tuple[Notice, ...],
    chunk: bytes,
    settings: QueueSettings,
    about: tuple[int, str, str, bool],
) -> Report:
    now_ms, to, kind, copy = about
    if not copy and all(one.recipient.sender for one in notices):  # to the owner of a list
        asked = replace(original.asked, ret="", envid="")  # RFC 3461 §5.2.7.1 (b)
        original = replace(original, asked=asked)
    report_id = new_queue_id(now_ms)
    # Only a failure brings the message back (RFC 3461 §4.3)
    most = returned_octets(original, settings) if kind == "failure" else 0
    whole = original.size <= most and original.size == len(chunk)
    content = dsn.compose(
        Content(
            report_id,
            to,
            settings.host_name,
            now_ms,
            original,
            notices,
            kind == "delay",
            kind == "success",
            copy,
            header_of(chunk),
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
        utf8=not header_of(content).isascii(),
        require_tls=original.require_tls,
        origin=Origin(),
        asked=Asked(priority=original.asked.priority) if original.asked.priority else NOTHING,
    )
    recipients, remarks = _led(to, settings.addresses)
    intake = Intake(envelope, recipients, (content,), now_ms, remarks=remarks)
    return Report("postmaster copy" if copy else kind, intake)


def _led(
    to: str, addresses: LocalAddresses | None
) -> tuple[tuple[Recipient, ...], tuple[Remark, ...]]:
    """Return whom a report for ``to`` goes to, and by which aliases.

    An address that leads nowhere is left as it is: what refuses it there says why.
    """
    domain = domain_of(to)
    plain = (Recipient(0, to, domain),)
    if addresses is None or not addresses.ours(domain):
        return plain, ()
    try:
        found = addresses.expand(to)
    except (UnknownAddress, Endless):
        return plain, ()
    if not found.changed:
        return plain, ()
    recipients = tuple(
        Recipient(number, one.address, domain_of(one.address), given=to)
        for number, one in enumerate(found.finals)
    )
    return recipients, tuple(Remark("alias", text, "addresses") for text in found.told())
