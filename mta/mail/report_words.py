"""The part of a report that people read: what became of the message, and what they can do.

Plain English, at most 76 characters a line but for addresses; for the sender, or for a
postmaster who gets a copy.
"""

from collections.abc import Iterator
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.parser import BytesHeaderParser
from textwrap import wrap

from mta.mail.cause import sentence
from mta.mail.report import REPLY_LIMIT, Notice, Report, date, printable
from mta.mail.status import advice, words


def human_lines(report: Report) -> Iterator[str]:
    """Yield the lines, without their ends."""
    yield f"This is the mail system at {printable(report.host_name, 255)}."
    yield ""
    yield from _about_message(report)
    yield ""
    yield _heading(report)
    for notice in report.notices:
        yield ""
        yield from _about_recipient(report, notice)
    yield ""
    if report.delayed:
        until = date(report.original.expires_ms)
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
    sender = printable(report.original.sender, 320) or "the null sender (it is a report itself)"
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
        f"    Received from you on {date(report.original.created_ms)}"
        if not report.copy
        else (f"    Received on {date(report.original.created_ms)}")
    )


def _about_recipient(report: Report, notice: Notice) -> Iterator[str]:
    outcome = notice.outcome
    yield f"    {printable(notice.recipient.address, 320)}"
    if notice.recipient.given:
        yield from _indented(f"(you wrote to {printable(notice.recipient.given, 320)})")
    said = sentence(outcome.cause) or words(outcome.enhanced)
    if notice.expired:
        said = f"{words('4.4.7')} {said}" if outcome.enhanced != "4.4.7" else words("4.4.7")
    if said:
        yield from _indented(said)
    reply = printable(outcome.reply, REPLY_LIMIT)
    if outcome.remote and outcome.peer is not None:
        name = "of the mailboxes" if outcome.peer.is_path else printable(outcome.peer.host, 255)
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
        return printable(str(make_header(decode_header(str(raw)))), 200)
    except (HeaderParseError, LookupError, ValueError):
        return printable(str(raw), 200)
