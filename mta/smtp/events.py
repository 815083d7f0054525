"""What comes out of the server's core: each is to be answered before the next one comes."""

from dataclasses import dataclass
from typing import TypeAlias

from mta.smtp.commands import Mail, Rcpt
from mta.smtp.replies import Reply
from mta.smtp.sasl import Attempt, KeysWanted
from mta.smtp.xclient import XClient


@dataclass(slots=True)
class Data:
    """DATA; a positive answer is a 354.  Or the first BDAT, which does not get to hear it: a
    refusal is said when the chunk has been swallowed (RFC 3030 §2)."""


@dataclass(slots=True)
class Content:
    """A piece of the message; to be answered with ``proceed``."""

    data: bytes


@dataclass(slots=True)
class EndOfData:
    """The last piece of the message; its answer is the answer to the message."""

    data: bytes
    refusal: Reply | None  # the content is not acceptable, and this is the answer to give
    eight_bit: bool  # octets above 127 have been seen


@dataclass(slots=True)
class EndOfChunk:
    """The last piece of a chunk, more chunks may follow (RFC 3030 §2).

    After a negative answer nothing of the message is left.
    """

    data: bytes
    refusal: Reply | None
    octets: int  # of the message so far


@dataclass(slots=True)
class Forget:
    """RSET or EHLO between two chunks: nothing of the message is left; ``reply`` is the answer."""

    reply: Reply


@dataclass(slots=True)
class StartTls:
    """STARTTLS; after a positive answer TLS begins and ``secured`` is called."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """For the log: the core itself has refused something.  Wants no answer."""

    verb: str
    reply: Reply


Event: TypeAlias = (
    Mail
    | Rcpt
    | Data
    | Content
    | EndOfChunk
    | EndOfData
    | Forget
    | StartTls
    | XClient
    | KeysWanted
    | Attempt
    | Rejected
)
