"""What a filter answers: a verdict that ends a step, or a change to the message.

The words of a verdict reach the client, so they are bounded and printable, and a code is one
that the verdict allows.  What is changed in the header is brought into the form of a header:
line ends are CRLF, and what follows one is a continuation, so that a filter that hands on a
stranger's words cannot be made to add fields or to end the header.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from mta.milter.options import Misbehaved
from mta.smtp.replies import Reply, reply

_CODE = re.compile(r"([45][0-9][0-9])(?:[ -]|\Z)")
_ENHANCED = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: |\Z)")
_FIELD_NAME = re.compile(rb"[!-9;-~]{1,998}\Z")
_LINE_END = re.compile(rb"\r\n|\r|\n")
_MOST_LINES = 32
_LONGEST_LINE = 480

REJECTED = reply(550, "5.7.1", "Command rejected")
DEFERRED = reply(451, "4.7.1", "Service unavailable; try again later")
CLOSING = reply(421, "4.7.0", "Service unavailable; closing the connection")


class Kind(StrEnum):
    """What is to be done."""

    CONTINUE = "continue"
    ACCEPT = "accept"  # without asking this filter any further
    DISCARD = "discard"  # accept, and drop it
    REFUSE = "refuse"  # with the reply
    SKIP = "skip"  # no more of the body, please
    CLOSE = "close"  # refuse, and end the session


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a step."""

    kind: Kind
    reply: Reply | None = None  # REFUSE and CLOSE only


@dataclass(frozen=True, slots=True)
class Progress:
    """It is still working."""


@dataclass(frozen=True, slots=True)
class AddField:
    """A new header field; ``at`` is as ``Fields.insert`` has it, None: below all others."""

    name: bytes
    value: bytes
    at: int | None = None


@dataclass(frozen=True, slots=True)
class ChangeField:
    """Another value for occurrence ``number`` of a field, from 1; b"" takes it away."""

    name: bytes
    value: bytes
    number: int


@dataclass(frozen=True, slots=True)
class AddRecipient:
    """One more recipient, with parameters of RCPT."""

    address: str
    parameters: str = ""


@dataclass(frozen=True, slots=True)
class DeleteRecipient:
    """One recipient less."""

    address: str


@dataclass(frozen=True, slots=True)
class ChangeSender:
    """Another envelope sender, with parameters of MAIL."""

    address: str
    parameters: str = ""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Hold the message."""

    reason: str


@dataclass(frozen=True, slots=True)
class NewBody:
    """A piece of the body that takes the place of the old one."""

    octets: bytes


Change: TypeAlias = AddField | ChangeField | AddRecipient | DeleteRecipient | ChangeSender
Answer: TypeAlias = Verdict | Progress | Change | Quarantine | NewBody


def size_of(change: Change) -> int:
    """Return how many octets a change brings, about."""
    match change:
        case AddField(name, value) | ChangeField(name, value):
            return len(name) + len(value)
        case AddRecipient(address, parameters) | ChangeSender(address, parameters):
            return len(address) + len(parameters)
        case DeleteRecipient(address):
            return len(address)


CONTINUE = Verdict(Kind.CONTINUE)
_PROGRESS = Progress()


def answer(kind: bytes, payload: bytes) -> Answer:
    """Return what a packet means.  Raises ``Misbehaved``."""
    read = _ANSWERS.get(kind)
    if read is None:
        raise Misbehaved(f"it has sent a packet of the unknown kind {kind!r}")
    return read(payload)


def _reply(payload: bytes) -> Verdict:
    """Read "550 5.7.1 words", perhaps of several lines."""
    lines = [line for line in _LINE_END.split(payload.split(b"\0")[0]) if line.strip()]
    text = [line.decode("ascii", "replace") for line in lines[:_MOST_LINES]]
    found = _CODE.match(text[0]) if text else None
    if found is None:
        raise Misbehaved(f"it has answered with the reply {payload[:40]!r}")
    code, enhanced = int(found[1]), ""
    texts = []
    for line in text:
        rest = line[4:] if line[:3] == found[1] else line
        status = _ENHANCED.match(rest)
        if status is not None:
            if status[1][0] == found[1][0]:
                enhanced = enhanced or status[1]
            rest = rest[status.end() :]
        texts.append(_shown(rest.replace("%%", "%")))
    default = CLOSING if code == 421 else REJECTED if code >= 500 else DEFERRED
    texts = [one for one in texts if one] or list(default.lines)
    said = reply(code, enhanced or default.enhanced, *texts)
    return Verdict(Kind.CLOSE if code == 421 else Kind.REFUSE, said)


def _shown(text: str) -> str:
    return "".join(c if " " <= c <= "~" else "?" for c in text.strip())[:_LONGEST_LINE]


def _field(payload: bytes) -> tuple[bytes, bytes]:
    name, _, rest = payload.partition(b"\0")
    value, end, _ = rest.partition(b"\0")
    if not end or not _FIELD_NAME.match(name):
        raise Misbehaved("it has changed a header field that is none")
    return name, folded(value)


def folded(value: bytes) -> bytes:
    """Return a value whose line ends are CRLF with white space behind them."""
    lines = [line for line in _LINE_END.split(value.rstrip(b"\r\n")) if line.strip(b" \t")]
    return b"\r\n".join(
        line if number == 0 or line[:1] in (b" ", b"\t") else b"\t" + line
        for number, line in enumerate(lines)
    )


def _add(payload: bytes) -> AddField:
    return AddField(*_field(payload))


def _insert(payload: bytes) -> AddField:
    return AddField(*_field(payload[4:]), at=int.from_bytes(payload[:4]))


def _change(payload: bytes) -> ChangeField:
    return ChangeField(*_field(payload[4:]), number=int.from_bytes(payload[:4]))


def _texts(payload: bytes) -> tuple[str, str]:
    first, end, rest = payload.partition(b"\0")
    if not end:
        raise Misbehaved("it has sent a text without an end")
    second = rest.partition(b"\0")[0]
    try:
        return _address(first.decode("utf-8")), second.decode("utf-8")
    except UnicodeDecodeError:
        raise Misbehaved("it has sent an address that is not UTF-8") from None


def _address(text: str) -> str:
    """Return an address without the brackets it may come in."""
    text = text.strip()
    return text[1:-1] if text.startswith("<") and text.endswith(">") else text


def _quarantine(payload: bytes) -> Quarantine:
    return Quarantine(_shown(payload.partition(b"\0")[0].decode("utf-8", "replace")))


_ANSWERS: dict[bytes, Callable[[bytes], Answer]] = {
    b"+": lambda payload: AddRecipient(_texts(payload)[0]),
    b"-": lambda payload: DeleteRecipient(_texts(payload)[0]),
    b"2": lambda payload: AddRecipient(*_texts(payload)),
    b"4": lambda _: Verdict(Kind.CLOSE, CLOSING),
    b"a": lambda _: Verdict(Kind.ACCEPT),
    b"b": NewBody,
    b"c": lambda _: CONTINUE,
    b"d": lambda _: Verdict(Kind.DISCARD),
    b"e": lambda payload: ChangeSender(*_texts(payload)),
    b"f": lambda _: Verdict(Kind.CLOSE, CLOSING),
    b"h": _add,
    b"i": _insert,
    b"m": _change,
    b"p": lambda _: _PROGRESS,
    b"q": _quarantine,
    b"r": lambda _: Verdict(Kind.REFUSE, REJECTED),
    b"s": lambda _: Verdict(Kind.SKIP),
    b"t": lambda _: Verdict(Kind.REFUSE, DEFERRED),
    b"y": _reply,
}
