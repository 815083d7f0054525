"""One arriving message before the filters (``mta.milter``).

The header, our own line on top, is held back until the filters have said all, and is chunk 0
of the message then; the body goes to the spool meanwhile, in chunks numbered from 1, and to
the first filter, no faster than that one takes it.

Filters see the message without our ``Received:`` and before our signature, which is made over what
they have left.
"""

from collections.abc import AsyncIterator

from mta.inbound.addressees import Addressees
from mta.inbound.envelope_changes import Changed
from mta.inbound.gate import Rulings
from mta.inbound.new_body import NewBody
from mta.inbound.reception import Reception
from mta.inbound.settings import SessionLimits
from mta.inbound.signature import Signature
from mta.inbound.verification import Verification
from mta.mail.address import domain_of
from mta.mail.envelope import Asked
from mta.mail.queue_id import QueueId
from mta.milter.examination import Examination, Refusal
from mta.milter.fields import Fields
from mta.milter.macros import Hello
from mta.smtp.commands import Mail, Rcpt
from mta.smtp.replies import reply
from mta.spool.body import read_chunk
from mta.spool.intake import Remark

LONGEST_HEADER = 120 * 1024  # octets; with all changes it is a chunk still

_TOO_LONG = Refusal(
    reply(552, "5.3.4", "The header of the message is too long"),
    "the header is too long to be shown to a filter",
)


class Filtering:
    """One message's; what ``mta.milter`` takes for the message."""

    def __init__(
        self,
        examination: Examination,
        reception: Reception,
        id: QueueId,
        mail: Mail,
        limits: SessionLimits,
    ) -> None:
        self.examination = examination
        self.refusal: Refusal | None = None  # what is to be said at the end
        self.fields = Fields(b"")
        self.stored = 0  # chunks of the body in the spool
        self.last = b""  # the rest of it
        self.top = b""  # header and empty line, if they are a chunk of their own
        self.size = 0  # octets of the message
        self.eight_bit: bool | None = None  # None: as it came
        self.held = 0  # octets that are held back
        self._reception = reception
        self._id = id
        self._mail = mail
        self._limit = limits.message_size
        self._head = b""  # while the header is not complete
        self._separator = b""  # the empty line behind the header
        self._begun = False  # the header is complete
        self._body_size = 0

    @property
    def header(self) -> bytes:
        """The header as it is now, and the empty line behind it."""
        return self.fields.octets() + self._separator

    async def begin(self, hello: Hello) -> Refusal | None:
        """Ask at MAIL."""
        mail = self._mail
        return await self.examination.mail(hello, mail.sender, _mail_words(mail), self._id)

    async def recipient(self, address: str, rcpt: Rcpt) -> Refusal | None:
        """Ask at RCPT, about the address that the mail will go to."""
        words = [f"NOTIFY={rcpt.notify}"] if rcpt.notify else []
        words += [f"ORCPT={rcpt.orcpt}"] if rcpt.orcpt else []
        return await self.examination.rcpt(address, domain_of(address), tuple(words))

    async def data(self) -> Refusal | None:
        """Ask at DATA, or the first BDAT."""
        return await self.examination.data()

    async def see(self, chunk: bytes, ours: int, *, last: bool = False) -> bytes:
        """Take the next chunk, and return what may go to the spool of it.

        The first ``ours`` octets of the message are hidden from filters.
        """
        if self.refusal is not None:
            return b""
        if not self._begun:
            self._head += chunk
            self.held = len(self._head)
            end = self._head.find(b"\r\n\r\n") + 2
            if end > LONGEST_HEADER or (end == 1 and len(self._head) > LONGEST_HEADER):
                self.refusal = _TOO_LONG
                return b""
            if end == 1 and not last:
                return b""
            chunk = await self._divide(end, ours)
        self._body_size += len(chunk)
        await self.examination.body(chunk)
        self.refusal = self.examination.refused
        return chunk

    async def _divide(self, end: int, ours: int) -> bytes:
        """Show the header, of ``end`` octets, 1 if it is all; return what follows it."""
        whole, self._begun = self._head, True
        if end == 1:
            header, chunk = whole, b""
        else:
            header, chunk, self._separator = whole[:end], whole[end + 2 :], b"\r\n"
        self._head, self.held = b"", end
        self.fields = Fields(header, ours)
        await self.examination.header(self.fields)
        return chunk

    async def finish(
        self, last: bytes, ours: int, stored: int, topping: Signature | Verification | None
    ) -> None:
        """Take the last chunk, behind ``stored`` ones of the body; ask for the verdicts.

        A signature of ours is shown what they have left.  ``top``, ``stored`` and ``last`` are the
        message then.
        """
        self.stored, self.last = stored, await self.see(last, ours, last=True)
        before = self.header
        if self.refusal is None:
            self.refusal = await self.examination.end(self)
        if self.refusal is not None:
            return
        header = self.header
        if header != before and not header.isascii():
            self.eight_bit = True
        self.size = len(header) + self._body_size
        if self.stored:
            self.top = header
        else:
            self.last = header + self.last
        if isinstance(topping, Signature):
            await self._show(topping)

    async def _show(self, signature: Signature) -> None:
        if not self.stored:
            signature.see(self.last, last=True)
            return
        signature.see(self.top, last=False)
        async for octets in self.body():
            signature.see(octets, last=False)
        signature.see(b"", last=True)

    def changed(
        self, sender: str, asked: Asked, addressees: Addressees, rulings: Rulings
    ) -> Changed:
        """Return the envelope as the filters want it, and note what they did."""
        findings = self.examination.findings
        rulings.remarks += [
            Remark(verb, text, f"milter {who}") for who, verb, text in findings.remarks
        ]
        changed = Changed(sender, asked, addressees, utf8=self._mail.utf8)
        changed.apply(findings.changes)
        if findings.discarded:
            changed.discard(findings.discarded)
        rulings.remarks += changed.remarks()
        rulings.held = rulings.held or findings.held
        return changed

    async def body(self) -> AsyncIterator[bytes]:
        """Read the body as it is now."""
        for number in range(1, self.stored + 1):
            yield await self._reception.database.read(read_chunk, self._id, number)
        if self.last:
            yield self.last

    def new_body(self) -> NewBody:
        """Begin another body."""
        return NewBody(
            self._reception, self._id, self._took, limit=self._limit, binary=self._mail.binary
        )

    def _took(self, new: NewBody) -> None:
        """A new body has taken the place of the old one."""
        self.stored, self.last, self._body_size = new.stored, new.last, new.size
        self.eight_bit = new.eight_bit or not self.header.isascii()
        self._separator = b"\r\n"


def _mail_words(mail: Mail) -> tuple[str, ...]:
    """Return the parameters of MAIL as they came, as far as they are known still."""
    wanted = mail.wanted
    words = {
        f"SIZE={mail.size}": mail.size is not None,
        "BODY=8BITMIME": mail.eight_bit,
        "BODY=BINARYMIME": mail.binary,
        "SMTPUTF8": mail.utf8,
        "REQUIRETLS": mail.require_tls,
    }
    if wanted is not None:
        words |= {
            f"RET={wanted.ret}": bool(wanted.ret),
            f"ENVID={wanted.envid}": bool(wanted.envid),
        }
    return tuple(word for word, there in words.items() if there)
