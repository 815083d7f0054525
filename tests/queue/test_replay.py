"""A schedule laid over what has happened: what it may have changed, and what it certainly would."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.queue.replay import History, Replay, replay, timeline
from mta.queue.retry import RetrySchedule

MINUTE = 60_000
HOUR = 60 * MINUTE
PLAN = RetrySchedule((300.0, 900.0, 3600.0), 0.0)  # at 0, 5, 20, 80, 140 minutes, ...


def history(*minutes, delivered=True, expires=10_000):
    """Attempts at these minutes."""
    return History(tuple(one * MINUTE for one in minutes), expires * MINUTE, delivered)


@pytest.mark.parametrize(
    ("minutes", "changed"),
    [
        ((0, 30), {"earlier": 1, "earlier_ms": 25 * MINUTE, "fewest": 2, "most": 4}),
        ((0, 5), {"same": 1, "fewest": 2, "most": 2}),
        # nothing falls between the last refusal and the success: certainly later
        ((0, 6, 10), {"later": 1, "later_ms": 10 * MINUTE, "fewest": 3, "most": 3}),
        # 5 minutes lies before the last refusal, and is of no use
        ((0, 10, 30), {"earlier": 1, "earlier_ms": 10 * MINUTE, "fewest": 3, "most": 4}),
    ],
)
def test_what_a_schedule_changes(minutes, changed):
    """Each case by hand."""
    found = replay([history(*minutes)], PLAN)
    assert found == Replay(**{"attempts": len(minutes), **changed})


def test_given_up_before_it_was_taken():
    """A schedule that ends before the success loses the message."""
    found = replay([history(0, 100, 395, expires=401)], RetrySchedule((3000.0, 90_000.0), 0.0))
    assert (found.lost, found.later, found.earlier) == (1, 0, 0)


def test_never_delivered():
    """Only attempts are counted, up to the last one that was made."""
    found = replay([history(0, 1, 2, 3, 30, delivered=False)], PLAN)
    assert (found.never, found.attempts, found.fewest, found.most) == (1, 5, 3, 3)


@given(
    st.lists(st.integers(1, 10_000), min_size=1, max_size=20),
    st.lists(st.integers(60, 20_000), min_size=1, max_size=6),
)
def test_each_delivery_is_counted_once(gaps, steps):
    """Whatever the history and the schedule: the classes are a partition, the bounds in order."""
    moments, at = [0], 0
    for gap in gaps:
        at += gap * 1000
        moments.append(at)
    one = History(tuple(moments), at + 5 * 24 * HOUR, delivered=True)
    found = replay([one], RetrySchedule(tuple(map(float, steps)), 0.0))
    assert found.earlier + found.same + found.later + found.lost == 1
    assert found.fewest <= found.most
    assert found.earlier_ms >= 0 and found.later_ms >= 0


def test_its_own_schedule_changes_nothing():
    """What went by the schedule is the same under it."""
    moments = [one.after_ms for one in timeline(PLAN, 5 * 24 * HOUR)][:7]
    found = replay([History(tuple(moments), 5 * 24 * HOUR, delivered=True)], PLAN)
    assert (found.same, found.attempts, found.fewest, found.most) == (1, 7, 7, 7)


def test_timeline():
    """Steps add up, jitter widens, and there is a last attempt before the end."""
    plan = timeline(RetrySchedule((300.0, 900.0), 0.2), HOUR)
    assert [one.after_ms // MINUTE for one in plan] == [0, 5, 20, 35, 50, 59]
    assert (plan[1].earliest_ms, plan[1].latest_ms) == (4 * MINUTE, 6 * MINUTE)
    assert all(one.earliest_ms <= one.after_ms for one in plan)
