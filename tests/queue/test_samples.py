"""Replies that rules act upon are counted by all processes on one spool together."""

import pytest

from mta.causes.pattern import Pattern
from mta.causes.rules import Action, Rule, Rules
from mta.mail.cause import Cause
from mta.mail.events import Note
from mta.mail.outcome import Blame, Verdict
from mta.spool import restraints
from mta.spool.engine import reading, writing


def rule(samples=3, window_s=600.0):
    action = Action("suspend", 600.0, samples, window_s)
    return {
        "causes": Rules(
            (Rule("mine", Cause.RATE_LIMITED, (Pattern("rate limit"),), action=action),)
        )
    }


def limited(stage, scheduler, count, domain="there.example"):
    """Let one process hear so many replies."""
    for number in range(count):
        stage.accept(scheduler, f"u{number}@{domain}")
    for attempt in stage.take():
        attempt.all(Verdict.DEFERRED, 421, "4.7.28", "rate limit", Blame.RECIPIENT)
    stage.advance(0)


def in_force(stage):
    with reading(stage.database.engine) as conn:
        return restraints.holding(conn, stage.now_ms())


def written(stage):
    with reading(stage.database.engine) as conn:
        return conn.exec_driver_sql("SELECT count(*) FROM samples").scalar_one()


def test_two_processes_count_together(any_stage):
    """Two of three here and one of three there: the site is suspended, for both."""
    stage = any_stage
    one, two = stage.scheduler("one", **rule()), stage.scheduler("two", **rule())
    limited(stage, one, 2)
    stage.advance(1)
    assert (in_force(stage), written(stage)) == ([], 2)
    limited(stage, two, 1)
    stage.advance(1)
    (row,) = in_force(stage)
    assert row.samples == ("421 4.7.28 rate limit",) * 3
    assert written(stage) == 0
    stage.advance(1)
    for scheduler in (one, two):
        stage.accept(scheduler, "v@there.example")
    assert stage.take() == []


def test_four_processes_with_one_each_are_four(any_stage):
    """None of them has seen more than one reply."""
    stage = any_stage
    for name in ("one", "two", "three", "four"):
        assert in_force(stage) == []
        limited(stage, stage.scheduler(name, **rule(samples=4)), 1)
        stage.advance(1)
    assert len(in_force(stage)) == 1


def test_what_is_too_old_does_not_count(any_stage):
    """The window is one for all processes; what is out of it goes."""
    stage = any_stage
    one, two = (stage.scheduler(name, **rule(2, 60.0)) for name in ("one", "two"))
    limited(stage, one, 1)
    stage.advance(1)
    stage.advance(60)
    limited(stage, two, 1, "there.example")
    stage.advance(1)
    assert in_force(stage) == []
    for _ in range(3):
        stage.advance(60)
    assert written(stage) == 0


def test_sites_do_not_count_for_each_other(any_stage):
    """A reply of one site's says nothing about another one."""
    stage = any_stage
    one, two = (stage.scheduler(name, **rule(2)) for name in ("one", "two"))
    limited(stage, one, 1, "there.example")
    limited(stage, two, 1, "else.example")
    stage.advance(1)
    assert in_force(stage) == []


def test_the_spool_is_written_once_a_second_at_most(stage):
    """Attack: a host that refuses everything as fast as it can.  A write a second, few rows."""
    scheduler = stage.scheduler(**rule(samples=5))
    writes = []
    real = stage.database.write

    def counting(fn, *args):
        writes.append(fn.__module__ + "." + fn.__name__)
        return real(fn, *args)

    stage.database.write = counting
    for number in range(40):
        limited(stage, scheduler, 1, f"d{number % 20}.example")
    assert writes.count("mta.spool.samples.add") == 0
    stage.advance(1)
    assert writes.count("mta.spool.samples.add") == 1
    assert written(stage) == 40


def test_nothing_is_written_while_nothing_is_heard(stage):
    """Deliveries, and failures that no rule acts upon, cost no write and no timer."""
    scheduler = stage.scheduler(**rule())
    for number in range(5):
        stage.accept(scheduler, f"u{number}@there.example")
    for number, attempt in enumerate(stage.take()):
        attempt.delivers() if number % 2 else attempt.defers("mailbox busy")
    stage.advance(5)
    assert written(stage) == 0


def test_a_spool_that_is_away_loses_no_samples(stage):
    """They are kept, counted from when they were heard, and decide when it is back."""
    scheduler = stage.scheduler(**rule())
    for number in range(3):
        stage.accept(scheduler, f"u{number}@there.example")
    attempts = stage.take()
    stage.goes_away()
    for attempt in attempts:
        attempt.all(Verdict.DEFERRED, 421, "4.7.28", "rate limit", Blame.RECIPIENT)
    stage.advance(2)
    assert any("not counted" in note.text for note in stage.seen(Note))
    stage.comes_back()
    for _ in range(10):
        stage.advance(1)
    assert len(in_force(stage)) == 1


def test_a_process_that_stops_leaves_no_timer(stage):
    """What it has heard last is not waited for."""
    scheduler = stage.scheduler(**rule())
    limited(stage, scheduler, 1)
    done = []
    scheduler.stop(1.0).addCallback(done.append)
    for _ in range(100):
        stage.advance(0.1)
    assert done == [None]
    assert written(stage) in (0, 1)
    with writing(stage.database.engine) as conn:
        conn.exec_driver_sql("DELETE FROM samples")
    stage.advance(5)
    assert written(stage) == 0


@pytest.mark.parametrize("said", ["rate limit \udc80", "rate limit \x00"])
def test_octets_that_no_database_takes(any_stage, said):
    """Attack: a reply that cannot be stored would keep the site from ever being counted."""
    stage = any_stage
    scheduler = stage.scheduler(**rule(1))
    stage.accept(scheduler, "u@there.example")
    stage.one().all(Verdict.DEFERRED, 421, "4.7.28", said, Blame.RECIPIENT)
    stage.advance(0)
    assert len(in_force(stage)) == 1
