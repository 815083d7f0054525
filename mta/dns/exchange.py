"""One question to one server: over UDP, over TCP where the reply is truncated.

Against forged replies (RFC 5452): every question has a socket, a random port and a
random id of its own; the socket is connected, so that the kernel drops what comes from
another address or port; what does not carry id and question is ignored, and waiting
goes on.  Every wait is bounded.
"""

import struct
from collections.abc import Callable
from random import Random
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Protocol, connectionDone
from twisted.python.failure import Failure

from mta.dns.wire import (
    Query,
    ServerSilent,
    ServerUnreached,
    ServerUnusable,
    is_reply,
    is_truncated,
)

# IReactorTime, IReactorUDP and IReactorTCP at once, which no type can say.
Reactor: TypeAlias = Any
Server: TypeAlias = tuple[str, int]

_PORTS = range(16_384, 65_536)
_TRIES = 8
_MAX_DATAGRAM = 65_535


async def exchange(
    reactor: Reactor, server: Server, query: Query, *, timeout_s: float, random: Random
) -> bytes:
    """Return the reply of ``server`` to ``query``.  Raises ``ServerUnusable``."""
    try:
        data = await _by_udp(reactor, server, query, random).addTimeout(timeout_s, reactor)
        if is_truncated(data):
            data = await _by_tcp(reactor, server, query).addTimeout(timeout_s, reactor)
    except TimeoutError as error:
        raise ServerSilent("no answer in time") from error
    except OSError as error:  # "network is unreachable" and the like
        raise ServerUnreached(error.strerror or str(error)) from error
    return data


class _Waiting:
    """A reply that is waited for: fires once, and closes its socket then."""

    def __init__(self, query: Query, close: Callable[[], object]) -> None:
        self.query = query
        self.close = close
        self.reply: Deferred[bytes] = Deferred(self._cancelled)
        self.over = False

    def _cancelled(self, _: Deferred[bytes]) -> None:
        self.over = True
        self.close()

    def received(self, data: bytes) -> None:
        """Take a whole message, whoever wrote it."""
        if self.over:
            return
        try:
            ours = is_reply(self.query, data)
        except ServerUnusable:
            self.failed(Failure())
            return
        if ours:
            self.over = True
            self.close()
            self.reply.callback(data)

    def failed(self, failure: Failure) -> None:
        """The socket is of no more use."""
        if not self.over:
            self.over = True
            self.close()
            self.reply.errback(failure)


class _Datagrams(DatagramProtocol):
    """The UDP side: one socket, one question."""

    noisy = False

    def __init__(self, server: Server, query: Query) -> None:
        self._server = server
        self.waiting = _Waiting(query, self._close)

    def startProtocol(self) -> None:
        transport: Any = self.transport  # its interface does not know connected sockets
        try:
            transport.connect(*self._server)
            transport.write(self.waiting.query.wire)
        except OSError:
            self.waiting.failed(Failure())

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        # The kernel has compared the addresses already; RFC 5452 §9.1 is worth two lines.
        if tuple(addr[:2]) == self._server:
            self.waiting.received(datagram)

    def connectionRefused(self) -> None:
        self.waiting.failed(Failure(ServerSilent("connection refused")))

    def stopProtocol(self) -> None:
        # The poll reactors close a refused socket instead of calling connectionRefused.
        self.connectionRefused()

    def _close(self) -> None:
        if self.transport is not None:
            self.transport.stopListening()


def _by_udp(reactor: Reactor, server: Server, query: Query, random: Random) -> Deferred[bytes]:
    datagrams = _Datagrams(server, query)
    interface = "::" if ":" in server[0] else "0.0.0.0"  # noqa: S104 - a client's socket, connected
    for tries in range(_TRIES):
        port = random.choice(_PORTS) if tries < _TRIES - 1 else 0
        try:
            reactor.listenUDP(port, datagrams, interface=interface, maxPacketSize=_MAX_DATAGRAM)
        except CannotListenError as error:
            if tries == _TRIES - 1:
                raise ServerUnreached(f"no socket to ask with: {error.socketError}") from error
        else:
            break
    return datagrams.waiting.reply


class _Stream(Protocol):
    """The TCP side: each message behind its length in two octets (RFC 1035 §4.2.2)."""

    def __init__(self, waiting: _Waiting) -> None:
        self._waiting = waiting
        self._buffer = b""

    def connectionMade(self) -> None:
        wire = self._waiting.query.wire
        assert self.transport is not None
        self.transport.write(struct.pack("!H", len(wire)) + wire)

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 2:
            end = 2 + int.from_bytes(self._buffer[:2], "big")
            if len(self._buffer) < end:
                return
            message, self._buffer = self._buffer[2:end], self._buffer[end:]
            self._waiting.received(message)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._waiting.failed(Failure(ServerUnusable("the connection was closed without an answer")))


class _StreamFactory(ClientFactory):
    noisy = False

    def __init__(self, query: Query) -> None:
        self.waiting = _Waiting(query, lambda: None)

    def buildProtocol(self, addr: IAddress | None) -> _Stream:
        return _Stream(self.waiting)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        self.waiting.close = lambda: None  # there is nothing to close
        self.waiting.failed(Failure(ServerSilent(f"by TCP: {reason.getErrorMessage()}")))


def _by_tcp(reactor: Reactor, server: Server, query: Query) -> Deferred[bytes]:
    factory = _StreamFactory(query)
    connector = reactor.connectTCP(*server, factory)
    factory.waiting.close = connector.disconnect
    return factory.waiting.reply
