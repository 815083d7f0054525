"""What filters change of an envelope, applied to one.  Pure.

What a filter says of addresses is checked as if a client had said it.  What cannot be done is
left out, and the history of the message says so: it is no reason to refuse the message to a
client that has done nothing wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mta.mail.address import domain_of
from mta.mail.envelope import Asked
from mta.milter.answers import AddRecipient, ChangeSender, DeleteRecipient
from mta.milter.examination import EnvelopeChange
from mta.smtp.commands import CommandError, parse_mail, parse_rcpt
from mta.spool.intake import Remark

Recipients = dict[str, tuple[str, str, str]]
"""Address to domain, NOTIFY and ORCPT."""

_DSN = frozenset({"DSN"})


@dataclass(slots=True)
class Changed:
    """The envelope, before and after."""

    sender: str
    asked: Asked
    recipients: Recipients  # those that were taken away stay here
    removed: dict[str, str]  # they are here as well, with the filter
    remarks: list[Remark]

    def apply(
        self, changes: Sequence[tuple[str, EnvelopeChange]], *, utf8: bool, most: int
    ) -> None:
        """Make ``changes``, each with the filter that wants it; to ``most`` recipients at most."""
        for who, change in changes:
            try:
                match change:
                    case AddRecipient(address, parameters):
                        self._add(address, parameters, utf8=utf8, most=most)
                    case DeleteRecipient(address):
                        self._remove(address, who)
                    case ChangeSender(address, parameters):
                        self._change_sender(address, parameters, utf8=utf8)
            except CommandError as error:
                self._not_done(who, f"<{change.address}>: {error.reply.text}")
            except LookupError as error:
                self._not_done(who, f"<{change.address}>: {error.args[0]}")

    def discard(self, who: str) -> None:
        """Nobody gets it."""
        self.removed = dict.fromkeys(self.recipients, who)

    def _add(self, address: str, parameters: str, *, utf8: bool, most: int) -> None:
        text = f"TO:<{address}> {parameters}".rstrip()
        rcpt = parse_rcpt(text, extended=True, utf8=utf8, offered=lambda: _DSN)
        if "@" not in rcpt.recipient:
            raise LookupError("a recipient needs a domain")
        if rcpt.recipient not in self.recipients and len(self.recipients) >= most:
            raise LookupError("the message has too many recipients")
        self.removed.pop(rcpt.recipient, None)
        domain = domain_of(rcpt.recipient)
        self.recipients.setdefault(rcpt.recipient, (domain, rcpt.notify, rcpt.orcpt))

    def _remove(self, address: str, who: str) -> None:
        wanted = address.lower()
        found = [one for one in self.recipients if one == address]
        found = found or [one for one in self.recipients if one.lower() == wanted]
        if not found:
            raise LookupError("is no recipient")
        self.removed.update(dict.fromkeys(found, who))

    def _change_sender(self, address: str, parameters: str, *, utf8: bool) -> None:
        smtputf8 = " SMTPUTF8" if utf8 else ""
        text = f"FROM:<{address}> {parameters}".rstrip() + smtputf8
        mail = parse_mail(text, extended=True, offered=lambda: _DSN | {"SMTPUTF8"})
        self.sender = mail.sender
        if mail.wanted is not None:
            ret, envid = mail.wanted.ret, mail.wanted.envid
            self.asked = replace(
                self.asked, ret=ret or self.asked.ret, envid=envid or self.asked.envid
            )

    def _not_done(self, who: str, text: str) -> None:
        self.remarks.append(Remark("not changed", text, f"milter {who}"))
