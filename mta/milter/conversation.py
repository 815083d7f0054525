"""One client's conversation with one filter, over all the messages of the session.

The connection is opened when the first message begins, and again when the filter has closed it
between two messages.  What goes wrong in the middle of a message is met as the settings say, and
for that message the filter is asked no more.
"""

from collections.abc import Awaitable, Callable

from mta.milter.answers import (
    CONTINUE,
    DEFERRED,
    Change,
    Kind,
    NewBody,
    Progress,
    Quarantine,
    Verdict,
    size_of,
)
from mta.milter.connection import Away, Closed, Connection
from mta.milter.dialogue import Dialogue
from mta.milter.fields import Fields
from mta.milter.filter import Filter
from mta.milter.macros import Client, Hello
from mta.milter.options import Misbehaved
from mta.milter.packets import PIECE
from mta.milter.settings import WhenAway

_ACCEPT = Verdict(Kind.ACCEPT)
_AWAY = Verdict(Kind.REFUSE, DEFERRED)
_TOGETHER = 16 * 1024  # octets of fields that are sent at a time where none is answered
MOST_CHANGES = 2000  # of one message
LARGEST_CHANGES = 128 * 1024  # octets of all changes to its header and its recipients
LONGEST_S = 600.0  # for one step, however often it says that it works

Write = Callable[[bytes], Awaitable[None]]


class Conversation:
    """One."""

    def __init__(self, filter: Filter, client: Client) -> None:
        self.settings = filter.settings
        self.verdict = CONTINUE  # on the message, so far
        self.trouble = ""  # why it has not examined the message
        self.quarantine = ""  # why it wants it held
        self.changes: list[Change] = []
        self.replaced = False  # there is a new body
        self.skips = False  # it wants no more of this body
        self._filter = filter
        self._client = client
        self._connection: Connection | None = None
        self._hello: Hello | None = None  # what it was told last
        self._session = CONTINUE  # its verdict on the client as such
        self._unknown: list[str] = []
        self._begun = False  # it is in a message
        self._octets = 0  # of the body
        self._left = False

    @property
    def open(self) -> bool:
        """Whether it wants to hear more of the message."""
        return self.verdict.kind is Kind.CONTINUE

    def seconds(self) -> float:
        """Return the time by the clock that bounds it."""
        return self._filter.clock.seconds()  # type: ignore[no-any-return]

    def unknown(self, command: str) -> None:
        """Note a command that was none; the filter hears of it with the next message."""
        if self._connection is not None and len(self._unknown) < 10:
            self._unknown.append(command)

    async def mail(
        self, hello: Hello, sender: str, parameters: tuple[str, ...], queue_id: str
    ) -> Verdict:
        """Begin a message; before it, whatever the filter has not yet been told."""
        self._reset()
        reused = self._connection is not None and not self._connection.lost
        try:
            try:
                return await self._mail(hello, sender, parameters, queue_id)
            except Closed:
                if not reused or self._left:
                    raise
                return await self._mail(hello, sender, parameters, queue_id)
        except Away as error:
            return self._away(str(error))

    async def rcpt(self, address: str, domain: str, parameters: tuple[str, ...]) -> Verdict:
        """Name a recipient; a refusal is of this one alone."""
        if not self.open:
            return self.verdict
        try:
            verdict = await self._ask(lambda it: it.rcpt(address, domain, parameters))
        except Away as error:
            return self._away(str(error))
        if verdict.kind is not Kind.REFUSE:
            self.verdict = verdict
        return verdict

    async def data(self) -> Verdict:
        """All recipients are named."""
        if self.open:
            try:
                self.verdict = await self._ask(lambda it: it.data())
            except Away as error:
                return self._away(str(error))
        return self.verdict

    async def header(self, fields: Fields) -> None:
        """Show the header."""
        octets = b""
        for name, value in fields.shown():
            if not self.open:
                return
            octets += self._dialogue.field(name, value)
            if self._dialogue.waiting or len(octets) > _TOGETHER:
                together, octets = octets, b""
                await self._content(together)
        if self.open:
            await self._content(octets + self._dialogue.end_of_header())

    async def body(self, octets: bytes) -> None:
        """Show some of the body."""
        limit = self.settings.max_body
        self._octets += len(octets)
        if limit is not None and self._octets > limit and self.open:
            self.abort()
            self.trouble, self.verdict = f"its body has more than {limit} octets", _ACCEPT
        for at in range(0, len(octets), PIECE):
            if not self.open or self.skips:
                return
            await self._content(self._dialogue.body(octets[at : at + PIECE]))

    async def end(self, write: Write, longest_s: float) -> None:
        """Ask for verdict and changes, within so many seconds.

        ``write`` takes a new body, and may raise ``Misbehaved``.
        """
        if not self.open:
            return
        try:
            self.verdict = await self._end(write, self._filter.clock.seconds() + longest_s)
        except (Away, Misbehaved) as error:
            if self._connection is not None:
                self._connection.drop(str(error))
            self._away(str(error))
        self._begun = False

    def abort(self) -> None:
        """Break the message off, if there is one."""
        if self._begun and self._connection is not None and not self._connection.lost:
            if self._connection.dialogue.waiting:  # who knows what its answer would be about
                self._connection.drop("given up")
            else:
                self._connection.transport.write(self._dialogue.abort())  # type: ignore[union-attr]
        self._begun = False

    def leave(self) -> None:
        """The client has gone, whatever is going on."""
        self._left = True
        if self._connection is not None:
            if self._begun:
                self._connection.drop("the client has left")
            else:
                self._connection.quit()

    def _reset(self) -> None:
        self.abort()
        self.verdict, self.trouble, self.quarantine = CONTINUE, "", ""
        self.changes, self.replaced, self.skips = [], False, False
        self._octets = 0

    async def _mail(
        self, hello: Hello, sender: str, parameters: tuple[str, ...], queue_id: str
    ) -> Verdict:
        self.verdict = await self._meet(hello)
        if self.open:
            self._begun = True
            self.verdict = await self._ask(lambda it: it.mail(sender, parameters, queue_id))
        return self.verdict

    async def _meet(self, hello: Hello) -> Verdict:
        """Connect, and tell who the client is, as far as the filter does not know."""
        if self._session.kind is not Kind.CONTINUE:
            return self._session  # it has said so at the first message
        if self._connection is None or self._connection.lost:
            self._connection, self._hello = await self._filter.open(), None
            if self._left:
                self.leave()
                raise Away("the client has left")
            self._session = await self._ask(lambda it: it.connect(self._client))
            if self._session.kind is not Kind.CONTINUE:
                return self._session
        unknown, self._unknown = self._unknown, []
        for command in unknown:
            await self._ask(lambda it, command=command: it.unknown(command))  # type: ignore[misc]
        if hello == self._hello:
            return CONTINUE
        verdict = await self._ask(lambda it: it.helo(hello))
        if verdict.kind is Kind.ACCEPT:
            self._session = verdict
        self._hello = hello if verdict.kind is Kind.CONTINUE else None
        return verdict

    @property
    def _dialogue(self) -> Dialogue:
        assert self._connection is not None
        return self._connection.dialogue

    async def _ask(
        self, step: Callable[[Dialogue], bytes], within_s: float | None = None
    ) -> Verdict:
        """Take a step and return the answer; CONTINUE where none is wanted.  Raises ``Away``."""
        return await self._asked(step(self._dialogue), within_s or self.settings.command_s)

    async def _asked(self, octets: bytes, within_s: float) -> Verdict:
        connection = self._connection
        assert connection is not None
        until = self._filter.clock.seconds() + LONGEST_S
        await connection.tell(octets, within_s)
        while connection.dialogue.waiting:
            left_s = until - self._filter.clock.seconds()
            answer = await connection.answer(min(within_s, left_s))
            if isinstance(answer, Verdict):
                return answer
        return CONTINUE

    async def _content(self, octets: bytes) -> None:
        """Show a part of the message."""
        try:
            verdict = await self._asked(octets, self.settings.content_s)
        except Away as error:
            self._away(str(error))
            return
        if verdict.kind is Kind.SKIP:
            self.skips = True
        else:
            self.verdict = verdict

    async def _end(self, write: Write, until: float) -> Verdict:
        connection, octets = self._connection, 0
        assert connection is not None
        await connection.tell(self._dialogue.end_of_message(), self.settings.content_s)
        while True:
            left_s = until - self._filter.clock.seconds()
            match await connection.answer(min(self.settings.end_s, left_s)):
                case Verdict() as verdict:
                    return verdict
                case Progress():
                    pass
                case NewBody(piece):
                    self.replaced = True
                    await write(piece)
                case Quarantine(reason):
                    self.quarantine = reason or "quarantined"
                case change:
                    octets += size_of(change)
                    self.changes.append(change)
                    if octets > LARGEST_CHANGES or len(self.changes) > MOST_CHANGES:
                        raise Misbehaved("it has changed more than a message can have")

    def _away(self, why: str) -> Verdict:
        """Do what is to be done when it cannot be asked."""
        self._begun = False
        self.changes, self.replaced, self.quarantine = [], False, ""
        self.trouble = why
        if self._left or self.settings.when_away is WhenAway.TEMPFAIL:
            self.verdict = _AWAY
        else:
            self.verdict = _ACCEPT
            if self.settings.when_away is WhenAway.HOLD:
                self.quarantine = f"not examined: {why}"
        return self.verdict
