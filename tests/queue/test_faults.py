"""What dies, goes away or changes under the queue, and what must not be lost by it."""

from functools import partial

from sqlalchemy import update

from mta.mail.events import Attempted, LeaseLost, Note, Operated
from mta.mail.outcome import Outcome, Verdict
from mta.spool import leases, operate
from mta.spool.filters import Filter
from mta.spool.schema import nodes, recipients


def test_a_new_run_takes_back_what_the_last_one_held(any_stage):
    """Killed between commit 2 and commit 3: the same node starts again and tries again at once."""
    message_id = any_stage.accept(None, "b@example.net")
    any_stage.scheduler("one")
    any_stage.take()  # dialled, and then the process was killed
    assert any_stage.states(message_id) == [("queued", 1, 300)]
    any_stage.scheduler("one")
    any_stage.one().delivers()
    assert any_stage.states(message_id)[0][:2] == ("delivered", 2)


def test_another_node_takes_over_when_the_lease_has_run_out(any_stage):
    """A node that is silent for its lease has lost its mail, and a result of its is dropped."""
    first = any_stage.scheduler("one", lease_s=30)
    message_id = any_stage.accept(first, "b@example.net")
    late = any_stage.one()
    any_stage.run(update(nodes).where(nodes.c.name == "one").values(lease_until_ms=1))
    second = any_stage.scheduler("two", lease_s=90)
    any_stage.database.write(leases.reap, any_stage.now_ms())
    any_stage.advance(1)
    again = any_stage.one()
    again.delivers()
    assert any_stage.states(message_id)[0][:2] == ("delivered", 2)
    late.defers()
    assert [event.recipient for event in any_stage.seen(LeaseLost)] == [0]
    assert any_stage.states(message_id)[0][:2] == ("delivered", 2)
    assert [event.status for event in any_stage.seen(Attempted)] == ["sent"]
    assert first.active == second.active == 0


def test_a_lost_lease_drops_all_and_begins_anew(stage):
    """Renewal refused: what is not begun is dropped, what runs is cancelled, a new token is got."""
    scheduler = stage.scheduler(lease_s=30)
    for _ in range(8):
        stage.accept(scheduler, "b@slow.example")
    running = stage.take()
    assert len(running) == 5
    stage.run(update(nodes).values(lease_until_ms=1))
    stage.database.write(leases.reap, stage.now_ms())
    stage.advance(10)
    assert all(attempt.cancelled for attempt in running)
    assert len(stage.seen(LeaseLost)) == 5
    assert any("was taken away" in note.text for note in stage.seen(Note))
    stage.advance(1)
    assert stage.nodes() == ["one"]
    stage.advance(1)
    assert len(stage.take()) == 5  # claimed again under the new token
    assert scheduler.active == 8


def test_nothing_is_begun_under_a_lease_that_may_have_run_out(stage):
    """While the spool cannot confirm the lease, mail in memory may be somebody else's."""
    scheduler = stage.scheduler(lease_s=30)
    stage.goes_away()
    for _ in range(40):
        stage.advance(1)
    assert scheduler.reserve(1, 10) is None
    stage.comes_back()
    stage.advance(5)
    assert scheduler.reserve(1, 10) is not None


def test_outcomes_survive_a_database_that_goes_away(stage):
    """What the peer has answered is kept and written when the spool is back; told once."""
    scheduler = stage.scheduler()
    message_id = stage.accept(scheduler, "b@d1.example")
    second = stage.accept(scheduler, "b@d2.example")
    first_attempt, second_attempt = stage.take()
    stage.goes_away()
    first_attempt.delivers()
    second_attempt.delivers()
    for _ in range(20):
        stage.advance(1)
    assert stage.seen(Attempted) == []
    assert scheduler.active == 2
    assert scheduler.reserve(1, 10) is None
    stage.comes_back()
    for _ in range(31):
        stage.advance(1)
    assert stage.states(message_id)[0][0] == stage.states(second)[0][0] == "delivered"
    assert len(stage.seen(Attempted)) == 2
    assert scheduler.active == 0
    kept = [note for note in stage.seen(Note) if "are kept" in note.text]
    assert len(kept) == 1


def test_nobody_is_dialled_while_outcomes_cannot_be_written(stage):
    """What cannot be written down is not done: no duplicates piled up during an outage."""
    scheduler = stage.scheduler()
    for _ in range(6):
        stage.accept(scheduler, "b@example.net")
    running = stage.take()
    stage.goes_away()
    running[0].delivers()
    stage.advance(0)
    assert stage.take() == []
    stage.comes_back()
    stage.advance(2)
    assert len(stage.take()) == 1


def test_a_write_that_always_fails_holds_up_nothing_else(stage):
    """A record that the spool refuses is repeated beside the others."""
    scheduler = stage.scheduler()
    message_id = stage.accept(scheduler, "b@d1.example")
    attempt = stage.one()
    stage.database.trouble = ValueError("refused")
    attempt.delivers()
    stage.comes_back()
    stage.accept(scheduler, "b@d2.example")
    stage.one().delivers()
    assert len(stage.seen(Attempted)) == 1
    stage.advance(1)
    assert stage.states(message_id)[0][0] == "delivered"
    assert scheduler.active == 0


def test_the_spool_is_away_at_start(stage):
    """The service starts without its database and begins when it is there."""
    message_id = stage.accept(None, "b@example.net")
    stage.goes_away()
    stage.scheduler()
    stage.advance(3)
    assert stage.take() == []
    stage.comes_back()
    stage.advance(5)
    stage.advance(1)
    stage.one().delivers()
    assert stage.states(message_id)[0][0] == "delivered"


def test_hold_during_an_attempt_outlives_its_deferral(any_stage):
    """An operator's hold is not undone by the attempt that was under way."""
    scheduler = any_stage.scheduler()
    message_id = any_stage.accept(scheduler, "b@example.net")
    attempt = any_stage.one()
    any_stage.run(update(recipients).values(state="held"))
    attempt.defers()
    assert any_stage.states(message_id)[0][0] == "held"
    any_stage.advance(400)
    assert any_stage.take() == []


def test_hold_before_an_attempt_prevents_it(any_stage):
    """Mail that waits in memory for its turn is given back when an operator holds it."""
    scheduler = any_stage.scheduler()
    ids = [any_stage.accept(scheduler, "b@example.net") for _ in range(7)]
    running = any_stage.take()
    any_stage.advance(1)
    held = update(recipients).where(recipients.c.message_id == ids[5])
    any_stage.run(held.values(state="held"))
    any_stage.database.write(leases.wake)
    any_stage.advance(1)
    for attempt in running:
        attempt.delivers()
    any_stage.advance(0)
    (last,) = any_stage.take()
    assert last.job.envelope.id == ids[6]
    assert any_stage.states(ids[5])[0][:2] == ("held", 0)


def test_a_removed_recipient_is_lost_and_the_others_are_recorded(stage):
    """Removed while it was tried: no bounce for it, and its neighbour's outcome counts."""
    scheduler = stage.scheduler()
    message_id = stage.accept(scheduler, "b@example.net", "c@example.net")
    attempt = stage.one()
    gone = update(recipients).where(recipients.c.number == 0)
    stage.run(gone.values(state="removed", finished_ms=1))
    attempt.bounces()
    assert [event.recipient for event in stage.seen(LeaseLost)] == [0]
    assert [row[0] for row in stage.states(message_id)] == ["removed", "bounced"]
    ((_, content),) = stage.reports(message_id)
    assert b"c@example.net" in content
    assert b"b@example.net" not in content
    stage.advance(0)
    stage.one().delivers()
    assert scheduler.active == 0


def test_retry_now_wakes_a_running_queue(stage):
    """An operator makes a deferred recipient due: it is tried within a second."""
    scheduler = stage.scheduler()
    stage.accept(scheduler, "b@example.net")
    stage.one().defers()
    stage.advance(1)
    stage.run(update(recipients).values(next_attempt_ms=stage.now_ms()))
    stage.database.write(leases.wake)
    stage.advance(1)
    assert stage.one().to == ["b@example.net"]


def test_stop_gives_back_what_is_not_begun_and_waits_for_what_is(any_stage):
    """The orderly stop: nothing is claimed any more, and the attempt under way has counted."""
    scheduler = any_stage.scheduler()
    ids = [any_stage.accept(scheduler, "b@example.net") for _ in range(7)]
    running = any_stage.take()
    results = []
    scheduler.stop(20).addBoth(results.append)
    any_stage.advance(0)
    assert [any_stage.states(one)[0] for one in ids[5:]] == [("queued", 0, 0)] * 2
    assert scheduler.reserve(1, 10) is None
    for attempt in running:
        attempt.delivers()
    for _ in range(5):
        any_stage.advance(0.1)
    assert results == [None]
    assert {any_stage.states(one)[0][0] for one in ids[:5]} == {"delivered"}
    assert any_stage.nodes() == []


def test_stop_cancels_what_does_not_end(stage):
    """After the grace an attempt is broken off, recorded as put off by us, and due at once."""
    scheduler = stage.scheduler()
    message_id = stage.accept(scheduler, "b@example.net")
    attempt = stage.one()
    results = []
    scheduler.stop(3).addBoth(results.append)
    for _ in range(100):
        stage.advance(0.1)
    assert attempt.cancelled
    assert results == [None]
    assert stage.states(message_id) == [("queued", 1, 0)]
    (row,) = stage.history(message_id)
    assert (row.enhanced, row.text) == ("4.3.2", "the service is stopping")


def test_stopping_in_the_last_attempt_expires_nothing(stage):
    """The attempt that we break off ourselves is not the one that a message is given up after."""
    scheduler = stage.scheduler()
    message_id = stage.accept(scheduler, "b@example.net", expires_s=100)
    stage.advance(90)
    stopped = scheduler.stop(5)
    for _ in range(200):
        stage.advance(0.1)
    assert stopped.called
    assert stage.one().cancelled
    assert stage.states(message_id)[0][0] == "queued"
    assert stage.reports(message_id) == []


def test_stop_ends_although_the_spool_is_away(stage):
    """Every wait of the stop is bounded, and what could not be written is said."""
    scheduler = stage.scheduler()
    stage.accept(scheduler, "b@example.net")
    attempt = stage.one()
    stage.goes_away()
    attempt.delivers()
    results = []
    scheduler.stop(3).addBoth(results.append)
    for _ in range(300):
        stage.advance(0.1)
    assert results == [None]
    assert any("may be delivered again" in note.text for note in stage.seen(Note))


def test_mail_accepted_while_stopping_is_left_to_the_next_start(stage):
    """A message whose commit was under way when the stop began is not kept claimed."""
    scheduler = stage.scheduler()
    reservation = scheduler.reserve(1, 10)
    assert reservation is not None
    scheduler.cancel(reservation, 1, 10)
    original = scheduler.reserve
    scheduler.reserve = lambda *_: reservation  # as if reserved before the stop
    scheduler._active.room.take(1, 10)
    scheduler.stop(1)
    message_id = stage.accept(scheduler, "b@example.net")
    scheduler.reserve = original
    stage.advance(1)
    assert stage.states(message_id)[0][:2] == ("queued", 0)
    assert stage.rows(message_id)[0].claim is None
    assert stage.take() == []


def test_a_clock_set_back_delays_and_loses_nothing(stage):
    """Leases and waits go by the monotonic clock; only due times follow the wall clock."""
    scheduler = stage.scheduler()
    message_id = stage.accept(scheduler, "b@example.net")
    stage.wall_ms = -3_600_000
    for _ in range(300):
        stage.advance(1)
    stage.one().ends(Outcome(0, Verdict.DELIVERED, 250, "2.0.0", "ok", "end of data"))
    assert stage.states(message_id)[0][0] == "delivered"
    assert scheduler.reserve(1, 10) is not None


def test_a_claim_that_nobody_knows_is_given_back(any_stage):
    """Committed, but the answer was lost, or the client left: it does not stay claimed for ever."""
    scheduler = any_stage.scheduler()
    known = any_stage.accept(scheduler, "b@example.net")
    reservation = scheduler.reserve(1, 10)
    message_id = any_stage.accept(None, "c@example.com")
    any_stage.run(
        update(recipients)
        .where(recipients.c.message_id == message_id)
        .values(claim=reservation.claim, attempts=1, next_attempt_ms=any_stage.now_ms() + 300_000)
    )
    scheduler.cancel(reservation, 1, 10)
    any_stage.one()  # this one is under way for long, and known
    for _ in range(8):
        any_stage.advance(60)
        any_stage.advance(0)
    any_stage.one().delivers()
    assert any_stage.states(message_id)[0][:2] == ("delivered", 1)
    assert any_stage.states(known)[0][:2] == ("queued", 1)
    assert scheduler.active == 1


def test_reroute_before_an_attempt(any_stage):
    """Mail that waits in memory for its turn takes the route that an operator chooses meanwhile."""
    asked = []

    def destination(sender, domain, *chosen):
        asked.append((domain, *chosen))
        return f"mx:{domain}"

    scheduler = any_stage.scheduler()
    scheduler._destination_of = destination
    ids = [any_stage.accept(scheduler, "b@example.net") for _ in range(7)]
    running = any_stage.take()
    any_stage.advance(1)
    wanted = Filter(ids=(ids[6],))
    now_ms = any_stage.now_ms()
    any_stage.database.write(partial(operate.reroute, route="other"), wanted, now_ms, "anna")
    any_stage.advance(1)
    for attempt in running:
        attempt.delivers()
    any_stage.advance(1)
    again = {attempt.job.envelope.id: attempt.job.recipients[0] for attempt in any_stage.take()}
    assert (again[ids[5]].route, again[ids[6]].route) == ("", "other")
    assert again[ids[6]].attempts == 1
    assert ("example.net", "other") in asked


def test_verbs_come_into_the_log(any_stage):
    """What an operator does is told once, counted; what the policy held on arrival is not."""
    any_stage.accept(None, "old@example.net")
    any_stage.database.write(operate.hold, Filter(), any_stage.now_ms() + 1, "before")
    any_stage.scheduler()
    any_stage.advance(1)
    one = any_stage.accept(None, "b@example.net", "c@example.net")
    for verb in (operate.hold, operate.release):
        any_stage.database.write(verb, Filter(ids=(one,)), any_stage.now_ms() + 1, "anna")
    any_stage.advance(1)
    any_stage.advance(5)
    assert any_stage.seen(Operated) == [
        Operated("hold", "anna", 2, 1, one),
        Operated("release", "anna", 2, 1, one),
    ]
