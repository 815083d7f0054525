"""How a verb finds the length of its steps and of its rests."""

from mta.admin.pace import Pace


def paced(pace, *steps):
    """Rests after steps of (seconds waited, seconds worked)."""
    return [pace.rest_s(*step) for step in steps]


def test_steps_become_as_long_as_they_may():
    """A fast machine is given more at once, a slow one less, within bounds."""
    pace = Pace(one_writer=True, served=True)
    assert pace.size == 200
    paced(pace, (0, 0.005))
    assert pace.size == 300
    paced(pace, (0, 0.020))
    assert pace.size == 300
    paced(pace, (0, 0.050))
    assert pace.size == 150
    paced(pace, *[(0, 1.0)] * 20)
    assert pace.size == 20
    paced(pace, *[(0, 0.001)] * 50)
    assert pace.size == 5000


def test_nobody_else_writes():
    """Alone with SQLite, half of the time is the verb's."""
    assert paced(Pace(one_writer=True, served=True), *[(0.0, 0.02)] * 3) == [0.02] * 3


def test_others_write():
    """Who had to wait leaves them eight ninths of the time, until it is let in again and again."""
    pace = Pace(one_writer=True, served=True)
    rests = paced(pace, (0.004, 0.02), *[(0.0, 0.02)] * 21)
    assert rests == [0.16] * 20 + [0.02] * 2


def test_nothing_tells():
    """On PostgreSQL nobody waits: while a service runs it is thought to have mail to move."""
    assert paced(Pace(one_writer=False, served=True), *[(0.0, 0.02)] * 30) == [0.16] * 30
    assert paced(Pace(one_writer=False, served=False), *[(0.0, 0.02)] * 30) == [0.02] * 30


def test_a_step_that_nobody_waits_for_is_longer():
    """On PostgreSQL a step of a tenth of a second is as it should be."""
    pace = Pace(one_writer=False, served=True)
    paced(pace, (0, 0.1))
    assert pace.size == 200
    paced(pace, (0, 0.04))
    assert pace.size == 300
    paced(pace, (0, 0.2))
    assert pace.size == 150


def test_a_rest_has_an_end():
    """One slow step, as on a machine that stood still, does not put the verb to sleep."""
    assert paced(Pace(one_writer=False, served=True), (0.0, 60.0)) == [1.0]
