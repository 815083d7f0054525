"""One message on its way: who sent it, to whom, and where its octets are."""

from collections.abc import Awaitable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from mta.mail.queue_id import QueueId
from mta.mail.value import value


class MessageKind(StrEnum):
    """Why a message exists."""

    MAIL = "mail"
    DSN = "dsn"  # a report of ours about another message


@value
class Origin:
    """How a message came to us; kept for the trace and for ``Received:``."""

    listener: str = ""  # name of the listener in the configuration; "" for our own reports
    client_address: str = ""  # IP address of the client
    client_name: str = ""  # what it said in EHLO or HELO
    login: str = ""  # the account that authenticated, or ""
    protocol: str = "local"  # the ``with`` keyword of RFC 3848: ESMTPSA, ESMTP, ...
    tls: str = ""  # "TLSv1.3 TLS_AES_256_GCM_SHA384", or "" in the clear
    # Not kept in the spool:
    proxy: str = ""  # address of who connected for the client, if it did not do so itself
    host_name: str = ""  # what DNS calls the client's address, if a proxy has said so

    @property
    def owner(self) -> str:
        """Whose mail it is, for fair shares: a login, else a client; "" for our own reports."""
        return self.login or self.client_address


@dataclass(frozen=True, slots=True)
class DeliverBy:
    """When the sender wants the message to have arrived (RFC 2852 §4)."""

    deadline_ms: int
    mode: str  # "R": then it comes back; "N": then the sender is told that it is late
    trace: bool = False  # each hop that takes it over is reported


@dataclass(frozen=True, slots=True)
class Asked:
    """What the sender asked for with parameters of MAIL; as a rule nothing."""

    ret: str = ""  # how much of the message reports bring back: "FULL", "HDRS" (RFC 3461 §4.3)
    envid: str = ""  # the sender's own name for the message, in xtext (RFC 3461 §4.4)
    release_ms: int | None = None  # not to be sent before (RFC 4865)
    priority: int = 0  # -9 to 9 (RFC 6710)
    deliver_by: DeliverBy | None = None
    hold: str = ""  # the release as it was asked for: "for;60", "until;2030-12-31T08:00:00Z"

    @property
    def urgency(self) -> int:
        """The class that the queue works by: 1, 0 or -1, MIXER's 4, 0 and -4 (RFC 6710 app. B).

        What lies between them counts as the next higher one (§5).
        """
        return (self.priority > 0) - (self.priority <= -4)


NOTHING = Asked()


@value
class Envelope:
    """What is the same for all recipients of a message."""

    id: QueueId
    sender: str  # "" is the null sender (RFC 5321 §4.5.5)
    size: int  # octets as stored: CRLF line ends, our trace lines included, not dot-stuffed
    created_ms: int
    expires_ms: int  # no attempt is planned after this moment
    eight_bit: bool = False  # octets above 127 do occur in the content
    binary: bool = False  # it came as BINARYMIME (RFC 3030 §3) and can only leave so
    utf8: bool = False  # it came with SMTPUTF8, and its header is not ASCII (RFC 6531 §3.4)
    require_tls: bool = False  # REQUIRETLS (RFC 8689): nobody may get it without verified TLS
    tls_not_required: bool = False  # TLS-Required: No (RFC 8689 §3), and not REQUIRETLS
    kind: MessageKind = MessageKind.MAIL
    message_id: str = ""  # content of the Message-ID header field, with its angle brackets
    origin: Origin = Origin()
    asked: Asked = NOTHING

    @property
    def since_ms(self) -> int:
        """When its time began to run: at its release, where it was held (RFC 4865)."""
        return (
            self.created_ms if self.asked is NOTHING else self.asked.release_ms or self.created_ms
        )

    @property
    def requirements(self) -> tuple[str, ...]:
        """What it asks of every hop, by the names of the extensions; as a rule nothing."""
        if not (self.binary or self.utf8 or self.require_tls or self.tls_not_required):
            return ()
        flags = {
            "BINARYMIME": self.binary,
            "SMTPUTF8": self.utf8,
            "REQUIRETLS": self.require_tls,
            "TLS-Required:No": self.tls_not_required,
        }
        return tuple(name for name, set_ in flags.items() if set_)


class Role(StrEnum):
    """What a recipient is beside an address that mail goes to."""

    PLAIN = ""
    FORWARDED = "forwarded"  # from outside, by an alias, to outside: SRS applies
    # Nothing is delivered: it is there so that its sender is told (RFC 3461 §5.2.7)
    EXPANDED = "expanded"  # an alias; the addresses behind it are recipients themselves
    LIST = "list"  # the same with an owner of its own: it has arrived

    @property
    def reported_only(self) -> bool:
        """Whether nothing is delivered to it."""
        return self in (Role.EXPANDED, Role.LIST)


@value
class Recipient:
    """One address that a message goes to.  (message id, number) is its key in the spool."""

    number: int  # 0 for the first
    address: str  # as the client wrote it
    domain: str  # ``address.domain_of``: lower case, A-labels
    attempts: int = 0  # how many were begun, the one in progress included
    warned: bool = False  # a delay warning has been sent
    notify: str = ""  # "NEVER", or some of "SUCCESS,FAILURE,DELAY"; "": not said (RFC 3461 §4.1)
    orcpt: str = ""  # type and address in xtext that the sender first wrote to (RFC 3461 §4.2)
    given: str = ""  # what the client named, where an alias has made ``address`` of it
    sender: str = ""  # the owner of the list that it came from, in place of the envelope's sender
    role: Role = Role.PLAIN
    route: str = ""  # the one that an operator chose for it; "": what the configuration says

    def wants(self, what: str) -> bool:
        """Tell whether its sender is to hear of "SUCCESS", "FAILURE" or "DELAY".

        Who does not say hears of the last two.
        """
        return what in self.notify if self.notify else what != "SUCCESS"


class Body(Protocol):
    """The octets of a message, in chunks, read as they are needed."""

    @property
    def count(self) -> int:
        """Number of chunks."""

    @property
    def memory(self) -> tuple[bytes, ...] | None:
        """All chunks, when they are still at hand."""

    def chunk(self, number: int) -> Awaitable[bytes]:
        """Give chunk ``number``; fails with ``LookupError`` if the spool has lost it."""


@value
class MemoryBody:
    """A body that is wholly in memory: small messages just accepted, and our own reports."""

    memory: tuple[bytes, ...]

    @property
    def count(self) -> int:
        """Number of chunks."""
        return len(self.memory)

    async def chunk(self, number: int) -> bytes:
        """Give chunk ``number``."""
        return self.memory[number]


@value
class Job:
    """One delivery to make: a message, and those of its recipients at one destination."""

    envelope: Envelope
    recipients: tuple[Recipient, ...]
    body: Body
    destination: str  # key of the destination, as the routes name it
    suspended: frozenset[str] = frozenset()  # addresses of ours that it must not go out from now
    claim: str = ""  # the token under which the spool has given it to us
