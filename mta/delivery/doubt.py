"""Between the final dot and its answer: what is not known there (RFC 1047), and who has to know.

A line that is lost then leaves an outcome that says so, whose verdict the route gives.  So that the
same holds where it is our process that is lost, a ``Marker`` writes into the spool whose final dot
is about to be sent, before it is, and takes that back where the peer is known not to have the
message.  Routes that would only try again have none.

Trusts the spool to have written what it says.  Knowingly: a process that ends between that commit
and the dot leaves the mark, though the peer cannot have the message.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from twisted.internet.defer import CancelledError, Deferred

from mta.delivery.contact import Contact
from mta.delivery.reading import has_not
from mta.delivery.routes import OnUnknown
from mta.delivery.trouble import Kind, Trouble
from mta.mail.envelope import Job, Recipient
from mta.mail.outcome import Blame, Outcome, Peer, Tls, TlsLevel, Verdict
from mta.smtp.client import Transaction
from mta.smtp.replies import Reply
from mta.smtp.steps import Stage
from mta.spool.dotted import Dotted
from mta.spool.errors import SpoolUnavailable

_WORDS: dict[OnUnknown, str] = {
    "retry": "the message may be delivered twice",
    "hold": "it may have been delivered, and is held",
    "delivered": "it counts as delivered",
}
_NOTED = re.compile(r"(.*)\[([^]]*)\]:(\d+)(?: \((\S+) (\S*) (\S*)\))?", re.DOTALL)

Write: TypeAlias = Callable[[Dotted], "Deferred[bool]"]
"""Marks in the spool, or unmarks; False: a claim on one of them has been lost."""


def unanswered(
    policy: OnUnknown, number: int, why: Reply, contact: Contact, blame: Blame
) -> Outcome:
    """Make the outcome for recipient ``number``; ``why`` is in our words, with our code."""
    verdict, enhanced = Verdict.DEFERRED, why.enhanced
    if policy == "delivered":
        verdict, enhanced = Verdict.DELIVERED, "2.0.0"
    text = f"{why.text}; lost after the final dot: {_WORDS[policy]}"
    made = contact.outcome(
        number, verdict, Reply(0, enhanced, (text,)), Stage.END_OF_DATA.value, blame
    )
    return made.in_doubt(hold=policy == "hold")


def process_ended(policy: OnUnknown, number: int, to: str) -> Outcome | None:
    """Return what it comes to that a process has ended after the final dot to ``to``.

    None: it is sent again.
    """
    if policy == "retry":
        return None
    why = Reply(0, "4.3.2", ("the process that sent it ended before the answer was recorded",))
    return unanswered(policy, number, why, Contact(_peer(to)), Blame.NONE)


def note(peer: Peer) -> str:
    """Write down ``peer``, and how private the session is, as ``process_ended`` reads it."""
    tls = peer.tls
    if tls.level is TlsLevel.NONE:
        return peer.where
    return f"{peer.where} ({tls.level.value} {tls.version} {tls.cipher})"


def _peer(to: str) -> Peer:
    found = _NOTED.fullmatch(to)
    if found is None or to.startswith("/"):
        return Peer(to)
    levels = [level for level in TlsLevel if level == found[4]]
    tls = Tls(levels[0], found[5], found[6]) if levels else Tls()
    return Peer(found[1], found[2], int(found[3]), tls)


class Marker:
    """The marks of one job."""

    def __init__(self, write: Write, now_ms: Callable[[], int], job: Job) -> None:
        self._write = write
        self._now_ms = now_ms
        self._job = job
        self._marked = False

    async def mark(self, batch: Sequence[Recipient], transaction: Transaction, peer: Peer) -> None:
        """Mark whom of ``batch`` the peer has accepted.

        If that cannot be written, or they are not ours any more, their dot must not be sent:
        raises ``Trouble``.
        """
        self._marked = False
        pairs = zip(batch, transaction.recipients, strict=True)
        takers = [one for one, reply in pairs if reply is not None and reply.code < 300]
        try:
            ours = await self._write(self._dotted(takers, self._now_ms(), note(peer)))
        except CancelledError:
            raise
        except Exception as error:
            words = str(error) or type(error).__name__
            raise self._trouble(f"that could not be written down: {words}") from None
        if not ours:
            raise self._trouble("this process has lost its claim on the message")
        self._marked = True

    async def unmark(self, batch: Sequence[Recipient], transaction: Transaction) -> None:
        """Take the mark from whom of ``batch`` the peer is known not to have the message for.

        Where that cannot be written it stays until the outcome is recorded.
        """
        marked, self._marked = self._marked, False
        those = [one for n, one in enumerate(batch) if marked and has_not(transaction, n)]
        if those:
            try:
                await self._write(self._dotted(those, 0, ""))
            except SpoolUnavailable:
                return

    def _dotted(self, those: Iterable[Recipient], at_ms: int, to: str) -> Dotted:
        keys = tuple((one.number, one.attempts) for one in those)
        return Dotted(self._job.envelope.id, self._job.claim, keys, at_ms, to)

    def _trouble(self, why: str) -> Trouble:
        return Trouble(Kind.UNMARKED, Stage.END_OF_DATA, f"the final dot was not sent: {why}")
