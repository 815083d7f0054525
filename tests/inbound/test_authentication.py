"""AUTH through a session under real TLS: every mechanism's way through dialogue and core."""

import contextlib
import hashlib
import hmac
from base64 import b64decode, b64encode
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from OpenSSL.crypto import X509
from scramp import ScramClient
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.testing import StringTransport

from mta.auth.failures import AuthenticationFailed, AuthenticationUnavailable
from mta.mail.events import Authenticated
from mta.mail.events import AuthenticationFailed as Failed
from mta.policy.limits import HOUR_MS, Bound, LimitRule, Limits, Measure, Per
from mta.policy.matching import Who
from mta.policy.rules import Policy
from mta.policy.senders import SenderRule, Senders
from mta.smtp.mechanisms import MECHANISMS
from mta.smtp.sasl import StoredKeys
from mta.tls.certificates import CertificateFiles, Clients, ServerCertificates, self_signed
from mta.tls.clients import ClientCertificates, describe

ADDRESS = IPv4Address("TCP", "198.51.100.9", 40000)
REQUESTED = ClientCertificates.REQUESTED
SALT = b"salt" * 4


class Book:
    """The accounts' port for all mechanisms: ann."""

    def __init__(self):
        self.error = None
        self.later = None  # a Deferred to answer the next question
        self.pinned = None
        self.reason = "token expired"  # why a token or a certificate is no good

    def _answer(self, login, right=True):
        if self.error is not None:
            return fail(self.error)
        return succeed(login) if right else fail(AuthenticationFailed(self.reason))

    def scram_keys(self, login, hash_name):
        salted = hashlib.pbkdf2_hmac(hash_name, b"secret", SALT, 4096)
        client_key = hmac.digest(salted, b"Client Key", hash_name)
        stored_key = hashlib.new(hash_name, client_key).digest()
        server_key = hmac.digest(salted, b"Server Key", hash_name)
        if self.later is not None:
            return self.later
        return self._answer(StoredKeys("ann", SALT, 4096, stored_key, server_key))

    def check_token(self, token, login):
        return self._answer("ann", token == "good")

    def check_certificate(self, shown, login):
        return self._answer("ann", shown.fingerprint == self.pinned)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """One self-made certificate; it serves both sides."""
    place = tmp_path_factory.mktemp("tls")
    certificate, key = place / "cert.pem", place / "key.pem"
    pem = self_signed("relay.example.net", datetime.now(UTC))
    certificate.write_bytes(pem[0])
    key.write_bytes(pem[1])
    key.chmod(0o600)
    return CertificateFiles(certificate, key)


class Peer:
    """A client under TLS over a StringTransport."""

    def __init__(self, world, listener, version, pair):
        self.protocol = world.inbound.factory(listener).buildProtocol(ADDRESS)
        self.wire = StringTransport(peerAddress=ADDRESS)
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
        if pair is not None:
            certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
            context.use_certificate(X509.from_cryptography(certificate))
            context.use_privatekey(load_pem_private_key(pair.key.read_bytes(), None))
        self.tls = SSL.Connection(context, None)
        self.tls.set_connect_state()
        self.protocol.makeConnection(self.wire)
        self.hello = self.exchange() + self.say(b"EHLO me\r\n")

    def exchange(self):
        said = b""
        for _ in range(10):
            for step in (
                self.tls.do_handshake,
                lambda: self.protocol.dataReceived(self.tls.bio_read(65536)),
            ):
                with contextlib.suppress(SSL.WantReadError):
                    step()
            if octets := self.wire.value():
                self.wire.clear()
                self.tls.bio_write(octets)
            with contextlib.suppress(SSL.WantReadError):
                said += self.tls.recv(65536)
        return said

    def say(self, data):
        """Send, and return what is answered."""
        self.tls.send(data)
        return self.exchange()

    @property
    def offered(self):
        """The mechanisms."""
        lines = self.hello.decode().splitlines()
        return next(line[9:].split() for line in lines if line.startswith("250-AUTH "))


@pytest.fixture
def connect(world, pair):
    """Return a function: a client on a listener with every mechanism."""
    clients = Clients(frozenset({REQUESTED}))
    world.inbound._reception.certificates = ServerCertificates([pair], clients=clients)
    world.accounts = world.inbound._reception.accounts = Book()

    def _connect(version=SSL.TLS1_3_VERSION, *, mode=REQUESTED, certificate=None):
        usual = world.LISTENERS["smtps"]
        listener = replace(usual, mechanisms=tuple(MECHANISMS), client_certificates=mode)
        return Peer(world, listener, version, certificate)

    return _connect


def scram(peer, name, password="secret", wait=lambda: None):
    """Log in with scramp; return the last reply.  ``wait`` is called where no answer comes."""
    shown = None
    if name.endswith("-PLUS"):
        shown = ("tls-unique", peer.tls.get_finished())
    client = ScramClient([name], "ann", password, channel_binding=shown)
    first = b64encode(client.get_client_first().encode())
    answer = peer.say(b"AUTH %b %b\r\n" % (name.encode(), first))
    if not answer:
        wait()
        answer = peer.exchange()
    if not answer.startswith(b"334 "):
        return answer
    client.set_server_first(b64decode(answer[4:]).decode())
    answer = peer.say(b64encode(client.get_client_final().encode()) + b"\r\n")
    if answer.startswith(b"334 "):
        client.set_server_final(b64decode(answer[4:]).decode())
        answer = peer.say(b"\r\n")
    return answer


@pytest.mark.parametrize("name", [name for name in MECHANISMS if name.startswith("SCRAM")])
def test_scram(world, connect, name):
    """RFC 5802 over TLS 1.2, with its own tls-unique; the event says by which mechanism."""
    peer = connect(SSL.TLS1_2_VERSION)
    assert scram(peer, name, "wrong").startswith(b"535 5.7.8 ")
    assert scram(peer, name).startswith(b"235 2.7.0 ")
    (event,) = world.of(Authenticated)
    assert (event.mechanism, event.origin.login) == (name, "ann")
    assert [event.reason for event in world.of(Failed)] == ["credentials"]
    assert b"503 5.5.1 " in peer.say(b"AUTH PLAIN AGFubgBzZWNyZXQ=\r\n")


def test_offers(connect, pair):
    """-PLUS on both versions of TLS; EXTERNAL for who has shown a certificate."""
    for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
        assert connect(version, certificate=pair).offered == list(MECHANISMS)
        assert connect(version).offered == list(MECHANISMS)[1:]


def test_scram_where_everything_is_offered(world, connect):
    """A listener that has all extensions names each once, and SCRAM and a message go through it."""
    peer = connect(SSL.TLS1_2_VERSION)
    words = [line[4:].split()[0] for line in peer.hello.decode().splitlines()]
    assert words[words.index("PIPELINING") :] == [
        "PIPELINING", "SIZE", "8BITMIME", "ENHANCEDSTATUSCODES", "CHUNKING", "BINARYMIME",
        "SMTPUTF8", "LIMITS", "REQUIRETLS", "AUTH", "DSN", "FUTURERELEASE", "DELIVERBY",
        "MT-PRIORITY", "HELP",
    ]  # fmt: skip
    assert scram(peer, "SCRAM-SHA-256-PLUS").startswith(b"235 2.7.0 ")
    peer.say(
        b"MAIL FROM:<a@b.example> REQUIRETLS HOLDFOR=60 RET=HDRS\r\nRCPT TO:<b@example.com>\r\n"
    )
    assert b"Ok: queued" in peer.say(b"BDAT 4 LAST\r\n\r\n\r\n")
    (item,) = world.spool.accepted
    assert item.envelope.require_tls and item.envelope.asked.release_ms
    assert item.envelope.origin.login == "ann"


def test_attack_downgrade(world, connect):
    """Attack: -PLUS cut out of the offer; the client says so under its proof."""
    peer = connect()
    answer = peer.say(b"AUTH SCRAM-SHA-256 %b\r\n" % b64encode(b"y,,n=ann,r=abc"))
    assert answer.startswith(b"535 5.7.8 ")
    assert [event.reason for event in world.of(Failed)] == ["downgrade"]


def test_external(world, connect, pair):
    """A certificate that is known, and one that is not."""
    peer = connect(certificate=pair)
    assert peer.say(b"AUTH EXTERNAL =\r\n").startswith(b"535 5.7.8 ")
    certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
    world.accounts.pinned = describe(certificate).fingerprint
    assert peer.say(b"AUTH EXTERNAL\r\n") == b"334 \r\n"
    assert peer.say(b"\r\n").startswith(b"235 2.7.0 ")
    assert world.of(Authenticated)[0].mechanism == "EXTERNAL"


def test_attack_external_without_a_certificate(connect):
    """Attack: EXTERNAL from who has shown nothing is not known here."""
    assert connect().say(b"AUTH EXTERNAL =\r\n").startswith(b"504 5.5.4 ")


def test_tokens(world, connect):
    """RFC 7628: refused with JSON, the client's turn, 535; and accepted; never in an event."""
    peer = connect()
    bad = b64encode(b"n,a=ann,\x01auth=Bearer bad-token\x01\x01")
    assert peer.say(b"AUTH OAUTHBEARER %b\r\n" % bad).startswith(b"334 ey")
    assert peer.say(b"AQ==\r\n").startswith(b"535 5.7.8 ")
    (failed,) = world.of(Failed)
    assert (failed.login, failed.reason) == ("ann", "token expired")
    good = b64encode(b"user=ann\x01auth=Bearer good\x01\x01")
    assert peer.say(b"AUTH XOAUTH2\r\n") == b"334 \r\n"
    assert peer.say(good + b"\r\n").startswith(b"235 2.7.0 ")
    assert "bad-token" not in repr(world.events)


@pytest.mark.parametrize(
    "command",
    [
        b"AUTH SCRAM-SHA-256 " + b64encode(b"n,,n=ann,r=abc"),
        b"AUTH XOAUTH2 " + b64encode(b"user=ann\x01auth=Bearer good\x01\x01"),
        b"AUTH EXTERNAL =",
    ],
)
def test_back_end_down(world, connect, pair, command):
    """RFC 4954 §6: who cannot be asked is 454 4.7.0, at once, and an unforeseen error as well."""
    peer = connect(certificate=pair)
    for error in (AuthenticationUnavailable("away"), RuntimeError("bug")):
        world.accounts.error = error
        assert peer.say(command + b"\r\n").startswith(b"454 4.7.0 ")
    assert {event.reason for event in world.of(Failed)} == {"unavailable"}


def test_the_client_waits_for_its_keys(world, connect):
    """While the keys are looked up nothing is answered; a client that leaves is forgotten."""
    peer = connect()
    world.accounts.later = Deferred()
    first = b64encode(b"n,,n=ann,r=abc")
    assert peer.say(b"AUTH SCRAM-SHA-256 %b\r\nNOOP\r\n" % first) == b""
    later, world.accounts.later = world.accounts.later, None
    later.callback(StoredKeys("ann", SALT, 4096, bytes(32), bytes(32)))
    assert peer.exchange().startswith(b"334 ")


@pytest.fixture
def guarded(world, connect, pair):
    """A relay whose policy guards against guessing; gives what lets its delays pass."""
    world.rule(Policy())
    reception = world.inbound._reception
    clients = Clients(frozenset({REQUESTED}))
    reception.certificates = ServerCertificates([pair], clients=clients)
    reception.accounts = world.accounts
    return lambda: world.clock.advance(8)


def test_attack_guessing_by_scram(world, connect, guarded):
    """SCRAM failures count as much as others, and a block is told before keys are looked up."""
    for _ in range(20):
        scram(connect(SSL.TLS1_2_VERSION), "SCRAM-SHA-256", "guess", guarded)
    answer = scram(connect(SSL.TLS1_2_VERSION), "SCRAM-SHA-256", "secret", guarded)
    assert answer.startswith(b"454 4.7.0 ")
    reasons = [event.reason for event in world.of(Failed)]
    assert reasons[0] == "credentials"
    assert reasons[-1] == "blocked"
    assert world.of(Authenticated) == []


def test_attack_a_blocked_guesser_changes_the_mechanism(world, connect, guarded):
    """Who is blocked for guessing by SCRAM is not let in by another mechanism either."""
    for _ in range(20):
        scram(connect(SSL.TLS1_2_VERSION), "SCRAM-SHA-1", "guess", guarded)
    peer = connect(SSL.TLS1_2_VERSION)
    answer = peer.say(b"AUTH PLAIN AGFubgBzZWNyZXQ=\r\n")
    if not answer:
        guarded()
        answer = peer.exchange()
    assert answer.startswith(b"454 4.7.0 ")


def bearer(peer, token, login="", wait=lambda: None):
    """Log in with a token; return the last reply."""
    first = f"n,{'a=' + login if login else ''},\x01auth=Bearer {token}\x01\x01".encode()
    said = peer.say(b"AUTH OAUTHBEARER %b\r\n" % b64encode(first))
    wait()
    said += peer.exchange()
    return peer.say(b"AQ==\r\n") if said.startswith(b"334 ") else said


def external(peer, login="", wait=lambda: None):
    """Log in with a certificate; return the reply."""
    said = peer.say(b"AUTH EXTERNAL %b\r\n" % (b64encode(login.encode()) or b"="))
    wait()
    return said + peer.exchange()


@pytest.mark.parametrize("login", ["ann", ""])
def test_attack_guessing_by_token(world, connect, guarded, login):
    """Forged tokens count as wrong passwords do, whether they come with a name or without."""
    world.accounts.reason = "token signature"
    for _ in range(35):
        bearer(connect(SSL.TLS1_2_VERSION), "forged", login, guarded)
    said = bearer(connect(SSL.TLS1_2_VERSION), "good", login, guarded)
    assert said.startswith(b"454 4.7.0 ")
    assert world.of(Authenticated) == []
    assert world.of(Failed)[-1].reason == "blocked"


def test_nameless_forgeries_shut_out_nobody_elsewhere(world, connect, guarded):
    """Attack: tokens without a name fail in masses; such tokens from elsewhere do not wait."""
    world.accounts.reason = "token signature"
    for _ in range(20):
        bearer(connect(SSL.TLS1_2_VERSION), "forged", "", guarded)
    passage = world.gate.arrive("smtps", "192.0.2.77")
    asked = Deferred.fromCoroutine(passage.may_log_in(""))
    assert asked.called and asked.result is None


def test_an_old_token_is_no_guess(world, connect, guarded):
    """A client that has missed to renew its token is told no and not blocked for it."""
    for _ in range(35):
        bearer(connect(SSL.TLS1_2_VERSION), "old", "ann")
    assert bearer(connect(SSL.TLS1_2_VERSION), "good", "ann").startswith(b"235 ")


def test_attack_guessing_by_certificate(world, connect, guarded, pair):
    """Certificates of nobody count as wrong passwords do, and block other mechanisms too."""
    world.accounts.reason = "certificate of no account"
    for _ in range(20):
        external(connect(SSL.TLS1_2_VERSION, certificate=pair), "ann", guarded)
    said = external(connect(SSL.TLS1_2_VERSION, certificate=pair), "ann", guarded)
    assert said.startswith(b"454 4.7.0 ")
    assert bearer(connect(SSL.TLS1_2_VERSION), "good", "ann", guarded).startswith(b"454 4.7.0 ")
    assert world.of(Authenticated) == []


def test_policy_meets_external_tokens_and_chunks(world, connect, guarded, pair):
    """Whoever has logged in, however, is bound by the same rules; BDAT is no way round them."""
    rule = SenderRule("people", Who(), ("{login}@example.org",))
    bound = Bound(Measure.MESSAGES, HOUR_MS, 2)
    limit = LimitRule("few", Per.LOGIN, Who(), (bound,))
    world.gate.use(Policy(senders=Senders((rule,)), limits=Limits((limit,))))
    by_certificate = connect(certificate=pair)
    certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
    world.accounts.pinned = describe(certificate).fingerprint
    assert external(by_certificate).startswith(b"235 ")
    by_token = connect()
    assert bearer(by_token, "good").startswith(b"235 ")
    stolen = b"MAIL FROM:<ceo@example.org>\r\n"
    mail = b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<b@example.com>\r\n"
    for peer in (by_certificate, by_token):
        assert b"550 5.7.1 " in peer.say(stolen)
        said = peer.say(mail + b"BDAT 28\r\nFrom: ceo@example.org\r\n\r\nx\r\nBDAT 0 LAST\r\n")
        assert b"550 5.7.1 From address is not permitted" in said
        said = peer.say(mail + b"BDAT 8\r\nX: y\r\n\r\nBDAT 2 LAST\r\n\r\n")
        assert b"250 2.0.0 Ok: queued" in said
    assert by_token.say(mail).startswith(b"451 4.7.1 ")
    assert [item.envelope.origin.login for item in world.spool.accepted] == ["ann", "ann"]
