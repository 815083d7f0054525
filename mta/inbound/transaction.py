"""One message on its way in: from MAIL to the answer after the final dot.

What is small is kept in memory and goes to the spool in one write, the one that accepts
it; what is larger goes there in chunks while it arrives, and the accepting write makes it
ours.  Until that has been committed and fsynced nothing is promised (RFC 5321 §6.1); when
it is not, nothing stays.

Bounded: one chunk in memory, and a second while it is being written.  When all the messages
arriving hold too much together, each writes smaller chunks.

Knowingly: chunks of a message that was broken off while the database was away stay behind;
the spool's own sweep removes them.
"""

from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from mta.inbound import leftovers
from mta.inbound.acceptance import Acceptance
from mta.inbound.addressees import Addressees
from mta.inbound.addressing import Aim
from mta.inbound.filtering import Filtering
from mta.inbound.gate import Passage, Rulings
from mta.inbound.head import Head
from mta.inbound.line_length import LINE_TOO_LONG, Lines
from mta.inbound.pieces import Pieces
from mta.inbound.reception import Reception
from mta.inbound.requests import expires_ms
from mta.inbound.settings import InboundSettings
from mta.inbound.signature import Signature
from mta.inbound.verification import Unwelcome, Verification
from mta.mail.envelope import NOTHING, Asked, Envelope, Origin
from mta.mail.events import Refused
from mta.mail.queue_id import new_queue_id
from mta.policy.decision import Decision
from mta.smtp.commands import Mail
from mta.smtp.events import EndOfChunk, EndOfData
from mta.smtp.replies import Reply, reply
from mta.spool import intake
from mta.spool.errors import SpoolFull, SpoolUnavailable

_CHUNK = intake.CHUNK_SIZE - 4 * 1024  # our own lines come on top of the first
_EARLY_CHUNK = 64 * 1024  # while memory is short; the longest header that is scanned whole

OK_RCPT = reply(250, "2.1.5", "Ok")
TOO_MANY_RECIPIENTS = reply(
    452, "4.5.3", "Too many recipients; send the message to the others in another transaction"
)
TRY_AGAIN = reply(451, "4.3.0", "The message can't be stored at the moment; try again later")
NO_ROOM = reply(452, "4.3.1", "There is no room to store the message; try again later")


class Transaction:
    """MAIL has been accepted; recipients, content and the decision follow."""

    _log = Logger()

    def __init__(  # noqa: PLR0913 - all that MAIL has decided
        self,
        reception: Reception,
        settings: InboundSettings,
        origin: Origin,
        mail: Mail,
        *,
        submission: bool,
        passage: Passage,
        rulings: Rulings,
        asked: Asked = NOTHING,
        highest: int | None = None,
        verification: Verification | None = None,
        outside: bool = False,
    ) -> None:
        """``submission``: the message is new and what its header lacks is added (RFC 6409 §8).

        ``highest``: what an MT-Priority field may say at most (RFC 6758); None: nothing.
        ``verification``: it comes from outside, and is verified.  ``outside``: from no trusted
        network.
        """
        self.filtering: Filtering | None = None  # if filters are to see the message
        self.left = False  # the client has gone, and will never hear what we say
        self._asked = asked
        self._reception = reception
        self._settings = settings
        self._origin = origin
        self._mail = mail
        self._passage = passage
        self.rulings = rulings  # of the policy, so far
        self.sender = mail.sender
        self._addressees = Addressees(settings.limits.recipients)
        self._created_ms = reception.now_ms()
        self.id = new_queue_id(self._created_ms)
        self._head = Head(
            settings, passage, rulings, origin, mail.sender, self.id, self._created_ms,
            submission=submission, highest=highest, verification=verification,
            priority=None if mail.wanted is None else mail.wanted.priority, outside=outside,
            binary=mail.binary,
        )  # fmt: skip
        self._pieces = Pieces(reception)
        self._size = 0  # octets in all, those that were prepended included
        self._stored = 0  # chunks in the spool
        self._complete = False  # all of it has arrived
        self._touched = False  # there may be chunks in the spool
        self._top = b""  # chunk 0, if it could not be stored before all others
        self._verification = verification
        # What makes fields that go on top when all has arrived: never both.
        self._topping = verification or self._begin_signature(submission=submission)
        lines = submission and settings.submission.refuse_long_lines and not mail.binary
        self._lines = Lines() if lines else None
        self._failure: Reply | None = None
        self._reason = ""  # what the client is not told

    @property
    def count(self) -> int:
        """How many recipients there are."""
        return self._addressees.count

    @property
    def full(self) -> bool:
        """Whether there can be no more."""
        return self._addressees.full

    def add(self, address: str, notify: str = "", orcpt: str = "") -> Reply:
        """One more recipient."""
        return OK_RCPT if self._addressees.add(address, notify, orcpt) else TOO_MANY_RECIPIENTS

    def add_aim(self, aim: Aim) -> Reply:
        """Add what a recipient in a domain of ours has come to."""
        if not self._addressees.add_all(aim.recipients):
            return TOO_MANY_RECIPIENTS
        self.rulings.note(aim.remarks)
        return OK_RCPT

    def take(self, data: bytes) -> Coroutine[Deferred[Any], Any, None] | None:
        """Take a piece of content; with a coroutine, no more until it has come to its end."""
        if self._failure is not None:
            return None
        short = self._reception.held > self._settings.limits.memory
        full = self._pieces.held + len(data) > (_EARLY_CHUNK if short else _CHUNK)
        if full and self._pieces and not self._head_awaited():
            return self._store_then_keep(data)
        self._keep(data)
        return None

    def _head_awaited(self) -> bool:
        """Tell whether the header is still arriving: it is seen to as a whole."""
        if self._size:
            return False
        return self._head.awaited(self._pieces.joined())

    async def end_chunk(self, end: EndOfChunk) -> Reply | None:
        """A chunk is complete (RFC 3030 §2); a refusal is the end of the whole message."""
        if end.refusal is None and end.data:
            storing = self.take(end.data)
            if storing is not None:
                await storing
        refusal = end.refusal or self._failure
        if refusal is not None:
            await self.abandon()
            self._refused(refusal)
        return refusal

    async def finish(self, end: EndOfData) -> Reply:
        """The message is complete: accept it or not."""
        if end.refusal is None and self._failure is None:
            self._keep(end.data)
            self._complete = True
            chunk = self._chunk(last=True)
            self._failure = self._failure or await self._judge()
            if self.filtering is not None and self._failure is None:
                chunk = await self._filtered(self.filtering, chunk, end)
            if self._topping is not None and self._failure is None:
                chunk = await self._put_on_top(self._topping, chunk)
            self._failure = self._failure or await self._accept(chunk, end.eight_bit)
        refusal = end.refusal or self._failure
        self._pieces.release()
        if refusal is None:
            return reply(250, "2.0.0", f"Ok: queued as {self.id}")
        await self.abandon()
        self._refused(refusal)
        return refusal

    async def abandon(self) -> None:
        """Forget it all; nothing stays in the spool."""
        self._pieces.release()
        if self._verification is not None:
            self._verification.cancel()
        if self.filtering is not None:
            self.filtering.examination.abort()
        if self._touched:
            self._touched = False
            await leftovers.remove(self._reception, self.id)

    def _keep(self, data: bytes) -> None:
        if self._lines is not None and self._lines.too_long(data):
            self._failure, self._reason = LINE_TOO_LONG, "line length"
        self._pieces.keep(data)

    async def _store_then_keep(self, data: bytes) -> None:
        chunk = self._chunk()
        if self.filtering is not None and self._failure is None:
            chunk = await self.filtering.see(chunk, self._head.received)
            if self.filtering.refusal is not None:
                self._failure, self._reason = self.filtering.refusal
        if self._failure is None and chunk:
            await self._store(chunk)
        self._pieces.release()
        if self._failure is None:
            if self.filtering is not None:
                self._pieces.hold(self.filtering.held)
            elif self._topping is not None:
                self._pieces.hold(len(self._topping.head))
            self._keep(data)

    async def _store(self, chunk: bytes) -> None:
        held_back = self._topping is not None and self._topping.head
        first = 1 if held_back or self.filtering is not None else 0
        number = first + self._stored
        self._touched = True
        try:
            await self._reception.database.write(intake.store_chunk, self.id, number, chunk, first)
        except CancelledError:
            raise
        except Exception as error:
            self._failure = self._meaning(error)
        else:
            self._stored += 1

    def _begin_signature(self, *, submission: bool) -> Signature | None:
        signer, emit = self._reception.signer, self._reception.emit
        if signer is None or not signer.rules.wants(submission=submission):
            return None
        return Signature(signer, self.id, self._created_ms, emit)

    async def _put_on_top(self, topping: Signature | Verification, last: bytes) -> bytes:
        """Put its fields on top; return the last chunk, which is all if nothing was stored."""
        try:
            fields = await topping.make()
        except Unwelcome as refused:
            self._passage.not_accepted()
            self._failure, self._reason = refused.reply, str(refused)
            return last
        except BaseException as error:
            self._failure = self._not_accepted(error)
            return last
        self._size += len(fields)
        head = fields + (self._top or topping.head)
        if not self._stored:
            return head + last if head else last
        self._top = head
        return last

    def _chunk(self, *, last: bool = False) -> bytes:
        """Return what is held as one chunk; the first one gets our lines on top."""
        pieces = self._pieces.take()
        if self._size == 0:
            pieces = self._headed(pieces)
        chunk = b"".join(pieces)
        self._size += len(chunk)
        if self._failure is not None:
            return chunk
        if self.filtering is not None:
            if self._verification is not None:
                self._verification.see(chunk, last=True)  # as it came; the filters hold it back
            return chunk
        return chunk if self._topping is None else self._topping.see(chunk, last=last)

    def _headed(self, pieces: list[bytes]) -> list[bytes]:
        """Have the head of the message seen to."""
        head = self._head
        pieces = head.completed(pieces, self._addressees.only, complete=self._complete)
        if head.refusal is not None:
            self._failure, self._reason = head.refusal, head.reason
        if head.priority is not None:
            self._asked = replace(self._asked, priority=head.priority)
        return pieces

    async def _judge(self) -> Reply | None:
        """Ask the policy about the message as a whole."""
        domains = self._addressees.domains
        ruling = self._passage.message(self.sender, domains, len(domains), self._size)
        if not (ruling is None or isinstance(ruling, Decision)):
            try:
                ruling = await ruling
            except BaseException as error:
                return self._not_accepted(error)
        if (refused := self.rulings.obey(ruling)) is None:
            return None
        answer, self._reason = refused
        return answer

    async def _filtered(self, filtering: Filtering, last: bytes, end: EndOfData) -> bytes:
        """Have the filters say all, and do what they want; return the last chunk."""
        try:
            await filtering.finish(last, self._head.received, self._stored, self._topping)
        except BaseException as error:
            self._failure = self._not_accepted(error)
            return last
        if filtering.refusal is not None:
            self._passage.not_accepted()
            self._failure, self._reason = filtering.refusal
            return last
        changed = filtering.changed(self.sender, self._asked, self._addressees, self.rulings)
        self.sender, self._asked = changed.sender, changed.asked
        self._head.reread(filtering.header)
        if filtering.eight_bit is not None:
            end.eight_bit = filtering.eight_bit
        self._stored, self._size, self._top = filtering.stored, filtering.size, filtering.top
        return filtering.last

    async def _accept(self, last: bytes, eight_bit: bool) -> Reply | None:
        """Commit 1, and the hand-over; None means that the message is ours.

        If the client has gone before, it is as if it had been told to try again, which is what it
        will do (RFC 5321 §4.1.1.10).
        """
        if self.left:
            self._passage.not_accepted()
            self._reason = "the client has gone"
            return TRY_AGAIN
        arrived = last, self._stored, self._top
        envelope = self._envelope(eight_bit)
        acceptance = Acceptance(self._reception, envelope, self._addressees, self.rulings, arrived)
        try:
            await acceptance.commit()
        except BaseException as error:
            return self._not_accepted(error)
        self._touched = False
        acceptance.announce()
        return None

    def _envelope(self, eight_bit: bool) -> Envelope:
        return Envelope(
            id=self.id,
            sender=self.sender,
            size=self._size,
            created_ms=self._created_ms,
            expires_ms=expires_ms(self._asked, self._created_ms, self._settings.expiry_ms),
            eight_bit=eight_bit,
            binary=self._mail.binary,
            utf8=self._mail.utf8 and self._head.utf8,
            require_tls=self._mail.require_tls,
            tls_not_required=self._head.tls_not_required and not self._mail.require_tls,
            message_id=self._head.message_id,
            origin=self._origin,
            asked=self._asked,
        )

    def _not_accepted(self, error: BaseException) -> Reply:
        """The policy has counted the message, and it was not accepted after all."""
        self._passage.not_accepted()
        if isinstance(error, CancelledError) or not isinstance(error, Exception):
            raise error
        return self._meaning(error)

    def _meaning(self, error: Exception) -> Reply:
        """What to tell the client; whatever is not known is temporary."""
        self._reason = str(error)
        if isinstance(error, SpoolFull):
            return NO_ROOM
        if not isinstance(error, SpoolUnavailable):
            self._log.error("{id} can't be stored: {error!r}", id=self.id, error=error)
        return TRY_AGAIN

    def _refused(self, answer: Reply) -> None:
        self._passage.refused()
        self._reception.emit(
            Refused(
                origin=self._origin,
                command="end of data",
                reply=f"{answer.code} {answer.enhanced} {answer.text}",
                reason=self._reason or "content",
                sender=self.sender,
                recipient=self._addressees.first,
            )
        )
