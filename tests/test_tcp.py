"""Writing at once keeps the order of what is written and loses nothing, on real sockets."""

import os

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import TestCase

from mta.tcp import write_now


class Reader(Protocol):
    """Gathers until the connection ends."""

    def __init__(self) -> None:
        self.read = bytearray()
        self.ended: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.read += data

    def connectionLost(self, reason: object = None) -> None:
        self.ended.callback(bytes(self.read))


class WriteNow(TestCase):
    """A writer and a reader on loopback."""

    def exchange(self, write: object) -> Deferred[bytes]:
        """Connect, let ``write(transport)`` write, close; give what was read."""
        from twisted.internet import reactor

        reader = Reader()
        listening = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(
            Factory.forProtocol(lambda: reader)
        )

        def connect(port):
            self.addCleanup(port.stopListening)
            client = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
            return client.connect(Factory.forProtocol(Protocol))

        def go(protocol):
            write(protocol.transport)
            protocol.transport.loseConnection()
            return reader.ended

        return listening.addCallback(connect).addCallback(go)

    def test_small_writes_arrive_in_order(self) -> Deferred[None]:
        """Writes at once and ordinary ones, mixed, come out as they went in."""

        def write(transport):
            for number in range(200):
                octets = b"%d\r\n" % number
                (transport.write if number % 7 == 0 else lambda o: write_now(transport, o))(octets)

        whole = b"".join(b"%d\r\n" % number for number in range(200))
        return self.exchange(write).addCallback(self.assertEqual, whole)

    def test_more_than_the_kernel_takes_arrives_whole(self) -> Deferred[None]:
        """What does not fit into the socket's buffer goes on from where it stopped."""
        data = os.urandom(1 << 23)

        def write(transport):
            write_now(transport, data)
            write_now(transport, b"tail")

        return self.exchange(write).addCallback(self.assertEqual, data + b"tail")

    def test_a_lost_connection_is_found_in_the_ordinary_way(self) -> Deferred[None]:
        """Writing to a socket that has gone raises nothing here."""

        def write(transport):
            transport.getHandle().shutdown(2)
            write_now(transport, b"x")
            write_now(transport, b"y")

        return self.exchange(write).addCallback(self.assertEqual, b"")


def test_other_transports_are_written_to_as_ever() -> None:
    """TLS and test transports get plain ``write``."""
    transport = StringTransport()
    write_now(transport, b"octets")
    assert transport.value() == b"octets"
