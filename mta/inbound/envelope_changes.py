"""What filters change of an envelope, applied to one.  Pure.

What a filter says of addresses is checked as if a client had said it.  What cannot be done is
left out, and the history of the message says so: it is no reason to refuse the message to a
client that has done nothing wrong.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from mta.mail.address import domain_of
from mta.mail.envelope import Asked
from mta.milter.answers import AddRecipient, ChangeSender, DeleteRecipient
from mta.milter.examination import EnvelopeChange
from mta.smtp.commands import CommandError, parse_mail, parse_rcpt
from mta.spool.intake import Remark

Recipients = dict[str, tuple[str, str, str]]
"""Address to domain, NOTIFY and ORCPT."""

_DSN = frozenset({"DSN"})


class Changed:
    """The envelope, before and after."""

    def __init__(
        self, sender: str, asked: Asked, recipients: Recipients, utf8: bool, most: int
    ) -> None:
        """``utf8``: it may have such addresses; ``most``: so many recipients at most."""
        self.sender = sender
        self.asked = asked
        self._recipients = recipients  # those that are taken away stay in it
        self._removed: dict[str, str] = {}  # some of them, with the filter
        self._utf8 = utf8
        self._most = most
        self._not_done: list[Remark] = []

    @property
    def removed(self) -> frozenset[int]:
        """The numbers of the recipients that were taken away."""
        return frozenset(number for number, _, _ in self._taken_away())

    def remarks(self) -> list[Remark]:
        """Return what the history of the message is to say."""
        discarded = [
            Remark("discard", "", f"milter {who}", number) for number, _, who in self._taken_away()
        ]
        return [*self._not_done, *discarded]

    def apply(self, changes: Sequence[tuple[str, EnvelopeChange]]) -> None:
        """Make ``changes``, each with the filter that wants it."""
        for who, change in changes:
            try:
                self._apply(who, change)
            except (CommandError, LookupError) as error:
                text = f"<{change.address}>: {error.args[0]}"
                self._not_done.append(Remark("not changed", text, f"milter {who}"))

    def discard(self, who: str) -> None:
        """Nobody gets it."""
        self._removed = dict.fromkeys(self._recipients, who)

    def _taken_away(self) -> Iterator[tuple[int, str, str]]:
        for number, address in enumerate(self._recipients):
            if address in self._removed:
                yield number, address, self._removed[address]

    def _apply(self, who: str, change: EnvelopeChange) -> None:
        match change:
            case AddRecipient(address, parameters):
                self._add(address, parameters)
            case DeleteRecipient(address):
                self._remove(address, who)
            case ChangeSender(address, parameters):
                self._change_sender(address, parameters)

    def _add(self, address: str, parameters: str) -> None:
        text = f"TO:<{address}> {parameters}".rstrip()
        rcpt = parse_rcpt(text, extended=True, utf8=self._utf8, offered=lambda: _DSN)
        if "@" not in rcpt.recipient:
            raise LookupError("a recipient needs a domain")
        if rcpt.recipient not in self._recipients and len(self._recipients) >= self._most:
            raise LookupError("the message has too many recipients")
        self._removed.pop(rcpt.recipient, None)
        domain = domain_of(rcpt.recipient)
        self._recipients.setdefault(rcpt.recipient, (domain, rcpt.notify, rcpt.orcpt))

    def _remove(self, address: str, who: str) -> None:
        wanted = address.lower()
        found = [one for one in self._recipients if one == address]
        found = found or [one for one in self._recipients if one.lower() == wanted]
        if not found:
            raise LookupError("is no recipient")
        self._removed.update(dict.fromkeys(found, who))

    def _change_sender(self, address: str, parameters: str) -> None:
        more = " SMTPUTF8" if self._utf8 and "SMTPUTF8" not in parameters.upper() else ""
        text = f"FROM:<{address}> {parameters}".rstrip() + more
        mail = parse_mail(text, extended=True, offered=lambda: _DSN | {"SMTPUTF8"})
        self.sender = mail.sender
        if mail.wanted is not None:
            ret, envid = mail.wanted.ret, mail.wanted.envid
            self.asked = replace(
                self.asked, ret=ret or self.asked.ret, envid=envid or self.asked.envid
            )
