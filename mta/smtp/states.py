"""States × commands: what may follow what in a session (RFC 5321 §4.1.4).

Everything that bears on the order of commands stands here; ``server`` obeys.
"""

from collections.abc import Mapping
from enum import Enum, auto
from types import MappingProxyType

from mta.smtp.replies import Reply, reply


class State(Enum):
    """Where a session is."""

    # Enum's own is a function in Python, and these are looked up twenty times a message.
    __hash__ = object.__hash__

    CONNECTED = auto()  # no HELO or EHLO yet, or forgotten by STARTTLS
    READY = auto()
    SENDER = auto()  # MAIL was accepted
    RECIPIENTS = auto()  # and one RCPT at least
    CONTENT = auto()  # after 354
    CHUNK = auto()  # after BDAT, until its octets have come
    CHUNKS = auto()  # a chunk was accepted, others are to follow
    RESPONSE = auto()  # after 334
    CLOSED = auto()  # nothing is read any more


def _stays(*states: State) -> Mapping[State, State]:
    return MappingProxyType({state: state for state in states})


IN_CONTENT = frozenset({State.CONTENT, State.CHUNK, State.CHUNKS})
"""The message itself is arriving."""

IN_ENVELOPE = frozenset({State.SENDER, State.RECIPIENTS})
"""A message has begun, and its recipients are named."""

_ANY = (State.CONNECTED, State.READY, State.SENDER, State.RECIPIENTS, State.CHUNKS)
_HELLO = MappingProxyType(dict.fromkeys(_ANY, State.READY))

# verb -> state it may come in -> state after a positive answer.
NEXT: Mapping[str, Mapping[State, State]] = MappingProxyType(
    {
        "EHLO": _HELLO,
        "HELO": _HELLO,
        "MAIL": MappingProxyType({State.READY: State.SENDER}),
        "RCPT": MappingProxyType(
            {State.SENDER: State.RECIPIENTS, State.RECIPIENTS: State.RECIPIENTS}
        ),
        "DATA": MappingProxyType({State.RECIPIENTS: State.CONTENT}),
        "BDAT": MappingProxyType(
            {State.RECIPIENTS: State.CHUNK, State.CHUNKS: State.CHUNK}  # RFC 3030 §2
        ),
        "RSET": MappingProxyType(
            {
                State.CONNECTED: State.CONNECTED,
                State.READY: State.READY,
                State.SENDER: State.READY,
                State.RECIPIENTS: State.READY,
                State.CHUNKS: State.READY,
            }
        ),
        "AUTH": MappingProxyType({State.READY: State.READY}),
        "STARTTLS": MappingProxyType({State.READY: State.CONNECTED}),
        "XCLIENT": MappingProxyType(dict.fromkeys((State.CONNECTED, State.READY), State.CONNECTED)),
        "NOOP": _stays(*_ANY),
        "VRFY": _stays(*_ANY),
        "HELP": _stays(*_ANY),
        "QUIT": MappingProxyType(dict.fromkeys(_ANY, State.CLOSED)),
    }
)

_OUT_OF_ORDER = MappingProxyType(
    {
        (State.SENDER, "XCLIENT"): "XCLIENT is not possible within a transaction",
        (State.RECIPIENTS, "XCLIENT"): "XCLIENT is not possible within a transaction",
        (State.CHUNKS, "XCLIENT"): "XCLIENT is not possible within a transaction",
        (State.CONNECTED, "MAIL"): "Send EHLO first",
        (State.CONNECTED, "AUTH"): "Send EHLO first",
        (State.CONNECTED, "STARTTLS"): "Send EHLO first",
        (State.SENDER, "MAIL"): "There is a sender already; RSET begins anew",
        (State.RECIPIENTS, "MAIL"): "There is a sender already; RSET begins anew",
        (State.SENDER, "AUTH"): "AUTH is not possible within a transaction",
        (State.RECIPIENTS, "AUTH"): "AUTH is not possible within a transaction",
        (State.CONNECTED, "BDAT"): "Send EHLO first",
        (State.READY, "BDAT"): "No message is being sent, or its transaction has failed",
        (State.CHUNKS, "MAIL"): "A message is being sent; RSET begins anew",
        (State.CHUNKS, "RCPT"): "A message is being sent; RSET begins anew",
        (State.CHUNKS, "DATA"): "BDAT and DATA can't be mixed in a transaction; RSET begins anew",
        (State.CHUNKS, "AUTH"): "AUTH is not possible within a transaction",
        (State.CHUNKS, "STARTTLS"): "STARTTLS is not possible within a transaction",
        (State.SENDER, "STARTTLS"): "STARTTLS is not possible within a transaction",
        (State.RECIPIENTS, "STARTTLS"): "STARTTLS is not possible within a transaction",
    }
)


def out_of_order(verb: str, state: State) -> Reply:
    """Return the answer to a command that may not come in ``state``."""
    if verb in ("DATA", "BDAT") and state is State.SENDER:
        return reply(554, "5.5.1", "No valid recipients; send RCPT first")
    return reply(503, "5.5.1", _OUT_OF_ORDER.get((state, verb), "Send MAIL first"))
