"""What a report to a sender is about, and how text from outside gets into one.

Nothing from outside is trusted: replies, addresses and header fields are cut, and whatever
is not printable in them, line ends first of all, becomes a space before it gets into a field.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

from mta.mail.address import split
from mta.mail.envelope import Envelope, Recipient
from mta.mail.outcome import Outcome
from mta.mail.queue_id import QueueId

REPLY_LIMIT = 800  # characters of a reply that are passed on
_HEADER_LIMIT = 64 * 1024


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


def printable(text: str, limit: int) -> str:
    """Return ``text`` on one line, without control, format or direction characters."""
    clean = "".join(char if char.isprintable() else " " for char in text[: 4 * limit])
    clean = " ".join(clean.split())
    return clean if len(clean) <= limit else clean[: limit - 3] + "..."


def date(at_ms: int) -> str:
    """Return a moment as header fields have it (RFC 5322 §3.3)."""
    return format_datetime(datetime.fromtimestamp(at_ms / 1000, UTC).replace(microsecond=0))
