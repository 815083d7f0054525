"""One configured filter, as all sessions share it: where it is, and how it is reached.

While connecting to it has run out of time, it is not tried again for some seconds: each message
would else wait that long for nothing.  A connection that is refused costs nothing and is tried
anew each time.
"""

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import ClientFactory

from mta.milter.connection import Away, Connection
from mta.milter.settings import MilterSettings

SPARED_S = 10.0


class _Connecting(ClientFactory):
    """Makes one connection, and no lines in the log."""

    noisy = False

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock

    def buildProtocol(self, addr: IAddress | None) -> Connection:
        return Connection(self._clock)


class Filter:
    """Made from its settings; a reload makes new ones."""

    def __init__(self, clock: Any, endpoint: Any, settings: MilterSettings) -> None:
        """``clock`` is the reactor, ``endpoint`` what connects to the filter."""
        self.clock = clock
        self.settings = settings
        self._endpoint = endpoint
        self._spared_until = float("-inf")

    async def open(self) -> Connection:
        """Return a connection on which everything is agreed.  Raises ``Away``."""
        now, within_s = self.clock.seconds(), self.settings.connect_s
        if now < self._spared_until:
            raise Away("it could not be reached a moment ago")
        connecting: Deferred[Connection] = self._endpoint.connect(_Connecting(self.clock))
        connecting.addTimeout(within_s, self.clock)
        try:
            connection = await connecting
        except CancelledError:
            raise
        except TimeoutError:
            self._spared_until = self.clock.seconds() + SPARED_S
            raise Away("it could not be reached in time") from None
        except Exception as error:
            raise Away(f"it cannot be reached: {error}") from error
        left_s = max(0.0, now + within_s - self.clock.seconds())
        await connection.tell(connection.dialogue.offer(), left_s)
        await connection.answer(left_s)
        return connection
