"""A world in memory to deliver into: hosts with scripts, a clock, and every octet on record."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import (
    ConnectBindError,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    TimeoutError,
)
from twisted.internet.interfaces import IReactorTCP
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.delivery.delivery import Delivery
from mta.delivery.routes import Route, Routes
from mta.delivery.settings import DeliverySettings
from mta.dns.mx import MailHost, NoUsableHost
from mta.mail.envelope import Body, Envelope, Job, MemoryBody, Recipient
from mta.mail.outcome import Outcome
from mta.mail.queue_id import new_queue_id
from mta.mail.security import NOT_LOOKED_FOR, Dane

CLOSE, STALL = "close", "stall"  # instead of an answer
Answer = bytes | str
DEFAULTS: dict[str, Answer] = {
    "greeting": b"220 mx.test ESMTP\r\n",
    "HELO": b"250 mx.test\r\n",
    "RSET": b"250 2.0.0 Reset\r\n",
    "MAIL": b"250 2.1.0 Ok\r\n",
    "RCPT": b"250 2.1.5 Ok\r\n",
    "DATA": b"354 Go on\r\n",
    "BDAT": b"250 2.0.0 Chunk\r\n",
    "end of data": b"250 2.0.0 Taken\r\n",
    "QUIT": b"221 2.0.0 Bye\r\n",
}
KEYWORDS = ("PIPELINING", "SIZE 10000000", "8BITMIME", "ENHANCEDSTATUSCODES")


class Host:
    """A receiving host that keeps to its script.

    ``answers``: by stage, one answer for ever or a list of them in turn (then the usual
    one): octets, ``CLOSE`` or ``STALL``, or a function of the command line.
    """

    def __init__(self, keywords: Iterable[str] = KEYWORDS, **answers: Any) -> None:
        lines = ["mx.test", *keywords]
        ehlo = "".join(
            f"250{'-' if n < len(lines) - 1 else ' '}{line}\r\n" for n, line in enumerate(lines)
        )
        named = {key.replace("_", " "): answer for key, answer in answers.items()}
        self.ehlo = ehlo.encode()
        self.script: dict[str, Any] = named
        self.messages: list[bytes] = []
        self.transactions: list[tuple[bytes, list[bytes]]] = []
        self.connections: list[Wire] = []
        self.lmtp = False  # an answer for each recipient after the end of data
        self.strict = True  # about the order of commands
        self.refuses = False  # TCP itself
        self.silent = False  # not even that

    def answer(self, stage: str, line: bytes) -> Answer:
        usual = DEFAULTS.get(stage, b"500 5.5.1 What?\r\n")
        usual = self.ehlo if stage in ("EHLO", "LHLO") else usual
        found = self.script.get(stage, usual)
        if isinstance(found, list):
            found = found.pop(0) if found else usual
        return found(line) if callable(found) else found


class Wire(StringTransport):
    """The client's end of a connection, and the server behind it.

    ``writes`` holds what each write of the client's was; octets arrive at either end in
    later turns of the clock, as they do in life.
    """

    def __init__(self, clock: Clock, host: Host) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", "192.0.2.1", 25))
        self.clock = clock
        self.host = host
        self.protocol: Any = None
        self.writes: list[bytes] = []
        self.commands: list[str] = []
        self.closed: str | None = None
        self._input = b""
        self._in_data = False
        self._chunk = 0
        self._last_chunk = False
        self._chunks = b""
        self._stalled = False
        self._sender: bytes | None = None
        self._rcpts: list[bytes] = []

    def write(self, data: bytes) -> None:
        if self.closed is None:
            self.writes.append(data)
            self.clock.callLater(0, self._arrived, data)

    def abortConnection(self) -> None:
        self._end("aborted", ConnectionLost())

    def loseConnection(self) -> None:
        self._end("closed", ConnectionDone())

    def _end(self, how: str, error: Exception) -> None:
        if self.closed is None:
            self.closed = how
            self.clock.callLater(0, self.protocol.connectionLost, Failure(error))

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing to delay here."""

    def say(self, data: bytes) -> None:
        """Let the server send something, asked or not."""
        self.clock.callLater(0, self._deliver, data)

    def hang_up(self) -> None:
        """Let the server close."""
        self._end("by the server", ConnectionDone())

    def _deliver(self, data: bytes) -> None:
        if self.closed in (None, "by the server"):
            self.protocol.dataReceived(data)

    def _arrived(self, data: bytes) -> None:
        self._input += data
        while self.closed is None and not self._stalled:
            if self._in_data:
                if not self._body():
                    return
            elif self._last_chunk or self._chunk:
                if not self._chunk_body():
                    return
            else:
                line, end, rest = self._input.partition(b"\r\n")
                if not end:
                    return
                self._input = rest
                self._command(line)

    def _body(self) -> bool:
        whole = b"\r\n" + self._input
        content, end, rest = whole.partition(b"\r\n.\r\n")
        if not end:
            return False
        self._input, self._in_data = rest, False
        self._taken((content + b"\r\n").replace(b"\r\n..", b"\r\n.")[2:])
        return True

    def _chunk_body(self) -> bool:
        """RFC 3030: so many octets as were announced, none of them stuffed."""
        if len(self._input) < self._chunk:
            return False
        self._chunks += self._input[: self._chunk]
        self._input, self._chunk = self._input[self._chunk :], 0
        if self._last_chunk:
            self._last_chunk = False
            self._taken(self._chunks)
        else:
            self._reply(self.host.answer("BDAT", b""))
        return True

    def _taken(self, message: bytes) -> None:
        about = self._rcpts if self.host.lmtp else [b""]
        answers = [self.host.answer("end of data", line) for line in about]
        if any(isinstance(one, bytes) and one.startswith(b"250") for one in answers):
            self.host.messages.append(message)
            self.host.transactions.append((self._sender or b"", self._rcpts))
        self._sender = None
        self.commands.append("end of data")
        for answer in answers:
            self._reply(answer)
            if answer in (CLOSE, STALL):
                return

    def _command(self, line: bytes) -> None:
        verb = line.split(b" ")[0].decode("latin-1").upper()
        self.commands.append(verb)
        if verb == "BDAT":
            self._chunk, self._last_chunk = int(line.split()[1]), line.endswith(b" LAST")
            return
        answer = self.host.answer(verb, line)
        if self.host.strict and self._out_of_order(verb):
            answer = b"503 5.5.1 Bad sequence\r\n"
        good = isinstance(answer, bytes) and answer[:1] in b"23"
        if verb == "MAIL" and good:
            self._sender, self._rcpts, self._chunks = line, [], b""
        elif verb == "RSET":
            self._sender = None
        elif verb == "RCPT" and good:
            self._rcpts.append(line)
        self._in_data = verb == "DATA" and good
        self._reply(answer)
        if verb == "QUIT" and answer != STALL:
            self.hang_up()

    def _out_of_order(self, verb: str) -> bool:
        return (verb == "RCPT" and self._sender is None) or (verb == "DATA" and not self._rcpts)

    def _reply(self, answer: Answer) -> None:
        self._stalled = answer == STALL
        if answer == CLOSE:
            self.hang_up()
        elif isinstance(answer, bytes):
            self.say(answer)


class _Connector:
    def __init__(self, address: str, port: int) -> None:
        self._address = IPv4Address("TCP", address, port)
        self.stopped = False

    def getDestination(self) -> IPv4Address:
        return self._address

    def stopConnecting(self) -> None:
        self.stopped = True


@implementer(IReactorTCP)
class Reactor(Clock):
    """A clock, and connections to scripted hosts by address."""

    def __init__(self) -> None:
        super().__init__()
        self.hosts: dict[str, Host] = {}
        self.dialled: list[tuple[str, int]] = []
        self.bound: list[str] = []  # from where, "" for anywhere
        self.missing: set[str] = set()  # addresses that are not ours

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None
    ) -> _Connector:
        self.dialled.append((host, port))
        source = bindAddress[0] if bindAddress else ""
        self.bound.append(source)
        connector = _Connector(host, port)
        factory.startedConnecting(connector)
        there = self.hosts.get(host)
        if source in self.missing:
            error = ConnectBindError(99, "Cannot assign requested address")
            self._later(0, connector, self._fail, connector, factory, error)
        elif there is None or there.refuses:
            self._later(0, connector, self._fail, connector, factory, ConnectionRefusedError())
        elif there.silent:
            self._later(timeout, connector, self._fail, connector, factory, TimeoutError())
        else:
            self._later(0, connector, self._connect, connector, factory, there)
        return connector

    def connectUNIX(
        self, address: str, factory: Any, timeout: float = 30, checkPID: int = 0
    ) -> Any:
        return self.connectTCP(address, 0, factory, timeout)

    def listenTCP(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    def _later(self, delay: float, connector: _Connector, fn: Any, *args: Any) -> None:
        self.callLater(delay, lambda: connector.stopped or fn(*args))

    def _fail(self, connector: _Connector, factory: Any, error: Exception) -> None:
        factory.clientConnectionFailed(connector, Failure(error))

    def _connect(self, connector: _Connector, factory: Any, host: Host) -> None:
        wire = Wire(self, host)
        wire.protocol = factory.buildProtocol(wire.getPeer())
        host.connections.append(wire)
        wire.protocol.makeConnection(wire)
        wire._reply(host.answer("greeting", b""))

    def to_the_next_event(self) -> None:
        """Let time pass until something is due."""
        due = [call.getTime() for call in self.getDelayedCalls()]
        self.advance(max(0.0, min(due, default=self.seconds() + 1) - self.seconds()))
        self.settle()

    def settle(self) -> None:
        """Let everything happen that needs no time."""
        while any(call.getTime() <= self.seconds() for call in self.getDelayedCalls()):
            self.advance(0)


class World:
    """Delivery, with all that it asks for in memory."""

    def __init__(self) -> None:
        self.reactor = Reactor()
        self.mx: dict[str, Any] = {}  # domain: host names, or an exception
        self.a: dict[str, Any] = {}  # host name: addresses, or an exception
        self.events: list[Any] = []
        self.settings = DeliverySettings("relay.test")
        self.tls: Any = None
        self.dane: dict[str, Dane] = {}  # host name: what is known of it
        self.off = ""  # why nothing is
        self.signed = False  # the MX records
        self.wall_ms = 0  # what a clock on the wall shows; the reactor's begins anywhere
        self.delivery = Delivery(
            self.reactor,
            self.settings,
            self,
            self.tls,
            self.events.append,
            dane=self,
            now_ms=lambda: self.wall_ms,
        )

    def hosts(self, domain: str) -> Deferred[Any]:
        found = self.mx.get(domain, ["mx.test"])
        if isinstance(found, Exception):
            return fail(found)
        return succeed(tuple(MailHost(name, n * 10, self.signed) for n, name in enumerate(found)))

    async def facts(self, host: str, port: int) -> Dane:
        return self.dane.get(host, NOT_LOOKED_FOR)

    def addresses(self, host: str) -> Deferred[Any]:
        found = self.a.get(host, NoUsableHost(f"{host} has no address"))
        return fail(found) if isinstance(found, Exception) else succeed(tuple(found))

    def host(self, name: str = "mx.test", address: str = "192.0.2.1", **options: Any) -> Host:
        """Put a host into the world."""
        host = Host(**options)
        self.a.setdefault(name, []).append(address)
        self.reactor.hosts[address] = host
        return host

    def use(self, *routes: Route, **settings: Any) -> None:
        """Change the settings."""
        self.settings = replace(self.settings, routes=Routes(routes), **settings)
        self.delivery.use(self.settings, self.tls)

    def start(self, job: Job) -> list[Any]:
        """Begin a delivery; the list holds its result once there is one."""
        results: list[Any] = []
        self.deferred = self.delivery.deliver(job)
        self.deferred.addBoth(results.append)
        self.reactor.settle()
        return results

    def deliver(self, job: Job, *, within_s: float = 0) -> list[Outcome]:
        """Deliver; it must come to an end within ``within_s`` of the clock's seconds."""
        results = self.start(job)
        end = self.reactor.seconds() + within_s
        while not results and self.reactor.seconds() < end:
            self.reactor.to_the_next_event()
        assert results, f"no outcome within {within_s} s"
        if isinstance(results[0], Failure):
            results[0].raiseException()
        outcomes: list[Outcome] = results[0]
        assert sorted(outcome.recipient for outcome in outcomes) == sorted(
            recipient.number for recipient in job.recipients
        )
        return sorted(outcomes, key=lambda outcome: outcome.recipient)

    def cancel(self) -> None:
        """Cancel the delivery that was started."""
        self.deferred.addErrback(lambda failure: failure.trap(CancelledError))
        self.deferred.cancel()
        self.reactor.settle()


CONTENT = b"Subject: hi\r\n\r\n.dots\r\n..and dots\r\nend\r\n"


def make_job(
    *recipients: str,
    sender: str = "a@here.test",
    content: bytes = CONTENT,
    body: Body | None = None,
    **envelope: Any,
) -> Job:
    """Make a job; by default one recipient at there.test."""
    addresses = recipients or ("b@there.test",)
    size = envelope.pop("size", len(content))
    return Job(
        Envelope(new_queue_id(1), sender, size, 0, 10**15, **envelope),
        tuple(
            Recipient(n, address, address.rpartition("@")[2].lower(), 1)
            for n, address in enumerate(addresses)
        ),
        body or MemoryBody((content,)),
        "mx:there.test",
    )


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def job() -> Callable[..., Job]:
    return make_job


@pytest.fixture(scope="session")
def new_world() -> Callable[[], World]:
    """Return what makes worlds, for tests that need many."""
    return World


@pytest.fixture(scope="session")
def new_job() -> Callable[..., Job]:
    return make_job
