"""A connection to a filter: a Twisted protocol round ``dialogue``.

Whoever asks reads the answers one by one; while nobody reads, and while the filter does not,
nothing piles up: its octets stay in the kernel, and ours wait with whoever has them.
"""

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.milter.answers import Answer
from mta.milter.dialogue import Dialogue
from mta.milter.options import Misbehaved
from mta.tcp import write_now

READ_AHEAD = 256 * 1024  # octets


class Away(Exception):
    """The filter cannot be asked; the text says why."""


class Closed(Away):
    """It has closed the connection."""


@implementer(IPushProducer)
class Connection(Protocol):
    """One."""

    def __init__(self, clock: IReactorTime) -> None:
        self.dialogue = Dialogue()
        self.lost = ""  # why
        self._closed = False  # by the filter
        self._clock = clock
        self._blocked = False  # the filter does not read
        self._reading = True
        self._waiter: Deferred[None] | None = None

    def connectionMade(self) -> None:
        """Have the transport tell us when it is full."""
        transport: Any = self.transport
        transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        """Octets from the filter."""
        self.dialogue.receive(data)
        if self.dialogue.pending > READ_AHEAD:
            self._read(False)
        self._wake()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """The end."""
        if not self.lost:
            self.lost, self._closed = "it has closed the connection", True
        self._wake()

    def pauseProducing(self) -> None:
        """The filter does not read."""
        self._blocked = True

    def resumeProducing(self) -> None:
        """It does again."""
        self._blocked = False
        self._wake()

    def stopProducing(self) -> None:
        """The connection is gone; ``connectionLost`` comes."""

    async def tell(self, octets: bytes, within_s: float) -> None:
        """Send something; raises ``Away`` if the filter does not take it in time."""
        if self.lost:
            raise self._away()
        if octets:
            write_now(self.transport, octets)
        until = self._clock.seconds() + within_s
        while self._blocked:
            await self._wait(until)

    async def answer(self, within_s: float) -> Answer:
        """Return the next answer.  Raises ``Away``; then there will be no other."""
        until = self._clock.seconds() + within_s
        while True:
            try:
                answer = self.dialogue.next()
            except Misbehaved as error:
                self.drop(str(error))
                raise Away(str(error)) from None
            if answer is not None:
                return answer
            self._read(True)
            await self._wait(until)

    def quit(self) -> None:
        """End it politely."""
        if self._blocked:
            self.drop("closed")
        elif not self.lost:
            self.lost = "closed"
            transport: Any = self.transport
            transport.write(self.dialogue.quit())
            transport.unregisterProducer()
            transport.loseConnection()

    def drop(self, why: str) -> None:
        """End it at once."""
        if not self.lost:
            self.lost = why
            transport: Any = self.transport
            transport.abortConnection()
        self._wake()

    async def _wait(self, until: float) -> None:
        """Wait for anything to happen."""
        if self.lost:
            raise self._away()
        left_s = until - self._clock.seconds()
        waiter = self._waiter = Deferred()
        late = self._clock.callLater(max(0.0, left_s), self._late)
        try:
            await waiter
        except CancelledError:
            self.drop("given up")
            raise
        finally:
            self._waiter = None
            if late.active():
                late.cancel()

    def _away(self) -> Away:
        return Closed(self.lost) if self._closed else Away(self.lost)

    def _late(self) -> None:
        self.drop("it has not answered in time")

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.called:
            waiter.callback(None)

    def _read(self, wanted: bool) -> None:
        if wanted is self._reading or self.lost:
            return
        self._reading = wanted
        transport: Any = self.transport
        if wanted:
            transport.resumeProducing()
        else:
            transport.pauseProducing()
