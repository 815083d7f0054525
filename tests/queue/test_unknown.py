"""No answer after the final dot: held, or as good as delivered, and what nobody is told of it."""

from mta.mail.events import Attempted, Reported
from mta.mail.outcome import Blame, Outcome, Verdict
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
