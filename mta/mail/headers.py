"""The header of a message: what is in it, and the lines that we put on top (RFC 5322 §3.6).

The header is scanned once, with searches over the whole block; there is no object for a
field.  Of the fields themselves nothing is ever changed: signatures cover them.  What goes from
new mail is in ``completion``.

Trusts nothing: what a client said of itself goes into ``Received:`` only in characters
that can't end the line, the comment or the field.  Does not do: look further than the
block it is given (at least 64 KiB of a message, if there are so many).
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from mta.mail.envelope import Origin

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_UNSAFE_IN_NAME = re.compile(r"[^A-Za-z0-9._:\[\]-]")
_UNSAFE_IN_COMMENT = re.compile(r"[^A-Za-z0-9._ -]")
_NAMES = re.compile(rb"\r\n([!-9;-~]+)[ \t]*:")  # obsolete white space too (RFC 5322 §4.5.8)
_FIELD_BEGINS = re.compile(rb"[!-9;-~]+[ \t]*:")
_PRIORITY_FIELD = re.compile(
    rb"^mt-priority[ \t]*:[^\r\n]*(?:\r\n[ \t][^\r\n]*)*(?:\r\n|\Z)", re.IGNORECASE | re.MULTILINE
)
_CFWS = rb"(?:[ \t\r\n]|\([^()\\]*\))*"  # comments in comments are nobody's
_PRIORITY_VALUE = re.compile(rb"[^:]*:" + _CFWS + rb"(-?[1-9]|0)" + _CFWS + rb"\Z")
_MESSAGE_ID = re.compile(rb"[^<\r\n]*(?:\r\n[ \t][^<\r\n]*)?(<[^<>\s]{1,995}>)")


@dataclass(slots=True)
class Header:
    """What a scan has found."""

    end: int  # octets of the header, the empty line not included; all, if there is none
    well_begun: bool  # the first line is a field, or there are no fields and an empty line
    hops: int  # Received fields (RFC 5321 §6.3)
    names: tuple[bytes, ...]  # of the fields, in their order, in lower case
    message_id: str  # with its angle brackets; "" if it is missing or not one
    utf8: bool  # octets above 127 are in it (RFC 6532)
    tls_not_required: bool  # TLS-Required: No (RFC 8689 §3)
    author_at: int  # where the value of the first From field begins; -1 without one


def end_of(block: bytes) -> int:
    """Return how many octets the header has, the empty line not included."""
    end = 0 if block.startswith(b"\r\n") else block.find(b"\r\n\r\n") + 2
    return len(block) if end == 1 else end


def well_begun(block: bytes) -> bool:
    """Tell whether a field stands at the beginning."""
    return _FIELD_BEGINS.match(block) is not None


def scan(block: bytes) -> Header:
    """Scan the header at the beginning of ``block``."""
    end = end_of(block)
    lowered = b"\r\n" + block[:end].lower()
    names = tuple(_NAMES.findall(lowered))
    at = _find(lowered, b"message-id") if b"message-id" in names else -1
    return Header(
        end=end,
        well_begun=end == 0 or well_begun(block),
        hops=names.count(b"received"),
        names=names,
        message_id=_message_id(block, at - 2, end) if at >= 0 else "",
        utf8=not lowered.isascii(),
        tls_not_required=b"tls-required" in names and _tls_not_required(lowered),
        author_at=max(_find(lowered, b"from") - 2, -1) if b"from" in names else -1,
    )


def take_priority(block: bytes, end: int) -> tuple[bytes, int | None]:
    """Take all MT-Priority fields out of a header of ``end`` octets (RFC 6758 §4).

    Returns the block without them, and what the only one says; None if it says nothing valid
    or there are several.
    """
    found = [_PRIORITY_VALUE.match(field) for field in _PRIORITY_FIELD.findall(block, 0, end)]
    rest = _PRIORITY_FIELD.sub(b"", block[:end]) + block[end:]
    valid = found[0] if len(found) == 1 else None
    return rest, int(valid[1]) if valid is not None else None


def _find(lowered: bytes, name: bytes, start: int = 0) -> int:
    """Return where the value of the next field ``name`` begins, or -1.

    White space before the colon is obsolete and still a field (RFC 5322 §4.5.8).
    """
    begin = b"\r\n" + name
    at = lowered.find(begin, start)
    while at >= 0:
        at += len(begin)
        while lowered[at : at + 1] in (b" ", b"\t"):
            at += 1
        if lowered[at : at + 1] == b":":
            return at + 1
        at = lowered.find(begin, at)
    return -1


def _message_id(block: bytes, at: int, end: int) -> str:
    found = _MESSAGE_ID.match(block, at, end)
    return found[1].decode("utf-8", "replace") if found is not None else ""


def _tls_not_required(lowered: bytes) -> bool:
    """Tell whether ``TLS-Required: No`` is there, once and with no other value."""
    at = _find(lowered, b"tls-required")
    if at < 0 or _find(lowered, b"tls-required", at) >= 0:
        return False
    return lowered[at:].partition(b"\r\n")[0].strip() == b"no"


def received(
    origin: Origin,
    host_name: str,
    queue_id: str,
    recipient: str,
    created_ms: int,
    priority: int | None = None,
) -> bytes:
    """Return a ``Received:`` field (RFC 5321 §4.4), its CRLF included.

    ``recipient`` is ``""`` unless the message has exactly one: with more of them the
    field would tell each about the others (RFC 5321 §7.2).  Beyond ASCII it is left out: the
    message might leave without SMTPUTF8.  ``priority`` is what MAIL asked for (RFC 6710 §4.1).
    """
    name = _UNSAFE_IN_NAME.sub("?", origin.client_name) or "unknown"
    address = _UNSAFE_IN_NAME.sub("?", origin.client_address)
    literal = f"IPv6:{address}" if ":" in address else address or "unknown"
    known = f"{_UNSAFE_IN_NAME.sub('?', origin.host_name)} " if origin.host_name else ""
    tls = f" ({_UNSAFE_IN_COMMENT.sub('?', origin.tls)})" if origin.tls else ""
    to = f" for <{recipient}>" if recipient and recipient.isascii() else ""
    urgent = "" if priority is None else f" PRIORITY {priority}"
    return (
        f"Received: from {name} ({known}[{literal}])\r\n"
        f"\tby {host_name} with {origin.protocol}{tls}\r\n"
        f"\tid {queue_id}{to}{urgent};\r\n"
        f"\t{date(created_ms)}\r\n"
    ).encode("ascii", "replace")


def protocol_keyword(
    *, extended: bool, secure: bool, authenticated: bool, utf8: bool = False
) -> str:
    """Return the ``with`` keyword (RFC 3848; RFC 6531 §4.3 for SMTPUTF8)."""
    if not extended:
        return "SMTP"
    return (
        ("UTF8SMTP" if utf8 else "ESMTP") + ("S" if secure else "") + ("A" if authenticated else "")
    )


def date(now_ms: int) -> str:
    """Return a date and time as header fields have it (RFC 5322 §3.3), in UTC."""
    return _date(now_ms // 1000)


@lru_cache(maxsize=8)
def _date(seconds: int) -> str:
    """Format by hand, because strftime speaks the locale's language."""
    at = datetime.fromtimestamp(seconds, UTC)
    return (
        f"{_DAYS[at.weekday()]}, {at.day} {_MONTHS[at.month - 1]} {at.year} "
        f"{at.hour:02}:{at.minute:02}:{at.second:02} +0000"
    )


def missing_fields(header: Header, host_name: str, queue_id: str, created_ms: int) -> bytes:
    """Return what a submission server adds (RFC 6409 §8): Date, Message-ID, an empty line.

    The empty line is for a message that has no header at all: its text would else
    become one.  Nothing in that text is a field, whatever it looks like (an mbox's "From " line,
    and what stands behind it).
    """
    lines = []
    names = header.names if header.well_begun else ()
    if b"date" not in names:
        lines.append(f"Date: {date(created_ms)}\r\n")
    if b"message-id" not in names:
        lines.append(f"Message-ID: {new_message_id(host_name, queue_id)}\r\n")
    if not header.well_begun:
        lines.append("\r\n")
    return "".join(lines).encode("ascii")


def new_message_id(host_name: str, queue_id: str) -> str:
    """Return the Message-ID for a message that came without one; queue ids are unique."""
    return f"<{queue_id}@{host_name}>"
