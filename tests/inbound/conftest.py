"""The inbound side with everything round it in memory, pumped by hand."""

import ipaddress
from dataclasses import replace

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from mta.auth.credentials import AuthenticationFailed
from mta.gate.gate import Gate
from mta.inbound.listener import Inbound
from mta.inbound.settings import (
    AuthMode,
    InboundSettings,
    ListenerSettings,
    SessionLimits,
    TlsMode,
)
from mta.mail.srs import Srs
from mta.policy.addresses import Addresses, Canonical
from mta.policy.aliases import Entry, LocalAddresses, LocalDomain
from mta.policy.rewriting import Rewrites
from mta.spool import counters, intake
from mta.spool.body import read_chunk


class MemorySpool:
    """The database's port, with what ``spool.intake`` does done to dictionaries."""

    def __init__(self):
        self.chunks = {}  # (id, number) -> octets
        self.accepted = []  # Intake
        self.error = None  # raised by all writes while it is set
        self.held = None  # a list while answers wait for ``pump``
        self.writes = 0

    def write(self, fn, *args):
        return self._later(lambda: self._apply(fn, args))

    def write_together(self, fn, item):
        return self._later(lambda: self._apply(fn, (item,)))

    def read(self, fn, *args):
        if fn is read_chunk:
            return succeed(self.chunks[args])
        return fail(NotImplementedError("nothing else is read back here"))

    def pump(self):
        """Do what waits."""
        held, self.held = self.held, None
        for deferred, work in held:
            self._settle(deferred, work)

    def body(self, item):
        """The octets of an accepted message."""
        first = 1 if item.head else 0
        stored = [self.chunks[item.envelope.id, n + first] for n in range(item.stored)]
        return item.head + b"".join(stored) + b"".join(item.chunks)

    def _later(self, work):
        self.writes += 1
        deferred = Deferred()
        if self.held is not None:
            self.held.append((deferred, work))
        else:
            self._settle(deferred, work)
        return deferred

    def _settle(self, deferred, work):
        try:
            result = work()
        except Exception:
            deferred.errback(Failure())
        else:
            deferred.callback(result)

    def _apply(self, fn, args):
        if self.error is not None:
            raise self.error
        if fn is intake.store_chunk:
            message_id, number, data, *_ = args
            assert len(data) <= intake.CHUNK_SIZE
            self.chunks[message_id, number] = data
        elif fn is intake.adopt:
            mine, other = args
            moved = {(mine, n): data for (id, n), data in self.chunks.items() if id == other}
            self.chunks = {k: v for k, v in self.chunks.items() if k[0] not in args} | moved
        elif fn is intake.discard:
            self.chunks = {k: v for k, v in self.chunks.items() if k[0] != args[0]}
        else:
            assert fn is intake.accept
            self.accepted.append(args[0])


class Queue:
    """The scheduler's port: remembers what it was handed."""

    def __init__(self):
        self.room = True
        self.reserved = 0
        self.handed = []
        self.dead_until_ms = None

    def put_off_ms(self, envelope, recipients):
        return self.dead_until_ms

    def reserve(self, recipients, octets, owner):
        self.owner = owner
        if not self.room:
            return None
        self.reserved += recipients
        return intake.Reservation("token", 9_999_999)

    def accepted(self, envelope, recipients, body, reservation):
        self.handed.append((envelope, recipients, body, reservation))

    def cancel(self, reservation, recipients, octets):
        self.reserved -= recipients


class Book:
    """The accounts' port: one account, ann with the password secret."""

    def __init__(self):
        self.error = None
        self.asked = []

    def known(self, login):
        return succeed("ann") if login == "ann" else fail(AuthenticationFailed("no such account"))

    def check(self, login, password):
        self.asked.append((login, password))
        if self.error is not None:
            return fail(self.error)
        if (login, password) == ("ann", "secret"):
            return succeed("ann")
        return fail(AuthenticationFailed("credentials"))


class Certificates:
    """What is handed to startTLS."""

    def options(self, mode):
        return "options"


class Wire(StringTransport):
    """A transport that notes startTLS and closes like a real one."""

    def __init__(self, address):
        super().__init__(peerAddress=IPv4Address("TCP", address, 40000))
        self.tls = []

    def startTLS(self, options):
        self.tls.append((options, self.value()))

    def abortConnection(self):
        self.aborted = True
        self.disconnecting = True


class Client:
    """One client with its session."""

    def __init__(self, session, wire):
        self.session = session
        self.wire = wire
        wire.protocol = session  # as a real transport knows whose it is
        session.makeConnection(wire)

    @property
    def closed(self):
        return self.wire.disconnecting

    def read(self):
        """What the server has said since the last time."""
        said = self.wire.value()
        self.wire.clear()
        return said

    def say(self, data):
        """Send, and return what is answered."""
        self.session.dataReceived(data)
        return self.read()

    def hear(self, data):
        """The same, with whoever has the connection now."""
        self.wire.protocol.dataReceived(data)
        return self.read()

    def leave(self):
        """Go away without a word."""
        self.session.connectionLost(Failure(ConnectionLost()))


LISTENERS = {
    "smtps": ListenerSettings("smtps", "tcp:465", TlsMode.IMPLICIT, AuthMode.REQUIRED),
    "submission": ListenerSettings("submission", "tcp:587", TlsMode.STARTTLS, AuthMode.REQUIRED),
    "smtp": ListenerSettings(
        "smtp",
        "tcp:25",
        TlsMode.STARTTLS,
        AuthMode.OPTIONAL,
        incoming=True,
        trusted=(ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("2001:db8::/32")),
    ),
    "plain": ListenerSettings(
        "plain",
        "tcp:2525",
        TlsMode.NONE,
        AuthMode.NONE,
        trusted=(ipaddress.ip_network("192.0.2.0/24"),),
    ),
    "introduced": ListenerSettings(
        "introduced",
        "tcp:2526",
        TlsMode.NONE,
        AuthMode.NONE,
        trusted=(ipaddress.ip_network("192.0.2.0/24"),),
        xclient=(ipaddress.ip_network("203.0.113.5"),),
        xclient_login=True,
    ),
}


ADDRESSES = Addresses(
    LocalAddresses(
        {
            "example.org": LocalDomain("example.org", frozenset({"ann", "bob"}), True),
            "open.example": LocalDomain("open.example"),
            "all.example": LocalDomain("all.example", closed=True),
            "moved.example": LocalDomain("moved.example"),
        },
        {
            "info@example.org": Entry(("ann",), "aliases:1"),
            "staff@example.org": Entry(("ann", "bob", "eve@example.net"), "aliases:2"),
            "team@example.org": Entry(("x@example.net", "y@example.com"), "aliases:3"),
            "owner-team@example.org": Entry(("bob",), "aliases:4"),
            "away@example.org": Entry(("eve@example.net",), "aliases:5"),
            "@all.example": Entry(("@backend.example",), "aliases:6"),
        },
    ),
    (
        Canonical(
            "old",
            Rewrites.of(
                [
                    ("@old.example", "@example.org"),
                    (".internal.example.org", "@example.org"),
                    ("@moved.example", "@backend.example"),
                ]
            ),
            relay=True,
        ),
    ),
    Srs("example.org", (b"secret",)),
)


class Nothing:
    """A spool for the policy: it has nothing, and takes everything."""

    def read(self, fn, *args):
        return succeed([] if fn is counters.history else None)

    def write(self, fn, *args):
        return succeed(True)


class World:
    """All of it."""

    LISTENERS = LISTENERS

    def __init__(self, spool=None):
        self.clock = Clock()
        self.clock.advance(1_764_028_800.0)  # 2025-11-25 00:00:00 UTC
        self.crowded = False  # whether no descriptor is left for a new client
        self.room = 1 << 40  # octets that the spool says it has left
        self.wall_ms = 0  # added to what the clock says
        self.spool = MemorySpool() if spool is None else spool
        self.queue = Queue()
        self.accounts = Book()
        self.events = []
        self.settings = InboundSettings("relay.example.net", tuple(LISTENERS.values()))
        self.gate = None
        self.lists = None
        self.verifier = None
        self.inbound = self.build()
        self._factories = {}

    def rule(self, policy, store=None, exchangers=None):
        """Put a policy into force."""
        self.gate = Gate(
            self.clock, store or Nothing(), exchangers, lambda _, d: f"mx:{d}", policy,
            self.events.append, lambda: self.wall_ms + int(self.clock.seconds() * 1000),
        )  # fmt: skip
        self.gate.shared.suppressing = store is not None
        self.inbound = self.build()
        self._factories = {}

    def strangers(self, lists=None, verifier=None):
        """Look at the mail of strangers from now on."""
        self.lists, self.verifier = lists, verifier
        self.inbound = self.build()
        self._factories = {}

    def build(self):
        return Inbound(
            self.clock,
            self.settings,
            database=self.spool,
            handover=self.queue,
            accounts=self.accounts,
            certificates=Certificates(),
            emit=self.events.append,
            now_ms=lambda: self.wall_ms + int(self.clock.seconds() * 1000),
            gate=self.gate,
            lists=self.lists,
            verifier=self.verifier,
            room=lambda size: size <= self.room,
            crowded=lambda: self.crowded,
        )

    def ours(self, addresses=ADDRESSES):
        """Have domains of our own, in sessions to come."""
        self.settings = replace(self.settings, addresses=addresses)
        self.inbound.use(self.settings)

    def limit(self, **limits):
        """Change limits for sessions to come."""
        self.settings = replace(self.settings, limits=SessionLimits(**limits))
        self.inbound.use(self.settings)

    def connect(self, listener="plain", address="192.0.2.7", *, tls=True):
        """A new client; on smtps the handshake has been done unless ``tls`` is false."""
        factory = self._factories.get(listener)
        if factory is None:
            made = self.inbound.factory(self._unwrapped(listener))
            factory = self._factories[listener] = made
            self.inbound._factories[-1].listener = LISTENERS[listener]
        client = self.dial(factory, address)
        if LISTENERS[listener].tls is TlsMode.IMPLICIT and tls:
            client.session.handshakeCompleted()
        return client

    def dial(self, door, address):
        """A new client at the door of a listener."""
        return Client(door.buildProtocol(IPv4Address("TCP", address, 40000)), Wire(address))

    def _unwrapped(self, listener):
        """TLS itself is for the tests over real TLS: here the session stands alone."""
        settings = LISTENERS[listener]
        return replace(settings, tls=TlsMode.NONE) if settings.tls is TlsMode.IMPLICIT else settings

    def of(self, kind):
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def world():
    """The inbound side in memory."""
    return World()


@pytest.fixture
def world_over():
    """What makes an inbound side over another spool."""
    return World
