"""One connection of a client: a Twisted protocol round the core.

Octets go to ``smtp.server``; events that come out are answered by ``dialogue``.  While an
answer is waited for nothing else is done; as soon as the client has sent more than
``READ_AHEAD`` meanwhile, or does not read what we answer, nothing more is read from it.
Where TLS comes first the greeting waits for the end of its handshake.  What a client sends
before it is greeted is taken as pipelined: RFC 5321 §3.1 asks it to wait, no more.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IHandshakeListener,
    IPushProducer,
)
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.inbound.client import Client
from mta.inbound.dialogue import Dialogue, Said
from mta.inbound.endings import ending
from mta.inbound.gate import Ruling
from mta.inbound.patience import Patience
from mta.inbound.reception import Reception
from mta.inbound.settings import ListenerSettings, TlsMode
from mta.mail.events import Disconnected
from mta.smtp.events import EndOfData, Event, StartTls
from mta.smtp.extensions import ServerSettings
from mta.smtp.replies import Reply, reply
from mta.smtp.sasl import StoredKeys
from mta.smtp.server import Server
from mta.smtp.states import IN_CONTENT, IN_ENVELOPE, State
from mta.tcp import write_now
from mta.tls.clients import ClientCertificates, client_certificate
from mta.tls.connections import channel_binding
from mta.tls.level import describe

READ_AHEAD = 64 * 1024  # octets

READY_FOR_TLS = reply(220, "2.0.0", "Ready to start TLS")
TIMEOUT = reply(421, "4.4.2", "Timeout; closing")
SHUTDOWN = reply(421, "4.3.2", "The service is stopping; try again later")
FAULT = reply(421, "4.3.0", "Something went wrong here; try again later")


@implementer(IHandshakeListener, IHalfCloseableProtocol, IPushProducer)
class Session(Protocol):
    """Made by ``listener.SessionFactory``, which is told of the end with ``ended``."""

    _log = Logger()

    def __init__(
        self,
        reception: Reception,
        listener: ListenerSettings,
        core: ServerSettings,
        client: Client,
        introduce: "Callable[[Session, Client], Reply | None]",
        ended: "Callable[[Session], None]",
    ) -> None:
        self.client = client
        self.counted = ""  # whose connection it is in the eyes of the factory
        self.refusal: Reply | None = None  # said instead of the greeting
        self.hang_up = False  # not even that
        self._reception = reception
        self._listener = listener
        self._ended = ended
        self._core = Server(core)
        self._introduce = introduce
        self._dialogue = Dialogue(
            reception, listener, client, self._core, self._introduced, self._ends
        )
        self._patience = Patience(reception.clock, reception.settings.limits, self._expired)
        self._since = reception.clock.seconds()
        self._received = 0  # octets since time was last looked at
        self._handshaking = listener.tls is TlsMode.IMPLICIT
        self._answering = False  # a coroutine of the dialogue runs
        self._working = False  # in ``_work``, which is not to be entered twice
        self._blocked = False  # the client does not read
        self._reading = True
        self._half_closed = False  # the client has said all it will ever say
        self._leaving = False  # loseConnection has been called
        self._lost = False  # connectionLost has been called

    @property
    def unwelcome(self) -> Ruling:
        """What the policy says of the connection as such."""
        return self._dialogue.unwelcome

    def _introduced(self, client: Client) -> Reply | None:
        return self._introduce(self, client)

    def connectionMade(self) -> None:
        """Greet, unless TLS comes first."""
        transport: Any = self.transport
        transport.registerProducer(self, True)
        if self.hang_up:
            self.abort()
        elif self._handshaking:
            self._patience.handshake()
        else:
            self._greet()

    def handshakeCompleted(self) -> None:
        """TLS is on."""
        self._handshaking = False
        certificate = client_certificate(self.transport)
        self._core.secured(channel_binding(self.transport), certificate=certificate is not None)
        self._dialogue.secured(describe(self.transport), certificate)
        if self._listener.tls is TlsMode.IMPLICIT:
            self._greet()
        else:
            self._patience.command()

    def dataReceived(self, data: bytes) -> None:
        """Octets from the client."""
        self._received += len(data)
        self._core.receive(data)
        self._work()

    def readConnectionLost(self) -> None:
        """The client says no more and may still listen: ``printf ... | nc`` is one like that."""
        self._half_closed = True
        self._work()

    def writeConnectionLost(self) -> None:
        """We never close our half alone."""

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """The end."""
        self._patience.stop()
        self._core.close(None, ending(reason, handshaking=self._handshaking))
        self._leaving = self._lost = True
        self._dialogue.leave()
        if self.refusal is None:
            self._reception.emit(
                Disconnected(
                    self._dialogue.origin(),
                    self._core.closing,
                    self._dialogue.messages,
                    self._core.commands,
                    self._reception.clock.seconds() - self._since,
                )
            )
        if not self._answering:
            self._forget()  # else when the answer is there

    def shut_down(self) -> None:
        """The service stops: who is idle goes now, a message in progress may be finished."""
        if self._handshaking:
            self.abort()
        elif not self._answering and self._core.state not in IN_CONTENT:
            self._core.close(SHUTDOWN, "shutdown")
            self._work()

    def abort(self) -> None:
        """Close at once."""
        self._core.close(None, "shutdown")
        self._drop()

    def pauseProducing(self) -> None:
        """The client does not read our replies: make no more of them."""
        self._blocked = True
        self._throttle()

    def resumeProducing(self) -> None:
        """It does again."""
        self._blocked = False
        self._work()

    def stopProducing(self) -> None:
        """The connection is gone; ``connectionLost`` comes."""

    def _ends(self) -> tuple[int, str, int]:
        """Return the client's port, and where it has connected to."""
        transport: Any = self.transport
        peer, host = transport.getPeer(), transport.getHost()
        address, port = getattr(host, "host", ""), getattr(host, "port", 0)
        return getattr(peer, "port", 0), address, port

    def _greet(self) -> None:
        if self.refusal is not None:
            self._core.close(self.refusal, "refused")
        elif self._reception.closing:
            self._core.close(SHUTDOWN, "shutdown")
        else:
            self._dialogue.arrive()
            self._core.greet()
        self._work()

    def _work(self) -> None:
        """Answer whatever can be answered now, in one write if possible."""
        if self._working or self._leaving or self._handshaking:
            return
        self._working = True
        try:
            while not (self._answering or self._blocked):
                event = self._core.next_event()
                if event is None:
                    break
                self._take(event)
        finally:
            self._working = False
        if self._half_closed and not (self._answering or self._blocked):
            self._core.close(None, "lost")
        replied = self._flush()
        if self._core.state is State.CLOSED:
            self._leave()
        elif not self._handshaking:
            self._limit_time(replied)
            self._throttle()

    def _take(self, event: Event) -> None:
        if isinstance(event, StartTls):
            self._start_tls()
            return
        answer = self._dialogue.answer(event)
        if answer is None or isinstance(answer, Reply | StoredKeys):
            self._say(answer)
        else:
            if isinstance(event, EndOfData):
                self._patience.content_ended()
            self._answering = True
            Deferred.fromCoroutine(answer).addCallback(self._answered).addErrback(self._failed)

    def _say(self, answer: Said) -> None:
        if answer is None:
            self._core.proceed()
        elif isinstance(answer, Reply):
            if answer.code == 421:  # RFC 5321 §3.8
                self._core.close(answer, "refused")
            else:
                self._core.answer(answer)
        else:
            self._core.supply(answer)

    def _answered(self, answer: Said) -> None:
        self._answering = False
        if self._lost:
            self._forget()
            return
        if self._core.state is State.CLOSED:
            return  # aborted; connectionLost comes
        self._say(answer)
        if self._reception.closing and self._core.state not in IN_CONTENT:
            self._core.close(SHUTDOWN, "shutdown")
        self._work()

    def _failed(self, failure: Failure) -> None:
        self._answering = False
        self._log.failure("a session has failed", failure=failure)
        if self._lost:
            self._forget()
            return
        self._core.close(FAULT, "fault")
        self._work()

    def _forget(self) -> None:
        """Nothing stays of a message that was not finished, and then we are gone."""
        forgetting = self._dialogue.abandon()
        if forgetting is None:
            self._ended(self)
            return
        done = Deferred.fromCoroutine(forgetting)
        done.addErrback(lambda failure: self._log.failure("after a session", failure=failure))
        done.addCallback(lambda _: self._ended(self))

    def _start_tls(self) -> None:
        """RFC 3207: the 220 is the last octet in the clear; the core has seen to ours."""
        certificates, transport = self._reception.certificates, self.transport
        assert certificates is not None
        self._core.answer(READY_FOR_TLS)
        self._flush()
        self._handshaking = True
        self._patience.handshake()
        transport.startTLS(certificates.options(self._certificates_wanted))  # type: ignore[union-attr]

    def _certificates_wanted(self) -> ClientCertificates:
        return self._listener.client_certificates

    def _flush(self) -> bool:
        octets = self._core.output()
        if octets and self.transport is not None:
            write_now(self.transport, octets)
        return bool(octets)

    def _limit_time(self, replied: bool) -> None:
        received, self._received = self._received, 0
        if self._answering:
            self._patience.suspend()
        elif self._core.state in IN_CONTENT:  # chunks are no way to hold a session for ever
            self._patience.content(received)
        elif replied or self._patience.suspended:
            self._patience.command(envelope=self._core.state in IN_ENVELOPE)

    def _throttle(self) -> None:
        wanted = not self._blocked and not (self._answering and self._core.pending > READ_AHEAD)
        if wanted is self._reading or self._half_closed:
            return
        self._reading = wanted
        transport: Any = self.transport
        if wanted:
            transport.resumeProducing()
        else:
            transport.pauseProducing()

    def _leave(self) -> None:
        self._leaving = True
        transport: Any = self.transport
        if not self._reading and not self._half_closed:
            transport.resumeProducing()  # or the client's own end is not seen
        transport.unregisterProducer()
        transport.loseConnection()
        self._patience.closing()

    def _expired(self) -> None:
        if self._handshaking or self._leaving:
            self._drop()
        else:
            self._core.close(TIMEOUT, "timeout")
            self._work()

    def _drop(self) -> None:
        transport: Any = self.transport
        transport.abortConnection()
