"""Mail that waits for a budget: not counted, in nobody's way, and everybody can see why."""

from dataclasses import dataclass

from mta.mail.events import Note
from mta.queue.budgets import Budgets
from mta.spool import alarms
from mta.spool.engine import reading


@dataclass
class Wait:
    """An answer of the smarthosts'."""

    until_ms: int
    reason: str = "budget used up: smtp.test (2 a day)"


def said(stage):
    """Return the alarms."""
    with reading(stage.database.engine) as conn:
        return [(one.name, one.text) for one in alarms.everybodys(conn)]


def test_waits_uncounted_while_others_go(any_stage):
    """What waits has no attempt counted, other destinations go on, and it goes when it may."""
    stage = any_stage
    answers = {}
    scheduler = stage.scheduler()
    route = scheduler._destination_of
    scheduler._destination_of = lambda sender, domain, *chosen: (
        "smarthost:out" if domain == "paid.test" else route(sender, domain, *chosen)
    )
    budgets = Budgets(
        stage.clock, stage.now_ms, stage.database, "one", stage.events.append, answers.get
    )
    budgets.start()
    scheduler.wait_for(budgets.waits)
    answers["smarthost:out"] = Wait(stage.now_ms() + 3_600_000)
    waiting = stage.accept(scheduler, "a@paid.test")
    stage.accept(scheduler, "b@free.test")
    stage.advance(1)
    assert [one.to for one in stage.take()] == [["b@free.test"]]
    ((state, attempts, wait_s),) = stage.states(waiting)
    assert (state, attempts) == ("queued", 0)
    assert 3_590 < wait_s <= 3_600
    ((name, text),) = said(stage)
    assert name == "smarthost:out"
    assert text.startswith("smarthost:out waits until ")
    assert text.endswith(": budget used up: smtp.test (2 a day)")
    del answers["smarthost:out"]
    stage.advance(3_602)
    assert [one.to for one in stage.take()] == [["a@paid.test"]]
    assert said(stage) == []
    notes = [one.text for one in stage.seen(Note) if one.text.startswith("smarthost")]
    assert notes[1:] == ["smarthost:out has a budget again"]
    budgets.stop()


def test_alarms_of_the_last_run(stage):
    """What a process said before it was started anew is taken back; others' words stay."""
    for node, name in (("one", "smarthost:x"), ("one", "dns"), ("two", "smarthost:x")):
        stage.database.write(alarms.put, node, name, "words", 1)
    budgets = Budgets(
        stage.clock, stage.now_ms, stage.database, "one", stage.events.append, lambda _: None
    )
    budgets.start()
    assert said(stage) == [("dns", "words"), ("smarthost:x", "words")]
