"""Sessions under real TLS, in memory."""

import contextlib
import ipaddress
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from mta.mail.events import Disconnected
from mta.tls.certificates import CertificateFiles, ServerCertificates, self_signed

ADDRESS = IPv4Address("TCP", "198.51.100.9", 40000)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """One certificate of our own."""
    place = tmp_path_factory.mktemp("tls")
    certificate, key = place / "cert.pem", place / "key.pem"
    pem = self_signed("relay.example.net", datetime.now(UTC))
    certificate.write_bytes(pem[0])
    key.write_bytes(pem[1])
    key.chmod(0o600)
    return ServerCertificates([CertificateFiles(certificate, key)])


class Peer:
    """The client's end of TLS over a StringTransport."""

    def __init__(self, receive, wire):
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self.tls = SSL.Connection(context, None)
        self.tls.set_connect_state()
        self.receive = receive  # takes octets for the server
        self.wire = wire

    def exchange(self):
        """Move octets both ways until nothing moves; return what was said."""
        said = b""
        for _ in range(10):
            with contextlib.suppress(SSL.WantReadError):
                self.tls.do_handshake()
            self._to_server()
            if octets := self.wire.value():
                self.wire.clear()
                self.tls.bio_write(octets)
            with contextlib.suppress(SSL.WantReadError, SSL.ZeroReturnError):
                said += self.tls.recv(65536)
        return said

    def say(self, data):
        """Send, and return what is answered."""
        self.tls.send(data)
        return self.exchange()

    def _to_server(self):
        with contextlib.suppress(SSL.WantReadError):
            self.receive(self.tls.bio_read(65536))


@pytest.fixture
def secure(world, certificates):
    """The world with real certificates."""
    world.inbound._reception.certificates = certificates
    return world


def connect(world):
    """A client on the port with implicit TLS, before its handshake."""
    protocol = world.inbound.factory(world.LISTENERS["smtps"]).buildProtocol(ADDRESS)
    wire = StringTransport(peerAddress=ADDRESS)
    protocol.makeConnection(wire)
    return protocol, Peer(protocol.dataReceived, wire)


def test_implicit_tls(secure):
    """The greeting comes inside TLS, and what was negotiated is in the trace."""
    protocol, peer = connect(secure)
    assert protocol.transport.value() == b""
    assert peer.exchange() == b"220 relay.example.net ESMTP\r\n"
    said = peer.say(b"EHLO me\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\n")
    assert said.endswith(b"235 2.7.0 Authentication successful\r\n")
    peer.say(b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nx\r\n.\r\n")
    (item,) = secure.spool.accepted
    assert item.envelope.origin.tls.startswith("TLSv1.3 TLS_")
    assert b"with ESMTPSA (TLSv1.3 TLS_" in item.chunks[0]
    assert peer.say(b"QUIT\r\n") == b"221 2.0.0 relay.example.net closing\r\n"


def test_proxy_header_before_tls(secure):
    """A PROXY header comes in the clear before the ClientHello, or together with it."""
    listener = replace(secure.LISTENERS["smtps"], proxy=(ipaddress.ip_network("10.0.0.5"),))
    address = IPv4Address("TCP", "10.0.0.5", 40000)
    wire = StringTransport(peerAddress=address)
    wire.protocol = secure.inbound.factory(listener).buildProtocol(address)
    wire.protocol.makeConnection(wire)
    header = b"PROXY TCP4 198.51.100.9 198.51.100.1 4711 465\r\n"
    first = [header]

    def receive(octets):
        wire.protocol.dataReceived((first.pop() if first else b"") + octets)

    peer = Peer(receive, wire)
    assert peer.exchange() == b"220 relay.example.net ESMTP\r\n"
    said = peer.say(b"EHLO me\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\n")
    assert said.endswith(b"235 2.7.0 Authentication successful\r\n")
    peer.say(b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nx\r\n.\r\n")
    (item,) = secure.spool.accepted
    assert item.chunks[0].startswith(b"Received: from me ([198.51.100.9])\r\n")
    assert b"with ESMTPSA (TLSv1.3 TLS_" in item.chunks[0]


def test_proxy_header_inside_tls(secure):
    """A header inside TLS is the client's, not the proxy's: it is no command."""
    _, peer = connect(secure)
    peer.exchange()
    said = peer.say(b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 465\r\n")
    assert said.startswith(b"500 5.5.1 ")


def test_handshake_timeout(secure):
    """A client that never speaks on the TLS port is cut off without a greeting."""
    protocol, _ = connect(secure)
    secure.clock.advance(31)
    assert protocol.transport.disconnecting
    assert protocol.transport.value() == b""


def test_plain_text_on_the_tls_port(secure):
    """A client that speaks in the clear there ends the connection; the log says why."""
    protocol, _ = connect(secure)
    protocol.dataReceived(b"EHLO me\r\n")
    assert protocol.transport.disconnecting
    protocol.connectionLost(Failure(ConnectionDone()))
    assert secure.of(Disconnected)[0].reason == "TLS: the peer does not speak TLS here"
    assert secure.inbound.sessions == 0


def test_large_message_under_tls(secure):
    """Back-pressure and TLS together lose no octet."""
    _, peer = connect(secure)
    peer.exchange()
    peer.say(b"EHLO me\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\n")
    peer.say(b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n")
    block = b"x" * 16_000 + b"\r\n"
    for _ in range(100):
        peer.say(block)
    assert peer.say(b".\r\n").startswith(b"250 2.0.0 ")
    (item,) = secure.spool.accepted
    assert secure.spool.body(item).endswith(block * 100)


def test_starttls(secure):
    """STARTTLS over real TLS: the state before it is forgotten, what follows is private."""
    client = secure.connect("submission", "198.51.100.9")
    wire = StringTransport(peerAddress=ADDRESS)
    layers = []

    def start_tls(options):
        tls = TLSMemoryBIOProtocol(
            TLSMemoryBIOFactory(options, False, None, secure.clock), client.session, False
        )
        layers.append(tls)
        client.session.transport = tls  # as a TCP transport does for its protocol
        tls.makeConnection(wire)

    client.wire.startTLS = start_tls
    client.say(b"EHLO me\r\nSTARTTLS\r\n")
    peer = Peer(layers[0].dataReceived, wire)
    assert peer.exchange() == b""
    said = peer.say(b"MAIL FROM:<a@example.org>\r\nEHLO me\r\n")
    assert said.startswith(b"503 5.5.1 Send EHLO first\r\n250-relay.example.net\r\n")
    assert b"STARTTLS" not in said
    assert b"250-AUTH PLAIN LOGIN\r\n" in said
