"""Chunks in the spool of what will not be accepted: removed at once, or else by the sweep."""

from twisted.internet.defer import CancelledError

from mta.inbound.reception import Reception
from mta.mail.events import Note
from mta.mail.queue_id import QueueId
from mta.spool import intake


async def remove(reception: Reception, id: QueueId) -> None:
    """Remove all chunks stored under ``id``; a spool that is away keeps them for the sweep."""
    try:
        await reception.database.write(intake.discard, id)
    except CancelledError:
        raise
    except Exception as error:
        text = f"chunks of {id}, which was not accepted, stay behind: {error}"
        reception.emit(Note("warning", "inbound", text))
