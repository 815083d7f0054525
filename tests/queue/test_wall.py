"""The wall clock jumps: mail goes out as if it had not, and none is returned because of it."""

import pytest

from mta.mail.envelope import Asked, DeliverBy
from mta.mail.events import Note
from mta.mail.restraint import Restraint
from mta.spool import restraints
from mta.spool.engine import writing

HOUR, DAY = 3600, 86_400


def said(stage):
    """Return what was said of the clock."""
    return [note.text for note in stage.seen(Note) if "clock" in note.text]


def due_in(stage, message_id):
    """Return in how many seconds the first recipient is due."""
    return stage.rows(message_id)[0].next_attempt_ms / 1000 - stage.now_ms() / 1000


@pytest.mark.parametrize("back_s", [2 * HOUR, 3 * DAY])
def test_set_back(any_stage, back_s):
    """What is deferred keeps its interval, whatever the clock was set back by."""
    stage = any_stage
    scheduler = stage.scheduler()
    message_id = stage.accept(scheduler, "b@example.net")
    stage.one().defers()
    assert due_in(stage, message_id) == 300
    stage.wall_ms = -back_s * 1000
    assert due_in(stage, message_id) == back_s + 300
    stage.advance(5)
    assert due_in(stage, message_id) == 300
    for _ in range(300):
        stage.advance(1)
    stage.one().delivers()
    assert stage.states(message_id)[0][0] == "delivered"
    assert said(stage) == [
        f"the clock was set back by {back_s} s",
        "1 recipients were put off by a clock that was ahead; that is made good",
    ]


def test_set_back_while_none_ran(any_stage):
    """A start finds what an earlier run has put off by a clock that was ahead."""
    stage = any_stage
    stage.wall_ms = 2 * HOUR * 1000
    first = stage.scheduler()
    message_id = stage.accept(first, "b@example.net")
    stage.one().defers()
    fresh = stage.accept(None, "c@example.net")
    first.stop(0)
    for _ in range(30):
        stage.advance(1)
    stage.wall_ms = 0
    stage.scheduler("two")
    assert stage.take() == []
    stage.advance(5)
    stage.advance(1)
    assert stage.one().to == ["c@example.net"]
    assert stage.states(fresh)[0][:2] == ("queued", 1)
    assert 240 < due_in(stage, message_id) <= 300


def test_what_is_right_stays(any_stage):
    """A release that the sender has named stays, and what a right clock has said, too."""
    stage = any_stage
    scheduler = stage.scheduler()
    release_ms = stage.now_ms() + 5 * HOUR * 1000
    held = stage.accept(scheduler, "b@example.net", asked=Asked(release_ms=release_ms))
    old = stage.accept(scheduler, "c@example.net")
    stage.one().defers()
    stage.advance(5)
    stage.advance(280)  # due in 15 s
    stage.wall_ms = -200 * 1000  # less than clocks of several hosts may differ by
    for _ in range(3):
        stage.advance(5)
    assert stage.rows(held)[0].next_attempt_ms == release_ms
    assert due_in(stage, old) == 200
    assert stage.take() == []


@pytest.mark.parametrize("forward_s", [2 * HOUR, 3 * DAY, 10 * DAY])
def test_set_forward(any_stage, forward_s):
    """All is due at once and tried; what fails is tried on by its schedule and not returned."""
    stage = any_stage
    scheduler = stage.scheduler()
    some = [stage.accept(scheduler, f"b{n}@example.net", expires_s=4 * HOUR) for n in range(3)]
    for attempt in stage.take():
        attempt.defers()
    stage.wall_ms = forward_s * 1000
    stage.advance(1)
    stage.advance(1)
    again = stage.take()
    assert len(again) == 3
    for attempt in again:
        attempt.defers()
    for message_id in some:
        assert stage.states(message_id) == [("queued", 2, 600)]
        assert stage.reports(message_id) == []  # nor a warning that it is late
    assert said(stage) == [
        f"the clock has jumped forward by {forward_s} s: for 60 minutes nothing grows old by that"
    ]


def test_believed_after_an_hour(stage):
    """A clock that stays as it is is right: then what is too old is given up after one more try."""
    scheduler = stage.scheduler()
    message_id = stage.accept(scheduler, "b@example.net", expires_s=4 * HOUR)
    stage.one().defers()
    stage.wall_ms = 3 * DAY * 1000
    for _ in range(3700):
        stage.advance(1)
        for attempt in stage.take():
            attempt.defers()
    assert stage.states(message_id)[0][0] == "queued"
    for _ in range(3600):
        stage.advance(1)
        for attempt in stage.take():
            attempt.defers()
    assert stage.states(message_id)[0][0] == "expired"
    assert said(stage)[-1] == "the clock is believed from now on"


def test_forward_and_back(stage):
    """A clock that was wrong for some minutes has done nothing but have mail tried early."""
    scheduler = stage.scheduler()
    message_id = stage.accept(scheduler, "b@example.net", expires_s=4 * HOUR)
    stage.one().defers()
    stage.wall_ms = 3 * DAY * 1000
    stage.advance(1)
    stage.advance(1)
    stage.one().defers()
    stage.wall_ms = 0
    stage.advance(5)
    stage.advance(5)
    assert 590 <= due_in(stage, message_id) <= 600
    assert stage.states(message_id)[0][:2] == ("queued", 2)


def test_a_deadline_is_not_over_because_of_a_jump(stage):
    """What must be returned by a time (RFC 2852) is not, while the clock is not believed."""
    scheduler = stage.scheduler()
    by = DeliverBy(stage.now_ms() + HOUR * 1000, "R")
    message_id = stage.accept(scheduler, "b@example.net", asked=Asked(deliver_by=by))
    stage.one().defers()
    stage.wall_ms = 2 * HOUR * 1000
    stage.advance(1)
    stage.advance(1)
    stage.one().delivers()
    assert stage.states(message_id)[0][0] == "delivered"


def test_suspended_mail_is_not_returned_because_of_a_jump(stage):
    """Nor does what may not be dialled expire, or its sender hear that it is late."""
    scheduler = stage.scheduler()
    message_id = stage.accept(scheduler, "b@example.net", expires_s=4 * HOUR)
    stage.one().defers()
    wanted = Restraint(0, "suspend", "all", "", "no", stage.now_ms(), None, expires=True)
    with writing(stage.database.engine) as conn:
        restraints.suspend(conn, wanted)
    stage.advance(1)
    stage.wall_ms = 3 * DAY * 1000
    stage.advance(1)
    stage.advance(1)
    assert stage.take() == []
    assert stage.states(message_id)[0][:2] == ("queued", 1)
    assert stage.reports(message_id) == []
