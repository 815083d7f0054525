"""What came of one attempt to deliver to one recipient.

The log line, the retry decision, the report to the sender and the history all read
this value; none of them looks anywhere else.  Delivery makes it, the queue acts on it.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum

from mta.mail.value import value

# The text of what an attempt that was cancelled leaves open; whoever cancelled it knows why
CUT_OFF = "the attempt was cut off"


class Verdict(StrEnum):
    """What the next hop's answer, or its absence, means.  Unknown means DEFERRED."""

    DELIVERED = "delivered"  # the next hop has taken responsibility
    DEFERRED = "deferred"  # try again later
    FAILED = "failed"  # trying again is useless: report to the sender


class Blame(StrEnum):
    """Whom a failure speaks about: only the site's own faults may slow down the site."""

    NONE = "none"
    SITE = "site"  # could not connect, greeting refused, connection lost, ...
    MESSAGE = "message"
    RECIPIENT = "recipient"


class TlsLevel(StrEnum):
    """How private a connection was, from worst to best."""

    NONE = "none"
    ENCRYPTED = "encrypted"  # the certificate did not verify, or nobody asked
    VERIFIED = "verified"  # chain and name verified against the trusted authorities
    STS = "sts"  # the same, of a host that the domain's policy names (RFC 8461)
    DANE = "dane"  # the certificate matches a TLSA record of the host's (RFC 7672)
    FINGERPRINT = "fingerprint"  # the certificate is one that we were told

    @property
    def authenticated(self) -> bool:
        """Whether the peer has proved who it is."""
        return self not in (TlsLevel.NONE, TlsLevel.ENCRYPTED)


@dataclass(frozen=True, slots=True)
class Tls:
    """What a TLS handshake came to, and what it should have (``mta.mail.security``)."""

    level: TlsLevel = TlsLevel.NONE
    version: str = ""  # "TLSv1.3"
    cipher: str = ""
    why: str = ""  # why the peer is not authenticated; "" when it is
    required: str = ""  # a ``Level``; "" where nobody was dialled, or nothing was decided
    required_why: str = ""  # who asked for that level; "" for what is done by default
    observed: str = ""  # why mail would have waited, if the requirement were not only observed


@value
class Peer:
    """The next hop that was talked to."""

    host: str  # MX or smarthost name; or the path of a socket or Maildir
    address: str = ""  # IP address, "" if none was reached
    port: int = 25
    tls: Tls = Tls()
    use: int = 1  # how many transactions this connection has seen, this one included
    source: str = ""  # our own address of the connection; "" if there was none, or a socket
    # What it announced (RFC 5321 §4.1.1.1): tells who reports what; not kept in the history
    extensions: frozenset[str] = field(default=frozenset(), compare=False, repr=False)
    # Nobody comes after it: the mailbox itself, or what keeps it (LMTP); not kept either
    final: bool = field(default=False, compare=False)

    @property
    def is_path(self) -> bool:
        """Whether it is a Maildir or a socket here, and its name a path that is ours alone."""
        return self.host.startswith("/")

    @property
    def where(self) -> str:
        """Name, address and port; of a path, that alone."""
        return self.host if self.is_path else f"{self.host}[{self.address}]:{self.port}"


@value
class Timing:
    """Where the time of an attempt went, in seconds."""

    connect: float = 0.0  # DNS, TCP, TLS, EHLO, AUTH; 0 on a reused connection
    transmit: float = 0.0  # MAIL to the last reply


@value
class Outcome:
    """The result of one attempt for one recipient."""

    recipient: int  # ``Recipient.number``
    verdict: Verdict
    code: int  # SMTP reply code, 0 where no reply came
    enhanced: str  # "2.0.0", from the reply or ours (RFC 3463)
    text: str  # the reply's text on one line, or what happened in words
    command: str  # what it answers: "DNS", "connect", "greeting", "EHLO", "STARTTLS", "AUTH",
    # "MAIL", "RCPT", "DATA", "end of data"; "TLS policy" where a host was not dialled for it
    blame: Blame = Blame.NONE
    peer: Peer | None = None
    timing: Timing = Timing()
    maybe_delivered: bool = False  # the line was lost after the final dot (RFC 1047)
    # An operator decides what follows, not the schedule; the queue makes it the recipient's state
    hold: bool = field(default=False, compare=False)
    cause: str = ""  # why it did not go through, a word of ``mta.mail.cause``; the queue finds it
    # What was said in the attempt, the same for all of its recipients; "" if it is not kept
    transcript: str = field(default="", compare=False, repr=False)
    sender: str = ""  # that the peer was told, where it is not the envelope's
    # Whether anybody was there, where no reply came: a connection that is refused, or silence.
    # None: that is not known, or the reply says it
    reached: bool | None = field(default=None, compare=False, repr=False)
    # Nobody could be dialled but from an address of ours that is suspended: no attempt at all
    barred: bool = field(default=False, compare=False, repr=False)

    def in_doubt(self, *, hold: bool) -> "Outcome":
        """Return the same of what may have been delivered all the same."""
        return replace(self, maybe_delivered=True, hold=hold)

    @property
    def remote(self) -> bool:
        """Whether the text is a reply of the peer's, not our own words."""
        return self.code != 0 and self.peer is not None

    @property
    def reply(self) -> str:
        """The reply as one line, ``code enhanced text``, without what is missing."""
        parts = (str(self.code) if self.code else "", self.enhanced, self.text)
        return " ".join(part for part in parts if part)
