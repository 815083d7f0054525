"""Whom something happened with in an attempt, and the outcomes made of what they said."""

from dataclasses import dataclass, field

from mta.mail.outcome import Blame, Outcome, Peer, Timing, Verdict
from mta.mail.value import value
from mta.smtp.replies import Reply

# For replies without an enhanced status code
_STATUS = {Verdict.DELIVERED: "2.0.0", Verdict.DEFERRED: "4.0.0", Verdict.FAILED: "5.0.0"}


@value
class Contact:
    """Whom something happened with, and how long it took."""

    peer: Peer | None = None
    timing: Timing = field(default_factory=Timing)

    def outcome(
        self,
        number: int,
        verdict: Verdict,
        reply: Reply,
        command: str,
        blame: Blame,
        *,
        reached: bool | None = None,
    ) -> Outcome:
        """Make the outcome for recipient ``number`` of what ``reply`` says."""
        return Outcome(
            number,
            verdict,
            reply.code,
            reply.enhanced or _STATUS[verdict],
            reply.text,
            command,
            blame,
            self.peer,
            self.timing,
            reached=reached,
        )


@dataclass(frozen=True, slots=True)
class Unable:
    """Why a peer cannot be sent a message at all."""

    enhanced: str
    text: str
