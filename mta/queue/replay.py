"""The retry schedule as a timeline, and laid over what has happened to deferred mail.  Pure.

A replay knows of each recipient when it was refused last and when it was taken; in between
nobody has asked.  So an attempt of another schedule that falls before the last refusal comes to
nothing, one that falls after the success succeeds, and one in between *may* succeed: earlier is
never certain, later is.  Jitter is left out, and each schedule begins with the first attempt
that was made.

What it takes for granted: that a destination that has begun to take mail goes on to do so, and
that attempts change nothing.  Neither is quite true: greylisting counts from the first attempt,
a limit on rates is met by trying more often, and a site that is left alone is not tried at all.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mta.queue.retry import RetrySchedule, next_attempt_ms

MOST = 2000  # attempts of one schedule that are looked at
_SAME_MS = 5000  # a moment so close is the same one


@dataclass(frozen=True, slots=True)
class Moment:
    """One attempt of a schedule; times since acceptance."""

    attempt: int
    after_ms: int
    earliest_ms: int  # with jitter
    latest_ms: int


def timeline(schedule: RetrySchedule, expiry_ms: int) -> list[Moment]:
    """Return the attempts at mail that is tried at once and never taken."""
    middle = list(_walk(schedule, 0, expiry_ms, 0.5))
    early = list(_walk(schedule, 0, expiry_ms, 0.0))
    late = list(_walk(schedule, 0, expiry_ms, 1.0))
    return [Moment(n + 1, at, early[n], late[min(n, len(late) - 1)]) for n, at in enumerate(middle)]


def _walk(schedule: RetrySchedule, first_ms: int, expires_ms: int, random: float) -> Iterator[int]:
    at: int | None = first_ms
    for number in range(1, MOST + 1):
        if at is None:
            return
        yield at
        at = next_attempt_ms(schedule, number, at, expires_ms, random)


@dataclass(frozen=True, slots=True)
class History:
    """The attempts at one recipient, of which the first was put off."""

    attempts_ms: tuple[int, ...]  # when each began
    expires_ms: int
    delivered: bool  # by the last one


@dataclass(slots=True)
class Replay:
    """What a schedule would have changed."""

    earlier: int = 0  # perhaps
    earlier_ms: int = 0  # all together, at best
    same: int = 0
    later: int = 0
    later_ms: int = 0  # all together, at least
    lost: int = 0  # would have expired before the moment when they were taken
    attempts: int = 0  # that were made
    fewest: int = 0  # that the schedule would have made, at least
    most: int = 0  # and at most
    never: int = 0  # not delivered yet, or never: only attempts are counted


def replay(histories: Iterable[History], schedule: RetrySchedule) -> Replay:
    """Lay ``schedule`` over ``histories``."""
    found = Replay()
    for one in histories:
        found.attempts += len(one.attempts_ms)
        if one.delivered:
            _delivered(found, one, schedule)
        else:
            found.never += 1
            end = one.attempts_ms[-1] + _SAME_MS
            made = sum(at <= end for at in _moments(one, schedule))
            found.fewest += made
            found.most += made
    return found


def _delivered(found: Replay, one: History, schedule: RetrySchedule) -> None:
    refused_ms, taken_ms = one.attempts_ms[-2], one.attempts_ms[-1]
    moments = list(enumerate(_moments(one, schedule), 1))
    sure_ms = taken_ms - _SAME_MS
    useful = [moment for moment in moments if moment[1] > min(refused_ms + _SAME_MS, sure_ms)]
    if not useful:
        found.lost += 1
        found.fewest += len(moments)
        found.most += len(moments)
        return
    best = useful[0]
    sure = next((number for number, at in useful if at >= sure_ms), len(moments))
    found.fewest += best[0]
    found.most += sure
    gain = taken_ms - best[1]
    if gain > _SAME_MS:
        found.earlier += 1
        found.earlier_ms += gain
    elif gain < -_SAME_MS:
        found.later += 1
        found.later_ms -= gain
    else:
        found.same += 1


def _moments(one: History, schedule: RetrySchedule) -> Iterator[int]:
    return _walk(schedule, one.attempts_ms[0], one.expires_ms, 0.5)
