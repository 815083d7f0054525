"""One arriving message before the filters (``mta.milter``).

The header, our own line on top, is held back until the filters have said all, and is chunk 0
of the message then; the body goes to the spool meanwhile, in chunks numbered from 1, and to
the first filter, no faster than that one takes it.

Filters see the message without our ``Received:`` and before our signature, which is made over what
they have left.
"""

from collections.abc import AsyncIterator

from mta.inbound.new_body import NewBody
from mta.inbound.reception import Reception
from mta.mail.queue_id import QueueId
from mta.milter.examination import Examination, Refusal
from mta.milter.fields import Fields
from mta.smtp.commands import Mail
from mta.smtp.replies import reply
from mta.spool.body import read_chunk

LONGEST_HEADER = 120 * 1024  # octets; with all changes it is a chunk still

_TOO_LONG = Refusal(
    reply(552, "5.3.4", "The header of the message is too long"),
    "the header is too long to be shown to a filter",
)


class Filtering:
    """One message's; what ``mta.milter`` takes for the message."""

    def __init__(
        self, examination: Examination, reception: Reception, id: QueueId, mail: Mail, limit: int
    ) -> None:
        """``limit`` is the size of the largest message, in octets."""
        self.examination = examination
        self.refusal: Refusal | None = None  # what is to be said at the end
        self.fields = Fields(b"")
        self.stored = 0  # chunks of the body in the spool
        self.last = b""  # the rest of it
        self.size = 0  # octets of the message
        self.eight_bit: bool | None = None  # None: as it came
        self.held = 0  # octets that are held back
        self._reception = reception
        self._id = id
        self._mail = mail
        self._limit = limit
        self._head = b""  # while the header is not complete
        self._separator = b""  # the empty line behind the header
        self._begun = False  # the header is complete
        self._body_size = 0

    @property
    def head(self) -> bytes:
        """What goes on top of the body."""
        return self.fields.octets() + self._separator

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
            chunk = await self._begin(end, ours)
        self._body_size += len(chunk)
        await self.examination.body(chunk)
        return chunk

    async def _begin(self, end: int, ours: int) -> bytes:
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

    async def end(self, stored: int, last: bytes) -> Refusal | None:
        """Ask for the verdict; the body is in ``stored`` chunks, and ``last`` behind them."""
        self.stored, self.last = stored, last
        before = self.head
        if self.refusal is None:
            self.refusal = await self.examination.end(self)
        head = self.head
        if head != before and not head.isascii():
            self.eight_bit = True
        self.size = len(head) + self._body_size
        return self.refusal

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
        self.eight_bit = new.eight_bit or not self.head.isascii()
        self._separator = b"\r\n"
