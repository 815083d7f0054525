"""Our part of a site's rates: spread over its second, given back where it is not used."""

from mta.queue.quota import SharedPace

SECOND = 1_800_000_000


def begun(pace: SharedPace, from_s: float, to_s: float, step_s: float = 0.001) -> list[float]:
    """Begin whatever may be begun in that time; return when that was."""
    found, now_s = [], from_s
    while now_s < to_s:
        if pace.wait_s(now_s) <= 0:
            pace.take(now_s)
            found.append(round(now_s, 2))
        now_s += step_s
    return found


def test_nothing_before_it_is_allowed():
    """And to ask for more is of use."""
    pace = SharedPace(((20, 1.0),))
    assert pace.wait_s(10.0) > 0
    assert pace.lacks(10.0)


def test_a_second_is_used_evenly():
    """Four in a second: a quarter of a second apart, and none in the next one."""
    pace = SharedPace(((20, 1.0),))
    pace.allow(SECOND, 10.0, 11.0, 4)
    assert begun(pace, 10.0, 12.0) == [10.13, 10.38, 10.63, 10.88]
    assert pace.unused(12.0) == ()


def test_what_is_left_of_a_second_begins_at_once():
    """A single message does not wait for the middle of it."""
    pace = SharedPace(((20, 1.0),))
    pace.allow(SECOND, 10.4, 11.0, 1)
    assert pace.wait_s(10.4) == 0.0


def test_what_is_not_used_is_said_once_for_each_rate():
    """Of three one was begun: two are given back, to both counts."""
    pace = SharedPace(((20, 1.0), (100, 60.0)))
    pace.allow(SECOND, 10.0, 10.9, 3)
    pace.wait_s(10.0)
    pace.take(10.0)
    assert pace.holds
    assert pace.unused(11.0) == ((1, SECOND, 2), (60, SECOND, 2))
    assert pace.unused(11.0) == ()
    assert not pace.holds


def test_of_two_rates_of_the_same_length_the_smaller_counts():
    """A site that is slowed down to one a second."""
    assert SharedPace(((20, 1.0), (1, 1.0))).limits == ((1, 1),)


def test_it_asks_for_what_is_ready_and_for_what_it_was_just_using():
    """Mail that comes steadily is never ready in numbers."""
    pace = SharedPace(((20, 1.0),))
    pace.allow(SECOND, 10.0, 10.9, 2)
    begun(pace, 10.0, 10.9)
    assert pace.wants(3) == 5
    assert pace.wants(3) == 3
