"""A process is killed after the final dot: what the next one makes of it."""

from mta.mail.envelope import Asked
from mta.mail.events import Attempted, Reported
from mta.mail.outcome import Outcome, Verdict
from mta.spool import dotted, history
from mta.spool.dotted import Dotted
from mta.spool.engine import reading, writing

TO = "mx.there.example[192.0.2.9]:25"


def policy(verdict, *, hold=False, only=""):
    """Return what delivery would say: of everybody, or of one address alone."""

    def in_doubt(sender, recipient, to):
        assert (sender, to) == ("a@example.org", TO)
        if only and recipient.address != only:
            return None
        made = Outcome(recipient.number, verdict, 0, "4.3.2", "it ended", "end of data")
        return made.in_doubt(hold=hold)

    return in_doubt


def killed(stage, *to, **accepted):
    """Let a process end after the dot for all of ``to``, without a word."""
    message_id = stage.accept(stage.scheduler(), *to, **accepted)
    with writing(stage.database.engine) as conn:
        for attempt in stage.take():
            job = attempt.job
            keys = tuple((one.number, one.attempts) for one in job.recipients)
            item = Dotted(message_id, job.claim, keys, stage.now_ms() + 1, TO)
            assert dotted.mark(conn, [item]) == [True]
    return message_id


def trace(stage, message_id):
    with reading(stage.database.engine) as conn:
        return history.trace(conn, message_id)


def test_held(any_stage):
    """It is held, with the reason, and nobody is dialled, told, or tried again."""
    stage = any_stage
    message_id = killed(stage, "r@example.net", notify=["SUCCESS,FAILURE,DELAY"])
    stage.scheduler(in_doubt=policy(Verdict.DEFERRED, hold=True))
    stage.advance(4 * 86_400)
    assert stage.take() == []
    assert [row[:2] for row in stage.states(message_id)] == [("held", 2)]
    (attempt,) = trace(stage, message_id).attempts
    assert (attempt.outcome.maybe_delivered, attempt.outcome.text) == (True, "it ended")
    assert attempt.outcome.cause
    (event,) = trace(stage, message_id).events
    assert (event.verb, event.who, event.text) == ("hold", "delivery", "it ended")
    assert stage.seen(Reported) == []
    (event,) = stage.seen(Attempted)
    assert (event.status, event.next_attempt_ms) == ("deferred", None)
    with reading(stage.database.engine) as conn:
        assert {s.value: n for s, n in history.unanswered(conn, 0).items()} == {"held": 1}


def test_counts_as_delivered(any_stage):
    """It is over, and no report of success goes out."""
    stage = any_stage
    message_id = killed(stage, "r@example.net", notify=["SUCCESS"])
    scheduler = stage.scheduler(in_doubt=policy(Verdict.DELIVERED))
    assert [row[0] for row in stage.states(message_id)] == ["delivered"]
    assert stage.reports(message_id) == []
    assert stage.content(message_id) == b""
    assert scheduler.active == 0


def test_sent_again(any_stage):
    """Where the route wants that now, or nobody asks, it is sent as any other."""
    stage = any_stage
    message_id = killed(stage, "r@example.net")
    stage.scheduler(in_doubt=lambda *_: None)
    stage.one().delivers()
    assert [row[:2] for row in stage.states(message_id)] == [("delivered", 2)]
    (attempt,) = trace(stage, message_id).attempts
    assert not attempt.outcome.maybe_delivered


def test_some_of_a_message(any_stage):
    """Only those in doubt are held; the others go on, and the room is right afterwards."""
    stage = any_stage
    message_id = killed(stage, "r@one.example", "s@two.example", "t@one.example")
    scheduler = stage.scheduler(in_doubt=policy(Verdict.DEFERRED, hold=True, only="t@one.example"))
    assert scheduler.active == 2
    for attempt in stage.take():
        assert "t@one.example" not in attempt.to
        attempt.delivers()
    assert [row[0] for row in stage.states(message_id)] == ["delivered", "delivered", "held"]
    assert scheduler.active == 0


def test_what_is_too_old(any_stage):
    """That its time is over is no reason to tell the sender that it has not arrived."""
    stage = any_stage
    message_id = killed(stage, "r@example.net", expires_s=60, asked=Asked())
    stage.wall_ms += 3_600_000
    stage.scheduler(in_doubt=policy(Verdict.DEFERRED, hold=True))
    assert [row[0] for row in stage.states(message_id)] == ["held"]
    assert stage.seen(Reported) == []


def test_away_while_it_is_settled(any_stage):
    """The spool goes away: it is written when it is back, and not sent meanwhile."""
    stage = any_stage
    message_id = killed(stage, "r@example.net")
    done = []

    def in_doubt(*arguments):
        if not done:
            done.append(1)
            stage.goes_away()
        return policy(Verdict.DEFERRED, hold=True)(*arguments)

    stage.scheduler(in_doubt=in_doubt)
    assert done
    stage.comes_back()
    stage.advance(2)
    stage.advance(2)
    assert stage.take() == []
    assert [row[0] for row in stage.states(message_id)] == ["held"]
