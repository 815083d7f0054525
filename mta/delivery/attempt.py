"""What follows from what went wrong: all policy about failed deliveries is in this file.

An attempt takes one message to the hosts of one destination, one after the other.  A failure
is judged by how far its blast reaches, then by whether trying again can help.

*Site* (no connection, greeting, EHLO, TLS or AUTH failed, the peer says 421, the session
breaks or makes no sense before the final dot): says nothing about the message.  The next
host is tried; after the last one everybody is deferred, whatever digit the site's reply began
with: a refused greeting or login is as a rule a fault that somebody will mend.  The one
exception is a host that says it never takes mail (521, RFC 7504): if no host said anything
better, that is a permanent failure.

A host with which no session would be private enough is passed over: a temporary failure, for what
is published may be mended.  Where the message itself asks for what cannot be (REQUIRETLS, and
nothing proves that the host is the right one), it is a permanent one.

A host that certainly has no address is passed over, and a permanent failure if there was no
other; unless it is a smarthost, where the fault is in our configuration.

*Message*, seen from here (larger than the peer takes, or 8-bit, BINARYMIME, SMTPUTF8 or
REQUIRETLS where the peer does not have that): the next host may be able; if the last one is not
either, a permanent failure.

*Message*, said by the peer: a 5xx to MAIL, DATA or the end of data fails everybody in the
transaction at once, for every host of a site should say the same.  A 4xx to MAIL or DATA: the
next host; after the last one, deferred.  A 4xx to the end of data: deferred at once, for a
message is not sent whole to one host after the other.

*Our address*, said by the peer (``about_our_address``): what one family's address is refused for,
the other's may be let in with.  While the host has addresses of the other family such a
refusal is not final: one of them is tried.  If that one says anything, its word counts; if
it is silent, the refusal stands.

*Recipient*: a 5xx to RCPT fails that recipient, a 4xx leaves it for the next host, after the
last one it is deferred.  A 452, and a 552, which is a 452 in old clothes (RFC 5321
§4.5.3.1.10), means "too many for one transaction": as long as others were delivered it is
followed by another transaction on the same connection.

*LMTP* (RFC 2033): the answers to the end of data are about one recipient each, and each is taken
as said; so is a 552 to RCPT, which is a full mailbox here, and a 452, unless it says that there
are too many (4.5.3).  If the line is lost after some of them, those have their answer.

*Stream*, after the final dot: the peer may have the message or not (RFC 1047), whether the line was
lost or we have cut off the attempt ourselves.  No other host is tried, and the outcome says so
(``maybe_delivered``).  What follows is said by the route: it is deferred, and may arrive twice; it
is held; or it counts as delivered.  If that is to hold over a crash and cannot be written down, the
dot is not sent (``doubt``): deferred, and no other host is tried.

*Ours* (a chunk of the message is missing, an exception nobody foresaw): deferred.  Unknown
is always temporary; only a reply or a fact of the DNS is ever permanent.

If nothing was final, the outcome is the most telling of the temporary failures: a reply
outranks silence.  A permanent failure of some hosts does not count while another one failed
temporarily.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from mta.delivery.contact import Contact, Unable
from mta.delivery.doubt import Marker, unanswered
from mta.delivery.outgoing import Closed, OtherFamily
from mta.delivery.reading import about_our_address, delivers, taken
from mta.delivery.routes import OnUnknown
from mta.delivery.trouble import Kind, Trouble
from mta.dns.mx import MailLoop, NoSuchDomain, NoUsableHost, NullMx
from mta.mail.envelope import Recipient
from mta.mail.outcome import CUT_OFF, Blame, Outcome, Peer, Verdict
from mta.mail.security import Skip
from mta.smtp.client import Transaction
from mta.smtp.replies import Reply
from mta.smtp.steps import Stage

_END = Stage.END_OF_DATA.value

# Enhanced codes of our own (RFC 3463 §3.5) for what had no reply
_SITE_STATUS = {
    Kind.CONNECT: "4.4.1",
    Kind.SOURCE: "4.3.5",
    Kind.LOST: "4.4.2",
    Kind.TIMEOUT: "4.4.2",
    Kind.GARBAGE: "4.5.0",
    Kind.REFUSED: "4.5.0",
    Kind.TLS: "4.7.5",
    Kind.ATTACK: "4.7.5",
    Kind.TOKEN: "4.7.8",
    Kind.UNMARKED: "4.3.0",
    Kind.CUT_OFF: "4.3.2",
}
_OURS = (Kind.SOURCE, Kind.UNMARKED, Kind.CUT_OFF)  # nobody there is to blame


class Attempt:
    """The recipients of one attempt, and what has become of each so far."""

    def __init__(self, recipients: Sequence[Recipient], on_unknown: OnUnknown = "retry") -> None:
        """``on_unknown``: what to do where the last answer is missing."""
        self._on_unknown = on_unknown
        self.marker: Marker | None = None  # of what has to be known after a crash
        self.left = {recipient.number: recipient for recipient in recipients}  # no final verdict
        self.again: list[Recipient] = []  # for another transaction on the same connection
        self.refused: dict[int, Outcome] = {}  # for our address: the other family may do better
        self.has_other_family = False  # whether that could be, so that they are kept apart
        self.half_closed = False  # one family is not used now: that is no fault of the site's
        self._final: list[Outcome] = []
        self._temporary: dict[int, Outcome] = {}
        self._permanent: dict[int, Outcome] = {}  # unless another host does better

    def outcomes(self) -> list[Outcome]:
        """Close the attempt: one outcome for each recipient."""
        for number in list(self.left):
            outcome = self._temporary.get(number) or self._permanent.get(number)
            if outcome is None:
                text = "no host was left to try"
                outcome = Outcome(number, Verdict.DEFERRED, 0, "4.4.4", text, "connect", Blame.SITE)
            self.settle(outcome)
        return self._final

    def cut_off(self) -> list[Outcome]:
        """Close the attempt in the middle: what is final stands, everybody else is put off.

        ``broken_off`` comes first, if a transaction was under way.
        """
        for number in list(self.left):
            self.settle(Outcome(number, Verdict.DEFERRED, 0, "4.3.2", CUT_OFF, ""))
        return self._final

    def no_hosts(self, error: Exception) -> None:
        """The DNS gives no host (RFC 5321 §5.1, RFC 7505)."""
        code, enhanced = 0, "4.4.3"
        if isinstance(error, NullMx):
            code, enhanced = 556, "5.1.10"
        elif isinstance(error, NoUsableHost):
            enhanced = "5.4.4"
        elif isinstance(error, NoSuchDomain):
            enhanced = "5.1.2"
        elif isinstance(error, MailLoop):
            enhanced = "5.4.6"
        text = str(error) or type(error).__name__
        verdict = Verdict.DEFERRED if enhanced[0] == "4" else Verdict.FAILED
        reached = None if verdict is Verdict.FAILED else False
        for number in list(self.left):
            outcome = Contact().outcome(
                number, verdict, Reply(code, enhanced, (text,)), "DNS", Blame.SITE, reached=reached
            )
            self.settle(outcome)

    def host_unknown(self, host: str, error: Exception, *, configured: bool) -> None:
        """One host's addresses cannot be had; the others are tried."""
        certain = isinstance(error, NoUsableHost) and not configured
        verdict, enhanced = (Verdict.FAILED, "5.4.4") if certain else (Verdict.DEFERRED, "4.4.3")
        reply = Reply(0, enhanced, (str(error),))
        reached = None if isinstance(error, NoUsableHost | OtherFamily) else False
        if isinstance(error, Closed):
            self._barred(host, reply)
            return
        for number in self.left:
            contact = Contact(Peer(host))
            self._remember(
                contact.outcome(number, verdict, reply, "DNS", Blame.SITE, reached=reached)
            )

    def _barred(self, host: str, reply: Reply) -> None:
        """It would be dialled, if our address were not suspended: nothing else counts less."""
        reply = replace(reply, enhanced=_SITE_STATUS[Kind.CUT_OFF])
        for number in self.left:
            if number not in self._temporary:
                made = Contact(Peer(host)).outcome(
                    number, Verdict.DEFERRED, reply, "connect", Blame.NONE
                )
                self._temporary[number] = replace(made, barred=True)

    def not_tried(self, host: str, skip: Skip) -> None:
        """The host is left alone, because no session with it would be private enough."""
        verdict, enhanced = Verdict.DEFERRED, _SITE_STATUS[Kind.TLS]
        if skip.permanent:
            verdict, enhanced = Verdict.FAILED, "5.7.30"
        contact = Contact(Peer(host))
        reply = Reply(0, enhanced, (skip.why,))
        blame = Blame.MESSAGE if skip.permanent else Blame.SITE
        for number in self.left:
            self._remember(contact.outcome(number, verdict, reply, "TLS policy", blame))

    def other_family_done(self, *, closed: bool = False) -> None:
        """The other family has been tried, or has no address: what was refused is refused.

        ``closed``: it could not be tried, because our address is suspended; it will be.
        """
        refused, self.refused = self.refused, {}
        for number, outcome in refused.items():
            if number in self.left:
                self.settle(replace(outcome, verdict=Verdict.DEFERRED) if closed else outcome)

    def our_fault(self, error: Exception) -> None:
        """Something failed that the peer cannot help."""
        text = f"local error: {type(error).__name__}: {error}"
        for number in list(self.left):
            self.settle(Outcome(number, Verdict.DEFERRED, 0, "4.3.0", text, "local"))

    def site_fails(
        self, trouble: Trouble, contact: Contact, those: Sequence[Recipient] | None = None
    ) -> None:
        """The site takes nothing now: ``those`` (all that are left) go on to the next host."""
        self._site_fails(self.left.values() if those is None else those, trouble, contact)

    def unable(
        self, why: Unable, contact: Contact, those: Iterable[Recipient] | None = None
    ) -> None:
        """This host cannot take the message, or not to ``those``; perhaps the next one can."""
        reply = Reply(0, why.enhanced, (why.text,))
        for recipient in self.left.values() if those is None else those:
            number = recipient.number
            self._remember(contact.outcome(number, Verdict.FAILED, reply, "MAIL", Blame.MESSAGE))

    def unsendable(self, those: Iterable[Recipient], enhanced: str, text: str) -> None:
        """The sender's (5.1.7) or a recipient's (5.1.3) address cannot stand in a command."""
        command = "RCPT" if enhanced == "5.1.3" else "MAIL"
        blame = Blame.RECIPIENT if enhanced == "5.1.3" else Blame.MESSAGE
        for recipient in list(those):
            number = recipient.number
            self.settle(Outcome(number, Verdict.FAILED, 0, enhanced, text, command, blame))

    def ended(
        self,
        batch: Sequence[Recipient],
        transaction: Transaction | None,
        contact: Contact,
        trouble: Trouble | None = None,
    ) -> None:
        """A transaction for ``batch`` came to its end, or ``trouble`` ended it before.

        ``transaction`` is None if ``trouble`` came before it began.
        """
        if transaction is None:
            transaction = Transaction([None] * len(batch))
        if transaction.mail is not None and not taken(transaction.mail):
            self._message_fails(batch, Stage.MAIL, transaction.mail, contact)
            return
        answers = list(zip(batch, transaction.recipients, strict=True))
        takers = [recipient for recipient, reply in answers if reply is not None and taken(reply)]
        for recipient, reply in answers:
            if reply is not None and not taken(reply):
                self._recipient_fails(recipient, reply, contact, transaction)
        if trouble is not None:
            unanswered = [recipient for recipient, reply in answers if reply is None]
            self._site_fails(unanswered, trouble, contact)
        if transaction.endings is not None:
            takers = self._each_ended(takers, batch, transaction.endings, contact)
        if takers:
            self._body_ended(takers, transaction, contact, trouble)

    def broken_off(
        self, batch: Sequence[Recipient], transaction: Transaction | None, contact: Contact
    ) -> None:
        """The attempt is cut off by us in the middle of a transaction: the site is not at fault."""
        self.ended(batch, transaction, contact, Trouble(Kind.CUT_OFF, "", CUT_OFF))

    def _each_ended(
        self,
        takers: Sequence[Recipient],
        batch: Sequence[Recipient],
        endings: Sequence[Reply | None],
        contact: Contact,
    ) -> list[Recipient]:
        """Take LMTP's answers about each recipient; return those who have got none."""
        left = []
        replies = {one.number: reply for one, reply in zip(batch, endings, strict=True)}
        for recipient in takers:
            reply = replies[recipient.number]
            if reply is None:
                left.append(recipient)
            else:
                self._message_ends([recipient], reply, contact, Blame.RECIPIENT)
        return left

    def _body_ended(
        self,
        takers: Sequence[Recipient],
        transaction: Transaction,
        contact: Contact,
        trouble: Trouble | None,
    ) -> None:
        if transaction.end_of_data is not None:
            self._message_ends(takers, transaction.end_of_data, contact)
        elif transaction.data is not None and not 300 <= transaction.data.code < 400:
            self._message_fails(takers, Stage.DATA, transaction.data, contact)
        elif trouble is not None and transaction.body_sent:
            self._stream_fails(takers, trouble, contact)
        elif trouble is not None and trouble.kind is Kind.UNMARKED:  # no host can help
            why = Reply(0, _SITE_STATUS[trouble.kind], (str(trouble),))
            for one in takers:
                self.settle(contact.outcome(one.number, Verdict.DEFERRED, why, _END, Blame.NONE))
        elif trouble is not None and trouble.reply is not None and trouble.reply.permanent:
            # Out of turn, in the middle of the message: still a clear answer about it
            self._message_fails(takers, Stage.DATA, trouble.reply, contact)
        elif trouble is not None:
            self._site_fails(takers, trouble, contact)

    def _site_fails(
        self,
        those: Iterable[Recipient],
        trouble: Trouble,
        contact: Contact,
    ) -> None:
        reply = trouble.reply or Reply(0, _SITE_STATUS[trouble.kind], (str(trouble),))
        never = reply.code == 521 and trouble.command == Stage.GREETING.value
        verdict = Verdict.FAILED if never else Verdict.DEFERRED
        ours = trouble.kind in _OURS or (self.half_closed and trouble.kind is Kind.CONNECT)
        blame = Blame.NONE if ours else Blame.SITE
        for recipient in those:
            outcome = contact.outcome(
                recipient.number, verdict, reply, trouble.command, blame, reached=trouble.reached
            )
            self._remember(outcome)

    def _message_fails(
        self, those: Sequence[Recipient], stage: Stage, reply: Reply, contact: Contact
    ) -> None:
        verdict = Verdict.FAILED if reply.permanent else Verdict.DEFERRED
        keep = self.settle if reply.permanent else self._remember
        if self.has_other_family and about_our_address(reply, stage):
            keep = self._refuse
        for recipient in those:
            keep(contact.outcome(recipient.number, verdict, reply, stage.value, Blame.MESSAGE))

    def _message_ends(
        self,
        takers: Sequence[Recipient],
        reply: Reply,
        contact: Contact,
        blame: Blame = Blame.MESSAGE,
    ) -> None:
        """The peer has answered the final dot: this is final, for this attempt, either way."""
        verdict = Verdict.DEFERRED
        if taken(reply):
            verdict, blame = Verdict.DELIVERED, Blame.NONE
        elif reply.permanent:
            verdict = Verdict.FAILED
        elif reply.code == 421:
            blame = Blame.SITE
        keep = self.settle
        if self.has_other_family and about_our_address(reply, Stage.END_OF_DATA):
            keep = self._refuse
        for recipient in takers:
            keep(contact.outcome(recipient.number, verdict, reply, _END, blame))

    def _recipient_fails(
        self, recipient: Recipient, reply: Reply, contact: Contact, transaction: Transaction
    ) -> None:
        too_many = reply.code in (452, 552)
        if transaction.endings is not None:
            too_many = reply.code == 452 and reply.enhanced in ("", "4.5.3")
        if too_many and delivers(transaction):
            self.again.append(recipient)
        fails = reply.permanent and not too_many
        verdict = Verdict.FAILED if fails else Verdict.DEFERRED
        keep = self.settle if fails else self._remember
        if self.has_other_family and about_our_address(reply, Stage.RCPT):
            keep = self._refuse
        keep(contact.outcome(recipient.number, verdict, reply, "RCPT", Blame.RECIPIENT))

    def _stream_fails(
        self, takers: Sequence[Recipient], trouble: Trouble, contact: Contact
    ) -> None:
        why = Reply(0, _SITE_STATUS[trouble.kind], (str(trouble),))
        blame = Blame.NONE if trouble.kind in _OURS else Blame.SITE
        for recipient in takers:
            self.settle(unanswered(self._on_unknown, recipient.number, why, contact, blame))

    def _refuse(self, outcome: Outcome) -> None:
        """Keep what is final unless the other family does better."""
        self.refused[outcome.recipient] = outcome

    def _remember(self, outcome: Outcome) -> None:
        """Keep what is not final; a reply outranks silence, and the later the earlier."""
        if outcome.remote:
            self.refused.pop(outcome.recipient, None)
        if outcome.verdict is Verdict.FAILED:
            self._permanent[outcome.recipient] = outcome
            return
        before = self._temporary.get(outcome.recipient)
        if before is None or before.barred or outcome.remote or not before.remote:
            if before is not None and before.reached:
                outcome = replace(outcome, reached=True)  # somebody was there
            self._temporary[outcome.recipient] = outcome

    def settle(self, outcome: Outcome) -> None:
        """What has become of one recipient is final, for this attempt."""
        del self.left[outcome.recipient]
        self._final.append(outcome)
