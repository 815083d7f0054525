"""The message that a report travels in (RFC 8460 §5.3).

``TLS-Required: No`` (RFC 8689 §4.1) is in it: a report on why TLS fails must arrive where TLS
fails.
"""

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

from mta.mail.queue_id import QueueId
from mta.tlsrpt.document import Author, file_name, full_id

_WIDTH = 76


@dataclass(frozen=True, slots=True)
class Letter:
    """A report to be sent by mail."""

    id: QueueId  # of the message
    sender: str
    to: tuple[str, ...]
    author: Author
    domain: str  # whom it is about
    day: int
    report_id: str
    host_name: str
    now_ms: int


def compose(letter: Letter, body: bytes) -> bytes:
    """Return the message: CRLF line ends, ASCII.  ``body`` is the compressed report."""
    boundary = f"=_{letter.id}"
    submitter = letter.author.domain
    subject = (
        f"Report Domain: {letter.domain}\r\n Submitter: {submitter}\r\n"
        f" Report-ID: <{full_id(letter.report_id, letter.author)}>"
    )
    fields = {
        "Date": format_datetime(datetime.fromtimestamp(letter.now_ms // 1000, UTC)),
        "From": f"<{letter.sender}>",
        "To": ",\r\n ".join(f"<{one}>" for one in letter.to),
        "Subject": subject,
        "Message-ID": f"<{letter.id}@{letter.host_name}>",
        "TLS-Report-Domain": letter.domain,
        "TLS-Report-Submitter": submitter,
        "TLS-Required": "No",
        "Auto-Submitted": "auto-generated",
        "MIME-Version": "1.0",
        "Content-Type": f'multipart/report; report-type="tlsrpt";\r\n boundary="{boundary}"',
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{head}\r\n{_parts(letter, body, boundary)}".encode("ascii")


def _parts(letter: Letter, body: bytes, boundary: str) -> str:
    name = file_name(letter.author, letter.domain, letter.day, letter.report_id)
    return (
        f"--{boundary}\r\n"
        'Content-Type: text/plain; charset="us-ascii"\r\n'
        "Content-Transfer-Encoding: 7bit\r\n\r\n"
        f"{_words(letter)}\r\n"
        f"--{boundary}\r\n"
        "Content-Type: application/tlsrpt+gzip\r\n"
        "Content-Transfer-Encoding: base64\r\n"
        f'Content-Disposition: attachment;\r\n filename="{name}"\r\n\r\n'
        f"{_base64(body)}"
        f"--{boundary}--\r\n"
    )


def _words(letter: Letter) -> str:
    day = datetime.fromtimestamp(letter.day * 86_400, UTC).strftime("%Y-%m-%d")
    lines = (
        "This is an aggregate report on TLS: how sessions of our mail servers with those of",
        f"{letter.domain} went on {day} (UTC).",
        "",
        f"It comes from {letter.author.domain}, and was asked for by the TXT record at",
        f"_smtp._tls.{letter.domain} (RFC 8460).  Questions go to {letter.author.contact}.",
    )
    return "".join(f"{line}\r\n" for line in lines)


def _base64(octets: bytes) -> str:
    text = base64.b64encode(octets).decode("ascii")
    return "".join(f"{text[at : at + _WIDTH]}\r\n" for at in range(0, len(text), _WIDTH))
