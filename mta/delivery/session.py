"""One message on one connection: as many transactions as its recipients need.

What the peer's announcements forbid is not tried: a message larger than it takes (RFC 1870),
8-bit or binary content where it does not have 8BITMIME (RFC 6152) or BINARYMIME (RFC 3030;
converting would break signatures), letters beyond ASCII where it does not have SMTPUTF8
(RFC 6531), or anything that may only go encrypted from end to end where it does not promise
to go on so (RFC 8689).  What the peer says of its limits (RFC 9422) is kept to.

An address with such letters in its domain alone goes out with A-labels, which name the same
domain, and needs no SMTPUTF8; so does a message whose header and addresses are ASCII.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

from twisted.internet.defer import CancelledError

from mta.delivery.attempt import Attempt
from mta.delivery.connection import Connection
from mta.delivery.contact import Contact, Unable
from mta.delivery.doubt import Marker
from mta.delivery.opening import Site
from mta.delivery.reading import proves_dead
from mta.delivery.topped import Topped
from mta.delivery.trouble import Trouble
from mta.mail.address import domain_of, split
from mta.mail.envelope import NOTHING, Body, DeliverBy, Envelope, Recipient
from mta.mail.outcome import Peer, Timing, Tls, TlsLevel
from mta.mail.value import value
from mta.smtp.requests import mail_parameters, rcpt_parameters
from mta.smtp.steps import Extensions, mail_line, rcpt_line


def unable(envelope: Envelope, extensions: Extensions, tls: Tls) -> Unable | None:
    """Return why a peer with ``extensions`` cannot take the message, or None."""
    if envelope.require_tls and envelope.sender:
        why = insecure(extensions, tls)
        if why is not None:
            return why
    if extensions.size and envelope.size > extensions.size:
        text = f"message of {envelope.size} octets is larger than the {extensions.size} allowed"
        return Unable("5.3.4", text)
    if envelope.binary and not extensions.binary_mime:
        return Unable("5.6.3", "message is BINARYMIME and the host does not offer BINARYMIME")
    if envelope.eight_bit and not envelope.binary and not extensions.eight_bit_mime:
        return Unable("5.6.3", "message is 8-bit and the host does not offer 8BITMIME")
    return None


def insecure(extensions: Extensions, tls: Tls) -> Unable | None:
    """Return why a host that is known to be the right one can't take REQUIRETLS (RFC 8689 §4.2.1).

    A report goes all the same: it would be lost, and has but the header of the message (§5).
    """
    if not tls.level.authenticated:
        return Unable("5.7.10", "REQUIRETLS: the connection is not TLS with a verified certificate")
    if not extensions.require_tls:
        return Unable("5.7.30", "REQUIRETLS: the host does not offer REQUIRETLS")
    return None


def unable_at_the_end(
    envelope: Envelope, extensions: Extensions, tls: Tls, site: Site, now_ms: int
) -> Unable | None:
    """The same of LMTP: what passes on nothing need not promise how (RFC 8689 §4.4, RFC 2852).

    Nobody can listen on a unix socket; anywhere else REQUIRETLS wants verified TLS.
    """
    if envelope.require_tls and envelope.sender and not (site.socket or tls.level.authenticated):
        return Unable("5.7.10", "REQUIRETLS: LMTP here is not TLS with a verified certificate")
    by = envelope.asked.deliver_by
    if by is not None and by.mode == "R" and by.deadline_ms <= now_ms:
        return Unable("5.4.7", _OVER)
    return unable(replace(envelope, require_tls=False), extensions, tls)


_OVER = "the time that the sender allowed for the delivery is over"


def too_late(by: DeliverBy | None, extensions: Extensions, now_ms: int) -> Unable | None:
    """Return why a message that is to come back in time must not be sent there (RFC 2852 §4.1.4).

    A hop without DELIVERBY would not return it; one that needs longer would refuse it.
    """
    if by is None or by.mode != "R":
        return None
    left_s = (by.deadline_ms - now_ms) // 1000
    if left_s <= 0:
        return Unable("5.4.7", _OVER)
    if "DELIVERBY" not in extensions.keywords:
        text = "the sender wants it back if it is late, and the host does not offer DELIVERBY"
        return Unable("5.3.3", text)
    if left_s < extensions.deliver_by_s:
        text = f"{left_s} seconds are left, and the host wants {extensions.deliver_by_s}"
        return Unable("5.4.7", text)
    return None


@value
class Message:
    """What is sent, ready for the wire."""

    envelope: Envelope
    sender: str
    rcpt_lines: dict[int, bytes]  # by the recipient's number
    body: Body
    rcpt_more: dict[int, bytes]  # what a hop that has DSN is told of some of them (RFC 3461 §5.2.1)
    utf8_sender: bool  # in the local part: nobody gets it without SMTPUTF8
    utf8: frozenset[int]  # numbers of recipients that need it for their own address

    def rcpts(self, batch: Sequence[Recipient], keywords: frozenset[str]) -> list[bytes]:
        """Return the RCPT lines for a hop that has announced ``keywords``."""
        lines = [self.rcpt_lines[recipient.number] for recipient in batch]
        by = self.envelope.asked.deliver_by
        untold = by is not None and by.mode == "N" and "DELIVERBY" not in keywords
        if not (self.rcpt_more or untold) or "DSN" not in keywords:
            return lines
        if untold:
            more = [rcpt_parameters(recipient, delay=True) for recipient in batch]
        else:
            more = [self.rcpt_more.get(recipient.number, b"") for recipient in batch]
        return [b"%s%s\r\n" % (line[:-2], one) for line, one in zip(lines, more, strict=True)]

    def needs_utf8(self, recipients: Iterable[Recipient]) -> dict[Unable, list[Recipient]]:
        """Return who of ``recipients`` can only be reached with SMTPUTF8, and why."""
        if not (self.utf8 or self.utf8_sender or self.envelope.utf8):
            return {}
        need: dict[Unable, list[Recipient]] = {}
        for recipient in recipients:
            if recipient.number in self.utf8 or self.utf8_sender:
                need.setdefault(_NO_UTF8_ADDRESS, []).append(recipient)
            elif self.envelope.utf8:
                need.setdefault(_NO_UTF8_HEADER, []).append(recipient)
        return need

    def with_priority_on_top(self, extensions: Extensions) -> "Message":
        """Return what a hop without MT-PRIORITY gets: it is in the header then (RFC 6758 §4)."""
        priority = self.envelope.asked.priority
        if not priority or "MT-PRIORITY" in extensions.keywords:
            return self
        line = b"MT-Priority: %d\r\n" % priority
        envelope = replace(self.envelope, size=self.envelope.size + len(line))
        return replace(self, envelope=envelope, body=Topped(line, self.body))


# RFC 6531 §3.5
_NO_UTF8_ADDRESS = Unable(
    "5.6.7", "an address has letters beyond ASCII and the host does not offer SMTPUTF8"
)
_NO_UTF8_HEADER = Unable(
    "5.6.9", "the header has letters beyond ASCII and the host does not offer SMTPUTF8"
)


def prepare(attempt: Attempt, envelope: Envelope, body: Body) -> Message:
    """Make the message; addresses that cannot stand in a command are settled here."""
    sender, lines, utf8 = envelope.sender, {}, set()
    utf8_sender = False
    try:
        if not sender.isascii():
            sender, utf8_sender = _on_the_wire(sender, domain_of(sender))
        mail_line(sender, 0, False, Extensions(), utf8=utf8_sender)
    except ValueError as error:
        attempt.unsendable(attempt.left.values(), "5.1.7", str(error))
    for recipient in list(attempt.left.values()):
        address, beyond = recipient.address, False
        if not address.isascii():
            address, beyond = _on_the_wire(address, recipient.domain)
        try:
            lines[recipient.number] = rcpt_line(address, utf8=beyond)
        except ValueError as error:
            attempt.unsendable([recipient], "5.1.3", str(error))
        if beyond:
            utf8.add(recipient.number)
    more = {
        recipient.number: rcpt_parameters(recipient)
        for recipient in attempt.left.values()
        if recipient.notify or recipient.orcpt or recipient.given
    }
    return Message(envelope, sender, lines, body, more, utf8_sender, frozenset(utf8))


def _on_the_wire(address: str, domain: str) -> tuple[str, bool]:
    """Return an address that is not ASCII as it travels, and whether that takes SMTPUTF8.

    If its domain alone is internationalised it travels as A-labels (RFC 5891 §4).
    """
    local = split(address)[0]
    return (f"{local}@{domain}", False) if local.isascii() else (address, True)


def _batch(
    waiting: Sequence[Recipient], most: int, domains: int
) -> tuple[list[Recipient], list[Recipient]]:
    """Divide ``waiting`` into those of the next transaction and the others.

    ``most`` recipients of ``domains`` different domains at most, 0 for any number.
    """
    if not domains:
        return list(waiting[:most]), list(waiting[most:])
    batch: list[Recipient] = []
    others: list[Recipient] = []
    seen: set[str] = set()
    for recipient in waiting:
        if len(batch) < most and (recipient.domain in seen or len(seen) < domains):
            seen.add(recipient.domain)
            batch.append(recipient)
        else:
            others.append(recipient)
    return batch, others


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
        self.not_asked: list[Recipient] = []  # the peer takes no more on this connection

    async def send(
        self,
        attempt: Attempt,
        message: Message,
        limit: int,
        those: Sequence[Recipient] | None = None,
    ) -> bool:
        """Send to ``those`` (all who are left), ``limit`` at a time.

        False if the connection turns out to have been dead before: nothing has happened then.
        """
        waiting = self.able(attempt, message, those)
        if not waiting:
            return True
        message = message.with_priority_on_top(self._connection.client.extensions)
        mail = self._mail(message, utf8=bool(message.needs_utf8(waiting)))
        return await self._all(attempt, message, mail, waiting, limit)

    def able(
        self, attempt: Attempt, message: Message, those: Sequence[Recipient] | None = None
    ) -> list[Recipient]:
        """Return to whom of ``those`` this peer can pass it on; ``attempt`` hears of the others."""
        why = self._unable(message.envelope, self._wall_ms(message.envelope))
        if why is not None:
            attempt.unable(why, self.contact(0.0))
            return []
        waiting = list(attempt.left.values() if those is None else those)
        if self._connection.client.extensions.smtp_utf8:
            return waiting
        for reason, recipients in message.needs_utf8(waiting).items():
            attempt.unable(reason, self.contact(0.0), recipients)
            waiting = [one for one in waiting if one not in recipients]
        return waiting

    def _wall_ms(self, envelope: Envelope) -> int:
        return 0 if envelope.asked is NOTHING else self._now_ms()

    def _unable(self, envelope: Envelope, now_ms: int) -> Unable | None:
        connection = self._connection
        extensions = connection.client.extensions
        if connection.client.lmtp:
            return unable_at_the_end(envelope, extensions, connection.tls, self._site, now_ms)
        why = unable(envelope, extensions, connection.tls)
        return why or too_late(envelope.asked.deliver_by, extensions, now_ms)

    def _keeps_tls(self, envelope: Envelope) -> bool:
        """Tell whether the session is one in which REQUIRETLS may be said (RFC 8689 §2).

        Whatever has a sender would not have come here otherwise.
        """
        tls, extensions = self._connection.tls, self._connection.client.extensions
        proved = tls.level in (TlsLevel.DANE, TlsLevel.STS)
        return bool(envelope.sender) or (proved and extensions.require_tls)

    def _mail(self, message: Message, *, utf8: bool) -> bytes:
        envelope, extensions = message.envelope, self._connection.client.extensions
        more = b" REQUIRETLS" if envelope.require_tls and self._keeps_tls(envelope) else b""
        if self._connection.secrets is not None and extensions.auth:
            more += b" AUTH=<>"  # whoever submitted it, it is not who has logged in (RFC 4954 §5)
        if envelope.asked is not NOTHING:
            more += mail_parameters(envelope.asked, extensions.keywords, self._now_ms())
        return mail_line(
            message.sender,
            envelope.size,
            envelope.eight_bit,
            extensions,
            utf8=utf8,
            binary=envelope.binary,
            more=more,
        )

    async def _all(
        self,
        attempt: Attempt,
        message: Message,
        mail: bytes,
        waiting: list[Recipient],
        limit: int,
    ) -> bool:
        limits = self._connection.client.extensions.limits
        most = min(limit, limits.recipients or limit)
        while waiting:
            if limits.mails and self._connection.uses >= limits.mails:
                self.not_asked = waiting
                return True
            batch, waiting = _batch(waiting, most, limits.domains)
            try:
                await self._transaction(attempt, mail, batch, message)
            except Trouble as trouble:
                if self._was_dead(trouble):
                    return False
                attempt.site_fails(trouble, self.contact(0.0), waiting)
                return True
            waiting += attempt.again
            attempt.again = []
        return True

    async def _transaction(
        self, attempt: Attempt, mail: bytes, batch: Sequence[Recipient], message: Message
    ) -> None:
        began = self._seconds()
        lines = message.rcpts(batch, self._connection.client.extensions.keywords)
        marker = attempt.marker
        before_end = None if marker is None else partial(self._mark, marker, batch)
        self._connection.before_end = before_end
        try:
            transaction = await self._connection.transact(
                mail, lines, message.body, chunked=message.envelope.binary
            )
        except Trouble as trouble:
            if not self._was_dead(trouble):
                contact = self.contact(self._seconds() - began)
                attempt.ended(batch, self._connection.client.transaction, contact, trouble)
                await self._unmark(marker, batch)
            raise
        except CancelledError:
            contact = self.contact(self._seconds() - began)
            attempt.broken_off(batch, self._connection.client.transaction, contact)
            raise
        attempt.ended(batch, transaction, self.contact(self._seconds() - began))
        if marker is not None:
            await self._unmark(marker, batch)

    async def _mark(self, marker: Marker, batch: Sequence[Recipient]) -> None:
        """Let it be known after a crash to whom the message may have been sent."""
        transaction, peer = self._connection.client.transaction, self.contact().peer
        assert transaction is not None
        assert peer is not None
        try:
            await marker.mark(batch, transaction, peer)
        except Trouble as trouble:
            if self._connection.record is not None:
                self._connection.record.fails(str(trouble))
            self._connection.abort()  # half a message must not look like a whole one
            raise

    async def _unmark(self, marker: Marker | None, batch: Sequence[Recipient]) -> None:
        """The answer has come, or the dot was not sent after all."""
        transaction = self._connection.client.transaction
        if marker is not None and transaction is not None:
            await marker.unmark(batch, transaction)

    def _was_dead(self, trouble: Trouble) -> bool:
        return self._reused and proves_dead(self._connection.client.transaction, trouble)

    def contact(self, transmit_s: float = 0.0) -> Contact:
        """Return the peer, and how long things took."""
        connection, site = self._connection, self._site
        peer = Peer(
            site.host,
            connection.address,
            site.port,
            connection.tls,
            connection.uses,
            connection.source,
            connection.client.extensions.keywords,
            final=connection.client.lmtp,
        )
        return Contact(peer, Timing(self._connect_s, transmit_s))
