"""No answer after the final dot: held, or as good as delivered, and what nobody is told of it."""

from mta.mail.events import Attempted, Reported
from mta.mail.outcome import CUT_OFF, Blame, Outcome, Verdict
from mta.spool import history
from mta.spool.engine import reading


def lost(verdict, *, hold=False):
    """Say that the line was lost after the final dot."""
    words = "connection lost; lost after the final dot: nobody knows"
    return Outcome(
        0, verdict, 0, "4.4.2", words, "end of data", Blame.SITE, maybe_delivered=True, hold=hold
    )


def trace(stage, message_id):
    """Return what the spool knows of a message."""
    with reading(stage.database.engine) as conn:
        return history.trace(conn, message_id)


def test_held(any_stage):
    """It is held, tells nobody, and is not tried again until somebody releases it."""
    stage = any_stage
    message_id = stage.accept(stage.scheduler(), "r@example.net", notify=["SUCCESS,FAILURE,DELAY"])
    stage.one().ends(lost(Verdict.DEFERRED, hold=True))
    stage.advance(4 * 86_400)
    assert stage.take() == []
    assert stage.seen(Reported) == []
    (event,) = stage.seen(Attempted)
    assert (event.status, event.next_attempt_ms) == ("deferred", None)
    assert [row[0] for row in stage.states(message_id)] == ["held"]
    (event,) = trace(stage, message_id).events
    assert (event.verb, event.who) == ("hold", "delivery")


def test_counts_as_delivered(any_stage):
    """It is over, and a report of success is not sent, for that is not known."""
    stage = any_stage
    message_id = stage.accept(stage.scheduler(), "r@example.net", notify=["SUCCESS"])
    stage.one().ends(lost(Verdict.DELIVERED))
    assert [row[0] for row in stage.states(message_id)] == ["delivered"]
    (attempt,) = trace(stage, message_id).attempts
    assert attempt.outcome.maybe_delivered
    assert stage.reports(message_id) == []


def cut_off(verdict, *, hold=False):
    """Say that we have cut off the attempt after the final dot."""
    words = f"{CUT_OFF}; lost after the final dot: nobody knows"
    enhanced = "2.0.0" if verdict is Verdict.DELIVERED else "4.3.2"
    return Outcome(0, verdict, 0, enhanced, words, "end of data", maybe_delivered=True, hold=hold)


def test_stopped_after_the_final_dot(any_stage):
    """A stop says why it cut off, and is no way round a hold: another process leaves it alone."""
    stage = any_stage
    scheduler = stage.scheduler()
    ids = [stage.accept(scheduler, f"r@{name}.example") for name in ("held", "over", "again")]
    verdicts = [
        {"verdict": Verdict.DEFERRED, "hold": True},
        {"verdict": Verdict.DELIVERED},
        {"verdict": Verdict.DEFERRED},
    ]
    stage.advance(0)
    attempts = {one.to[0]: one for one in stage.take()}
    for name, what in zip(("held", "over", "again"), verdicts, strict=True):
        attempt = attempts[f"r@{name}.example"]
        attempt.deferred._canceller = lambda d, what=what: d.callback([cut_off(**what)])
    scheduler.stop(0.0)
    stage.advance(20)
    assert [stage.states(one)[0][0] for one in ids] == ["held", "delivered", "queued"]
    for one in ids:
        (attempt,) = trace(stage, one).attempts
        assert attempt.outcome.maybe_delivered
        assert attempt.outcome.text.startswith("the service is stopping; lost after the final dot")
    with reading(stage.database.engine) as conn:
        counted = history.unanswered(conn, 0)
    assert {state.value: count for state, count in counted.items()} == {
        "held": 1, "delivered": 1, "queued": 1,
    }  # fmt: skip
    stage.scheduler()
    stage.advance(1000)
    assert [one.to for one in stage.take()] == [["r@again.example"]]
