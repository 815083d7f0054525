"""Logging in by token with real peers: a token endpoint over HTTPS, and aiosmtpd over TLS."""

import json
import ssl
from base64 import b64decode, b64encode
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult
from pki import Authority
from receiver import Receiver
from token_server import TokenServer
from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.trial.unittest import TestCase

from mta.delivery.delivery import Delivery
from mta.delivery.routes import Route, Routes, Smarthost
from mta.delivery.settings import DeliverySettings
from mta.delivery.token import LARGEST, OAuth
from mta.dns.mx import MailHost
from mta.mail.envelope import Envelope, Job, MemoryBody, Recipient
from mta.mail.outcome import Verdict
from mta.mail.queue_id import new_queue_id
from mta.tls.level import ClientTls

CONTENT = b"Subject: hi\r\n\r\nhello\r\n"
JOB = Job(
    Envelope(new_queue_id(1), "a@here.test", len(CONTENT), 0, 10**15),
    (Recipient(0, "b@there.test", "there.test", 1),),
    MemoryBody((CONTENT,)),
    "smarthost:r",
)
OLD, NEW = "old-token-0123456789", "new-token-0123456789"
REFUSED = (Verdict.DEFERRED, "AUTH", "5.7.8")


class Exchangers:
    """The smarthost is on loopback."""

    def hosts(self, domain: str) -> Deferred[tuple[MailHost, ...]]:
        raise AssertionError("nobody looks for exchangers here")

    def addresses(self, host: str) -> Deferred[tuple[str, ...]]:
        return succeed(("127.0.0.1",))


class TokenReceiver(Receiver):
    """Lets in whoever shows ``good``; says why not, as RFC 7628 §3.2.2 has it."""

    def __init__(self, context: ssl.SSLContext, *excluded: str) -> None:
        self.good = NEW
        self.shown: list[bytes] = []
        self.after: list[Any] = []  # what came after the reasons of refusals
        self.echo = False
        super().__init__(
            ssl_context=context,
            auth_required=True,
            auth_require_tls=False,  # it does not count TLS from the first octet
            auth_exclude_mechanism=["PLAIN", "LOGIN", *excluded],
        )

    async def handle_EHLO(
        self, server: Any, session: Any, envelope: Any, name: str, lines: list[str]
    ) -> list[str]:
        """Have it take what follows from its AUTH (RFC 4954 §5), and which it does not know."""
        session.host_name = name
        read = type(server)._getparams

        def without_auth(words: Any) -> Any:
            return read(server, [one for one in words if one != "AUTH=<>"])

        server._getparams = without_auth
        return lines

    async def auth_OAUTHBEARER(self, server: SMTP, arguments: list[str]) -> AuthResult:
        return await self._believed(server, arguments)

    async def auth_XOAUTH2(self, server: SMTP, arguments: list[str]) -> AuthResult:
        return await self._believed(server, arguments)

    async def _believed(self, server: SMTP, arguments: list[str]) -> AuthResult:
        said = b64decode(arguments[1]) if len(arguments) > 1 else b""
        if not said:
            answered = await server.challenge_auth("")
            assert isinstance(answered, bytes)
            said = answered
        self.shown.append(said)
        if said.endswith(b"auth=Bearer %b\x01\x01" % self.good.encode()):
            return AuthResult(success=True, auth_data=said)
        reason = json.dumps({"status": "invalid_token", "was": said.decode() if self.echo else ""})
        self.after.append(await server.challenge_auth(reason))
        return AuthResult(success=False, handled=False)


class ByToken(TestCase):
    """A delivery that logs in with what an endpoint gives."""

    timeout = 30

    def setUp(self) -> None:
        directory = Path(mkdtemp())
        self.authority = Authority(directory)
        self.endpoint = TokenServer(*self.authority.issue("localhost"))
        self.addCleanup(self.endpoint.close)
        self.files = self.authority.issue("smtp.test")

    def receiver(self, *excluded: str) -> TokenReceiver:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.files)
        receiver = TokenReceiver(context, *excluded)
        self.addCleanup(receiver.close)
        return receiver

    def delivery(self, receiver: Receiver, url: str = "") -> Delivery:
        oauth = OAuth(url or self.endpoint.url, "relay", "hush-hush-hush")
        smarthost = Smarthost("smtp.test", receiver.port, "implicit", "org@smtp.test", oauth=oauth)
        routes = Routes((Route("r", smarthost),))
        self.events: list[Any] = []
        settings = DeliverySettings("relay.test", routes, transcripts="all")
        tls = ClientTls(self.authority.file)
        return Delivery(reactor, settings, Exchangers(), tls, self.events.append)

    @inlineCallbacks
    def deliver(self, delivery: Delivery) -> Any:
        (outcome,) = yield delivery.deliver(JOB)
        yield delivery.stop()
        for secret in (OLD, NEW, "hush-hush-hush"):
            for form in (secret, b64encode(secret.encode()).decode()):
                self.assertNotIn(form, repr(outcome) + repr(self.events) + repr(delivery))
        return outcome

    def gives(self, *tokens: str) -> None:
        self.endpoint.answers = [
            (200, {"access_token": one, "token_type": "bearer", "expires_in": 3600})
            for one in tokens
        ]

    @inlineCallbacks
    def test_delivered(self) -> Any:
        """The whole way: a token is asked for, shown, and the message goes."""
        receiver = self.receiver()
        self.gives(NEW)
        outcome = yield self.deliver(self.delivery(receiver))
        self.assertEqual(outcome.verdict, Verdict.DELIVERED, outcome)
        self.assertEqual(len(receiver.envelopes), 1)
        where = b"host=smtp.test\x01port=%d\x01" % receiver.port
        expected = b"n,a=org@smtp.test,\x01%bauth=Bearer %b\x01\x01" % (where, NEW.encode())
        self.assertEqual(receiver.shown, [expected])
        ((path, authorization, form),) = self.endpoint.asked
        basic = "Basic " + b64encode(b"relay:hush-hush-hush").decode()
        self.assertEqual((path, authorization), ("/token", basic))
        self.assertEqual(form, {"grant_type": ["client_credentials"]})
        self.assertIn("> AUTH OAUTHBEARER (credentials)", outcome.transcript)

    @inlineCallbacks
    def test_expired_token_first(self) -> Any:
        """A refused token is replaced on the same connection; the reason is answered before."""
        for excluded, after in (("XOAUTH2", b"\x01"), ("OAUTHBEARER", b"")):
            receiver = self.receiver(excluded)
            self.gives(OLD, NEW)
            outcome = yield self.deliver(self.delivery(receiver))
            self.assertEqual(outcome.verdict, Verdict.DELIVERED, outcome)
            self.assertEqual(receiver.after, [after])
            shown = [one.split(b"Bearer ")[1].rstrip(b"\x01").decode() for one in receiver.shown]
            self.assertEqual(shown, [OLD, NEW])
            self.assertIn("the token is refused: once more with a new one", outcome.transcript)

    @inlineCallbacks
    def test_refused_for_good(self) -> Any:
        """A smarthost that refuses two tokens has the mail wait: no bounce, no third token."""
        receiver = self.receiver()
        self.gives(OLD)
        self.endpoint.asked.clear()
        outcome = yield self.deliver(self.delivery(receiver))
        self.assertEqual((outcome.verdict, outcome.command, outcome.enhanced), REFUSED)
        self.assertEqual((len(self.endpoint.asked), len(receiver.shown)), (2, 2))
        self.assertEqual(receiver.envelopes, [])

    @inlineCallbacks
    def test_reason_that_repeats_the_token(self) -> Any:
        """Attack: the token comes back inside of the encoded reason; the transcript has neither."""
        receiver = self.receiver()
        receiver.echo = True
        self.gives(OLD)
        outcome = yield self.deliver(self.delivery(receiver))
        self.assertEqual(outcome.verdict, Verdict.DEFERRED)
        self.assertEqual(outcome.transcript.count("334 (withheld"), 2, outcome.transcript)

    @inlineCallbacks
    def test_endpoint_that_redirects(self) -> Any:
        """Attack: our secret does not follow a redirect to somewhere else."""
        other = TokenServer(*self.authority.issue("localhost"))
        self.addCleanup(other.close)
        self.endpoint.headers = {"Location": other.url}
        for status in (302, 307, 308):
            self.endpoint.answers = [(status, {})]
            receiver = self.receiver()
            outcome = yield self.deliver(self.delivery(receiver))
            self.assertEqual((outcome.verdict, outcome.enhanced), (Verdict.DEFERRED, "4.7.8"))
            self.assertIn(f"HTTP status {status}", outcome.text)
            self.assertEqual((other.asked, receiver.shown), ([], []))

    @inlineCallbacks
    def test_endpoint_with_a_bad_certificate(self) -> Any:
        """Attack: an impostor of the endpoint gets no secret, and gives no token."""
        directory = Path(mkdtemp())
        impostor = TokenServer(*Authority(directory, "Somebody").issue("localhost"))
        self.addCleanup(impostor.close)
        impostor.answers = [(200, {"access_token": NEW, "token_type": "bearer"})]
        outcome = yield self.deliver(self.delivery(self.receiver(), impostor.url))
        self.assertEqual((outcome.verdict, outcome.enhanced), (Verdict.DEFERRED, "4.7.8"))
        self.assertIn("certificate", outcome.text)
        self.assertEqual(impostor.asked, [])

    @inlineCallbacks
    def test_endpoint_away_or_endless(self) -> Any:
        """No connection, or more than is read: mail waits, and says for what."""
        self.endpoint.answers = [(200, b" " * (LARGEST + 1))]
        large = yield self.deliver(self.delivery(self.receiver()))
        self.assertIn("larger than", large.text)
        away = yield self.deliver(self.delivery(self.receiver(), "https://localhost:9/token"))
        for outcome in (large, away):
            self.assertEqual(
                (outcome.verdict, outcome.command, outcome.enhanced),
                (Verdict.DEFERRED, "AUTH", "4.7.8"),
            )

    @inlineCallbacks
    def test_never_in_the_clear(self) -> Any:
        """Attack: a smarthost without TLS is shown no token; the settings cannot even say it."""
        with self.assertRaises(ValueError):
            Smarthost("smtp.test", 25, "none", "org", oauth=OAuth("https://x", "we"))
        plain = Receiver()
        self.addCleanup(plain.close)
        self.gives(NEW)
        outcome = yield self.deliver(self.delivery(plain))
        self.assertEqual((outcome.verdict, outcome.command), (Verdict.DEFERRED, "connect"))
        self.assertEqual(self.endpoint.asked, [])
