"""The body that a filter puts in the place of the one that came.

What is small stays in memory.  What is larger goes to the spool under an id of its own while the
filter says it, so that the message is as it was if the filter breaks off; ``keep`` puts it in
the place of the old chunks in one transaction.

Lines end with CRLF afterwards, whatever the filter takes for a line end: a bare CR or LF is
what SMTP smuggling is made of.  A NUL octet is the filter's fault.
"""

import re
from collections.abc import Callable

from mta.inbound import leftovers
from mta.inbound.reception import Reception
from mta.mail.queue_id import QueueId, new_queue_id
from mta.milter.options import Misbehaved
from mta.spool import intake

_LINE_END = re.compile(rb"\r\n|\r|\n")
_CHUNK = intake.CHUNK_SIZE - 64 * 1024  # a piece more, and line ends that grow


class NewBody:
    """One."""

    def __init__(
        self,
        reception: Reception,
        id: QueueId,
        kept: "Callable[[NewBody], None]",
        *,
        limit: int,
        binary: bool,
    ) -> None:
        """``limit`` is in octets; of a ``binary`` message every octet is content.

        ``kept`` is called when it has taken the place of the old one.
        """
        self.stored = 0  # chunks, numbered from 1
        self.last = b""  # what follows them
        self.size = 0
        self.eight_bit = False
        self._reception = reception
        self._id = id
        self._kept = kept
        self._limit = limit
        self._binary = binary
        self._other: QueueId | None = None  # the id of its own
        self._pieces: list[bytes] = []
        self._held = 0
        self._cut = b""  # a CR, of which nobody knows what follows

    async def write(self, octets: bytes) -> None:
        """Take a piece.  Raises ``Misbehaved``, or what the spool raises."""
        self._keep(self._lines(octets))
        if self._held >= _CHUNK:
            await self._store()

    async def keep(self) -> None:
        """It is complete: forget the old one."""
        if self._cut:
            self._keep(b"\r\n")
        if not self._binary and self._pieces and not self._pieces[-1].endswith(b"\n"):
            self._keep(b"\r\n")
        self.last = b"".join(self._pieces)
        write = self._reception.database.write
        if self._other is None:
            await write(intake.discard, self._id)
        else:
            await write(intake.adopt, self._id, self._other)
            self._other = None
        self._kept(self)

    async def drop(self) -> None:
        """Nothing stays of it but what was kept."""
        self._reception.held -= self._held
        self._held, self._pieces = 0, []
        if self._other is not None:
            other, self._other = self._other, None
            await leftovers.remove(self._reception, other)

    def _lines(self, octets: bytes) -> bytes:
        if self._binary or not octets:
            return octets
        if b"\0" in octets:
            raise Misbehaved("the new body has a NUL octet in it")
        octets, self._cut = self._cut + octets, b""
        if octets.endswith(b"\r"):
            octets, self._cut = octets[:-1], b"\r"
        return _LINE_END.sub(b"\r\n", octets)

    def _keep(self, octets: bytes) -> None:
        if not octets:
            return
        self.size += len(octets)
        if self.size > self._limit:
            raise Misbehaved(f"the new body has more than {self._limit} octets")
        self.eight_bit = self.eight_bit or not octets.isascii()
        self._pieces.append(octets)
        self._held += len(octets)
        self._reception.held += len(octets)

    async def _store(self) -> None:
        if self._other is None:
            self._other = new_queue_id(self._reception.now_ms())
        chunk = b"".join(self._pieces)
        number = 1 + self.stored
        await self._reception.database.write(intake.store_chunk, self._other, number, chunk, 1)
        self.stored += 1
        self._reception.held -= self._held
        self._held, self._pieces = 0, []
