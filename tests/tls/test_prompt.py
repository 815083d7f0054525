"""The TLS layer of sessions writes what belongs together as one, and loses none of it."""

import contextlib
from datetime import UTC, datetime

import pytest
from OpenSSL import SSL
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory

from mta.tls.certificates import CertificateFiles, ServerCertificates, self_signed
from mta.tls.prompt import PromptTls


class Wire(StringTransport):
    """Notes each write, and whether something was written after the end."""

    def __init__(self):
        super().__init__()
        self.writes = []
        self.late = False

    def write(self, data):
        self.late = self.late or self.disconnecting
        self.writes.append(data)

    def abortConnection(self):
        self.disconnecting = True


class Server(Protocol):
    """Answers each octet by itself; "q" is the last word."""

    def connectionMade(self):
        self.heard = b""

    def dataReceived(self, data):
        self.heard += data
        for octet in data:
            self.transport.write(b"%c!" % octet)
            if octet == ord("q"):
                self.transport.loseConnection()
                return


class Pair:
    """A client in memory and the server's side that is tested."""

    def __init__(self, certificates):
        factory = TLSMemoryBIOFactory(
            certificates.options(), False, Factory.forProtocol(Server), Clock()
        )
        factory.protocol = PromptTls
        self.wire = Wire()
        self.tls = factory.buildProtocol(None)
        self.tls.makeConnection(self.wire)
        self.client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
        self.client.set_connect_state()
        for _ in range(3):
            with contextlib.suppress(SSL.WantReadError):
                self.client.do_handshake()
            self.to_server()
            self.to_client()

    def to_server(self):
        with contextlib.suppress(SSL.WantReadError):
            self.tls.dataReceived(self.client.bio_read(65536))

    def to_client(self):
        """Return what the server has said, and in how many writes."""
        writes, self.wire.writes = self.wire.writes, []
        for octets in writes:
            self.client.bio_write(octets)
        said = b""
        with contextlib.suppress(SSL.WantReadError, SSL.ZeroReturnError):
            while True:
                said += self.client.recv(65536)
        return said, len(writes)

    def say(self, data):
        self.client.send(data)
        self.to_server()
        return self.to_client()


@pytest.fixture
def pair(tmp_path):
    """Give a pair after its handshake."""
    for name, pem in zip(("cert", "key"), self_signed("a.example", datetime.now(UTC)), strict=True):
        (tmp_path / name).touch(0o600)
        (tmp_path / name).write_bytes(pem)
    files = CertificateFiles(tmp_path / "cert", tmp_path / "key")
    return Pair(ServerCertificates([files]))


def test_answers_to_one_packet_are_one_write(pair):
    """Three records that answer what came together leave together."""
    assert pair.say(b"abc") == (b"a!b!c!", 1)
    assert pair.say(b"d") == (b"d!", 1)


def test_what_is_said_by_itself_is_written_at_once(pair):
    """An answer that comes later, from the spool, does not wait for octets of the client's."""
    pair.tls.wrappedProtocol.transport.write(b"250 Ok")
    assert pair.to_client() == (b"250 Ok", 1)


def test_the_last_words_and_the_end_are_one_write_before_the_connection_closes(pair):
    """Neither the answer nor TLS's own end is lost; nothing is written after the end."""
    said, writes = pair.say(b"aq")
    assert (said, writes) == (b"a!q!", 1)
    assert pair.client.get_shutdown() & SSL.RECEIVED_SHUTDOWN
    pair.client.shutdown()
    pair.to_server()
    assert pair.wire.disconnecting
    assert not pair.wire.late


def test_much_is_written_whole(pair):
    """More than the layer gives out at once."""
    pair.tls.wrappedProtocol.transport.write(b"x" * 200_000)
    assert pair.to_client()[0] == b"x" * 200_000


def test_octets_that_are_no_tls_end_the_session(pair):
    """An alert is sent before the connection is closed."""
    pair.tls.dataReceived(b"EHLO client.example\r\n" * 3)
    assert pair.wire.disconnecting
    assert pair.wire.writes != []
    assert not pair.wire.late
