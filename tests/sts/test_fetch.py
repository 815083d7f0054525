"""The fetch of a policy, from real HTTPS servers, good ones and others."""

from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from pki import Authority
from policy_host import PATH, PolicyHost
from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from mta.dns.answers import DnsTemporary
from mta.mail.security import Result
from mta.security.facts import StsMode
from mta.sts.fetch import NoPolicy, PolicyFetch
from mta.sts.policy import LARGEST, Policy
from mta.tls.level import ClientTls

READ = Policy(StsMode.ENFORCE, 604800, ("mx.there.test",))


class OverHttps(TestCase):
    """A policy host on a thread, the fetch on the real reactor."""

    timeout = 30

    def setUp(self) -> None:
        self.directory = Path(mkdtemp())
        self.authority = Authority(self.directory)
        self.asked: list[str] = []
        self.found: list[str] = ["127.0.0.1"]

    def host(self, *names: str, by: Authority | None = None, expired: bool = False) -> PolicyHost:
        files = (by or self.authority).issue(*(names or ("mta-sts.there.test",)), expired=expired)
        host = PolicyHost(*files)
        self.addCleanup(host.close)
        return host

    def fetch(self, host: PolicyHost, timeout_s: float = 20.0) -> Deferred[Policy]:
        async def addresses(name: str) -> list[str]:
            self.asked.append(name)
            return self.found

        tls = ClientTls(self.authority.file)
        fetch = PolicyFetch(reactor, tls, addresses, timeout_s=timeout_s, port=host.port)
        return Deferred.fromCoroutine(fetch("there.test"))

    @inlineCallbacks
    def refused(self, host: PolicyHost, result: Result, text: str, timeout_s: float = 20.0) -> Any:
        error = yield self.assertFailure(self.fetch(host, timeout_s), NoPolicy)
        self.assertEqual((error.result, text in str(error)), (result, True), str(error))

    @inlineCallbacks
    def test_policy(self) -> Any:
        """RFC 8461 §3.2: the policy host is the domain's, found by our resolver; chunks will do."""
        host = self.host("other.test", "mta-sts.there.test")
        policy = yield self.fetch(host)
        self.assertEqual((policy, self.asked), (READ, ["mta-sts.there.test"]))
        self.assertEqual(host.asked, [("mta-sts.there.test", PATH)])
        host.headers |= {"Content-Length": "", "Transfer-Encoding": "chunked"}
        host.body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(host.body), host.body)
        policy = yield self.fetch(host)
        self.assertEqual(policy, READ)

    @inlineCallbacks
    def test_a_wildcard_certificate(self) -> Any:
        """RFC 8461 §3.3: a certificate for *.there.test speaks for mta-sts.there.test."""
        policy = yield self.fetch(self.host("*.there.test"))
        self.assertEqual(policy, READ)

    @inlineCallbacks
    def test_the_next_address(self) -> Any:
        """A policy host that is not at its first address may be at the second."""
        self.found = ["127.255.255.254", "127.0.0.1"]
        policy = yield self.fetch(self.host())
        self.assertEqual(policy, READ)

    @inlineCallbacks
    def test_attack_another_server(self) -> Any:
        """Attack: who owns the DNS and no certificate of the policy host's must not publish."""
        webpki = Result.STS_WEBPKI_INVALID
        yield self.refused(self.host("there.test"), webpki, "not for mta-sts.there.test")
        yield self.refused(self.host("*.sub.there.test"), webpki, "not for mta-sts.there.test")
        yield self.refused(self.host(expired=True), webpki, "expired")
        stranger = self.host(by=Authority(self.directory, "Somebody"))
        yield self.refused(stranger, webpki, "unknown certificate authority")
        self.assertEqual(stranger.asked, [])  # nor is anybody inside asked for anything

    @inlineCallbacks
    def test_attack_what_users_may_put_on_a_server(self) -> Any:
        """Attack: a redirect, or a page of a user's, at the place of the policy (RFC 8461 §3.3)."""
        host = self.host()
        for status in (301, 302, 307, 404, 500, 204):
            host.status = status
            host.headers["Location"] = f"https://mta-sts.there.test:{host.port}/elsewhere"
            yield self.refused(host, Result.STS_FETCH_ERROR, f"HTTP status {status}")
        self.assertEqual({path for _, path in host.asked}, {PATH})
        host.status = 200
        for kind in ("text/html", "application/octet-stream", "text/plainer", ""):
            host.headers["Content-Type"] = kind
            yield self.refused(host, Result.STS_FETCH_ERROR, "not as text/plain")

    @inlineCallbacks
    def test_attack_more_than_can_be_held(self) -> Any:
        """Attack: a policy, or headers, without an end fill our memory."""
        host = self.host()
        host.body = b"x" * (LARGEST + 1)
        yield self.refused(host, Result.STS_FETCH_ERROR, "larger than 65536 octets")
        host.body = b""
        host.headers |= {f"X-{n}": "x" * 8000 for n in range(40)}
        yield self.refused(host, Result.STS_FETCH_ERROR, "")

    @inlineCallbacks
    def test_attack_a_policy_that_is_cut(self) -> Any:
        """Attack: half of a policy, which may be all hosts but one, is no policy."""
        host = self.host()
        host.headers["Content-Length"] = str(len(host.body) + 1)
        yield self.refused(host, Result.STS_FETCH_ERROR, "incomplete")
        host.headers["Content-Length"] = ""
        yield self.refused(host, Result.STS_FETCH_ERROR, "incomplete")

    @inlineCallbacks
    def test_attack_a_server_that_never_answers(self) -> Any:
        """Attack: a fetch that goes on for ever."""
        host = self.host()
        host.stall()
        yield self.refused(host, Result.STS_FETCH_ERROR, "no answer within 0.3 s", timeout_s=0.3)

    @inlineCallbacks
    def test_nobody_there(self) -> Any:
        """No address, no answer of the DNS, nobody at the port: each is said."""
        host = self.host()
        host.close()
        yield self.refused(host, Result.STS_FETCH_ERROR, "connect to 127.0.0.1")
        self.found = []
        yield self.refused(host, Result.STS_FETCH_ERROR, "has no address")

        async def away(name: str) -> list[str]:
            raise DnsTemporary(f"{name} A: SERVFAIL")

        fetch = PolicyFetch(reactor, ClientTls(self.authority.file), away)
        work = Deferred.fromCoroutine(fetch("there.test"))
        error = yield self.assertFailure(work, NoPolicy)
        self.assertEqual(str(error), "mta-sts.there.test: mta-sts.there.test A: SERVFAIL")

    @inlineCallbacks
    def test_no_policy_in_it(self) -> Any:
        """What is not a policy has a word of its own in TLS reports."""
        host = self.host()
        host.body = b"version: STSv2\n"
        yield self.refused(host, Result.STS_INVALID, "its version is 'STSv2'")

    @inlineCallbacks
    def test_leaving(self) -> Any:
        """A fetch that nobody wants any more ends at once."""
        host = self.host()
        host.stall()
        work = self.fetch(host)
        yield deferLater(reactor, 0.2, lambda: None)
        work.addErrback(lambda failure: failure.type.__name__)
        work.cancel()
        name = yield work
        self.assertEqual(name, "CancelledError")
