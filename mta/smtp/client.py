"""The client's side of SMTP and LMTP, without I/O (RFC 5321, 2920, 3207, 4954, 2033).

One ordered list of steps (greeting, EHLO, MAIL, RCPT ..., DATA, end of data) and two cursors
on it: how far the client has *sent*, how far the server has *answered*.  Neither ever goes
back.  Pipelining is the distance between them; without it the window is one step wide.
A step that must come last in its group (RFC 2920 §3.1) closes the window until it is
answered.  The octets of the message itself never pass through here: when the list stands
at the end of data the caller sends them, dot-stuffed by ``DotStuffing``, and says so.

BDAT (RFC 3030) is used for BINARYMIME alone, which DATA cannot carry.  Its one gain besides, the
round trip to the 354, costs the whole message where all recipients are refused.

LMTP (RFC 2033) differs in one thing that matters: after the end of data, or after BDAT LAST, there
is one answer for each recipient that was accepted, in their order.  So the one step of the end of
data becomes as many as there are such recipients, once it has been sent.

Trusted: nothing that the server sends.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mta.smtp.framing import DOT_AT_LINE
from mta.smtp.replies import Reply
from mta.smtp.reply_parser import RemoteProtocolError, ReplyParser
from mta.smtp.steps import Extensions, Stage, Step

# RFC 2920 §3.1: these may only be the last of a group
_LAST_IN_GROUP = frozenset(Stage) - {Stage.RSET, Stage.MAIL, Stage.RCPT}


class UnsolicitedReply(RemoteProtocolError):
    """The server speaks without having been asked: it is closing, or out of step."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        super().__init__(f"unexpected reply: {reply.code} {reply.text}")


class ServiceClosing(RemoteProtocolError):
    """The server closes: 421 (RFC 5321 §3.8), in answer to ``stage``."""

    def __init__(self, stage: Stage, reply: Reply) -> None:
        self.stage = stage
        self.reply = reply
        super().__init__(reply.text)


@dataclass(slots=True)
class Transaction:
    """What the server has answered about one message so far; None where it has not."""

    recipients: list[Reply | None]
    mail: Reply | None = None
    data: Reply | None = None
    end_of_data: Reply | None = None
    body_sent: bool = False  # the final dot has been handed to the transport
    # Of LMTP, instead of ``end_of_data``: the final answer about each recipient (RFC 2033 §4.2)
    endings: list[Reply | None] | None = None

    @property
    def accepted(self) -> bool:
        """Whether the server has taken the sender and at least one recipient."""
        mail = self.mail is not None and self.mail.code < 300
        return mail and any(map(_taken, self.recipients))


def _taken(reply: Reply | None) -> bool:
    return reply is not None and reply.code < 300


class Client:
    """One connection's steps.  Feed it with ``receive``, write what ``output`` gives.

    It begins by waiting for the greeting.  It is ``at_rest`` when nothing is to be sent and
    nothing outstanding: the caller then adds steps, sends the body, or parks the connection.
    """

    def __init__(self, *, lmtp: bool = False) -> None:
        """``lmtp``: the server speaks LMTP, and is greeted with LHLO."""
        self.lmtp = lmtp
        self.extensions = Extensions()
        self.reply: Reply | None = None  # the last one that answered a step
        self.transaction: Transaction | None = None
        self._closing = False  # the server has said 421
        self._parser = ReplyParser()
        self._steps: list[Step] = [Step(Stage.GREETING)]
        self._sent = 1
        self._answered = 0
        self._must_reset = False

    @property
    def awaited(self) -> Step | None:
        """The step whose answer comes next, or None."""
        return self._steps[self._answered] if self._answered < self._sent else None

    @property
    def stage(self) -> Stage:
        """How far the session is: what is awaited, else what was answered last.

        While the message itself is being sent that is DATA.
        """
        if self.body_due:
            return Stage.DATA
        return self._steps[max(0, min(self._answered, self._sent - 1))].stage

    @property
    def body_due(self) -> bool:
        """Whether the message is to be sent now."""
        return (
            self._answered == self._sent < len(self._steps)
            and self._steps[self._sent].stage is Stage.END_OF_DATA
            and not self._steps[self._sent].line
        )

    @property
    def at_rest(self) -> bool:
        """Whether the next move is the caller's."""
        answered = self._answered == self._sent
        return answered and (self._sent == len(self._steps) or self.body_due)

    @property
    def reusable(self) -> bool:
        """Whether another transaction may begin."""
        finished = self._answered == self._sent == len(self._steps)
        return finished and not self._closing and not self._parser.pending

    @property
    def pending_input(self) -> bool:
        """Whether octets have come that answer nothing; after STARTTLS: an attack."""
        return self._parser.pending

    def command(self, step: Step) -> None:
        """Put one command in the list."""
        self._begin(step)
        self.transaction = None

    def begin(
        self, mail: bytes, recipients: Sequence[bytes], *, chunked: bool = False
    ) -> Transaction:
        """Put MAIL, RCPT ... and DATA in the list; RSET first if the last one was left open.

        ``chunked``: without DATA; the caller sends BDAT when the message is due.
        """
        steps = [Step(Stage.RSET, b"RSET\r\n")] if self._must_reset else []
        steps.append(Step(Stage.MAIL, mail))
        steps.extend(Step(Stage.RCPT, line, number) for number, line in enumerate(recipients))
        steps.append(Step(Stage.END_OF_DATA) if chunked else Step(Stage.DATA, b"DATA\r\n"))
        self._begin(*steps)
        self.transaction = Transaction([None] * len(recipients))
        if self.lmtp:
            self.transaction.endings = [None] * len(recipients)
        self._must_reset = True
        return self.transaction

    def _begin(self, *steps: Step) -> None:
        if self._answered != len(self._steps):
            raise RuntimeError("a step is begun while another one waits for its answer")
        self._steps = list(steps)
        self._sent = self._answered = 0

    def output(self) -> bytes:
        """Return what may be sent now, and count it as sent."""
        first = self._sent
        if self._answered < first and not self._window_open():
            return b""
        last = first
        while last < len(self._steps) and self._steps[last].line:
            last += 1
            if not self.extensions.pipelining or self._steps[last - 1].stage in _LAST_IN_GROUP:
                break
        self._sent = last
        return b"".join([step.line for step in self._steps[first:last]])

    def _window_open(self) -> bool:
        last_sent = self._steps[self._sent - 1].stage
        return self.extensions.pipelining and last_sent not in _LAST_IN_GROUP

    def body_sent(self) -> None:
        """Note that the message and its final dot have been sent."""
        assert self.body_due and self.transaction is not None  # noqa: PT018
        if self.lmtp:
            takers = [n for n, reply in enumerate(self.transaction.recipients) if _taken(reply)]
            self._steps[self._sent :] = [Step(Stage.END_OF_DATA, number=n) for n in takers]
        self._sent = len(self._steps)
        self.transaction.body_sent = True

    def chunk_sent(self) -> None:
        """Note that a chunk has been sent, and that it was not the last (RFC 3030 §2)."""
        assert self.body_due
        self._steps.insert(self._sent, Step(Stage.BDAT))
        self._sent += 1

    def receive(self, data: bytes) -> bool:
        """Take octets from the server; tell whether an answer was among them.

        Raises ``RemoteProtocolError``.  A 421 is an answer only to the end of data, where it says
        what becomes of the message (in LMTP: for one recipient); to anything else it is
        ``ServiceClosing``.
        """
        self._parser.feed(data)
        answered = False
        while (reply := self._parser.next()) is not None:
            if self._answered == self._sent:
                raise UnsolicitedReply(reply)
            step = self._steps[self._answered]
            if reply.code == 421:
                self._closing = True
                if step.stage not in (Stage.END_OF_DATA, Stage.QUIT):
                    raise ServiceClosing(step.stage, reply)
            self._answered += 1
            self.reply = reply
            answered = True
            if self.transaction is not None:
                self._note(self.transaction, step, reply)
        return answered

    def _note(self, transaction: Transaction, step: Step, reply: Reply) -> None:
        match step.stage:
            case Stage.RSET | Stage.MAIL:
                if step.stage is Stage.MAIL or reply.code >= 300:
                    transaction.mail = reply
                if reply.code >= 300:
                    self._forget_unsent()
            case Stage.RCPT:
                transaction.recipients[step.number] = reply
                only_data_left = self._sent == self._answered == len(self._steps) - 1
                if only_data_left and not transaction.accepted:
                    self._forget_unsent()
            case Stage.DATA:
                transaction.data = reply
                if 300 <= reply.code < 400:
                    self._end_of_data(transaction)
            case Stage.BDAT if reply.code >= 300:
                transaction.end_of_data = reply
                self._forget_unsent()
            case Stage.END_OF_DATA:
                self._must_reset = False
                if transaction.endings is None:
                    transaction.end_of_data = reply
                else:
                    transaction.endings[step.number] = reply

    def _forget_unsent(self) -> None:
        del self._steps[self._sent :]

    def _end_of_data(self, transaction: Transaction) -> None:
        """Let the body follow; if nobody is to get it, only the dot (RFC 2920 §3.1).

        In LMTP such a 354 must not come (RFC 2033 §4.2), and nothing would answer the dot: all
        that can be done is to close.
        """
        if self.lmtp and not transaction.accepted:
            self._closing = True
            return
        line = b"" if transaction.accepted else b".\r\n"
        self._steps.append(Step(Stage.END_OF_DATA, line))

    def forget(self) -> None:
        """Forget what was learnt in the clear, once TLS has begun (RFC 3207 §4.2)."""
        self.extensions = Extensions()
        self._parser = ReplyParser()


class DotStuffing:
    """Transparency in blocks (RFC 5321 §4.5.2).

    The content has CRLF line ends and neither bare CR nor bare LF: the spool holds no other.
    """

    def __init__(self) -> None:
        self._tail = b"\r\n"  # the last two octets

    def feed(self, chunk: bytes) -> bytes:
        """Return ``chunk`` as it goes out; chunks may begin and end anywhere."""
        stuffed = chunk if DOT_AT_LINE(chunk) is None else chunk.replace(b"\r\n.", b"\r\n..")
        if self._tail == b"\r\n" and chunk.startswith(b"."):
            stuffed = b"." + stuffed
        elif self._tail.endswith(b"\r") and chunk.startswith(b"\n."):
            stuffed = b"\n." + stuffed[1:]
        self._tail = (self._tail + chunk[-2:])[-2:]
        return stuffed

    def finish(self) -> bytes:
        """Return the end of data, with the line end before it where there is none yet."""
        return b".\r\n" if self._tail == b"\r\n" else b"\r\n.\r\n"
