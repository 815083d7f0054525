"""From outcomes to states: what becomes of each recipient after an attempt.  Pure.

Everything unknown is temporary: an outcome that is missing, an attempt that failed in a
way that nobody foresaw, a service that stops in the middle.  Only a verdict of FAILED
bounces, and only time expires.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from mta.causes.rules import Facts, Rules
from mta.mail.envelope import DeliverBy, Envelope, MessageKind, Recipient
from mta.mail.outcome import CUT_OFF, Outcome, Verdict
from mta.queue.entry import Entry
from mta.queue.retry import next_attempt_ms, warning_due
from mta.queue.settings import QueueSettings
from mta.spool.outcomes import Settled
from mta.spool.schema import WAITING, State

_LAST_CHANCE_MS = 10_000  # what an attempt needs before a deadline


def deferred(
    recipients: Iterable[Recipient], enhanced: str, text: str, command: str = "", cause: str = ""
) -> list[Outcome]:
    """Make outcomes of our own: put off, in our words."""
    return [
        Outcome(one.number, Verdict.DEFERRED, 0, enhanced, text, command, cause=cause)
        for one in recipients
    ]


def told_why(outcomes: Iterable[Outcome], why: str) -> list[Outcome]:
    """Say of what an attempt has left open why it was cut off."""
    return [
        replace(one, text=one.text.replace(CUT_OFF, why, 1))
        if one.text.startswith(CUT_OFF) and not one.code
        else one
        for one in outcomes
    ]


def with_causes(outcomes: Iterable[Outcome], rules: Rules) -> list[Outcome]:
    """Say of each failure what its cause is, where that is not known; a delivery has none."""
    return [
        one
        if one.cause or one.verdict is Verdict.DELIVERED
        else replace(one, cause=rules.find(Facts.of(one)).cause.value)
        for one in outcomes
    ]


def unreported(envelope: Envelope) -> bool:
    """Whether nobody is told of a delay: reports, and mail of the null sender (RFC 5321 §4.5.5)."""
    return not envelope.sender or envelope.kind is MessageKind.DSN


def settle(
    entry: Entry,
    outcomes: Iterable[Outcome],
    settings: QueueSettings,
    now_ms: int,
    random: Callable[[], float],
) -> tuple[Settled, ...]:
    """Decide state and next attempt of each recipient of ``entry``.

    ``random`` gives numbers in [0, 1).  It is asked once for all of them: what is put off together
    comes back together, for one transaction.
    """
    jitter = random()
    given = {outcome.recipient: outcome for outcome in outcomes}
    settled = []
    for recipient in entry.job.recipients:
        outcome = given.get(recipient.number)
        if outcome is None:
            (outcome,) = deferred((recipient,), "4.3.0", "the attempt said nothing about it")
        if outcome.verdict is Verdict.DELIVERED:
            settled.append(Settled(recipient, outcome, State.DELIVERED, 0))
        elif outcome.verdict is Verdict.FAILED:
            settled.append(Settled(recipient, outcome, State.BOUNCED, 0))
        elif outcome.hold:
            settled.append(Settled(recipient, outcome, State.HELD, now_ms, recipient.warned))
        else:
            settled.append(_again(entry, recipient, outcome, settings, (now_ms, jitter)))
    return tuple(settled)


def _again(
    entry: Entry,
    recipient: Recipient,
    outcome: Outcome,
    settings: QueueSettings,
    at: tuple[int, float],
) -> Settled:
    now_ms, jitter = at
    envelope = entry.job.envelope
    next_ms = next_attempt_ms(
        settings.retry, recipient.attempts, now_ms, envelope.expires_ms, jitter
    )
    by = envelope.asked.deliver_by
    if by is not None:
        next_ms = by_deadline(by, now_ms, next_ms)
    if next_ms is None:
        return expired(recipient, outcome)
    return queued(entry, recipient, outcome, settings, (now_ms, next_ms))


def queued(
    entry: Entry,
    recipient: Recipient,
    outcome: Outcome,
    settings: QueueSettings,
    times_ms: tuple[int, int],
) -> Settled:
    """Leave ``recipient`` in the queue; ``times_ms``: now, and the next attempt."""
    now_ms, next_ms = times_ms
    warn = late(entry.job.envelope, recipient, settings, now_ms)
    return Settled(recipient, outcome, State.QUEUED, next_ms, recipient.warned or warn)


def late(envelope: Envelope, recipient: Recipient, settings: QueueSettings, now_ms: int) -> bool:
    """Whether the moment has come at which the sender is told that it is late.

    That is the deadline, where the sender has named one to be told by (RFC 2852).
    """
    if unreported(envelope):
        return False
    by = envelope.asked.deliver_by
    if by is not None and by.mode == "N":
        return not recipient.warned and now_ms >= by.deadline_ms
    warn_s = settings.delay_warning_s
    return warning_due(envelope.since_ms, now_ms, warn_s, warned=recipient.warned)


def must_return(envelope: Envelope, now_ms: int) -> bool:
    """Whether the sender wants it back now, rather than delivered late (RFC 2852, mode R)."""
    by = envelope.asked.deliver_by
    return by is not None and by.mode == "R" and now_ms >= by.deadline_ms


def by_deadline(by: DeliverBy, now_ms: int, next_ms: int | None) -> int | None:
    """Move the next attempt to what a deadline leaves of time (RFC 2852 §4.1.4).

    To return by: one more attempt shortly before it, if there is time.  To tell by: one when
    it has come, so that the sender hears.
    """
    left_ms = by.deadline_ms - now_ms
    if by.mode == "N":
        return min(next_ms, by.deadline_ms) if next_ms is not None and left_ms > 0 else next_ms
    if next_ms is None and left_ms >= 2 * _LAST_CHANCE_MS:
        return by.deadline_ms - _LAST_CHANCE_MS
    return next_ms


def expired(recipient: Recipient, outcome: Outcome) -> Settled:
    """Give ``recipient`` up because its time is over."""
    return Settled(recipient, outcome, State.EXPIRED, 0, recipient.warned, "expired")


def due_at_once(settled: tuple[Settled, ...], now_ms: int) -> tuple[Settled, ...]:
    """Let what was put off or given up be due at once: we broke it off, no site is at fault."""
    return tuple(
        replace(one, state=State.QUEUED, next_attempt_ms=now_ms, cause="")
        if one.state in (State.QUEUED, State.EXPIRED)
        else one
        for one in settled
    )


def warns(settled: Settled) -> bool:
    """Whether the sender hears with this attempt that the message is late."""
    return settled.state is State.QUEUED and settled.warned and not settled.recipient.warned


def arrival(envelope: Envelope, settled: Settled) -> str:
    """Return what the sender asked to be told of a delivery: "delivered", "relayed" or "".

    A hop that has DSN reports by itself (RFC 3461 §5.2.1).  One that has not is told of where
    SUCCESS was asked for, and, unless it is NEVER, each hop of a trace, and one that knows
    nothing of the deadline to complain about (RFC 2852 §4.1.4).  A mailbox is no hop: what is
    there, by LMTP or in a Maildir, has been delivered.
    """
    recipient, peer = settled.recipient, settled.outcome.peer
    known = settled.state is State.DELIVERED and not settled.outcome.maybe_delivered
    if not known or not envelope.sender:
        return ""
    by = envelope.asked.deliver_by
    if envelope.kind is MessageKind.DSN or not (recipient.notify or by):
        return ""
    if peer is None or peer.final:
        reports = peer is not None and "DSN" in peer.extensions
        return "delivered" if recipient.wants("SUCCESS") and not reports else ""
    if "DSN" not in peer.extensions and recipient.wants("SUCCESS"):
        return "relayed"
    if by is None or recipient.notify == "NEVER":
        return ""
    return "relayed" if by.trace or "DELIVERBY" not in peer.extensions else ""


def reportable(entry: Entry, settled: Settled) -> bool:
    """Whether somebody may have to be told of this."""
    if settled.state is State.DELIVERED:
        return bool(arrival(entry.job.envelope, settled))
    return settled.state not in WAITING or warns(settled)


def status(settled: Settled) -> str:
    """Return the word for the log: sent, discarded, deferred, bounced or expired."""
    match settled.state:
        case State.DELIVERED:
            outcome = settled.outcome
            return "sent" if outcome.peer or outcome.code else "discarded"
        case State.BOUNCED:
            return "bounced"
        case State.EXPIRED:
            return "expired"
        case _:
            return "deferred"
