"""TLS and AUTH over real loopback sockets: opportunistic to MX hosts, verified to smarthosts."""

import hmac
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import pbkdf2_hmac, sha256
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate
from dane_cases import issue
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineOnlyReceiver
from twisted.trial.unittest import TestCase

from mta.delivery.delivery import Delivery
from mta.delivery.routes import Mx, Route, Routes, Smarthost, Target
from mta.delivery.settings import DeliverySettings
from mta.delivery.timeouts import Timeouts
from mta.dns.mx import MailHost
from mta.mail.envelope import Envelope, Job, MemoryBody, Recipient
from mta.mail.outcome import Outcome, Tls, TlsLevel, Verdict
from mta.mail.queue_id import new_queue_id
from mta.mail.security import Dane, DaneState, Tlsa
from mta.smtp.mechanisms import MECHANISMS
from mta.smtp.sasl import Challenge, KeysWanted, Proved, StoredKeys, Surroundings
from mta.tls.certificates import CertificateFiles, Clients, ServerCertificates, self_signed
from mta.tls.clients import ClientCertificates
from mta.tls.connections import channel_binding
from mta.tls.level import ClientTls

HOST = "mx.test"
PASSWORD = "correct horse"
CONTENT = b"Subject: hi\r\n\r\nhello\r\n"


def make_certificate(name: str) -> tuple[bytes, ServerCertificates, CertificateFiles]:
    """Return a certificate as PEM, what a server needs of it, and its files."""
    certificate, key = self_signed(name, datetime.now(UTC))
    directory = Path(mkdtemp())
    (directory / "crt").write_bytes(certificate)
    (directory / "key").write_bytes(key)
    (directory / "key").chmod(0o600)
    files = CertificateFiles(directory / "crt", directory / "key")
    return certificate, ServerCertificates([files]), files


GOOD, GOOD_SERVER, GOOD_FILES = make_certificate(HOST)
OTHER, OTHER_SERVER, _ = make_certificate("other.test")


class Server(LineOnlyReceiver):
    """A scripted server; ``say`` maps a verb to what is said instead of the usual."""

    MAX_LENGTH = 100_000
    _in_data = False

    def connectionMade(self) -> None:
        self.factory.connections.append(self)
        self.secure = False
        self.log: list[bytes] = []
        if self.factory.implicit:
            mode = self.factory.mode
            self.transport.startTLS(self.factory.certificates.options(lambda: mode))
            self.secure = True
        self.transport.write(b"220 mx.test ESMTP\r\n")

    def lineReceived(self, line: bytes) -> None:
        self.log.append(line)
        if self._in_data:
            if line == b".":
                self._in_data = False
                self.factory.messages += 1
                self.transport.write(b"250 2.0.0 Taken\r\n")
            return
        verb = line.split(b" ")[0].upper()
        said = self.factory.say.get(verb)
        answer = said if said is not None else self._usual(verb)
        self._in_data = verb == b"DATA"
        if answer == "close":
            self.transport.loseConnection()
        elif callable(answer):
            answer(self, line)
        else:
            self.transport.write(answer)
            if verb == b"STARTTLS" and answer.startswith(b"220"):
                self._start_tls()

    def _start_tls(self) -> None:
        if not self.factory.mute:
            self.secure = True
            self.transport.startTLS(self.factory.certificates.options())

    def _usual(self, verb: bytes) -> bytes:
        if verb == b"EHLO":
            starttls = b"" if self.secure else b"250-STARTTLS\r\n"
            return b"250-mx.test\r\n" + starttls + b"250-AUTH PLAIN LOGIN\r\n250 PIPELINING\r\n"
        return {b"DATA": b"354 Go\r\n", b"STARTTLS": b"220 Go\r\n", b"AUTH": b"235 In\r\n"}.get(
            verb, b"250 Ok\r\n"
        )


class ScramSay(dict[bytes, Any]):
    """The server's side of SCRAM, played by the one that our listeners have."""

    def __init__(self, password: str, *, honest: bool = True) -> None:
        self._password = password
        self._honest = honest
        self._exchange: Any = None
        self.came_to: Any = None

    def get(self, verb: bytes, default: Any = None) -> Any:
        if verb == b"EHLO":
            return b"250-mx.test\r\n250 AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN\r\n"
        if verb == b"AUTH" or (self._exchange is not None and self.came_to is None):
            return self._answer
        return default

    def _answer(self, server: Server, line: bytes) -> None:
        words = line.decode().split()
        if words[:1] == ["AUTH"]:
            surroundings = Surroundings(channel_binding(server.transport), True)
            self._exchange = MECHANISMS[words[1]](surroundings)
        step = self._exchange.step(b64decode(words[-1]) if words else b"")
        if isinstance(step, KeysWanted):
            step = self._exchange.supply(self._keys(step))
        if isinstance(step, Challenge):
            said = step.data if self._honest else step.data.replace(b"v=", b"v=AAAA")
            server.transport.write(b"334 %b\r\n" % b64encode(said))
        else:
            self.came_to = step
            server.transport.write(b"235 In\r\n")

    def _keys(self, wanted: KeysWanted) -> StoredKeys:
        salted = pbkdf2_hmac("sha256", self._password.encode(), b"salty", 4096)
        client = hmac.digest(salted, b"Client Key", "sha256")
        server = hmac.digest(salted, b"Server Key", "sha256")
        return StoredKeys(wanted.login, b"salty", 4096, sha256(client).digest(), server)


class ServerFactory(Factory):
    protocol = Server

    def __init__(self, certificates: ServerCertificates, **options: Any) -> None:
        self.certificates = certificates
        self.implicit = options.get("implicit", False)
        self.mode = options.get("mode", ClientCertificates.NONE)
        self.mute = options.get("mute", False)  # says 220 to STARTTLS, then nothing
        self.say: dict[bytes, Any] = options.get("say", {})
        self.connections: list[Server] = []
        self.messages = 0


class Exchangers:
    """Everything is at ``HOST``, on loopback."""

    def __init__(self, signed: bool = False) -> None:
        self.signed = signed

    def hosts(self, domain: str) -> Deferred[tuple[MailHost, ...]]:
        return succeed((MailHost(HOST, 10, self.signed),))

    def addresses(self, host: str) -> Deferred[tuple[str, ...]]:
        return succeed(("127.0.0.1",))


class Known:
    """The facts of DANE, whatever host it is."""

    off = ""

    def __init__(self, *records: Tlsa) -> None:
        self.found = Dane(DaneState.USABLE, records, HOST) if records else Dane(DaneState.ABSENT)

    async def facts(self, host: str, port: int) -> Dane:
        return self.found


def record(certificate: bytes) -> Tlsa:
    """Return a 3 0 1 record."""
    der = load_pem_x509_certificate(certificate).public_bytes(Encoding.DER)
    return Tlsa(3, 0, 1, sha256(der).digest())


BODY = MemoryBody((CONTENT,))
JOB = Job(
    Envelope(new_queue_id(1), "a@here.test", len(CONTENT), 0, 10**15),
    (Recipient(0, "b@there.test", "there.test", 1),),
    BODY,
    "mx:there.test",
)


SECRET = replace(JOB, envelope=replace(JOB.envelope, require_tls=True))


class DeliveryOverTls(TestCase):
    """The client against a server on a loopback socket."""

    timeout = 20

    async def listen(self, certificates: ServerCertificates = GOOD_SERVER, **options: Any) -> None:
        """Start the server and a delivery that knows where it is."""
        self.server = ServerFactory(certificates, **options)
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        listening = await endpoint.listen(self.server)
        self.port = listening.getHost().port
        self.addCleanup(listening.stopListening)

    async def deliver(
        self,
        target: Callable[[int], Target],
        trust: bytes = GOOD,
        job: Job = JOB,
        dane: Known | None = None,
        **more: Any,
    ) -> Outcome:
        """Deliver one message along a route to ``target`` at the server's port."""
        settings = DeliverySettings(
            "relay.test",
            Routes((Route("r", target(self.port)),)),
            replace(Timeouts(), ehlo=2.0, greeting=2.0),
        )
        self.events: list[Any] = []
        exchangers = Exchangers(signed=dane is not None)
        tls = ClientTls([trust], **more)
        delivery = Delivery(reactor, settings, exchangers, tls, self.events.append, dane=dane)
        (outcome,) = await delivery.deliver(job)
        again = await delivery.deliver(job)
        self.again = again[0]
        await delivery.stop()
        return outcome

    async def test_verified(self) -> None:
        """STARTTLS is used where it is offered, EHLO is said again, the level is recorded."""
        await self.listen()
        outcome = await self.deliver(Mx)
        self.assertEqual(outcome.verdict, Verdict.DELIVERED)
        self.assertEqual(outcome.peer.tls.level, TlsLevel.VERIFIED)
        self.assertEqual((outcome.peer.tls.version, outcome.peer.tls.why), ("TLSv1.3", ""))
        (connection,) = self.server.connections
        self.assertEqual(
            [line.split()[0] for line in connection.log[:4]],
            [b"EHLO", b"STARTTLS", b"EHLO", b"MAIL"],
        )
        self.assertEqual((self.again.peer.use, self.again.peer.tls), (2, outcome.peer.tls))

    async def test_requiretls_to_a_verified_smarthost(self) -> None:
        """RFC 8689 §4.2.1: verified TLS and a host that offers it; it is passed on with MAIL."""
        offer = b"250-mx.test\r\n250-STARTTLS\r\n250 REQUIRETLS\r\n"
        await self.listen(say={b"EHLO": offer})
        outcome = await self.deliver(lambda port: Smarthost(HOST, port, "starttls"), job=SECRET)
        self.assertEqual((outcome.verdict, outcome.enhanced), (Verdict.DELIVERED, "2.0.0"))
        self.assertEqual(outcome.peer.tls.level, TlsLevel.VERIFIED)
        (connection,) = self.server.connections
        self.assertIn(b"MAIL FROM:<a@here.test> REQUIRETLS", connection.log)

    async def test_requiretls_to_a_mail_exchanger(self) -> None:
        """RFC 8689 §4.2.1: signed MX records, and the host proved by DANE or by a certificate."""
        offer = b"250-mx.test\r\n250-STARTTLS\r\n250 REQUIRETLS\r\n"
        for trust, dane, level in (
            (GOOD, Known(), TlsLevel.VERIFIED),
            (OTHER, Known(record(GOOD)), TlsLevel.DANE),
        ):
            await self.listen(say={b"EHLO": offer})
            outcome = await self.deliver(Mx, trust, SECRET, dane)
            self.assertEqual((outcome.verdict, outcome.peer.tls.level), (Verdict.DELIVERED, level))
        for trust, dane in ((OTHER, Known()), (GOOD, Known(record(OTHER)))):
            await self.listen(say={b"EHLO": offer})
            outcome = await self.deliver(Mx, trust, SECRET, dane)
            self.assertEqual((outcome.verdict, outcome.enhanced), (Verdict.DEFERRED, "4.7.5"))
            self.assertEqual(self.server.messages, 0)

    async def test_dane(self) -> None:
        """The certificate of the record, whoever has issued it; another one gets nothing."""
        await self.listen()
        outcome = await self.deliver(Mx, OTHER, dane=Known(record(GOOD)))
        self.assertEqual(outcome.peer.tls.level, TlsLevel.DANE)
        self.assertEqual((self.again.peer.use, self.again.peer.tls), (2, outcome.peer.tls))
        await self.listen(OTHER_SERVER)
        outcome = await self.deliver(Mx, OTHER, dane=Known(record(GOOD)))
        self.assertEqual((outcome.verdict, outcome.enhanced), (Verdict.DEFERRED, "4.7.5"))
        self.assertIn("matches none of the TLSA records (3 0 1", outcome.text)
        tls = outcome.peer.tls
        self.assertEqual((tls.level, tls.version), (TlsLevel.ENCRYPTED, "TLSv1.3"))
        self.assertEqual(tls.required, "dane")
        logs = [line for one in self.server.connections for line in one.log]
        self.assertFalse([line for line in logs if b"MAIL" in line])

    async def test_smarthost_that_wants_a_certificate(self) -> None:
        """It is shown the one of the route; without it, it does not let us in."""
        directory = Path(mkdtemp())
        ours = issue("us.test")
        identity = CertificateFiles(directory / "us.crt", directory / "us.key")
        identity.certificate.write_bytes(ours.pem)
        identity.key.write_bytes(ours.key_pem)
        identity.key.chmod(0o600)
        clients = Clients(frozenset({ClientCertificates.REQUIRED}), identity.certificate)
        asking = ServerCertificates([GOOD_FILES], clients=clients)
        for shown, verdict in ((identity, Verdict.DELIVERED), (None, Verdict.DEFERRED)):
            await self.listen(asking, implicit=True, mode=ClientCertificates.REQUIRED)
            outcome = await self.deliver(
                lambda port, shown=shown: Smarthost(HOST, port, "implicit", identity=shown),
                identities=[identity],
            )
            self.assertEqual(outcome.verdict, verdict, outcome.text)

    async def test_requiretls_where_it_is_not_offered(self) -> None:
        """A verified smarthost that does not promise to go on so gets nothing: 5.7.30."""
        await self.listen()
        outcome = await self.deliver(lambda port: Smarthost(HOST, port, "starttls"), job=SECRET)
        self.assertEqual((outcome.verdict, outcome.enhanced), (Verdict.FAILED, "5.7.30"))
        self.assertEqual(self.server.messages, 0)

    async def test_attack_requiretls_offered_in_the_clear_only(self) -> None:
        """Attack: what is put into EHLO's answer in the clear is forgotten (RFC 3207 §4.2)."""

        def hello(server: Server, line: bytes) -> None:
            more = b"" if server.secure else b"250-REQUIRETLS\r\n250-LIMITS MAILMAX=1\r\n"
            server.transport.write(b"250-mx.test\r\n" + more + b"250 STARTTLS\r\n")

        await self.listen(say={b"EHLO": hello})
        outcome = await self.deliver(lambda port: Smarthost(HOST, port, "starttls"), job=SECRET)
        self.assertEqual((outcome.verdict, outcome.enhanced), (Verdict.FAILED, "5.7.30"))

    async def test_limits_are_read_again_after_starttls(self) -> None:
        """RFC 9422 §4: what was said of limits before STARTTLS does not count any more."""

        def hello(server: Server, line: bytes) -> None:
            limits = b"" if server.secure else b"250-LIMITS MAILMAX=1\r\n"
            server.transport.write(b"250-mx.test\r\n" + limits + b"250 STARTTLS\r\n")

        await self.listen(say={b"EHLO": hello})
        await self.deliver(Mx)
        self.assertEqual((len(self.server.connections), self.again.peer.use), (1, 2))

    async def test_unverified_is_recorded(self) -> None:
        """Opportunistic: a wrong certificate is recorded, and better than no encryption."""
        await self.listen(OTHER_SERVER)
        outcome = await self.deliver(Mx)
        self.assertEqual(outcome.verdict, Verdict.DELIVERED)
        self.assertEqual(outcome.peer.tls.level, TlsLevel.ENCRYPTED)
        self.assertNotEqual(outcome.peer.tls.why, "")

    async def test_starttls_not_wanted(self) -> None:
        """A route may do without."""
        await self.listen()
        outcome = await self.deliver(lambda port: Mx(port, "none"))
        expected = Tls(required="none", required_why="route r")
        self.assertEqual((outcome.verdict, outcome.peer.tls), (Verdict.DELIVERED, expected))

    async def test_starttls_refused(self) -> None:
        """Opportunistic: refused STARTTLS means plaintext, on a new connection, and is told."""
        await self.listen(say={b"STARTTLS": b"454 4.7.0 Not now\r\n"})
        outcome = await self.deliver(Mx)
        self.assertEqual(outcome.verdict, Verdict.DELIVERED)
        self.assertEqual(outcome.peer.tls, Tls(why="STARTTLS failed: Not now", required="may"))
        self.assertEqual(len(self.server.connections), 2)
        self.assertNotIn(b"STARTTLS", self.server.connections[1].log)

    async def test_handshake_fails(self) -> None:
        """Opportunistic: the same where the handshake breaks, or is never answered."""
        garbage = {b"STARTTLS": lambda server, line: self._no_tls(server)}
        for options in ({"say": garbage}, {"mute": True}, {"say": {b"STARTTLS": "close"}}):
            await self.listen(**options)
            outcome = await self.deliver(Mx)
            self.assertEqual(outcome.verdict, Verdict.DELIVERED, options)
            self.assertEqual(outcome.peer.tls.level, TlsLevel.NONE)
            self.assertIn("STARTTLS failed: ", outcome.peer.tls.why)

    def _no_tls(self, server: Server) -> None:
        server.transport.write(b"220 Go\r\n")
        reactor.callLater(0.05, server.transport.write, b"550 I do not speak TLS\r\n" * 10)

    async def test_injected_plaintext(self) -> None:
        """Attack: replies put behind the 220 in the clear end the connection (RFC 3207 §6)."""
        injected = b"220 Go\r\n250-mx.test\r\n250 PIPELINING\r\n"
        await self.listen(say={b"STARTTLS": injected})
        outcome = await self.deliver(Mx)
        self.assertEqual((outcome.verdict, outcome.command), (Verdict.DEFERRED, "STARTTLS"))
        self.assertEqual(self.server.messages, 0)
        logs = [line for server in self.server.connections for line in server.log]
        self.assertNotIn(b"MAIL FROM:<a@here.test>", logs)

    async def test_injected_half_line(self) -> None:
        """Attack: the same with an unfinished line, which TLS traffic would complete."""
        await self.listen(say={b"STARTTLS": b"220 Go\r\n250-injected"})
        outcome = await self.deliver(Mx)
        self.assertEqual((outcome.verdict, outcome.command), (Verdict.DEFERRED, "STARTTLS"))
        self.assertIn("in between", outcome.text)

    async def test_encryption_required(self) -> None:
        """Attack: STARTTLS stripped from EHLO does not lead to plaintext where TLS is required."""
        await self.listen(say={b"EHLO": b"250-mx.test\r\n250 PIPELINING\r\n"})
        for tls in ("encrypt", "verify"):
            outcome = await self.deliver(lambda port, tls=tls: Mx(port, tls))
            self.assertEqual((outcome.verdict, outcome.command), (Verdict.DEFERRED, "STARTTLS"))
        outcome = await self.deliver(lambda port: Smarthost(HOST, port, "starttls"))
        self.assertEqual((outcome.verdict, outcome.command), (Verdict.DEFERRED, "STARTTLS"))
        self.assertEqual(self.server.messages, 0)

    async def test_encrypt_is_content_with_any_certificate(self) -> None:
        """ "encrypt" asks for TLS, not for a name."""
        await self.listen(OTHER_SERVER)
        outcome = await self.deliver(lambda port: Mx(port, "encrypt"))
        self.assertEqual(outcome.peer.tls.level, TlsLevel.ENCRYPTED)

    async def test_verification_required(self) -> None:
        """Attack: somebody else's certificate is refused before anything is sent."""
        await self.listen(OTHER_SERVER)
        outcome = await self.deliver(lambda port: Mx(port, "verify"))
        self.assertEqual((outcome.verdict, outcome.enhanced), (Verdict.DEFERRED, "4.7.5"))
        self.assertIn("certificate", outcome.text)
        self.assertEqual(self.server.messages, 0)

    def smarthost(self, tls: Any) -> Callable[[int], Target]:
        return lambda port: Smarthost(HOST, port, tls, "me@relay", PASSWORD)

    async def test_smarthost(self) -> None:
        """Implicit TLS or mandatory STARTTLS, verified, then AUTH."""
        for tls in ("implicit", "starttls"):
            await self.listen(implicit=tls == "implicit")
            outcome = await self.deliver(self.smarthost(tls))
            self.assertEqual(outcome.verdict, Verdict.DELIVERED)
            self.assertEqual(outcome.peer.tls.level, TlsLevel.VERIFIED)
            (connection,) = self.server.connections
            self.assertIn(b"AUTH PLAIN AG1lQHJlbGF5AGNvcnJlY3QgaG9yc2U=", connection.log)
            # RFC 4954 §5: our login is not whose mail it is
            self.assertIn(b"MAIL FROM:<a@here.test> AUTH=<>", connection.log)

    async def test_smarthost_with_a_bad_certificate(self) -> None:
        """Attack: an impostor of the smarthost gets neither password nor mail."""
        for tls in ("implicit", "starttls"):
            for trust, server in ((GOOD, OTHER_SERVER), (OTHER, GOOD_SERVER)):
                await self.listen(server, implicit=tls == "implicit")
                outcome = await self.deliver(self.smarthost(tls), trust)
                self.assertEqual((outcome.verdict, outcome.enhanced), (Verdict.DEFERRED, "4.7.5"))
                logs = [line for one in self.server.connections for line in one.log]
                self.assertFalse([line for line in logs if b"AUTH" in line or b"MAIL" in line])

    async def test_implicit_tls_to_a_plain_port(self) -> None:
        """A smarthost that speaks in the clear is not spoken to."""
        await self.listen()
        outcome = await self.deliver(self.smarthost("implicit"))
        self.assertEqual((outcome.verdict, outcome.command), (Verdict.DEFERRED, "connect"))
        self.assertIn("does not speak TLS", outcome.text)
        self.assertEqual(self.server.messages, 0)

    async def test_auth_refused(self) -> None:
        """A refused login is a fault of ours that somebody will mend: deferred, not bounced."""
        await self.listen(implicit=True, say={b"AUTH": b"535 5.7.8 Wrong password\r\n"})
        outcome = await self.deliver(self.smarthost("implicit"))
        self.assertEqual(
            (outcome.verdict, outcome.command, outcome.reply),
            (Verdict.DEFERRED, "AUTH", "535 5.7.8 Wrong password"),
        )

    async def test_auth_login(self) -> None:
        """LOGIN, where the smarthost has nothing else, one line after the other."""
        answers = [b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n", b"235 In\r\n"]

        def answer(server: Server, line: bytes) -> None:
            server.transport.write(answers.pop(0))

        say = {
            b"EHLO": b"250-mx.test\r\n250 AUTH LOGIN\r\n",
            b"AUTH": answer,
            b"BWVACMVSYXK=": answer,  # the verb is upper-cased by the server
            b"Y29YCMVJDCBOB3JZZQ==": answer,
        }
        await self.listen(implicit=True, say=say)
        outcome = await self.deliver(self.smarthost("implicit"))
        self.assertEqual(outcome.verdict, Verdict.DELIVERED, outcome.reply)

    async def test_scram(self) -> None:
        """SCRAM over real TLS, bound to it; both ends derive the same from the connection."""
        say = ScramSay(PASSWORD)
        await self.listen(implicit=True, say=say)
        outcome = await self.deliver(self.smarthost("implicit"))
        self.assertEqual(outcome.verdict, Verdict.DELIVERED, outcome.reply)
        self.assertEqual(say.came_to, Proved("SCRAM-SHA-256-PLUS", "me@relay"))

    async def test_scram_attack_by_somebody_without_the_password(self) -> None:
        """Attack: a server that lets us in without knowing the password gets no mail."""
        say = ScramSay(PASSWORD, honest=False)
        await self.listen(implicit=True, say=say)
        outcome = await self.deliver(self.smarthost("implicit"))
        self.assertEqual((outcome.verdict, outcome.command), (Verdict.DEFERRED, "AUTH"))
        self.assertIn("its signature is false", outcome.text)
        self.assertEqual(self.server.messages, 0)

    async def test_no_common_mechanism(self) -> None:
        """A smarthost without AUTH, or with none that we have: deferred, and said."""
        await self.listen(implicit=True, say={b"EHLO": b"250-mx.test\r\n250 AUTH GSSAPI\r\n"})
        outcome = await self.deliver(self.smarthost("implicit"))
        self.assertEqual((outcome.verdict, outcome.command), (Verdict.DEFERRED, "AUTH"))
        self.assertIn("GSSAPI", outcome.text)

    async def test_credentials_are_not_repeated(self) -> None:
        """Attack or fault: a server that echoes what it is sent puts no secret into our log."""
        echoes = (b"535 5.7.8 No: %s\r\n", b"%s\r\n")
        for echo in echoes:

            def answer(server: Server, line: bytes, echo: bytes = echo) -> None:
                server.transport.write(echo % line)

            await self.listen(implicit=True, say={b"AUTH": answer})
            outcome = await self.deliver(self.smarthost("implicit"))
            self.assertEqual((outcome.verdict, outcome.command), (Verdict.DEFERRED, "AUTH"))
            self.assertIn("withheld", outcome.text)
            self.assertNotIn("AG1l", repr(outcome) + repr(self.events))

    async def test_large_message(self) -> None:
        """A large message streams through TLS, and through plain TCP, octet for octet."""
        chunk = (b"." + b"x" * 76 + b"\r\n") * 3300
        body = MemoryBody((chunk,) * 12)
        job = Job(
            replace(JOB.envelope, size=len(chunk) * 12), JOB.recipients, body, "mx:there.test"
        )
        for tls, level in (("may", TlsLevel.VERIFIED), ("none", TlsLevel.NONE)):
            await self.listen()
            outcome = await self.deliver(lambda port, tls=tls: Mx(port, tls), job=job)
            self.assertEqual((outcome.verdict, outcome.peer.tls.level), (Verdict.DELIVERED, level))
            self.assertEqual(self.again.peer.use, 2)
            (connection,) = self.server.connections
            lines = [line for line in connection.log if line.startswith(b"..")]
            self.assertEqual(len(lines), 2 * 12 * 3300)
            self.assertEqual({len(line) for line in lines}, {78})
