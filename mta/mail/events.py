"""What happens to mail, as values: a closed vocabulary, rendered twice by ``mta.log``.

Every part of the program that has something to say about a message gets a callable
``emit(event)``.  Events carry facts, never sentences and never credentials.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from mta.mail.envelope import Envelope, Origin, Recipient
from mta.mail.outcome import Outcome
from mta.mail.restraint import Restraint
from mta.mail.value import value


@value
class Accepted:
    """Commit 1 has happened: the message is ours (logged just before the 250 goes out)."""

    envelope: Envelope
    recipients: tuple[Recipient, ...]


@value
class Attempted:
    """Commit 3 has happened: one attempt for one recipient is recorded."""

    envelope: Envelope
    recipient: Recipient
    outcome: Outcome
    status: str  # "sent", "deferred", "bounced", "expired", "discarded"
    queued_s: float  # from arrival, or release (RFC 4865), to the start of this attempt
    total_s: float  # from there to the end of this attempt
    next_attempt_ms: int | None  # None when there will be none
    site: str = ""  # its name


@value
class Finished:
    """No recipient of the message is left in the queue."""

    id: str


@dataclass(frozen=True, slots=True)
class Reported:
    """A report about a message was queued; ``kind``: failure, delay, success or postmaster copy."""

    id: str
    report_id: str
    kind: str


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """The outcome of an attempt was dropped: the recipient is no longer ours."""

    id: str
    recipient: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Refused:
    """A client's command was refused for a reason of policy, syntax or limits."""

    origin: Origin
    command: str  # the verb
    reply: str  # what the client was told
    reason: str  # what it was not told
    sender: str = ""
    recipient: str = ""


@dataclass(frozen=True, slots=True)
class Authenticated:
    """A client has proved to be an account."""

    origin: Origin  # login is set
    mechanism: str


@dataclass(frozen=True, slots=True)
class AuthenticationFailed:
    """A client failed to authenticate.  ``login`` is what it claimed."""

    origin: Origin
    mechanism: str
    login: str
    reason: str  # "credentials", "disabled", "blocked", "unavailable"


@value
class Disconnected:
    """A client's connection has ended."""

    origin: Origin
    reason: str  # "quit", "lost", "timeout", "too many errors", "shutdown", "TLS: ..."
    messages: int
    commands: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Ruled:
    """Something was done to a message that was accepted: by the policy, or by a filter."""

    id: str
    verb: str  # "hold", "rewrite", "header"; of a filter "examined", "not examined", "discard"
    text: str  # the rule, and what it found; what was done
    who: str = "policy"  # or "milter" and the filter's name


@dataclass(frozen=True, slots=True)
class Operated:
    """An operator has changed the queue; several messages may have been meant at once."""

    verb: str  # "hold", "release", "retry", "remove", "bounce", "resurrect", "reroute"
    who: str
    recipients: int
    messages: int
    id: str  # of the first message
    text: str = ""  # what was said with it


@dataclass(frozen=True, slots=True)
class Restrained:
    """A suspension or a throttle begins or is over, for all processes of the spool."""

    restraint: Restraint
    begins: bool
    already: bool = False  # it was in force when this process began


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that an operator should look at now."""

    what: str  # "compromise"
    subject: str  # the login
    text: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something about the service itself: started, reloaded, the database is away, ..."""

    level: str  # "info", "warning", "error"
    part: str  # "queue", "spool", "dns", "service", ...
    text: str


Event: TypeAlias = (
    Accepted
    | Attempted
    | Finished
    | Reported
    | LeaseLost
    | Refused
    | Authenticated
    | AuthenticationFailed
    | Disconnected
    | Ruled
    | Operated
    | Restrained
    | Alert
    | Note
)

Emit: TypeAlias = Callable[[Event], None]
