"""The reason why one recipient stands where it stands: a value, and the words for it.

Every text that comes from strangers goes through ``visible``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from mta.admin.render import address
from mta.admin.render import visible as v
from mta.mail.outcome import Outcome
from mta.spool.history import Trace, TracedAttempt, TracedRecipient

Block: TypeAlias = Literal[
    "",  # nothing: it is delivered, or on its way
    "hold",
    "brake",
    "sender's wish",
    "no service",
    "turn",
    "suspended",
    "budget",
    "restraint",
    "DNS",
    "TLS",
    "connection",
    "log-in",
    "route",
    "fault",
    "peer",
    "ended",
]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one recipient is where it is."""

    state: str
    block: Block
    text: str  # what blocks it, or what has become of it
    next_attempt_ms: int | None
    unblock: tuple[str, ...]  # commands
    when: str = ""  # the next attempt in words, where it is no moment
    besides: tuple[str, ...] = ()  # what would block it, or slow it down, if that did not


def last_attempt(trace: Trace, number: int) -> TracedAttempt | None:
    """Return the last attempt for recipient ``number`` that has ended."""
    those = [one for one in trace.attempts if one.outcome.recipient == number]
    return those[-1] if those else None


def command(verb: str, trace: Trace, one: TracedRecipient) -> str:
    """Write a command for this recipient; for the whole message where it is the only one."""
    to = one.recipient.address
    # an address with * would be a pattern
    if len(trace.recipients) == 1 or not to.isprintable() or "'" in to or "*" in to:
        return f"mta queue {verb} {trace.envelope.id}"
    return f"mta queue {verb} {trace.envelope.id} --to '{to}'"


def reply(outcome: Outcome) -> str:
    """Write what was answered, to what, by whom."""
    words = v(outcome.reply) or "no reply"
    to = f" ({'in reply to' if outcome.remote else 'at'} {v(outcome.command)})" * bool(
        outcome.command
    )
    peer = outcome.peer
    if peer is None or peer.host in words:
        return words + to
    return f"{words}{to}, {v(peer.host)}" + (f"[{v(peer.address)}]" if peer.address else "")


def names(trace: Trace, numbers: Sequence[int], most: int = 3) -> str:
    """Write the addresses of some recipients."""
    known = {one.recipient.number: one.recipient.address for one in trace.recipients}
    shown = ", ".join(address(known[number]) for number in numbers[:most])
    more = len(numbers) - most
    return f"{shown} and {more} more" if more > 0 else shown
