"""One message on one connection: as many transactions as its recipients need.

What the peer's announcements forbid is not tried: a message larger than it takes (RFC 1870),
or 8-bit content where it does not have 8BITMIME (RFC 6152; converting would break signatures).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mta.delivery.attempt import Attempt, Contact, Unable, proves_dead
from mta.delivery.connection import Connection
from mta.delivery.opening import Site
from mta.delivery.trouble import Trouble
from mta.mail.address import domain_of, split
from mta.mail.envelope import NOTHING, Body, DeliverBy, Envelope, Recipient
from mta.mail.outcome import Peer, Timing
from mta.smtp.requests import mail_parameters, rcpt_parameters
from mta.smtp.steps import Extensions, mail_line, rcpt_line


def unable(envelope: Envelope, extensions: Extensions) -> Unable | None:
    """Return why a peer with ``extensions`` cannot take the message, or None."""
    if extensions.size and envelope.size > extensions.size:
        text = f"message of {envelope.size} octets is larger than the {extensions.size} allowed"
        return Unable("5.3.4", text)
    if envelope.eight_bit and not extensions.eight_bit_mime:
        return Unable("5.6.3", "message is 8-bit and the host does not offer 8BITMIME")
    return None


def too_late(by: DeliverBy | None, extensions: Extensions, now_ms: int) -> Unable | None:
    """Return why a message that is to come back in time must not be sent there (RFC 2852 §4.1.4).

    A hop without DELIVERBY would not return it; one that needs longer would refuse it.
    """
    if by is None or by.mode != "R":
        return None
    left_s = (by.deadline_ms - now_ms) // 1000
    if left_s <= 0:
        return Unable("5.4.7", "the time that the sender allowed for the delivery is over")
    if "DELIVERBY" not in extensions.keywords:
        text = "the sender wants it back if it is late, and the host does not offer DELIVERBY"
        return Unable("5.3.3", text)
    if left_s < extensions.deliver_by_s:
        text = f"{left_s} seconds are left, and the host wants {extensions.deliver_by_s}"
        return Unable("5.4.7", text)
    return None


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent, ready for the wire."""

    envelope: Envelope
    sender: str
    rcpt_lines: dict[int, bytes]  # by the recipient's number
    body: Body
    rcpt_more: dict[int, bytes]  # what a hop that has DSN is told of some of them (RFC 3461 §5.2.1)


def prepare(attempt: Attempt, envelope: Envelope, body: Body) -> Message:
    """Make the message; addresses that cannot stand in a command are settled here."""
    sender, lines = envelope.sender, {}
    try:
        if not sender.isascii():
            sender = _with_domain(sender, domain_of(sender))
        mail_line(sender, 0, False, Extensions())
    except ValueError as error:
        attempt.unsendable(attempt.left.values(), "5.1.7", str(error))
    for recipient in list(attempt.left.values()):
        address = recipient.address
        if not address.isascii():
            address = _with_domain(address, recipient.domain)
        try:
            lines[recipient.number] = rcpt_line(address)
        except ValueError as error:
            attempt.unsendable([recipient], "5.1.3", str(error))
    more = {
        recipient.number: rcpt_parameters(recipient)
        for recipient in attempt.left.values()
        if recipient.notify or recipient.orcpt
    }
    return Message(envelope, sender, lines, body, more)


def _with_domain(address: str, domain: str) -> str:
    """An internationalised domain travels as A-labels (RFC 5891 §4)."""
    return f"{split(address)[0]}@{domain}"


class Topped:
    """A body with a line on top of its header."""

    def __init__(self, line: bytes, body: Body) -> None:
        self._line = line
        self._body = body
        self.count = body.count

    @property
    def memory(self) -> tuple[bytes, ...] | None:
        """All chunks, when they are still at hand."""
        memory = self._body.memory
        return (self._line + memory[0], *memory[1:]) if memory else memory

    async def chunk(self, number: int) -> bytes:
        """Give chunk ``number``."""
        chunk = await self._body.chunk(number)
        return chunk if number else self._line + chunk


class Session:
    """Sends one message on ``connection``, and tells ``attempt`` what comes of it."""

    def __init__(
        self,
        connection: Connection,
        site: Site,
        seconds: Callable[[], float],
        connect_s: float,
        now_ms: Callable[[], int],
    ) -> None:
        """``seconds`` measures how long things take, ``now_ms`` is the wall clock of deadlines."""
        self._now_ms = now_ms
        self._connection = connection
        self._reused = connection.uses > 0
        self._site = site
        self._seconds = seconds
        self._connect_s = connect_s

    async def send(self, attempt: Attempt, message: Message, limit: int) -> bool:
        """Send to all who are left, ``limit`` at a time.

        False if the connection turns out to have been dead before: nothing has happened then.
        """
        extensions = self._connection.client.extensions
        envelope = message.envelope
        why, more = unable(envelope, extensions), b""
        if envelope.asked is not NOTHING:
            now_ms = self._now_ms()
            why = why or too_late(envelope.asked.deliver_by, extensions, now_ms)
            more = mail_parameters(envelope.asked, extensions.keywords, now_ms)
        if why is not None:
            attempt.unable(why, self._contact(0.0))
            return True
        size, priority = envelope.size, envelope.asked.priority
        if priority and "MT-PRIORITY" not in extensions.keywords:
            line = b"MT-Priority: %d\r\n" % priority  # RFC 6758 §4
            message = replace(message, body=Topped(line, message.body))
            size += len(line)
        mail = mail_line(message.sender, size, envelope.eight_bit, extensions, more)
        waiting = list(attempt.left.values())
        while waiting:
            batch, waiting = waiting[:limit], waiting[limit:]
            try:
                await self._transaction(attempt, mail, batch, message)
            except Trouble as trouble:
                if self._was_dead(trouble):
                    return False
                attempt.site_fails(trouble, self._contact(0.0), waiting)
                return True
            waiting += attempt.again
            attempt.again = []
        return True

    async def _transaction(
        self, attempt: Attempt, mail: bytes, batch: Sequence[Recipient], message: Message
    ) -> None:
        began = self._seconds()
        lines = [message.rcpt_lines[recipient.number] for recipient in batch]
        if message.rcpt_more and "DSN" in self._connection.client.extensions.keywords:
            more = [message.rcpt_more.get(recipient.number, b"") for recipient in batch]
            lines = [b"%s%s\r\n" % (line[:-2], one) for line, one in zip(lines, more, strict=True)]
        try:
            transaction = await self._connection.transact(mail, lines, message.body)
        except Trouble as trouble:
            if not self._was_dead(trouble):
                contact = self._contact(self._seconds() - began)
                attempt.ended(batch, self._connection.client.transaction, contact, trouble)
            raise
        attempt.ended(batch, transaction, self._contact(self._seconds() - began))

    def _was_dead(self, trouble: Trouble) -> bool:
        return self._reused and proves_dead(self._connection.client.transaction, trouble)

    def _contact(self, transmit_s: float) -> Contact:
        connection, site = self._connection, self._site
        peer = Peer(
            site.host,
            connection.address,
            site.port,
            connection.tls,
            connection.uses,
            connection.client.extensions.keywords,
        )
        return Contact(peer, Timing(self._connect_s, transmit_s))
