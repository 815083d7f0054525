"""STARTTLS over real sockets, through ``transport.startTLS`` in both directions."""

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from mta.mail.security import ANYTHING, Level, Requirement
from mta.tls.certificates import CertificateFiles, ServerCertificates, self_signed
from mta.tls.level import ClientTls, describe
from mta.tls.reasons import tls_reason


class Server(Protocol):
    """Starts TLS on the first octet, then echoes."""

    def dataReceived(self, data):
        if not describe(self.transport):
            self.transport.write(b"go")
            self.transport.startTLS(self.factory.options)
        else:
            self.transport.write(data + b" over " + describe(self.transport).encode())


class Client(Protocol):
    """Asks for TLS, then says hello."""

    def __init__(self, creator):
        self.creator = creator
        self.done = Deferred()

    def connectionMade(self):
        self.transport.write(b"?")

    def dataReceived(self, data):
        if data == b"go":
            self.transport.startTLS(self.creator)
            self.transport.write(b"hello")
        else:
            self.result = self.creator.shown(self.transport)
            self.heard = data
            self.transport.loseConnection()

    def connectionLost(self, reason):
        self.done.callback(reason.value)


class StartTls(TestCase):
    """A whole upgrade on loopback; bounded by trial's own time-out."""

    timeout = 20

    @inlineCallbacks
    def talk(self, host, mandatory):
        certificate, key = self_signed("mx.example", datetime.now(UTC))
        scratch = TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        directory = Path(scratch.name)
        pair = CertificateFiles(directory / "c.pem", directory / "k.pem")
        pair.certificate.write_bytes(certificate)
        pair.key.write_bytes(key)
        factory = Factory.forProtocol(Server)
        factory.options = ServerCertificates([pair]).options()
        port = yield TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        creator = ClientTls(pair.certificate).creator(
            host, Requirement(Level.VERIFY) if mandatory else ANYTHING
        )
        client = Client(creator)
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
        yield endpoint.connect(Factory.forProtocol(lambda: client))
        reason = yield client.done
        yield port.stopListening()
        return client, reason

    @inlineCallbacks
    def test_verified(self):
        """Both sides know the level on the transport that they hold."""
        client, _ = yield self.talk("mx.example", True)
        self.assertIsNone(client.result.pkix)
        self.assertEqual(client.heard, b"hello over TLSv1.3 TLS_AES_256_GCM_SHA384")

    @inlineCallbacks
    def test_refused(self):
        """Attack: the peer is somebody else; the greeting inside TLS is never sent."""
        client, reason = yield self.talk("other.example", True)
        self.assertFalse(hasattr(client, "heard"))
        self.assertEqual(
            tls_reason(reason),
            "certificate verify failed: certificate is for mx.example, not for other.example",
        )
