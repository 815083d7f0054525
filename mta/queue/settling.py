"""From outcomes to states: what becomes of each recipient after an attempt.  Pure.

Everything unknown is temporary: an outcome that is missing, an attempt that failed in a
way that nobody foresaw, a service that stops in the middle.  Only a verdict of FAILED
bounces, and only time expires.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from mta.mail.envelope import MessageKind, Recipient
from mta.mail.outcome import Outcome, Verdict
from mta.queue.entry import Entry
from mta.queue.retry import next_attempt_ms, warning_due
from mta.queue.settings import QueueSettings
from mta.spool.outcomes import Settled
from mta.spool.schema import State


def deferred(
    recipients: Iterable[Recipient], enhanced: str, text: str, command: str = ""
) -> list[Outcome]:
    """Make outcomes of our own: put off, in our words."""
    return [Outcome(one.number, Verdict.DEFERRED, 0, enhanced, text, command) for one in recipients]


def unreported(entry: Entry) -> bool:
    """Whether nobody is told of a delay: reports, and mail of the null sender (RFC 5321 §4.5.5)."""
    envelope = entry.job.envelope
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
    expires_ms = entry.job.envelope.expires_ms
    next_ms = next_attempt_ms(settings.retry, recipient.attempts, now_ms, expires_ms, jitter)
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
    warn = not unreported(entry) and warning_due(
        entry.job.envelope.created_ms,
        now_ms,
        settings.delay_warning_s,
        warned=recipient.warned,
    )
    return Settled(recipient, outcome, State.QUEUED, next_ms, recipient.warned or warn)


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
