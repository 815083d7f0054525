"""What filters change of an envelope, applied to one.  Pure.

What a filter says of addresses is checked as if a client had said it.  What cannot be done is
left out, and the history of the message says so: it is no reason to refuse the message to a
client that has done nothing wrong.
"""

from collections.abc import Sequence
from dataclasses import replace

from mta.inbound.addressees import Addressees
from mta.mail.envelope import Asked
from mta.milter.answers import AddRecipient, ChangeSender, DeleteRecipient
from mta.milter.examination import EnvelopeChange
from mta.smtp.commands import CommandError, parse_mail, parse_rcpt
from mta.spool.intake import Remark

_DSN = frozenset({"DSN"})


class Changed:
    """The envelope, before and after."""

    def __init__(self, sender: str, asked: Asked, addressees: Addressees, *, utf8: bool) -> None:
        """``addressees`` are changed in place; ``utf8``: it may have such addresses."""
        self.sender = sender
        self.asked = asked
        self._addressees = addressees
        self._utf8 = utf8
        self._not_done: list[Remark] = []

    def remarks(self) -> list[Remark]:
        """Return what the history of the message is to say."""
        discarded = [
            Remark("discard", "", f"milter {who}", number)
            for number, who in self._addressees.taken_away()
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
        self._addressees.take_all_away(who)

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
        if self._addressees.restore(rcpt.recipient):
            return
        if not self._addressees.add(rcpt.recipient, rcpt.notify, rcpt.orcpt):
            raise LookupError("the message has too many recipients")

    def _remove(self, address: str, who: str) -> None:
        if not self._addressees.take_away(address, who):
            raise LookupError("is no recipient")

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
