"""A network in memory: DNS servers answer on a clock that the test moves."""

import struct

import pytest
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from mta.dns.resolver import Resolver
from mta.dns.responder import Responder


class UdpPort:
    """One bound datagram socket."""

    def __init__(self, net, number, protocol):
        self.net, self.number, self.protocol = net, number, protocol
        self.open = True

    def connect(self, host, port):
        self.peer = (host, port)

    def write(self, data, addr=None):
        self.net.sent.append((self.number, data))
        for reply, delay_s, source in self.net.ask(self.peer, data, "udp"):
            self.net.callLater(delay_s, self._arrives, reply, source)

    def _arrives(self, reply, source):
        if not self.open:
            return
        if reply is None:
            self.protocol.connectionRefused()
        else:
            self.protocol.datagramReceived(reply, source)

    def stopListening(self):
        self.open = False
        self.net.open.discard(self)


class TcpConnector:
    """One outgoing connection."""

    def __init__(self, net, peer, factory):
        self.net, self.peer = net, peer
        self.open = True
        self.protocol = factory.buildProtocol(None)
        self.transport = StringTransport()
        net.open.add(self)
        net.callLater(0, self._connected)

    def _connected(self):
        if not self.open:
            return
        self.protocol.makeConnection(self.transport)
        data = self.transport.value()
        assert struct.unpack("!H", data[:2])[0] == len(data) - 2
        for reply, delay_s, _ in self.net.ask(self.peer, data[2:], "tcp"):
            framed = struct.pack("!H", len(reply)) + reply
            half = len(framed) // 2
            for part in (framed[:1], framed[1:half], framed[half:]):
                self.net.callLater(delay_s, self._arrives, part)

    def _arrives(self, data):
        if self.open:
            self.protocol.dataReceived(data)

    def disconnect(self):
        if self.open:
            self.open = False
            self.net.open.discard(self)
            self.protocol.connectionLost(Failure(ConnectionDone()))


class Net(Clock):
    """IReactorTime, IReactorUDP and IReactorTCP as far as a resolver uses them.

    ``servers`` is address -> callable(data, transport), which returns the replies as
    (bytes, delay in seconds, source address); bytes None is an ICMP refusal.
    """

    def __init__(self):
        super().__init__()
        self.servers = {}
        self.sent = []
        self.open = set()
        self.taken = 0

    def listenUDP(self, port, protocol, interface="", maxPacketSize=8192):
        if self.taken:
            self.taken -= 1
            raise CannotListenError(interface, port, OSError("in use"))
        udp = UdpPort(self, port, protocol)
        self.open.add(udp)
        protocol.makeConnection(udp)
        return udp

    def connectTCP(self, host, port, factory):
        return TcpConnector(self, (host, port), factory)

    def ask(self, peer, data, transport):
        server = self.servers.get(peer)
        return server(data, transport) if server else []

    def serve(self, zone, address="192.0.2.53", **options):
        """Put a responder at ``address``."""
        responder = Responder(zone, **options)

        def server(data, transport):
            answered = responder.answer(data, transport)
            return [] if answered is None else [(*answered, (address, 53))]

        self.servers[address, 53] = server
        return responder

    def run(self, seconds=0.0):
        """Let what is due now happen, then what is due in ``seconds``."""
        self.pump([0.0] * 6 + ([seconds] if seconds else []) + [0.0] * 6)


@pytest.fixture
def net():
    return Net()


@pytest.fixture
def resolver(net):
    """Return a function that makes a resolver asking the given addresses at port 53."""

    def _resolver(*addresses, **options):
        servers = [(address, 53) for address in addresses or ("192.0.2.53",)]
        return Resolver(net, servers, **options)

    return _resolver


@pytest.fixture
def outcome(net):
    """Return a function: what came of a lookup after some seconds; None while it goes on."""
    boxes = {}

    def _outcome(deferred, seconds=0.0):
        _, box = boxes.setdefault(id(deferred), (deferred, []))
        if not box:
            deferred.addBoth(lambda result: box or box.append(result))
        net.run(seconds)
        if not box:
            return None
        return box[0].value if isinstance(box[0], Failure) else box[0]

    return _outcome
