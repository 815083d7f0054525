"""Stand-ins for other people's mail servers, on Twisted's own ESMTP server class.

They share no code with the relay, so that the demonstration shows it talking to a
stranger.  One takes everything, one defers each recipient's first attempt, one
refuses; all offer STARTTLS.  They keep what they receive in memory.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.mail.smtp import ESMTP, Address, IMessage, IMessageDelivery, SMTPBadRcpt, User
from zope.interface import implementer


@dataclass(frozen=True, slots=True)
class Received:
    """A message that a stand-in has taken."""

    host: str
    sender: str
    recipient: str
    lines: tuple[bytes, ...]


Judge = Callable[[str], tuple[int, str] | None]


@dataclass
class Mailbox:
    """What one stand-in host does with recipients, and what it has received."""

    host: str
    judge: Judge = lambda recipient: None  # a code and text to refuse with, or None
    received: list[Received] = field(default_factory=list)


class Greylist:
    """Defer the first attempt for each recipient."""

    def __init__(self) -> None:
        """Start with nobody known."""
        self._seen: set[str] = set()

    def __call__(self, recipient: str) -> tuple[int, str] | None:
        """Refuse what is seen for the first time."""
        if recipient in self._seen:
            return None
        self._seen.add(recipient)
        return 450, "4.7.1 Greylisted, please try again in a moment"


@implementer(IMessage)
class _Message:
    def __init__(self, mailbox: Mailbox, sender: str, recipient: str) -> None:
        self._mailbox, self._sender, self._recipient = mailbox, sender, recipient
        self._lines: list[bytes] = []

    def lineReceived(self, line: bytes) -> None:
        self._lines.append(line)

    def eomReceived(self) -> Deferred[bytes]:
        mailbox = self._mailbox
        mailbox.received.append(
            Received(mailbox.host, self._sender, self._recipient, tuple(self._lines))
        )
        return succeed(f"2.0.0 Ok: taken as {len(mailbox.received)}".encode())

    def connectionLost(self) -> None:
        self._lines.clear()


@implementer(IMessageDelivery)
class _Delivery:
    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._sender = ""

    def receivedHeader(self, helo: Any, origin: Any, recipients: Any) -> bytes:
        return b"Received: by " + self._mailbox.host.encode() + b" (a stand-in)"

    def validateFrom(self, helo: Any, origin: Address) -> Address:
        self._sender = str(origin)
        return origin

    def validateTo(self, user: User) -> Callable[[], _Message]:
        recipient = str(user.dest)
        verdict = self._mailbox.judge(recipient)
        if verdict is not None:
            raise SMTPBadRcpt(user, verdict[0], verdict[1])
        return lambda: _Message(self._mailbox, self._sender, recipient)


class Receiver(Factory):
    """A receiving mail host for one mailbox."""

    noisy = False

    def __init__(self, mailbox: Mailbox, tls: Any) -> None:
        """Greet as ``mailbox.host`` and offer STARTTLS with the context factory ``tls``."""
        self._mailbox = mailbox
        self._tls = tls

    def buildProtocol(self, addr: IAddress | None) -> ESMTP:
        """Return the server side of one connection."""
        protocol = ESMTP(contextFactory=self._tls)
        protocol.host = self._mailbox.host.encode()
        protocol.delivery = _Delivery(self._mailbox)
        return protocol
