"""What submission would say to a message, and make of it: a session without a client.

The protocol's core and the dialogue are those of a real session, the message has a header that is
in order and as many octets as were asked about; what would be written to the spool is kept here,
and is the answer.  The client is taken for who it is said to be, without a proof: nothing is
accepted here, and nobody from outside gets to it.

Filters (``mta.milter``) and lists of clients (``mta.dnsbl``) are asked where the caller has some: a
filter is shown the message that is made up here, and what it says of another one is not known.

Does not do: the verification of mail from outside; nothing is counted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from mta.dnsbl.lists import Lists
from mta.inbound.client import Client
from mta.inbound.dialogue import Dialogue
from mta.inbound.gate import Gate
from mta.inbound.listener import core_settings
from mta.inbound.reception import Reception
from mta.inbound.settings import InboundSettings, ListenerSettings, TlsMode
from mta.mail.envelope import Envelope, Recipient
from mta.mail.events import Refused
from mta.milter.milters import Milters
from mta.smtp.replies import Reply
from mta.smtp.server import Server
from mta.smtp.states import State
from mta.spool.intake import Handover, Intake

_PIECE = 64 * 1024  # octets at once
_LINE = b"x" * 70 + b"\r\n"


class Reads(Protocol):
    """What is needed of a spool."""

    def read(self, fn: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Return what ``fn(conn, ...)`` finds."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The message, and who would bring it."""

    sender: str
    recipient: str
    login: str = ""
    client: str = ""  # IP address; "": somebody outside
    size: int = 0  # octets at least


@dataclass(slots=True)
class Submitted:
    """What became of it."""

    said: list[tuple[str, str]] = field(default_factory=list)  # command, reply; in order
    stage: str = ""  # where it was refused; "": nowhere
    code: int = 0
    reply: str = ""  # of the refusal, with its codes
    reason: str = ""  # what the client is not told
    intake: Intake | None = None  # what would be written


class _Kept:
    """A spool that is read and never written."""

    def __init__(self, spool: Reads) -> None:
        self.intake: Intake | None = None
        self.read = spool.read

    def write(self, fn: Callable[..., Any], *args: Any) -> Deferred[Any]:
        return succeed(None)

    def write_together(
        self, fn: Callable[[Any, Sequence[Any]], Sequence[Any]], item: Any
    ) -> Deferred[Any]:
        self.intake = item
        return succeed(None)


class _Nobody:
    """A queue that has no room, and takes nothing."""

    def reserve(self, recipients: int, octets: int, owner: str = "") -> None:
        return None

    def put_off_ms(self, envelope: Envelope, recipients: tuple[Recipient, ...]) -> None:
        return None

    def accepted(self, *what: Any) -> None:
        pass

    def cancel(self, *what: Any) -> None:
        pass


class _Session(Dialogue):
    """A dialogue with somebody who needs no proof."""

    def log_in(self, login: str) -> tuple[str, str] | None:
        """Take the client for ``login``; return what is said and why, if that is not possible."""
        ruling = self._authentication.begin_anew(self._passage, login)
        return None if ruling is None else (_words(ruling.reply), ruling.reason)


@dataclass(frozen=True, slots=True)
class Others:
    """Who has a say beside the policy."""

    milters: Milters | None = None
    lists: Lists | None = None


async def rehearsed(
    clock: IReactorTime,
    settings: InboundSettings,
    listener: ListenerSettings,
    spool: Reads,
    gate: Gate,
    asked: Asked,
    others: Others,
) -> Submitted:
    """Say what would become of the message at ``listener``."""
    return await _Rehearsed(clock, settings, listener, spool, gate, asked, others).go()


class _Rehearsed:
    def __init__(
        self,
        clock: IReactorTime,
        settings: InboundSettings,
        listener: ListenerSettings,
        spool: Reads,
        gate: Gate,
        asked: Asked,
        others: Others,
    ) -> None:
        self._asked = asked
        self._kept = _Kept(spool)
        self._found = Submitted()
        self._reasons: list[str] = []
        nobody: Handover = _Nobody()
        reception = Reception(
            clock,
            settings,
            self._kept,
            nobody,
            None,
            None,
            self._heard,
            gate=gate,
            lists=others.lists,
            milters=others.milters,
        )
        client = Client(asked.client)
        core = core_settings(reception, listener, client)
        self._core = Server(core, secure=listener.tls is not TlsMode.NONE)
        self._session = _Session(
            reception, listener, client, self._core, lambda _: None, lambda: (0, "", 0)
        )

    def _heard(self, event: object) -> None:
        if isinstance(event, Refused):
            self._reasons.append(event.reason)

    async def go(self) -> Submitted:
        """Say all commands until one is refused."""
        found, asked = self._found, self._asked
        if (refusal := self._session.unwelcome) is not None:
            self._refused("connection", _words(refusal.reply), refusal.reason)
        elif asked.login and (no := self._session.log_in(asked.login)) is not None:
            self._refused("AUTH", *no)
        else:
            self._session.arrive()
            self._core.greet()
            self._core.output()
            try:
                await self._converse()
            finally:
                self._session.leave()
                if (forgetting := self._session.abandon()) is not None:
                    await forgetting
        found.intake = None if found.stage else self._kept.intake
        return found

    async def _converse(self) -> None:
        asked = self._asked
        utf8 = "" if (asked.sender + asked.recipient).isascii() else " SMTPUTF8"
        size = f" SIZE={asked.size}" if asked.size else ""
        commands = (
            ("EHLO", "EHLO rehearsal.invalid"),
            ("MAIL", f"MAIL FROM:<{asked.sender}>{size}{utf8}"),
            ("RCPT", f"RCPT TO:<{asked.recipient}>"),
            ("DATA", "DATA"),
        )
        for verb, line in commands:
            await self._take(line.encode("utf-8", "surrogateescape") + b"\r\n")
            if not self._answered(verb):
                return
        await self._content()
        self._answered("end of data")

    async def _content(self) -> None:
        author = f"From: <{self._asked.sender}>\r\n" if self._asked.sender else ""
        head = f"{author}Subject: rehearsal\r\n\r\n".encode("utf-8", "surrogateescape")
        await self._take(head)
        left = self._asked.size - len(head)
        piece = _LINE * (_PIECE // len(_LINE))
        while left > 0:
            await self._take(piece if left > len(piece) else _LINE * (left // len(_LINE) + 1))
            left -= len(piece)
        await self._take(b".\r\n")

    async def _take(self, octets: bytes) -> None:
        """Have the session answer what the client says."""
        self._core.receive(octets)
        while (event := self._core.next_event()) is not None:
            answer: Any = self._session.answer(event)
            if answer is not None and not isinstance(answer, Reply):
                answer = await answer
            if answer is None:
                self._core.proceed()
            else:
                self._core.answer(answer)

    def _answered(self, command: str) -> bool:
        """Note the last reply; tell whether the next command makes sense."""
        lines = self._core.output().decode("utf-8", "replace").splitlines()
        text = _together(lines) if lines else "the connection is closed"
        self._found.said.append((command, text))
        if text[:1] in ("2", "3") and self._core.state is not State.CLOSED:
            return True
        self._refused(command, text, self._reasons[-1] if self._reasons else "protocol")
        return False

    def _refused(self, stage: str, words: str, reason: str) -> None:
        found = self._found
        found.stage, found.reply, found.reason = stage, words, reason
        found.code = int(words[:3]) if words[:3].isdigit() else 421


def _together(lines: Sequence[str]) -> str:
    """Return the lines of a reply (RFC 5321 §4.2.1) as one; what EHLO lists is left out."""
    first = lines[0]
    head = first[:3] + " "
    if len(lines) == 1 or first[:3] == "250":
        return lines[-1]
    status = first[4:].split(" ", 1)[0] + " "
    head += status if all(one[4:].startswith(status) for one in lines) else ""
    return head + " ".join(one[len(head) :] for one in lines)


def _words(reply: Reply) -> str:
    return " ".join(part for part in (str(reply.code), reply.enhanced, reply.text) if part)
