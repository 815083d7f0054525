"""``mta queue bounce``: give recipients up, and tell the sender (RFC 3464).

The report is made and taken in by the transaction that gives the recipients up, so that
there is exactly one.  One report speaks of all recipients of a message in the same step.
The null sender gets none (RFC 5321 §6.1).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any, TypeAlias

import click

from mta.admin.exits import Exit
from mta.admin.filters import Chosen, filters
from mta.admin.invocation import Invocation, pass_invocation
from mta.admin.queue_verbs import Consent, Verb, carry_out, consent
from mta.admin.render import note, visible
from mta.config import Settings
from mta.config.build_addresses import addresses
from mta.mail.envelope import Envelope
from mta.mail.outcome import Outcome, Verdict
from mta.queue.bounce import Report, reports, returned_octets
from mta.queue.settings import QueueSettings
from mta.spool import listing, operate
from mta.spool.filters import Filter
from mta.spool.intake import Intake
from mta.spool.listing import QueueRow
from mta.spool.operate import Ruling
from mta.spool.outcomes import Settled
from mta.spool.schema import WAITING, State

_ENHANCED = "5.7.1"  # RFC 3463 §3.8: not authorized, message refused
_REASON = "Given up by the operator of the mail relay"


Signs: TypeAlias = Callable[[Sequence[Report]], tuple[Report, ...]]


@dataclass(frozen=True, slots=True)
class Reporting:
    """What reports are made with; ``sign`` signs them where there is a key."""

    settings: QueueSettings
    sign: Signs
    reason: str


@click.command()
@filters
@consent
@click.option(
    "--reason", metavar="TEXT", default=_REASON, show_default=True, help="What the sender is told."
)
@pass_invocation
def bounce(
    invocation: Invocation,
    *,
    chosen: Chosen,
    everything: bool,
    yes: bool,
    dry_run: bool,
    reason: str,
) -> Exit:
    """Give recipients up and send the sender a report.

    Nobody is told about mail of the null sender.
    """
    from mta.config.build import queue_settings  # noqa: PLC0415 - brings the whole service along

    settings = invocation.settings
    reporting = Reporting(
        queue_settings(settings, addresses(settings)), _signature(settings), reason
    )
    step = partial(_step, reporting=reporting)
    verb = Verb("bounce", "bounced", WAITING, step, "", makes_mail=True)
    return carry_out(invocation, verb, chosen, Consent(everything, yes, dry_run))


def _signature(settings: Settings) -> Signs:
    """Return what signs reports; they go unsigned if we may not read the keys."""
    # These bring the whole service along, and cryptography.
    from mta.config.build import signing_rules  # noqa: PLC0415
    from mta.dkim.store import KeyUnusable  # noqa: PLC0415
    from mta.queue.signing import signed_now  # noqa: PLC0415

    try:
        return partial(signed_now, rules=signing_rules(settings))
    except KeyUnusable as error:
        note(f"reports go unsigned: {visible(str(error))}")
        return tuple


def _step(
    conn: Any,
    wanted: Filter,
    now_ms: int,
    who: str,
    limit: int,
    *,
    reporting: Reporting,
) -> int:
    """Bounce up to ``limit`` recipients in the transaction of ``conn``; return how many."""
    rows = listing.page(conn, wanted, now_ms, limit)
    rulings = []
    for message_id, of_message in groupby(rows, lambda row: row.envelope.id):
        group = tuple(of_message)
        about = _reports(conn, group, reporting, now_ms)
        numbers = tuple(row.recipient.number for row in group)
        rulings.append(Ruling(message_id, numbers, _ENHANCED, reporting.reason, about))
    recorded = operate.bounce(conn, rulings, now_ms, who) if rulings else []
    return sum(
        len(ruling.recipients)
        for ruling, result in zip(rulings, recorded, strict=True)
        if not result.lost
    )


def _reports(
    conn: Any, group: tuple[QueueRow, ...], reporting: Reporting, now_ms: int
) -> tuple[Intake, ...]:
    """Make the reports that are due about recipients of one message."""
    envelope = group[0].envelope
    settled = tuple(
        Settled(row.recipient, _outcome(row, reporting.reason), State.BOUNCED, now_ms)
        for row in group
    )
    try:
        chunk = _returned(conn, envelope, reporting.settings)
        made = reports(envelope, settled, chunk, reporting.settings, now_ms)
    except ValueError as error:  # a sender that no mail can be sent to
        note(f"{envelope.id}: no report to {visible(envelope.sender)}: {visible(str(error))}")
        return ()
    return tuple(report.intake for report in reporting.sign(made))


def _outcome(row: QueueRow, reason: str) -> Outcome:
    return Outcome(row.recipient.number, Verdict.FAILED, 0, _ENHANCED, _words(row, reason), "")


def _words(row: QueueRow, reason: str) -> str:
    """The reason, and what the last attempt was told, which the sender can do more with."""
    if row.last is None:
        return reason
    last = f"{row.last.code or ''} {row.last.enhanced} {row.last.text}"
    return f"{reason}; the last attempt was answered: {' '.join(last.split())}"


def _returned(conn: Any, envelope: Envelope, settings: QueueSettings) -> bytes:
    """Read what a report may need: the whole message, or its beginning."""
    chunks = listing.chunks(conn, envelope.id)
    try:
        if envelope.size <= returned_octets(envelope, settings):
            return b"".join(chunks)
        return next(chunks, b"")
    except LookupError:  # the report goes without the header
        return b""
