"""The octets of a message as the spool keeps them, read chunk by chunk."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, bindparam, select

from mta.mail.envelope import Body, MemoryBody
from mta.mail.queue_id import QueueId
from mta.spool.intake import Intake
from mta.spool.schema import chunks

if TYPE_CHECKING:  # a command that looks at the queue waits for no reactor
    from mta.spool.database import Database

_CHUNK = select(chunks.c.data).where(
    chunks.c.message_id == bindparam("message_id"), chunks.c.number == bindparam("number")
)


def read_chunk(conn: Connection, message_id: str, number: int) -> bytes:
    """Return one chunk; raise ``LookupError`` if it is not there (any more)."""
    data = conn.execute(_CHUNK, {"message_id": message_id, "number": number}).scalar()
    if data is None:
        raise LookupError(f"{message_id}: chunk {number} is missing in the spool")
    return bytes(data)


@dataclass(frozen=True, slots=True)
class StoredBody:
    """A ``mta.mail.envelope.Body`` in the spool: only the chunk being sent is in memory."""

    database: "Database"
    message_id: QueueId
    count: int
    memory: tuple[bytes, ...] | None = None

    async def chunk(self, number: int) -> bytes:
        """Give chunk ``number``; fails with ``LookupError`` or ``SpoolUnavailable``."""
        return await self.database.read(read_chunk, self.message_id, number)


def body_of(item: Intake, database: Any) -> Body:
    """Return the octets of a message that has just been taken in, from memory where they are."""
    if not item.stored:
        return MemoryBody(item.chunks)
    return StoredBody(database, item.envelope.id, bool(item.head) + item.stored + len(item.chunks))
