"""Delivery status notifications: what became of a message, for people and for programs.

A report is a ``multipart/report`` (RFC 6522) of three parts: words for the sender, the same
facts as fields (RFC 3464), and the header of the message that it is about, or all of it.
Every octet of it is ASCII, whatever the peer or the message said, so that any mail server takes
it; unless its reader's own address is not: then it needs SMTPUTF8 anyhow, and has the forms of
RFC 6533 in UTF-8.

What it says is made by ``report_words`` and ``report_fields``; here it becomes a message, and
nothing that stands in it can break out of its line or its part.

Whether anybody wants the report (RFC 3461) is ``queue.bounce``'s business.
"""

import binascii
import re
from collections.abc import Iterator
from textwrap import wrap

from mta.mail.address import ascii_domain, split
from mta.mail.report import REPLY_LIMIT, Report, date, printable
from mta.mail.report_fields import message_fields, recipient_fields
from mta.mail.report_words import human_lines

_LINE_LIMIT = 998  # octets, RFC 5322 §2.1.1
_EIGHT_BIT = "Content-Transfer-Encoding: 8bit\r\n"
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,900}>\Z")


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
    yield "Date", date(report.now_ms)
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
        whom = printable(address, 100) if address.isascii() else "one recipient"
    return f"{what}: {whose} to {whom}"


def _human_part(report: Report) -> bytes:
    text = "\r\n".join(human_lines(report)) + "\r\n"
    return _encoded("text/plain", text.encode("utf-8"))


def _header_part(report: Report) -> bytes:
    if not (report.utf8 or report.original.utf8) or report.header.isascii():
        return _encoded("text/rfc822-headers", report.header)
    if report.utf8 and _plain(report.header, utf8=True):
        top = f"Content-Type: message/global-headers\r\n{_EIGHT_BIT}\r\n"
        return top.encode("ascii") + report.header
    return _encoded("message/global-headers", report.header, charset=False)  # RFC 6533 §6.3


def _status_part(report: Report) -> bytes:
    utf8 = report.utf8
    lines = [_field(name, value, utf8=utf8) for name, value in message_fields(report)]
    for notice in report.notices:
        lines.append("\r\n")
        fields = recipient_fields(report, notice)
        lines += [_field(name, value, utf8=utf8) for name, value in fields]
    kind = f"global-delivery-status\r\n{_EIGHT_BIT}" if utf8 else "delivery-status\r\n"
    return f"Content-Type: message/{kind}\r\n{''.join(lines)}".encode()


def _field(name: str, value: str, *, utf8: bool = False) -> str:
    """Return a header field, folded; this is where nothing can break out of its line."""
    encoding = "utf-8" if utf8 else "ascii"
    octets = printable(value, 2 * REPLY_LIMIT).encode(encoding, "backslashreplace")
    lines = wrap(
        octets[: _LINE_LIMIT - 50].decode(encoding, "ignore"),
        76,
        initial_indent=f"{name}: ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\r\n".join(lines or [f"{name}:"]) + "\r\n"


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
