"""When to try again, when to give up, and when to warn.  Pure: clock and random come in.

A recipient's attempts walk along the steps of the schedule; the last step repeats until
the message expires.  Jitter spreads what failed together, so that a site that comes back
is not met by everything at once.

The end: no attempt is planned after ``expires_ms`` (``mail.envelope.Envelope``).  If the next
step would lead beyond it, there is one last attempt shortly before it, provided that at
least half of the step lies between; otherwise the recipient expires at once.  A sender
who was promised five days gets a last try near the end of the fifth day and not silence
for the last four hours; and nobody is tried twice in a row only because time runs out.
What could not be tried in its time, because the service was down, or an operator held it, or
the clock was wrong, is tried once more all the same: that is no reason to return it.
"""

from dataclasses import dataclass

_LAST_MARGIN_MS = (
    30_000  # a last attempt is due this long before expiry, or a tenth of what is left
)


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """The waiting times between attempts, in seconds; ``jitter`` is a fraction, ± of each."""

    steps: tuple[float, ...] = (300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0)
    jitter: float = 0.2

    def __post_init__(self) -> None:
        """Refuse a schedule that would hammer (RFC 5321 §4.5.4.1) or mean nothing."""
        if not self.steps or min(self.steps) <= 0:
            raise ValueError("a retry schedule needs steps, each longer than nothing")
        if not 0 <= self.jitter < 1:
            raise ValueError("jitter is a fraction: at least 0, less than 1")

    def step_ms(self, attempts: int) -> int:
        """Return the time to wait, without jitter, after attempt ``attempts`` (1: the first)."""
        return int(self.steps[min(max(attempts, 1), len(self.steps)) - 1] * 1000)


def next_attempt_ms(
    schedule: RetrySchedule, attempts: int, now_ms: int, expires_ms: int, random: float
) -> int | None:
    """Return when to try again after attempt number ``attempts`` has failed; None: give up now.

    ``random`` is a number in [0, 1); 0.5 is the step itself.
    """
    step = schedule.step_ms(attempts)
    at_ms = now_ms + max(1, round(step * (1 + schedule.jitter * (2 * random - 1))))
    if at_ms < expires_ms:
        return at_ms
    left = expires_ms - now_ms
    if 2 * left < step:
        return None
    return expires_ms - min(_LAST_MARGIN_MS, left // 10)


def warning_due(
    created_ms: int, now_ms: int, delay_warning_s: float | None, *, warned: bool
) -> bool:
    """Tell whether the sender should now hear that the message is late."""
    return (
        not warned and delay_warning_s is not None and now_ms - created_ms >= delay_warning_s * 1000
    )
