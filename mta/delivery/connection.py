"""One connection to a peer: a Twisted protocol round ``smtp.client``.

It moves octets, keeps the time-outs and turns everything that ends a session into
``Trouble``; it decides nothing.  One coroutine at a time uses it.

Each step's time-out runs until the step is answered, whatever trickles in, and ``bound``
holds over all of them; one timer per connection serves both.  The message is streamed:
while the peer does not read, at most one chunk of it is in memory.
"""

from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IHandshakeListener,
    IPushProducer,
    IReactorTime,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.delivery.losing import ending
from mta.delivery.timeouts import Timeouts
from mta.delivery.transcript import Recorder, Secrets
from mta.delivery.trouble import Kind, Trouble
from mta.mail.envelope import Body
from mta.mail.outcome import Tls
from mta.mail.security import ANYTHING, Flaw, Shown
from mta.smtp.client import Client, DotStuffing, ServiceClosing, Transaction, UnsolicitedReply
from mta.smtp.replies import Reply
from mta.smtp.reply_parser import GarbageReply
from mta.smtp.steps import QUIT, Stage, Step
from mta.tcp import write_now
from mta.tls.level import ClientHandshake

_ONE_WRITE_OCTETS = 256 * 1024  # a message up to here goes out in a single write
_WAITED_FOR = {stage: f"the answer to {stage.value}" for stage in Stage} | {
    Stage.GREETING: "the greeting",
    Stage.END_OF_DATA: "the answer to the end of data",
}


@implementer(IHandshakeListener, IPushProducer)
class Connection(Protocol):
    """A peer that was connected to.  Every coroutine here raises ``Trouble``."""

    def __init__(
        self,
        clock: IReactorTime,
        timeouts: Timeouts,
        address: str = "",
        record: Recorder | None = None,
        *,
        lmtp: bool = False,
    ) -> None:
        self.client = Client(lmtp=lmtp)
        self.record = record  # of the attempt that uses it; None: nobody keeps one
        self.secrets: Secrets | None = None  # what was sent to log in
        self.address = address
        self.source = ""  # our own address of it; "" of a unix socket
        self.uses = 0  # transactions begun
        self.requirement = ANYTHING  # which it was opened under
        self.tls = Tls()
        self.flaw: Flaw | None = None  # why TLS is not what was asked for, though mail may go
        self.local = ""  # our address, where sessions are counted
        self.greeted: Reply | None = None
        self.counted: frozenset[str] = frozenset()  # domains that it was counted for
        # called when the connection ends while nobody waits for it
        self.on_lost: Callable[[], None] | None = None
        # awaited before the end of a message is sent; None: nobody has to know
        self.before_end: Callable[[], Awaitable[None]] | None = None
        self._clock = clock
        self._timeouts = timeouts
        self._waiting: Deferred[None] | None = None
        self._trouble: Trouble | None = None
        self._lost = False
        self._closed: list[Deferred[None]] = []
        self._handshaking = False
        self._paused = False
        self._deadline: float | None = None
        self._bound = clock.seconds() + timeouts.total
        self._timer: IDelayedCall | None = None

    @property
    def alive(self) -> bool:
        """Whether another transaction can be tried."""
        return self._trouble is None and not self._lost and self.client.reusable

    def connectionMade(self) -> None:
        """Write without waiting for more: replies are waited for after every write."""
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            self.source = getattr(self.transport.getHost(), "host", "")

    async def greeting(self) -> Reply:
        """Wait for the server to speak first (RFC 5321 §3.1)."""
        return await self._answer()

    async def command(self, step: Step) -> Reply:
        """Send one command and wait for its answer, whatever it is."""
        self._check()
        self.client.command(step)
        self._flush(secret=step.stage is Stage.AUTH)
        return await self._answer()

    async def start_tls(self, handshake: ClientHandshake) -> Shown:
        """Shake hands, and return what the peer has shown.

        What the peer has sent in the clear and beyond its answer to STARTTLS was put there by
        somebody in between (RFC 3207 §6): ``Kind.ATTACK``.
        """
        self._check()
        if self.client.pending_input:
            text = "the peer, or somebody in between, spoke on in the clear after STARTTLS"
            raise self._fail(Trouble(Kind.ATTACK, Stage.STARTTLS, text))
        self.client.forget()
        self._handshaking = True
        self._limit(self._timeouts.of(Stage.STARTTLS))
        self.transport.startTLS(handshake)  # type: ignore[union-attr]
        if self._handshaking:
            await self._woken()
        shown = handshake.shown(self.transport)
        assert shown is not None
        return shown

    async def transact(
        self, mail: bytes, recipients: list[bytes], body: Body, *, chunked: bool = False
    ) -> Transaction:
        """Send one message.  On ``Trouble``, ``client.transaction`` says how far it came.

        ``chunked``: with BDAT instead of DATA (RFC 3030).
        """
        self.client.transaction = None
        self._check()
        self._bound = self._clock.seconds() + self._timeouts.total
        self.uses += 1
        transaction = self.client.begin(mail, recipients, chunked=chunked)
        self._flush()
        await self._answered()
        if self.client.body_due:
            await (self._send_chunks(body) if chunked else self._send_body(body))
            await self._answered()
        return transaction

    def quit(self) -> Deferred[None]:
        """Say good-bye and close; fires when the connection has ended, in any case soon."""
        ended: Deferred[None] = Deferred()
        if self._lost:
            ended.callback(None)
            return ended
        self._closed.append(ended)
        self._trouble = self._trouble or Trouble(Kind.LOST, Stage.QUIT, "closed by us")
        if self.client.reusable:
            self.client.command(QUIT)
            self._flush()
        else:
            self._limit(self._timeouts.quit)
            self._close()
        return ended

    def abort(self) -> None:
        """End the connection at once; half a message must never look like a whole one."""
        self._trouble = self._trouble or Trouble(Kind.LOST, "connection", "closed by us")
        self._waiting = None
        self._stop_timer()
        if self.transport is not None and not self._lost:
            self.transport.abortConnection()  # type: ignore[attr-defined]

    async def _answer(self) -> Reply:
        await self._answered()
        assert self.client.reply is not None
        return self.client.reply

    async def _answered(self) -> None:
        """Wait until the next move is ours."""
        self._check()
        if not self.client.at_rest:
            self._limit_step()
            await self._woken()

    async def _send_body(self, body: Body) -> None:
        stuffing = DotStuffing()
        memory = body.memory
        if memory is not None and sum(map(len, memory)) <= _ONE_WRITE_OCTETS:
            octets = b"".join([*map(stuffing.feed, memory), stuffing.finish()])
            if self.before_end is not None:
                await self._about_to_end(self.before_end)
            self._write(octets)
            self._sent_content(len(octets))
        else:
            self._sent_content(await self._stream(body, stuffing))
        self._check()
        self.client.body_sent()

    async def _send_chunks(self, body: Body) -> None:
        """Send each chunk when the one before has been taken: one is in memory at most."""
        last = max(body.count - 1, 0)
        for number in range(last + 1):
            self._deadline = None  # it is not the peer who is waited for
            chunk = await body.chunk(number) if body.count else b""
            self._check()
            mark = b" LAST" if number == last else b""
            if mark and self.before_end is not None:
                await self._about_to_end(self.before_end)
            self._write(b"BDAT %d%s\r\n%s" % (len(chunk), mark, chunk))
            if self.record is not None:
                self.record.sent(b"BDAT %d%s" % (len(chunk), mark))
            if number == last:
                self.client.body_sent()
                return
            self.client.chunk_sent()
            await self._answered()
            if not self.client.body_due:
                return

    async def _about_to_end(self, first: Callable[[], Awaitable[None]]) -> None:
        await first()
        self._check()  # the peer may have gone meanwhile

    def _sent_content(self, octets: int) -> None:
        if self.record is not None:
            self.record.sent(b"(%d octets of content)" % octets)

    async def _stream(self, body: Body, stuffing: DotStuffing) -> int:
        """Send in pieces; return how many octets it were."""
        assert self.transport is not None
        total = 0
        self.transport.registerProducer(self, True)  # type: ignore[attr-defined]
        try:
            for number in range(body.count):
                self._deadline = None  # it is not the peer who is waited for
                chunk = await body.chunk(number)
                self._check()
                stuffed = stuffing.feed(chunk)
                total += len(stuffed)
                self._write(stuffed)
                while self._paused:
                    self._limit(self._timeouts.data_block)
                    await self._woken()
            if self.before_end is not None:
                await self._about_to_end(self.before_end)
            end = stuffing.finish()
            self._write(end)
            return total + len(end)
        finally:
            self.transport.unregisterProducer()  # type: ignore[attr-defined]
            self._paused = False

    def pauseProducing(self) -> None:
        """The peer reads more slowly than we write."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The peer has taken what was written."""
        self._paused = False
        if self.client.body_due:
            self._wake()

    def stopProducing(self) -> None:
        """The connection is ending; ``connectionLost`` follows."""

    def dataReceived(self, data: bytes) -> None:
        """Let the core read, send what it may, and wake who waits."""
        if self.record is not None:
            self.record.received(data)
        try:
            answered = self.client.receive(data)
        except GarbageReply as error:
            self._fail(Trouble(Kind.GARBAGE, self._stage, str(error)))
        except UnsolicitedReply as error:
            kind = Kind.ATTACK if self._stage is Stage.STARTTLS else Kind.REFUSED
            self._fail(Trouble(kind, self._stage, str(error), error.reply))
        except ServiceClosing as error:
            self._fail(Trouble(Kind.REFUSED, error.stage, str(error), error.reply))
        else:
            if answered:
                self._go_on()

    def _go_on(self) -> None:
        self._flush()
        if not self.client.at_rest:
            self._limit_step()
        elif self._closed:
            self._close()
        else:
            self._wake()

    def handshakeCompleted(self) -> None:
        """TLS has begun."""
        self._handshaking = False
        self._wake()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell who waits, or who keeps this connection."""
        self._lost = True
        self._fail(ending(reason, self._stage, handshaking=self._handshaking))
        self._stop_timer()
        ended, self._closed = self._closed, []
        for deferred in ended:
            deferred.callback(None)

    @property
    def _stage(self) -> Stage | str:
        implicit = self._handshaking and self.client.stage is Stage.GREETING
        return "connect" if implicit else self.client.stage

    def _check(self) -> None:
        if self._trouble is not None:
            raise self._trouble

    def _fail(self, trouble: Trouble) -> Trouble:
        """Nothing more can be done here: remember why, tell who waits, close."""
        if self._trouble is None:
            self._trouble = trouble
            if self.record is not None:
                self.record.fails(str(trouble))
            waiting, self._waiting = self._waiting, None
            if not self._lost:
                self.transport.abortConnection()  # type: ignore[union-attr]
            if waiting is not None:
                waiting.errback(trouble)
            elif self.on_lost is not None:
                self.on_lost()
        return self._trouble

    def _flush(self, *, secret: bool = False) -> None:
        octets = self.client.output()
        if octets:
            if self.record is not None:
                self._keep(self.record, octets, secret)
            self._write(octets)
            self._limit_step()

    def _keep(self, record: Recorder, octets: bytes, secret: bool) -> None:
        if not secret:
            record.sent(octets)
            return
        record.logged_in(octets)
        if self.secrets is not None:
            self.secrets.learn(octets)

    def _write(self, octets: bytes) -> None:
        assert self.transport is not None
        write_now(self.transport, octets)

    async def _woken(self) -> None:
        self._check()
        self._waiting = Deferred()
        await self._waiting

    def _wake(self) -> None:
        self._deadline = None
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def _close(self) -> None:
        """Close in order; the timer sees to it that it does end."""
        self._limit(self._timeouts.quit)
        assert self.transport is not None
        self.transport.loseConnection()

    def _limit_step(self) -> None:
        step = self.client.awaited
        if step is not None:
            self._limit(self._timeouts.of(step.stage))

    def _limit(self, seconds: float) -> None:
        """Set the deadline of what is waited for.  The timer is seldom touched: when it
        rings too early, it is set anew."""
        now = self._clock.seconds()
        self._deadline = min(now + seconds, self._bound)
        if self._timer is None:
            self._timer = self._clock.callLater(self._deadline - now, self._ring)
        elif self._timer.getTime() > self._deadline:
            self._timer.reset(self._deadline - now)

    def _ring(self) -> None:
        self._timer = None
        if self._deadline is None:
            return
        left = self._deadline - self._clock.seconds()
        if left > 0:
            self._timer = self._clock.callLater(left, self._ring)
            return
        if self._closed and self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]
        what = "the TLS handshake" if self._handshaking else _WAITED_FOR[self.client.stage]
        self._fail(Trouble(Kind.TIMEOUT, self._stage, f"timed out waiting for {what}"))

    def _stop_timer(self) -> None:
        self._deadline = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
