"""Every TLS session with a mail exchanger is counted as what it came to, for reports (RFC 8460)."""

import ssl
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from dane_cases import OTHER, ROOT, issue
from receiver import Receiver
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import TestCase

from mta.delivery.delivery import Delivery
from mta.delivery.routes import Mx, Route, Routes, Smarthost
from mta.delivery.securing import SecuritySettings
from mta.delivery.settings import DeliverySettings
from mta.dns.mx import MailHost
from mta.mail.envelope import Envelope, Job, MemoryBody, Recipient
from mta.mail.queue_id import new_queue_id
from mta.mail.security import NOT_LOOKED_FOR, Dane, DaneState, Result, Source, Tlsa
from mta.mail.tls_session import AppliedPolicy, PolicyType, TlsSession
from mta.security.policies import Local, TlsPolicy
from mta.tls.level import ClientTls

NONE = AppliedPolicy(PolicyType.NONE, "there.test")
RECORD = Tlsa(3, 1, 1, b"\1" * 32)
LINE = "3 1 1 " + "01" * 32


def policy(level: Any, **options: Any) -> SecuritySettings:
    return SecuritySettings((TlsPolicy(Local(level, Source.POLICY, "trial", **options)),))


@pytest.fixture
def counted(world: Any) -> list[TlsSession]:
    """Return what is counted."""
    found: list[TlsSession] = []
    world.delivery.count(found.append)
    return found


def test_without_starttls(world: Any, job: Any, counted: list[TlsSession]) -> None:
    """A host that offers no STARTTLS is a failure, though the mail is delivered; once for all."""
    world.host()
    world.deliver(job())
    world.deliver(job())
    assert counted == [
        TlsSession(
            "there.test",
            NONE,
            Result.STARTTLS_NOT_SUPPORTED,
            "10.0.0.1",
            "mx.test",
            "192.0.2.1",
            "mx.test",
            "STARTTLS is not offered",
        )
    ]


def test_a_connection_counts_for_each_domain(
    world: Any, job: Any, counted: list[TlsSession]
) -> None:
    """Two domains with the same host and one connection: each of them has had a session."""
    host = world.host()
    world.deliver(job())
    world.deliver(job("c@elsewhere.test"))
    assert len(host.connections) == 1
    assert [one.domain for one in counted] == ["there.test", "elsewhere.test"]


def test_starttls_that_is_refused(world: Any, job: Any, counted: list[TlsSession]) -> None:
    """Without TLS it goes, and what the peer said is told; its words are cut and on one line."""
    keywords = ("STARTTLS",)
    world.host(keywords=keywords, STARTTLS=b"454 4.7.0 \x1b[31mno\xfc " + b"x" * 500 + b"\r\n")
    world.deliver(job())
    (one,) = counted
    assert one.result is Result.STARTTLS_NOT_SUPPORTED
    assert one.reason.isascii() and one.reason.isprintable() and len(one.reason) == 200


def test_stripped_starttls_under_dane(world: Any, job: Any, counted: list[TlsSession]) -> None:
    """Attack: somebody strips STARTTLS.  Mail waits, and the domain will hear of it."""
    world.host()
    world.dane["mx.test"] = Dane(DaneState.USABLE, (RECORD,), "mx.test")
    world.signed = True
    world.deliver(job())
    (one,) = counted
    assert one.policy == AppliedPolicy(PolicyType.TLSA, "mx.test", (LINE,))
    assert (one.result, one.address) == (Result.STARTTLS_NOT_SUPPORTED, "192.0.2.1")


def test_hosts_that_are_not_dialled(world: Any, job: Any, counted: list[TlsSession]) -> None:
    """Bogus TLSA records, or none where they are demanded: counted though nobody was dialled."""
    world.host()
    world.dane["mx.test"] = Dane(DaneState.FAILED, text="TLSA of mx.test: SERVFAIL")
    world.deliver(job())
    world.dane["mx.test"] = Dane(DaneState.ABSENT)
    world.use(security=policy("dane-only"))
    world.deliver(job())
    assert [(one.policy.kind, one.result, one.host) for one in counted] == [
        (PolicyType.TLSA, Result.DNSSEC_INVALID, "mx.test"),
        (PolicyType.TLSA, Result.DANE_REQUIRED, "mx.test"),
    ]
    assert counted[0].reason == "TLSA of mx.test: SERVFAIL"


def test_what_is_not_counted(world: Any, job: Any, counted: list[TlsSession]) -> None:
    """Smarthosts, address literals, TLS-Required: No (reports themselves), never-TLS, no TCP."""
    host = world.host()
    world.deliver(job(tls_not_required=True))
    world.deliver(job("c@[192.0.2.1]"))
    world.use(security=policy("none"))
    world.deliver(job())
    world.use(Route("r", Smarthost("mx.test", 25, "none")), security=SecuritySettings())
    world.deliver(job())
    assert len(host.messages) == 4
    host.refuses = True
    world.use(Route("r", Mx(26)))
    world.deliver(job())
    assert counted == []


def test_nobody_listens_any_more(world: Any, job: Any, counted: list[TlsSession]) -> None:
    """After a reload without reports nothing is counted."""
    world.host()
    world.delivery.count(None)
    world.deliver(job())
    assert counted == []


class There:
    """Everything is at mx.test, on loopback; what DANE says of it is known."""

    off = ""

    def __init__(self, dane: Dane) -> None:
        self.dane = dane

    def hosts(self, domain: str) -> Deferred[tuple[MailHost, ...]]:
        return succeed((MailHost("mx.test", 10, signed=True),))

    def addresses(self, host: str) -> Deferred[tuple[str, ...]]:
        return succeed(("127.0.0.1",))

    async def facts(self, host: str, port: int) -> Dane:
        return self.dane


def tlsa(issued: Any, usage: int) -> Tlsa:
    der = issued.certificate.public_bytes(Encoding.DER)
    return Tlsa(usage, 0, 1, sha256(der).digest())


JOB = Job(
    Envelope(new_queue_id(1), "a@here.test", 4, 0, 10**15),
    (Recipient(0, "b@there.test", "there.test", 1),),
    MemoryBody((b"\r\nx\r\n",)),
    "mx:there.test",
)


class OverTls(TestCase):
    """Handshakes with a real server on loopback that is wrong in one way each."""

    timeout = 60

    async def session(
        self, issued: Any, dane: Dane = NOT_LOOKED_FOR, security: Any = None, **server: Any
    ) -> TlsSession:
        """Deliver once to a server with a certificate; return what was counted."""
        directory = Path(mkdtemp())
        for name, octets in (("crt", issued.pem), ("key", issued.key_pem)):
            (directory / name).write_bytes(octets)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(directory / "crt", directory / "key")
        for name, value in server.items():
            setattr(context, name, value)
        receiver = Receiver(tls_context=context)
        self.addCleanup(receiver.close)
        routes = Routes((Route("r", Mx(receiver.port)),))
        settings = DeliverySettings(
            "relay.test", routes, security=security or SecuritySettings(), idle_s=0.0
        )
        there = There(dane)
        tls = ClientTls([ROOT.pem])
        delivery = Delivery(reactor, settings, there, tls, lambda event: None, dane=there)
        counted: list[TlsSession] = []
        delivery.count(counted.append)
        await delivery.deliver(JOB)
        await delivery.stop()
        (one,) = counted
        return one

    async def failure(self, issued: Any, *arguments: Any, **options: Any) -> tuple[Any, str, str]:
        """Return type of policy, result, and reason."""
        one = await self.session(issued, *arguments, **options)
        assert one.result is not None
        assert (one.sending, one.address, one.host) == ("127.0.0.1", "127.0.0.1", "mx.test")
        assert one.helo
        return one.policy.kind, one.result.value, one.reason

    async def test_good_ones(self) -> None:
        """TLS with anybody, where nothing is published, and by DANE: only the policy is told."""
        good = issue("mx.test", ROOT)
        assert await self.session(OTHER) == TlsSession("there.test", NONE)
        record = tlsa(good, 3)
        found = await self.session(good, Dane(DaneState.USABLE, (record,), "mx.test"))
        line = f"3 0 1 {record.data.hex()}"
        applied = AppliedPolicy(PolicyType.TLSA, "mx.test", (line,))
        assert found == TlsSession("there.test", applied)

    async def test_dane_failures(self) -> None:
        """Another key; under DANE-TA another name, and a date that is over."""
        wrong = Dane(DaneState.USABLE, (tlsa(ROOT, 3),), "mx.test")
        kind, result, reason = await self.failure(issue("mx.test", ROOT), wrong)
        assert (kind, result) == (PolicyType.TLSA, "validation-failure"), reason
        assert "matches none of the TLSA records" in reason
        authority = Dane(DaneState.USABLE, (tlsa(ROOT, 2), RECORD), "mx.test")
        for issued, expected in (
            (issue("other.test", ROOT), "certificate-host-mismatch"),
            (issue("mx.test", ROOT, days=-1), "certificate-expired"),
        ):
            kind, result, reason = await self.failure(Chain(issued), authority)
            assert (kind, result) == (PolicyType.TLSA, expected), reason

    async def test_records_that_cannot_be_used(self) -> None:
        """The mail goes by unauthenticated TLS; the domain hears that its records are no good."""
        unusable = Dane(DaneState.UNUSABLE, (), "mx.test", "TLSA records of usage 1 alone")
        found = await self.failure(OTHER, unusable)
        assert found == (PolicyType.TLSA, "tlsa-invalid", "TLSA records of usage 1 alone")

    async def test_failures_of_certificates(self) -> None:
        """What we demand ourselves: untrusted, of another name, expired."""
        for issued, expected in (
            (issue("mx.test"), "certificate-not-trusted"),
            (issue("other.test", ROOT), "certificate-host-mismatch"),
            (issue("mx.test", ROOT, days=-1), "certificate-expired"),
        ):
            kind, result, reason = await self.failure(issued, security=policy("verify"))
            assert (kind, result) == (PolicyType.NONE, expected), reason

    async def test_handshake_that_fails(self) -> None:
        """No version in common: the mail goes in the clear, and the session is a failure."""
        old = {"minimum_version": ssl.TLSVersion.TLSv1, "maximum_version": ssl.TLSVersion.TLSv1_1}
        kind, result, reason = await self.failure(issue("mx.test", ROOT), **old)
        assert (kind, result) == (PolicyType.NONE, "validation-failure")
        assert "TLS handshake failed" in reason

    async def test_observed_only(self) -> None:
        """With observe the mail goes; that the session fell short is told all the same."""
        trial = policy("verify", observe=True)
        kind, result, _ = await self.failure(issue("mx.test"), security=trial)
        assert (kind, result) == (PolicyType.NONE, "certificate-not-trusted")


class Chain:
    """A certificate that is shown together with its authority's."""

    def __init__(self, issued: Any) -> None:
        self.pem = issued.pem + ROOT.pem
        self.key_pem = issued.key_pem
