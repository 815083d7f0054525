"""What operators do on the command line, for the log of the service.

The command line is a process of its own that may not write our log; what it writes into the
history is read from there, after the wake-up that it gives.  Every running process logs
it; what was done while none ran is in the history alone.  The same look tells whether somebody
wants mail to be tried now, which is meant for sites that are dead as well; a verb that goes through
a long queue wakes us with each of its steps, and must not have them dialled each time.
"""

from mta.mail.events import Emit, Operated
from mta.spool import operated
from mta.spool.database import Database

_TRY_NOW = {"retry", "release", "reroute", "resurrect"}


class Operators:
    """Reads on where it has stopped."""

    def __init__(self, database: Database, emit: Emit) -> None:
        """``emit`` hears of each verb."""
        self._database = database
        self._emit = emit
        self._last: int | None = None

    @property
    def unaware(self) -> bool:
        """Whether it is not known yet where to begin."""
        return self._last is None

    async def look(self) -> bool:
        """Tell what has been done since the last time; at first only where to begin.

        Return whether mail is to be tried now.
        """
        self._last, done = await self._database.read(operated.since, self._last)
        for one in done:
            self._emit(
                Operated(one.verb, one.who, one.recipients, one.messages, one.first, one.text)
            )
        return any(one.verb in _TRY_NOW for one in done)
