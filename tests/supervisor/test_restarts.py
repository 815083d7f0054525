"""When a worker that has died starts again."""

from mta.supervisor.restarts import LONGEST_S, Restarts


def test_pauses_grow_to_a_bound():
    """At once the first time, then doubling, never more than the bound."""
    restarts = Restarts()
    assert [restarts.died() for _ in range(9)] == [0, 1, 2, 4, 8, 16, 32, LONGEST_S, LONGEST_S]
    for _ in range(10_000):
        assert restarts.died() == LONGEST_S


def test_an_alarm_after_three_in_a_row():
    """Two may be an accident; what was long ago does not count."""
    restarts = Restarts()
    assert not restarts.alarming
    restarts.died()
    restarts.died()
    assert not restarts.alarming
    restarts.died()
    assert restarts.alarming
    restarts.steady()
    assert not restarts.alarming
    assert restarts.died() == 0
