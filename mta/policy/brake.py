"""The compromise brake: when a login sends far more than it ever does at this time of day.

What is usual is learned from the login's own hourly counts of recipients of the last two
weeks: the mean of the hours that had any, at this hour of the day and the two beside it; if
it never sent at this time, the mean of all its hours.  The brake trips when the last hour goes
beyond ``factor`` times that, or beyond ``factor`` times ``floor`` if that is more.

Knows nothing of content.  A login without a history long enough is not braked: limits are
for those.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mta.policy.decision import Decision, hold
from mta.policy.limits import HOUR_MS

HISTORY_MS = 14 * 24 * HOUR_MS
PREFIX = "brake:"  # begins the reason of everything that the brake holds


@dataclass(frozen=True, slots=True)
class BrakeSettings:
    """When it trips."""

    factor: float = 5.0
    floor: int = 20  # recipients an hour that are usual for everybody
    learning_ms: int = 3 * 24 * HOUR_MS


def usual(settings: BrakeSettings, history: Sequence[tuple[int, int]], now_ms: int) -> float | None:
    """Return the usual number of recipients an hour; None while it is being learned.

    ``history`` has pairs of an hour's beginning and its count; the hour that runs and the
    one before it, in which the trouble may have begun, are left out.
    """
    this_hour = now_ms - now_ms % HOUR_MS
    past = [(start, count) for start, count in history if start < this_hour - HOUR_MS and count > 0]
    if not past or now_ms - min(start for start, _ in past) < settings.learning_ms:
        return None
    now = this_hour // HOUR_MS % 24
    near = [count for start, count in past if (start // HOUR_MS - now + 1) % 24 <= 2]
    counts = near or [count for _, count in past]
    return sum(counts) / len(counts)


def limit(settings: BrakeSettings, usually: float) -> float:
    """Return how many recipients an hour are still believed."""
    return settings.factor * max(usually, settings.floor)


def judge(settings: BrakeSettings, sent: float, usually: float | None) -> Decision | None:
    """Decide; ``sent`` are the recipients of the last hour, those of this message included."""
    if usually is None or sent <= limit(settings, usually):
        return None
    return hold(f"{PREFIX} {sent:.0f} recipients in an hour, usual are {usually:.0f}")


def braked() -> Decision:
    """Return what becomes of the mail of a login that has been stopped."""
    return hold(f"{PREFIX} the login is stopped until it is released")


def key(login: str) -> str:
    """Return the counter of a login's recipients."""
    return f"sent:{login}"
