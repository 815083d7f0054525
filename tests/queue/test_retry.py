"""When to try again: the schedule, its jitter, its end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.queue.retry import RetrySchedule, next_attempt_ms, warning_due

SCHEDULE = RetrySchedule((300, 900, 1800, 3600), 0.2)
NEVER = 10**15


@pytest.mark.parametrize(
    ("attempts", "seconds"),
    [(0, 300), (1, 300), (2, 900), (3, 1800), (4, 3600), (5, 3600), (99, 3600)],
)
def test_the_steps_in_order_and_the_last_one_repeats(attempts, seconds):
    """Attempt n waits for step n; there are as many attempts as the expiry allows."""
    assert next_attempt_ms(SCHEDULE, attempts, 1000, NEVER, 0.5) == 1000 + seconds * 1000


@given(st.integers(1, 50), st.floats(0, 1, exclude_max=True))
def test_jitter_stays_within_its_fraction(attempts, random):
    """The wait is the step, give or take a fifth."""
    step = SCHEDULE.step_ms(attempts)
    wait = next_attempt_ms(SCHEDULE, attempts, 0, NEVER, random)
    assert 0.8 * step - 1 <= wait <= 1.2 * step + 1


def test_jitter_spreads_over_the_whole_range():
    """The ends of the random range are the ends of the jitter."""
    assert next_attempt_ms(SCHEDULE, 1, 0, NEVER, 0.0) == 240_000
    assert next_attempt_ms(SCHEDULE, 1, 0, NEVER, 0.999999) == pytest.approx(360_000, abs=1)


@pytest.mark.parametrize(
    ("expires_s", "seconds"),
    [
        (301, 300),  # the step fits
        (300, 270),  # it does not: a last attempt half a minute before the end
        (200, 180),  # a tenth before it, if that is nearer
        (150, 135),
        (149, None),  # less than half a step is left: given up
        (0, None),
        (-5, None),
    ],
)
def test_the_last_attempt_is_before_expiry(expires_s, seconds):
    """The decision of ``retry``: one last try if at least half of the step is left."""
    schedule = RetrySchedule((300,), 0.0)
    at_ms = next_attempt_ms(schedule, 1, 0, expires_s * 1000, 0.5)
    assert at_ms == (None if seconds is None else seconds * 1000)


@given(
    st.integers(1, 20),
    st.integers(0, 10**9),
    st.integers(-(10**6), 10**9),
    st.floats(0, 1, exclude_max=True),
)
def test_no_attempt_is_planned_beyond_expiry(attempts, now_ms, left_ms, random):
    """Whatever the numbers: later than now, earlier than expiry, or never; and it ends."""
    at_ms = next_attempt_ms(SCHEDULE, attempts, now_ms, now_ms + left_ms, random)
    assert at_ms is None or now_ms < at_ms < now_ms + left_ms


def test_retries_up_to_expiry_are_few():
    """The last attempts do not creep up to expiry in ever smaller steps."""
    schedule, now_ms, attempts = RetrySchedule((60,), 0.0), 0, 1
    while (at_ms := next_attempt_ms(schedule, attempts, now_ms, 600_000, 0.5)) is not None:
        now_ms, attempts = at_ms, attempts + 1
        assert attempts < 13
    assert now_ms >= 540_000


@pytest.mark.parametrize("steps", [(), (0,), (300, -1)])
def test_a_schedule_that_would_hammer_is_refused(steps):
    """No step is nothing."""
    with pytest.raises(ValueError, match="retry schedule"):
        RetrySchedule(steps)


@pytest.mark.parametrize(
    ("age_s", "warning_s", "warned", "due"),
    [
        (100, 100, False, True),
        (99, 100, False, False),
        (100, 100, True, False),
        (10**9, None, False, False),
    ],
)
def test_warning(age_s, warning_s, warned, due):
    """Once, when the age is reached, unless the settings say never."""
    assert warning_due(0, age_s * 1000, warning_s, warned=warned) is due
