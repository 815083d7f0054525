"""One message before all the filters it concerns, in their order.

The first is shown the message as it arrives; the others when it has arrived, as those before
them have left it.  The first word against the message is the last.  A filter hears of recipients
before the filters behind it are asked, so it may hear of one that is refused in the end; that
is so with other MTAs as well.

Changes to the header and the body are made here; those to the envelope are handed on with the
``findings``, since others know what an address is.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeAlias

from mta.milter.answers import (
    AddField,
    AddRecipient,
    Change,
    ChangeField,
    ChangeSender,
    DeleteRecipient,
    Kind,
    Verdict,
)
from mta.milter.conversation import LONGEST_S, Conversation
from mta.milter.fields import Fields
from mta.milter.macros import Hello
from mta.smtp.replies import Reply

EnvelopeChange: TypeAlias = AddRecipient | DeleteRecipient | ChangeSender


class Refusal(NamedTuple):
    """A filter's no; a 421 ends the session."""

    reply: Reply
    reason: str  # what the client is not told


@dataclass(slots=True)
class Findings:
    """What the filters want done with a message that they let through."""

    held: str = ""  # why it is to be held
    discarded: str = ""  # by which filter
    changes: list[tuple[str, EnvelopeChange]] = field(default_factory=list)  # with whose it is
    remarks: list[tuple[str, str, str]] = field(default_factory=list)  # who, verb, what it did


class NewBody(Protocol):
    """Where the body goes that a filter puts in the place of the old one."""

    async def write(self, octets: bytes) -> None:
        """Take a piece.  Raises ``Misbehaved`` if it cannot be a part of a message."""

    async def keep(self) -> None:
        """It is complete, and the old one is no more."""

    async def drop(self) -> None:
        """Forget it."""


class Message(Protocol):
    """The message as it is now."""

    @property
    def fields(self) -> Fields:
        """Its header, which is changed in place."""

    def body(self) -> AsyncIterator[bytes]:
        """Read its body."""

    def new_body(self) -> NewBody:
        """Begin another one."""


class Examination:
    """One message's."""

    def __init__(self, talks: Sequence[Conversation]) -> None:
        self.findings = Findings()
        self._talks = talks
        self._first: Conversation | None = None  # whom the message is shown as it arrives

    async def mail(
        self, hello: Hello, sender: str, parameters: tuple[str, ...], queue_id: str
    ) -> Refusal | None:
        """Ask at MAIL."""
        for talk in self._talks:
            if self.findings.discarded:
                break
            verdict = await talk.mail(hello, sender, parameters, queue_id)
            if (refusal := self._met(talk, verdict)) is not None:
                self.abort()
                return refusal
        return None

    async def rcpt(self, address: str, domain: str, parameters: tuple[str, ...]) -> Refusal | None:
        """Ask at RCPT."""
        for talk in self._talks:
            if self.findings.discarded:
                break
            verdict = await talk.rcpt(address, domain, parameters)
            if (refusal := self._met(talk, verdict)) is not None:
                return refusal
        return None

    async def data(self) -> Refusal | None:
        """Ask when all recipients are named."""
        for talk in self._talks:
            if self.findings.discarded:
                break
            if (refusal := self._met(talk, await talk.data())) is not None:
                return refusal
        return None

    async def header(self, fields: Fields) -> None:
        """Show the header, complete, to the first filter that wants it."""
        if self.findings.discarded:
            return
        self._first = next((talk for talk in self._talks if talk.open), None)
        if self._first is not None:
            await self._first.header(fields)

    async def body(self, octets: bytes) -> None:
        """Show some of the body to the same filter."""
        if self._first is not None:
            await self._first.body(octets)

    @property
    def refused(self) -> Refusal | None:
        """What the filter that is shown the message has against it already."""
        return None if self._first is None else self._met(self._first, self._first.verdict)

    async def end(self, message: Message) -> Refusal | None:
        """Ask for the verdict on the whole, filter by filter, and change what they want changed."""
        left_s = LONGEST_S
        for talk in self._talks:
            if self.findings.discarded:
                break
            began_s = talk.seconds()
            await self._ask(talk, message, left_s)
            left_s = max(0.0, left_s - (talk.seconds() - began_s))
            if (refusal := self._met(talk, talk.verdict)) is not None:
                return refusal
            if not self.findings.discarded:
                self._settle(talk, message.fields)
        return None

    def abort(self) -> None:
        """The message has come to its end, whatever that is."""
        for talk in self._talks:
            talk.abort()

    async def _ask(self, talk: Conversation, message: Message, left_s: float) -> None:
        if talk is not self._first and talk.open:
            await talk.header(message.fields)
            async for octets in message.body():
                if not talk.open or talk.skips:
                    break
                await talk.body(octets)
        if not talk.open:
            return
        new = message.new_body()
        try:
            await talk.end(new.write, left_s)
            if talk.replaced and talk.verdict.kind in (Kind.CONTINUE, Kind.ACCEPT):
                await new.keep()
        finally:
            await new.drop()

    def _met(self, talk: Conversation, verdict: Verdict) -> Refusal | None:
        """Note a verdict that is about the whole message; return a refusal."""
        who = talk.settings.name
        if verdict.reply is not None:
            why = talk.trouble or f"{verdict.reply.code} {verdict.reply.text}"
            return Refusal(verdict.reply, f"milter {who}: {why}")
        if verdict.kind is Kind.DISCARD:
            self.findings.discarded = who
            self.findings.remarks.append((who, "examined", "discard"))
            self.abort()
        return None

    def _settle(self, talk: Conversation, fields: Fields) -> None:
        """Change the message as a filter that lets it through wants it changed."""
        who, findings = talk.settings.name, self.findings
        if talk.quarantine:
            findings.held = findings.held or f"milter {who}: {talk.quarantine}"
        if talk.trouble:
            findings.remarks.append((who, "not examined", talk.trouble))
            return
        done = [text for change in talk.changes if (text := _changed(change, fields))]
        fields.settle()
        if talk.replaced:
            done.append("body replaced")
        findings.changes += [
            (who, change)
            for change in talk.changes
            if not isinstance(change, AddField | ChangeField)
        ]
        said = "; ".join([talk.verdict.kind.value, *_summed_up(done)])
        findings.remarks.append((who, "examined", said))


def _changed(change: Change, fields: Fields) -> str:
    """Change the header if that is what is wanted; return words for the history."""
    match change:
        case AddField() | ChangeField():
            return _field_changed(change, fields)
        case AddRecipient(address):
            return f"added recipient {address}"
        case DeleteRecipient(address):
            return f"removed recipient {address}"
        case ChangeSender(address):
            return f"changed sender to <{address}>"


def _field_changed(change: AddField | ChangeField, fields: Fields) -> str:
    name = change.name.decode("ascii", "replace")
    if isinstance(change, AddField):
        if change.at is None:
            fields.add(change.name, change.value)
        else:
            fields.insert(change.at, change.name, change.value)
        return f"added {name}"
    if not fields.change(change.number, change.name, change.value):
        return ""
    return f"changed {name}" if change.value else f"removed {name}"


_MOST_WORDS = 20


def _summed_up(done: list[str]) -> list[str]:
    more = len(done) - _MOST_WORDS
    return done if more <= 0 else [*done[:_MOST_WORDS], f"and {more} more"]
