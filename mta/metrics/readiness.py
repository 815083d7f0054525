"""Whether this process takes mail now, in a word for who watches it.

The spool is asked, at most once a second however many ask us, and is not waited for long.  What
stands in the way is said generally: details are in the log.
"""

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mta.spool import sample
from mta.spool.database import Database

PATIENCE_S = 3.0
FRESH_S = 1.0


class Readiness:
    """Asks, and remembers for a second."""

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, database: Database, closing: Callable[[], bool]
    ) -> None:
        self._clock = clock
        self._database = database
        self._closing = closing
        self._waiting: list[Deferred[None]] = []
        self._why = ""
        self._until = -1.0

    async def why_not(self) -> str:
        """Return why no mail is taken; "" where it is."""
        if self._clock.seconds() >= self._until:
            await self._asked()
        if self._closing():
            return "stopping"
        if self._database.troubled:
            return "the spool cannot be written"
        return "there is no room for mail" if self._database.room.short else self._why

    def _asked(self) -> Deferred[None]:
        """Fire when the spool has answered, or not; whoever asks meanwhile waits for the same."""
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        if len(self._waiting) == 1:
            Deferred.fromCoroutine(self._ask())
        return waiting

    async def _ask(self) -> None:
        try:
            asked = self._database.read(sample.reachable)
            await asked.addTimeout(PATIENCE_S, self._clock)
            self._why = ""
        except CancelledError:
            raise
        except Exception as error:
            self._log.debug("the spool does not answer: {error!r}", error=error)
            self._why = "the spool does not answer"
        self._until = self._clock.seconds() + FRESH_S
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)
