"""Resolver and responder over real sockets on loopback."""

import socket

from twisted.internet import reactor
from twisted.internet.defer import gatherResults, inlineCallbacks
from twisted.trial.unittest import TestCase

from mta.dns.answers import DnsTemporary, NoSuchName
from mta.dns.resolver import Resolver
from mta.dns.responder import Manner, Responder

ZONE = {
    "example.com": [("MX", "10 mx.example.com")],
    "mx.example.com": [("A", "127.0.0.1")],
    "big.example.com": [("TXT", f'"{n:03} {"x" * 200}"') for n in range(20)],
}


class Sockets(TestCase):
    """Real UDP and TCP; trial sees to it that no socket is left behind."""

    timeout = 20

    def setUp(self):
        self.responder = Responder(
            ZONE,
            manners={
                "silent.example.com": Manner(silent=True),
                "late.example.com": Manner(delay_s=0.05),
            },
        )
        self.addCleanup(lambda: gatherResults(self.responder.stop()))

    @inlineCallbacks
    def test_udp(self):
        """An answer, and the news that there is none, by UDP."""
        port = self.responder.listen(reactor, "127.0.0.1", 0)
        resolver = Resolver(reactor, [("127.0.0.1", port)])
        answer = yield resolver.lookup("example.com", "MX")
        self.assertEqual([mx.exchange for mx in answer.exchanges], ["mx.example.com"])
        yield self.assertFailure(resolver.lookup("late.example.com", "MX"), NoSuchName)

    @inlineCallbacks
    def test_tcp(self):
        """An answer that is too large for a datagram comes by TCP."""
        port = self.responder.listen(reactor, "127.0.0.1", 0)
        answer = yield Resolver(reactor, [("127.0.0.1", port)]).lookup("big.example.com", "TXT")
        self.assertEqual(len(answer.records), 20)
        self.assertEqual([transport for _, _, transport in self.responder.asked], ["udp", "tcp"])

    @inlineCallbacks
    def test_ipv6_and_a_dead_server(self):
        """A server at an IPv6 address, after one where nobody listens, at once."""
        port = self.responder.listen(reactor, "::1", 0)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
            unused.bind(("127.0.0.1", 0))
            dead = unused.getsockname()[1]
        resolver = Resolver(reactor, [("127.0.0.1", dead), ("::1", port)], timeout_s=15)
        answer = yield resolver.lookup("mx.example.com", "A")
        self.assertEqual(answer.texts, ("127.0.0.1",))

    @inlineCallbacks
    def test_time_out_and_cancel(self):
        """A silent server, waited for and given up; no socket stays open."""
        port = self.responder.listen(reactor, "127.0.0.1", 0)
        resolver = Resolver(reactor, [("127.0.0.1", port)], timeout_s=0.05, attempts=2)
        yield self.assertFailure(resolver.lookup("silent.example.com", "A"), DnsTemporary)
        self.assertEqual(len(self.responder.asked), 2)
        lookup = resolver.lookup("silent.example.com", "MX")
        lookup.addErrback(lambda failure: failure.type.__name__)
        lookup.cancel()
        name = yield lookup
        self.assertEqual(name, "CancelledError")

    @inlineCallbacks
    def test_unreachable_network(self):
        """A server that the kernel can't send to is a failure of that server only."""
        port = self.responder.listen(reactor, "127.0.0.1", 0)
        resolver = Resolver(reactor, [("255.255.255.255", 53), ("127.0.0.1", port)])
        answer = yield resolver.lookup("mx.example.com", "A")
        self.assertEqual(answer.texts, ("127.0.0.1",))
