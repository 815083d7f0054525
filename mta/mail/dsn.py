"""Delivery status notifications: what became of a message, for people and for programs.

A report is a ``multipart/report`` (RFC 6522) of three parts: words for the sender, the same
facts as fields (RFC 3464), and the header of the message that it is about, or all of it.
Every octet of it is ASCII, whatever the peer or the message said, so that any mail server takes
it; unless its reader's own address is not: then it needs SMTPUTF8 anyhow, and has the forms of
RFC 6533 in UTF-8.

Nothing from outside is trusted: replies, addresses and header fields are cut, and whatever
is not printable in them, line ends first of all, becomes a space before it gets into a field.

Whether anybody wants the report (RFC 3461) is ``queue.bounce``'s business.
"""

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.parser import BytesHeaderParser
from email.utils import format_datetime
from textwrap import wrap

from mta.mail import xtext
from mta.mail.address import ascii_domain, split
from mta.mail.cause import sentence
from mta.mail.envelope import Envelope, Recipient, Role
from mta.mail.outcome import Outcome
from mta.mail.queue_id import QueueId
from mta.mail.status import advice, of_class, words

_REPLY_LIMIT = 800  # characters of a reply that are passed on
_LINE_LIMIT = 998  # octets, RFC 5322 §2.1.1
_HEADER_LIMIT = 64 * 1024
_EIGHT_BIT = "Content-Transfer-Encoding: 8bit\r\n"
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,900}>\Z")


@dataclass(frozen=True, slots=True)
class Notice:
    """What the report says about one recipient."""

    recipient: Recipient
    outcome: Outcome  # the last one; its text may be anything
    expired: bool = False  # given up because the time was over
    arrived: bool = False  # of success: nobody else takes it over, it is where it is to be


@dataclass(frozen=True, slots=True)
class Report:
    """One report, about some of the recipients of ``original``."""

    id: QueueId  # of the report itself
    to: str  # whom it is sent to
    host_name: str  # who says so
    now_ms: int
    original: Envelope
    notices: tuple[Notice, ...]
    delayed: bool = False  # a warning: it is still being tried
    success: bool = False  # delivered, or passed on to a hop that reports nothing
    copy: bool = False  # for a postmaster, not for the sender
    header: bytes = b""  # of the original message; b"" if it could not be read
    whole: bytes | None = None  # the original message, where it is to be returned

    @property
    def utf8(self) -> bool:
        """Whether it can only be sent with SMTPUTF8, and may thus be in UTF-8 (RFC 6533)."""
        return not split(self.to)[0].isascii()


def header_of(chunk: bytes) -> bytes:
    """Return the header at the beginning of a message, cut at a line end if it is very long."""
    if chunk.startswith(b"\r\n"):
        return b""
    end = chunk.find(b"\r\n\r\n", 0, _HEADER_LIMIT)
    if end < 0:
        end = len(chunk) if len(chunk) <= _HEADER_LIMIT else chunk.rfind(b"\r\n", 0, _HEADER_LIMIT)
    header = chunk[: max(end, 0)]
    return header if not header or header.endswith(b"\r\n") else header + b"\r\n"


def compose(report: Report) -> bytes:
    """Return the report as a message: CRLF line ends, ASCII, no line above 998 octets."""
    parts = [_human_part(report), _status_part(report)]
    if report.whole is not None and _plain(report.whole):
        parts.append(b"Content-Type: message/rfc822\r\n\r\n" + report.whole)
    elif report.header:
        parts.append(_header_part(report))
    boundary = _boundary(report.id, parts)
    top = "".join(_field(name, value, utf8=report.utf8) for name, value in _top_fields(report))
    top += _EIGHT_BIT if report.utf8 else ""
    top += (
        "MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status;\r\n"
        f' boundary="{boundary}"\r\n\r\n'
    )
    delimiter = f"\r\n--{boundary}".encode("ascii")
    body = b"".join(delimiter + b"\r\n" + part for part in parts)
    return top.encode("utf-8") + body.removeprefix(b"\r\n") + delimiter + b"--\r\n"


def _top_fields(report: Report) -> Iterator[tuple[str, str]]:
    yield "Date", _date(report.now_ms)
    yield "From", f"Mail Delivery System <MAILER-DAEMON@{report.host_name}>"
    yield "To", _to(report.to)
    yield "Subject", _subject(report)
    yield "Message-ID", f"<{report.id}@{report.host_name}>"
    if _MESSAGE_ID.match(report.original.message_id):
        yield "In-Reply-To", report.original.message_id
        yield "References", report.original.message_id
    yield "Auto-Submitted", "auto-replied"  # RFC 3834 §5


def _to(address: str) -> str:
    local, domain = split(address)
    if not local.isascii():
        return f"<{address}>"
    return f"<{local}@{ascii_domain(domain)}>" if domain else f"<{local}>"


def _subject(report: Report) -> str:
    what = "Delayed" if report.delayed else "Not delivered"
    if report.success:
        what = "Delivered" if all(one.arrived for one in report.notices) else "Passed on"
    whose = "message" if report.copy else "your message"
    whom = f"{len(report.notices)} recipients"
    if len(report.notices) == 1:
        address = report.notices[0].recipient.address
        whom = _printable(address, 100) if address.isascii() else "one recipient"
    return f"{what}: {whose} to {whom}"


def _human_part(report: Report) -> bytes:
    text = "\r\n".join(_human_lines(report)) + "\r\n"
    return _encoded("text/plain", text.encode("utf-8"))


def _human_lines(report: Report) -> Iterator[str]:
    yield f"This is the mail system at {_printable(report.host_name, 255)}."
    yield ""
    yield from _about_message(report)
    yield ""
    yield _heading(report)
    for notice in report.notices:
        yield ""
        yield from _about_recipient(report, notice)
    yield ""
    if report.delayed:
        until = _date(report.original.expires_ms)
        yield from wrap(
            "You need not do anything: delivery is tried again and again. If it has not "
            f"succeeded by {until}, you will get another report.",
            72,
        )
    elif report.success:
        said = "You asked to be told."
        if not all(one.arrived for one in report.notices):
            said += (
                " A server that a message was passed on to may not send reports of its own:"
                " what it does with the message is not known here."
            )
        yield from wrap(said, 72)
    else:
        yield "Nothing more will be tried for these recipients."
    yield ""
    yield f"When you ask somebody about this, name the message {report.original.id}."


def _heading(report: Report) -> str:
    if report.delayed:
        return "It has NOT BEEN DELIVERED YET to:"
    if not report.success:
        return "It could NOT BE DELIVERED to:"
    if all(one.arrived for one in report.notices):
        return "It HAS BEEN DELIVERED to:"
    return "It HAS BEEN PASSED ON to the mail server responsible for:"


def _about_message(report: Report) -> Iterator[str]:
    sender = _printable(report.original.sender, 320) or "the null sender (it is a report itself)"
    if report.copy:
        yield f"A message from {sender}:"
    else:
        yield "You sent a message:"
    yield ""
    subject = _original_subject(report.header)
    if subject:
        yield from wrap(
            f"Subject: {subject}", 72, initial_indent="    ", subsequent_indent="      "
        )
    yield (
        f"    Received from you on {_date(report.original.created_ms)}"
        if not report.copy
        else (f"    Received on {_date(report.original.created_ms)}")
    )


def _about_recipient(report: Report, notice: Notice) -> Iterator[str]:
    outcome = notice.outcome
    yield f"    {_printable(notice.recipient.address, 320)}"
    if notice.recipient.given:
        yield from _indented(f"(you wrote to {_printable(notice.recipient.given, 320)})")
    said = sentence(outcome.cause) or words(outcome.enhanced)
    if notice.expired:
        said = f"{words('4.4.7')} {said}" if outcome.enhanced != "4.4.7" else words("4.4.7")
    if said:
        yield from _indented(said)
    reply = _printable(outcome.reply, _REPLY_LIMIT)
    if outcome.remote and outcome.peer is not None:
        name = "of the mailboxes" if outcome.peer.is_path else _printable(outcome.peer.host, 255)
        yield from _indented(f"The server {name} answered:")
    elif reply:
        yield from _indented("What was found:")
    if reply:
        yield from _indented(reply, 10)
    if not (report.delayed or report.copy or report.success):
        yield from _indented(advice(outcome.enhanced))


def _indented(text: str, indent: int = 6) -> list[str]:
    margin = " " * indent
    return wrap(
        text,
        76,
        initial_indent=margin,
        subsequent_indent=margin,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _original_subject(header: bytes) -> str:
    raw = BytesHeaderParser().parsebytes(header)["Subject"]
    if raw is None:
        return ""
    try:
        return _printable(str(make_header(decode_header(str(raw)))), 200)
    except (HeaderParseError, LookupError, ValueError):
        return _printable(str(raw), 200)


def _header_part(report: Report) -> bytes:
    if not (report.utf8 or report.original.utf8) or report.header.isascii():
        return _encoded("text/rfc822-headers", report.header)
    if report.utf8 and _plain(report.header, utf8=True):
        top = f"Content-Type: message/global-headers\r\n{_EIGHT_BIT}\r\n"
        return top.encode("ascii") + report.header
    return _encoded("message/global-headers", report.header, charset=False)  # RFC 6533 §6.3


def _status_part(report: Report) -> bytes:
    utf8 = report.utf8
    lines = [_field(name, value, utf8=utf8) for name, value in _message_fields(report)]
    for notice in report.notices:
        lines.append("\r\n")
        fields = _recipient_fields(report, notice)
        lines += [_field(name, value, utf8=utf8) for name, value in fields]
    kind = f"global-delivery-status\r\n{_EIGHT_BIT}" if utf8 else "delivery-status\r\n"
    return f"Content-Type: message/{kind}\r\n{''.join(lines)}".encode()


def _message_fields(report: Report) -> Iterator[tuple[str, str]]:
    """RFC 3464 §2.2, RFC 4865 §5.1.2, RFC 2852 §5."""
    asked = report.original.asked
    if asked.envid:
        yield "Original-Envelope-Id", _decoded(asked.envid)
    yield "Reporting-MTA", f"dns; {report.host_name}"
    yield "Arrival-Date", _date(report.original.created_ms)
    if asked.deliver_by is not None:
        yield "Deliver-By-Date", _date(asked.deliver_by.deadline_ms)
    if asked.release_ms is not None:
        at = datetime.fromtimestamp(asked.release_ms // 1000, UTC)
        yield "Future-Release-Request", asked.hold or f"until;{at:%Y-%m-%dT%H:%M:%SZ}"
    yield "X-Queue-ID", report.original.id


def _recipient_fields(report: Report, notice: Notice) -> Iterator[tuple[str, str]]:
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
    yield "Last-Attempt-Date", _date(report.now_ms)
    if report.delayed:
        yield "Will-Retry-Until", _date(report.original.expires_ms)


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


def _field(name: str, value: str, *, utf8: bool = False) -> str:
    """Return a header field, folded; this is where nothing can break out of its line."""
    encoding = "utf-8" if utf8 else "ascii"
    octets = _printable(value, 2 * _REPLY_LIMIT).encode(encoding, "backslashreplace")
    lines = wrap(
        octets[: _LINE_LIMIT - 50].decode(encoding, "ignore"),
        76,
        initial_indent=f"{name}: ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\r\n".join(lines or [f"{name}:"]) + "\r\n"


def _printable(text: str, limit: int) -> str:
    """Return ``text`` on one line, without control, format or direction characters."""
    clean = "".join(char if char.isprintable() else " " for char in text[: 4 * limit])
    clean = " ".join(clean.split())
    return clean if len(clean) <= limit else clean[: limit - 3] + "..."


def _date(at_ms: int) -> str:
    return format_datetime(datetime.fromtimestamp(at_ms / 1000, UTC).replace(microsecond=0))


def _plain(data: bytes, *, utf8: bool = False) -> bool:
    """Tell whether ``data`` may stand in a message as it is (7bit or 8bit, RFC 2045 §2.7, §2.8)."""
    if not (utf8 or data.isascii()) or b"\0" in data:
        return False
    if data.count(b"\n") != data.count(b"\r\n") or data.count(b"\r") != data.count(b"\r\n"):
        return False
    return all(len(line) <= _LINE_LIMIT for line in data.split(b"\r\n"))


def _encoded(content_type: str, data: bytes, *, charset: bool = True) -> bytes:
    """Return a part, quoted-printable where it cannot stand as it is."""
    if _plain(data):
        return f"Content-Type: {content_type}; charset=us-ascii\r\n\r\n".encode("ascii") + data
    quoted = binascii.b2a_qp(data.replace(b"\r\n", b"\n"), istext=True)
    return (
        f"Content-Type: {content_type}{'; charset=utf-8' if charset else ''}\r\n"
        "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    ).encode("ascii") + quoted.replace(b"\r", b"=0D").replace(b"\n", b"\r\n")


def _boundary(report_id: str, parts: list[bytes]) -> str:
    """Return a boundary that occurs in no part (RFC 2046 §5.1.1)."""
    number = 0
    while True:
        boundary = f"=_{report_id}.{number}"
        if not any(boundary.encode("ascii") in part for part in parts):
            return boundary
        number += 1
