"""The part of a report that programs read: names and values of its fields (RFC 3464).

Values are as long and as strange as what was said; who writes them into a message cuts and cleans
them (``dsn``).
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from mta.mail import xtext
from mta.mail.envelope import Role
from mta.mail.report import Notice, Report, date
from mta.mail.status import of_class


def message_fields(report: Report) -> Iterator[tuple[str, str]]:
    """RFC 3464 §2.2, RFC 4865 §5.1.2, RFC 2852 §5."""
    asked = report.original.asked
    if asked.envid:
        yield "Original-Envelope-Id", _decoded(asked.envid)
    yield "Reporting-MTA", f"dns; {report.host_name}"
    yield "Arrival-Date", date(report.original.created_ms)
    if asked.deliver_by is not None:
        yield "Deliver-By-Date", date(asked.deliver_by.deadline_ms)
    if asked.release_ms is not None:
        at = datetime.fromtimestamp(asked.release_ms // 1000, UTC)
        yield "Future-Release-Request", asked.hold or f"until;{at:%Y-%m-%dT%H:%M:%SZ}"
    yield "X-Queue-ID", report.original.id


def recipient_fields(report: Report, notice: Notice) -> Iterator[tuple[str, str]]:
    """RFC 3464 §2.3."""
    outcome = notice.outcome
    if notice.recipient.orcpt:
        yield "Original-Recipient", _original_recipient(notice.recipient.orcpt, utf8=report.utf8)
    yield "Final-Recipient", _typed_address(notice.recipient.address, utf8=report.utf8)
    yield "Action", _action(report, notice)
    yield "Status", _status(report, notice)
    if outcome.remote and outcome.peer is not None and not outcome.peer.is_path:
        yield "Remote-MTA", f"dns; {outcome.peer.host}"
    if outcome.remote:
        yield "Diagnostic-Code", f"smtp; {outcome.reply}"
    elif outcome.text:
        yield "Diagnostic-Code", f"x-mta; {outcome.text}"
    if outcome.cause:
        yield "X-MTA-Cause", outcome.cause
    yield "Last-Attempt-Date", date(report.now_ms)
    if report.delayed:
        yield "Will-Retry-Until", date(report.original.expires_ms)


def _action(report: Report, notice: Notice) -> str:
    if report.success:
        if notice.recipient.role is Role.EXPANDED:
            return "expanded"  # RFC 3464 §2.3.3
        return "delivered" if notice.arrived else "relayed"
    return "delayed" if report.delayed else "failed"


def _status(report: Report, notice: Notice) -> str:
    by = report.original.asked.deliver_by
    if notice.expired:
        returned = (
            by is not None and by.mode == "R" and report.original.expires_ms >= by.deadline_ms
        )
        return "5.4.7" if returned else "4.4.7"  # RFC 3463 §3.5: delivery time expired
    if report.delayed and by is not None and by.mode == "N" and report.now_ms >= by.deadline_ms:
        return "4.4.7"  # RFC 2852 §4.1.3
    expected = "2" if report.success else "4" if report.delayed else "5"
    return of_class(notice.outcome.enhanced, expected)


def _decoded(text: str) -> str:
    try:
        return xtext.decode(text)
    except ValueError:  # not from our own door: shown as it stands
        return text


def _original_recipient(orcpt: str, *, utf8: bool) -> str:
    kind, _, address = orcpt.partition(";")
    if kind.lower() != "utf-8":
        return f"{kind}; {_decoded(address)}"
    try:
        return _typed_address(xtext.decode_utf8(address), utf8=utf8, kind=kind)
    except ValueError:
        return f"{kind}; {address}"


def _typed_address(address: str, *, utf8: bool, kind: str = "") -> str:
    """Write an address behind its type (RFC 6533 §3); ``kind``: where it is given."""
    kind = kind or ("rfc822" if address.isascii() else "utf-8")
    beyond = kind.lower() == "utf-8" and not utf8
    return f"{kind}; {xtext.encode_utf8(address) if beyond else address}"
