"""The walk of a message through the queue: taken over, attempted, settled."""

import os
import socket

import pytest
from sqlalchemy import update

from mta.mail.address import domain_of
from mta.mail.envelope import Asked, DeliverBy, Envelope, MessageKind, Recipient
from mta.mail.events import Attempted, Finished, Note, Reported
from mta.mail.outcome import Blame, Outcome, Verdict
from mta.mail.queue_id import new_queue_id
from mta.queue.retry import RetrySchedule
from mta.queue.settings import QueueSettings
from mta.spool import leases, operate
from mta.spool.filters import Filter
from mta.spool.schema import recipients


def test_mail_just_accepted_is_delivered_from_memory(any_stage):
    """Born-claimed mail is attempted at once, with nothing read back, and then finished."""
    scheduler = any_stage.scheduler()
    reads = any_stage.database.reads
    message_id = any_stage.accept(scheduler, "b@example.net")
    attempt = any_stage.one()
    assert attempt.to == ["b@example.net"]
    assert attempt.job.destination == "mx:example.net"
    assert attempt.job.body.memory is not None
    assert any_stage.database.reads == reads
    attempt.delivers()
    assert any_stage.states(message_id)[0][:2] == ("delivered", 1)
    (event,) = any_stage.seen(Attempted)
    assert (event.status, event.next_attempt_ms) == ("sent", None)
    assert [one.id for one in any_stage.seen(Finished)] == [message_id]
    assert scheduler.active == 0


def test_mail_in_the_spool_is_claimed_at_start(any_stage):
    """What an earlier run left behind is read from the spool, its attempt counted first."""
    message_id = any_stage.accept(None, "b@example.net", "c@example.com")
    any_stage.scheduler()
    first, second = any_stage.take()
    assert sorted([first.to, second.to]) == [["b@example.net"], ["c@example.com"]]
    assert first.job.body.memory is None
    assert [row[:2] for row in any_stage.states(message_id)] == [("queued", 1)] * 2


def test_attack_a_second_process_of_one_name(any_stage):
    """Its mail is not taken from a process that is there: it would be delivered twice."""
    about = {"pid": str(os.getppid()), "host": socket.gethostname()}
    any_stage.database.write(
        leases.register_node, "one", "other", any_stage.now_ms(), 180_000, about
    )
    message_id = any_stage.accept(None, "b@example.net")
    any_stage.run(update(recipients).values(claim="other"))
    any_stage.scheduler()
    assert any_stage.nodes() == ["one", "one~2"]
    assert any_stage.take() == []
    assert any_stage.states(message_id)[0][:2] == ("queued", 0)
    (note,) = any_stage.seen(Note)
    assert f"node one is in use by process {os.getppid()} on {socket.gethostname()}" in note.text
    any_stage.advance(400)
    assert any_stage.one().to == ["b@example.net"]


def test_recipients_at_one_destination_go_together(stage):
    """One job for all recipients of a message at a destination."""
    scheduler = stage.scheduler()
    stage.accept(scheduler, "b@example.net", "x@example.com", "c@example.net")
    assert sorted(attempt.to for attempt in stage.take()) == [
        ["b@example.net", "c@example.net"],
        ["x@example.com"],
    ]


def test_recipients_put_off_together_come_back_together(stage):
    """Jitter must not tear them apart: fifty greylisted ones would be fifty connections."""
    numbers = iter(range(1000))
    scheduler = stage.scheduler(
        retry=RetrySchedule((300,), 0.2), random=lambda: next(numbers) * 0.37 % 1
    )
    people = [f"u{n}@example.net" for n in range(50)]
    message_id = stage.accept(scheduler, *people)
    stage.one().defers("greylisted")
    assert len({row.next_attempt_ms for row in stage.rows(message_id)}) == 1
    for _ in range(400):
        stage.advance(1)
    assert stage.one().to == people


def test_each_recipient_is_settled_by_its_own_outcome(stage):
    """Of three recipients one arrives, one is put off and one bounces."""
    scheduler = stage.scheduler()
    message_id = stage.accept(scheduler, "b@example.net", "c@example.net", "d@example.net")
    stage.one().ends(
        Outcome(0, Verdict.DELIVERED, 250, "2.0.0", "ok", "end of data"),
        Outcome(1, Verdict.DEFERRED, 450, "4.2.0", "later", "RCPT", Blame.RECIPIENT),
        Outcome(2, Verdict.FAILED, 550, "5.1.1", "never", "RCPT", Blame.RECIPIENT),
    )
    assert stage.states(message_id) == [
        ("delivered", 1, 0),
        ("queued", 1, 300),
        ("bounced", 1, 0),
    ]
    assert [event.status for event in stage.seen(Attempted)] == ["sent", "deferred", "bounced"]
    assert stage.seen(Finished) == []


def test_deferred_mail_is_tried_again_by_the_schedule(stage):
    """The steps are walked in order, and the last one repeats."""
    scheduler = stage.scheduler()
    message_id = stage.accept(scheduler, "b@example.net")
    for number, wait_s in enumerate((300, 600, 3600, 3600), 1):
        stage.one().defers()
        assert stage.states(message_id) == [("queued", number, wait_s)]
        assert scheduler.active == 0
        stage.advance(wait_s - 2)
        stage.advance(1)
        assert stage.take() == []
        stage.advance(2)
    stage.one().delivers()
    assert stage.states(message_id)[0][:2] == ("delivered", 5)
    assert [row.attempt for row in stage.history(message_id)] == [1, 2, 3, 4, 5]


def test_the_next_attempt_is_in_the_spool_before_the_first_begins(stage):
    """A process that dies while it dials does not hammer: the row is due one step later."""
    scheduler = stage.scheduler()
    message_id = stage.accept(scheduler, "b@example.net")
    assert stage.states(message_id) == [("queued", 1, 300)]


def test_an_attempt_that_breaks_is_a_deferral(stage):
    """Unknown errors are temporary, and are told to the operator."""
    scheduler = stage.scheduler()
    message_id = stage.accept(scheduler, "b@example.net")
    stage.one().deferred.errback(RuntimeError("a bug"))
    assert stage.states(message_id) == [("queued", 1, 300)]
    (row,) = stage.history(message_id)
    assert (row.enhanced, row.verdict) == ("4.3.0", "deferred")
    assert any("a bug" in note.text for note in stage.seen(Note))


def test_a_recipient_without_an_outcome_is_put_off(stage):
    """Delivery that forgets a recipient loses nothing."""
    scheduler = stage.scheduler()
    message_id = stage.accept(scheduler, "b@example.net", "c@example.net")
    stage.one().ends(Outcome(0, Verdict.DELIVERED, 250, "2.0.0", "ok", "end of data"))
    assert [row[0] for row in stage.states(message_id)] == ["delivered", "queued"]


def test_a_full_active_set_stores_and_reads_back_later(stage):
    """Memory is bounded: mail for which there is no room waits in the spool and is not lost."""
    scheduler = stage.scheduler(active_recipients=8)
    ids = [stage.accept(scheduler, f"b@d{n}.example") for n in range(40)]
    assert scheduler.active <= 8
    done = []
    for _ in range(60):
        for attempt in stage.take():
            done += attempt.to
            attempt.delivers()
        assert scheduler.active <= 8
        stage.advance(1)
    assert sorted(done) == sorted(f"b@d{n}.example" for n in range(40))
    assert {stage.states(one)[0][0] for one in ids} == {"delivered"}


def test_bodies_in_memory_are_bounded(stage):
    """Beyond ``active_octets`` a body is read back, though there is room for recipients."""
    scheduler = stage.scheduler(active_octets=1000)
    stage.accept(scheduler, "b@d1.example", body=b"x" * 600)
    stage.accept(scheduler, "b@d2.example", body=b"x" * 600)
    first, second = stage.take()
    assert first.job.body.memory is not None
    assert second.job.body.memory is None
    first.delivers()
    stage.accept(scheduler, "b@d3.example", body=b"x" * 600)
    assert stage.one().job.body.memory is not None


def test_a_cancelled_reservation_frees_its_room(stage):
    """A commit that failed leaves no trace in the active set."""
    scheduler = stage.scheduler(active_recipients=4)
    reservation = scheduler.reserve(3, 100)
    assert scheduler.reserve(1, 0) is None
    scheduler.cancel(reservation, 3, 100)
    assert scheduler.active == 0
    assert scheduler.reserve(3, 100) is not None


def test_a_slow_destination_does_not_hold_up_others(stage):
    """One that answers nothing gets its window; mail behind it to another goes at once."""
    scheduler = stage.scheduler()
    for _ in range(50):
        stage.accept(scheduler, "b@slow.example")
    slow = stage.take()
    assert len(slow) == 5
    stage.accept(scheduler, "b@fast.example")
    assert stage.one().to == ["b@fast.example"]


def test_a_full_destination_leaves_room_in_the_active_set(stage):
    """Mail to a site that is slow fills its share and not the whole set; the rest is excluded."""
    scheduler = stage.scheduler(active_recipients=40)
    for _ in range(60):
        stage.accept(scheduler, "b@slow.example")
    stage.advance(1)
    assert scheduler.active <= 20
    stage.take()
    for n in range(5):
        stage.accept(scheduler, f"b@d{n}.example")
    stage.advance(1)
    assert len(stage.take()) == 5


def test_several_full_destinations_leave_room_in_the_active_set(stage):
    """Four slow sites, each with a quarter of the set to fill, still leave room for a fifth."""
    scheduler = stage.scheduler(active_recipients=40)
    for n in range(80):
        stage.accept(scheduler, f"b@slow{n % 4}.example")
    for _ in range(5):
        stage.advance(1)
    assert scheduler.active < 40
    assert len(stage.take()) == 20
    stage.accept(scheduler, "b@fast.example")
    stage.advance(1)
    stage.advance(1)
    assert [attempt.to for attempt in stage.take()] == [["b@fast.example"]]


def test_a_dead_destination_is_left_alone_and_a_probe_revives_it(stage):
    """After five faults nothing is dialled; a minute later one goes first, and then the rest."""
    scheduler = stage.scheduler()
    ids = [stage.accept(scheduler, "b@dead.example") for _ in range(12)]
    for attempt in stage.take():
        attempt.site_fails()
    stage.advance(0)
    assert stage.take() == []
    waiting = [one for one in ids if stage.states(one)[0][1] == 0]
    assert len(waiting) == 7  # not dialled, the attempt not counted
    assert {stage.states(one)[0][2] for one in waiting} == {60.0}
    fresh = stage.accept(scheduler, "b@dead.example")
    assert stage.take() == []
    assert stage.states(fresh)[0] == ("queued", 0, 60.0)
    assert scheduler.active == 0
    stage.advance(61)
    probe = stage.one()
    probe.site_fails()
    stage.advance(0)
    assert stage.take() == []
    stage.advance(60)
    assert stage.take() == []  # dead for longer
    stage.advance(61)
    stage.one().delivers()
    stage.advance(0)
    assert len(stage.take()) == 2


def _new(stage, *to, **fields):
    """Return the envelope and the recipients of a message that is about to be accepted."""
    now_ms = stage.now_ms()
    envelope = Envelope(
        new_queue_id(now_ms), "a@example.org", 10, now_ms, now_ms + 432_000_000, **fields
    )
    return envelope, tuple(Recipient(n, a, domain_of(a), 1) for n, a in enumerate(to))


def test_new_mail_for_a_dead_site_need_not_come_in(stage):
    """It is due in the spool when the site is probed: the moment at which it would be put off to.

    Not where a recipient is elsewhere, where the sender wants a deadline kept, or is to be told of
    the delay at once; nor for a site that is well.
    """
    scheduler = stage.scheduler()
    for _ in range(5):
        stage.accept(scheduler, "b@dead.example")
    assert scheduler.put_off_ms(*_new(stage, "c@dead.example")) is None  # nothing is known yet
    for attempt in stage.take():
        attempt.site_fails()
    stage.advance(10)
    assert scheduler.put_off_ms(*_new(stage, "c@dead.example")) == stage.now_ms() + 50_000
    put_off = stage.accept(scheduler, "c@dead.example")
    assert stage.states(put_off)[0] == ("queued", 0, 50.0)
    assert scheduler.put_off_ms(*_new(stage, "c@fine.example")) is None
    assert scheduler.put_off_ms(*_new(stage, "c@dead.example", "c@fine.example")) is None
    by = Asked(deliver_by=DeliverBy(stage.now_ms() + 30_000, "R", trace=False))
    assert scheduler.put_off_ms(*_new(stage, "c@dead.example", asked=by)) is None
    scheduler.use(QueueSettings("relay.example.org", delay_warning_s=0))  # and probes it at once
    stage.accept(scheduler, "b@dead.example")
    stage.advance(0)
    stage.one().site_fails()
    assert scheduler.put_off_ms(*_new(stage, "c@dead.example")) is None
    stage.accept(scheduler, "c@dead.example", sender="")
    assert [one.to for one in stage.take()] == [["a@example.org"]]  # told; and it is dead


def test_what_a_site_says_about_recipients_does_not_kill_it(stage):
    """Fifty refused recipients are fifty answers of a healthy site."""
    scheduler = stage.scheduler()
    for _ in range(50):
        stage.accept(scheduler, "b@example.net")
        stage.one().defers()
    stage.accept(scheduler, "b@example.net")
    assert len(stage.take()) == 1


@pytest.mark.parametrize("sender", ["a@example.org", ""])
def test_time_that_has_run_out_is_no_reason_not_to_try(stage, sender):
    """After an outage of our own of a week, or a clock that was wrong, mail gets its last try.

    Only when that fails is it given up; the sender is told once, the null sender never.
    """
    message_id = stage.accept(None, "b@example.net", sender=sender, expires_s=100)
    other = stage.accept(None, "c@example.com", sender=sender, expires_s=100)
    stage.advance(101)
    stage.scheduler()
    first, second = sorted(stage.take(), key=lambda attempt: attempt.to)
    first.defers()
    second.delivers()
    stage.advance(0)
    assert [one.job.envelope.sender for one in stage.take()] == ([""] if sender else [])
    assert stage.states(message_id)[0][0] == "expired"
    assert stage.states(other)[0][0] == "delivered"
    assert len(stage.reports(message_id)) == (1 if sender else 0)
    assert stage.seen(Attempted)[0].status == "expired"


def test_a_full_destination_expires_nothing(stage):
    """Too much mail for a site that works is no fault of the mail that waits."""
    scheduler = stage.scheduler(active_recipients=8)
    for _ in range(3):
        stage.accept(scheduler, "b@busy.example")
    late = stage.accept(None, "b@busy.example", expires_s=5)
    for _ in range(10):
        stage.advance(1)
    assert stage.states(late)[0][0] == "queued"
    for _ in range(5):
        for attempt in stage.take():
            attempt.delivers()
        stage.advance(1)
    assert stage.states(late)[0][0] == "delivered"


def test_expiry_gives_exactly_one_report(stage):
    """A recipient that never works is given up once, at the end of its time."""
    scheduler = stage.scheduler(delay_warning_s=None)
    message_id = stage.accept(scheduler, "b@example.net", expires_s=2000)
    stage.one().defers()
    stage.advance(301)
    stage.one().defers()
    stage.advance(601)
    stage.one().defers()  # the step of 3600 s leads beyond the end, and less than half is left
    assert stage.states(message_id)[0][0] == "expired"
    stage.advance(5000)
    (attempt,) = stage.take()
    assert attempt.job.envelope.kind is MessageKind.DSN
    assert attempt.job.envelope.sender == ""
    assert attempt.to == ["a@example.org"]
    attempt.bounces()
    stage.advance(5000)
    assert stage.take() == []
    assert len(stage.reports(message_id)) == 1


def test_a_bounce_is_reported_to_the_sender_at_once(any_stage):
    """The report is in the transaction of the outcome and is delivered without waiting."""
    scheduler = any_stage.scheduler()
    message_id = any_stage.accept(scheduler, "b@example.net")
    any_stage.one().bounces()
    any_stage.advance(0)
    report = any_stage.one()
    assert report.to == ["a@example.org"]
    ((row, content),) = any_stage.reports(message_id)
    assert row.id == report.job.envelope.id
    assert b"Subject: lunch" in content
    assert b"no such user" in content
    assert [(one.id, one.report_id, one.kind) for one in any_stage.seen(Reported)] == [
        (message_id, row.id, "failure")
    ]


def test_a_report_about_stored_mail_carries_its_header(stage):
    """The header is read from the spool where the body is not in memory."""
    message_id = stage.accept(None, "b@example.net")
    stage.scheduler()
    stage.one().bounces()
    ((_, content),) = stage.reports(message_id)
    assert b"Subject: lunch" in content


@pytest.mark.parametrize(
    ("sender", "kind"), [("", MessageKind.MAIL), ("a@example.org", MessageKind.DSN)]
)
def test_no_report_about_reports(stage, sender, kind):
    """Attack: bounces chasing bounces.  Null sender and reports of ours get none."""
    scheduler = stage.scheduler()
    message_id = stage.accept(scheduler, "b@example.net", sender=sender, kind=kind)
    stage.one().bounces()
    stage.advance(5)
    assert stage.take() == []
    assert stage.states(message_id)[0][0] == "bounced"


def test_the_sender_is_warned_of_a_delay_once(stage):
    """One warning when the message has waited longer than the settings say, and no second one."""
    scheduler = stage.scheduler(delay_warning_s=700)
    message_id = stage.accept(scheduler, "b@example.net")
    stage.one().defers()
    stage.advance(301)
    stage.one().defers()
    assert stage.reports(message_id) == []
    stage.advance(601)
    stage.one().defers()
    stage.advance(0)
    report = stage.one()
    assert b"Action: delayed" in stage.reports(message_id)[0][1]
    report.delivers()
    stage.advance(3601)
    stage.one().defers()
    assert len(stage.reports(message_id)) == 1
    assert stage.rows(message_id)[0].warned
    assert [one.kind for one in stage.seen(Reported)] == ["delay"]


def test_mail_of_a_dead_site_is_warned_about_and_expires(stage):
    """Mail that is never dialled because its site is dead is not forgotten."""
    scheduler = stage.scheduler(delay_warning_s=100)
    for _ in range(5):
        stage.accept(scheduler, "b@dead.example", sender="")
    for attempt in stage.take():
        attempt.site_fails()
    message_id = stage.accept(scheduler, "c@dead.example", expires_s=1500)
    for _ in range(2000):
        stage.advance(1)
        for attempt in stage.take():
            if attempt.job.recipients[0].domain == "dead.example":
                attempt.site_fails()
            else:
                attempt.delivers()
    assert stage.states(message_id)[0][0] == "expired"
    kinds = [one.kind for one in stage.seen(Reported)]
    assert kinds == ["delay", "failure"]
    assert "connection refused" in stage.history(message_id)[-1].text


def test_settings_are_replaced_while_it_runs(stage):
    """SIGHUP: the next decision is made by the new schedule."""
    scheduler = stage.scheduler()
    message_id = stage.accept(scheduler, "b@example.net")
    scheduler.use(QueueSettings("relay.example.org", RetrySchedule((42,), 0.0)))
    stage.one().defers()
    assert stage.states(message_id) == [("queued", 1, 42)]


def test_an_attempt_that_never_ends_is_cancelled(stage):
    """A delivery that hangs beyond all time-outs does not keep its place for ever."""
    scheduler = stage.scheduler(attempt_limit_s=1000)
    message_id = stage.accept(scheduler, "b@example.net")
    attempt = stage.one()
    for _ in range(20):
        stage.advance(60)
    assert attempt.cancelled
    assert stage.states(message_id)[0][:2] == ("queued", 1)
    assert "too long" in stage.history(message_id)[0].text


def test_retry_now_is_meant_for_dead_sites_too(stage):
    """An operator who has heard that a site is back does not wait for the probe's time."""
    scheduler = stage.scheduler()
    stage.advance(1)
    for _ in range(5):
        stage.accept(scheduler, "b@dead.example")
    for attempt in stage.take():
        attempt.site_fails()
    stage.database.write(operate.retry, Filter(), stage.now_ms(), "root")
    stage.advance(1)
    stage.one().delivers()
    stage.advance(0)
    assert len(stage.take()) == 2


def test_other_verbs_let_dead_sites_be(stage):
    """Attack on fresh mail: a verb that goes through a long queue wakes us with each step, and the
    sites that the queue waits for are not dialled each time.
    """
    scheduler = stage.scheduler()
    stage.advance(1)
    for _ in range(5):
        stage.accept(scheduler, "b@dead.example")
    for attempt in stage.take():
        attempt.site_fails()
    message_id = stage.accept(scheduler, "b@dead.example")
    stage.run(update(recipients).values(next_attempt_ms=stage.now_ms()))
    stage.database.write(operate.hold, Filter(ids=(message_id,)), stage.now_ms(), "root")
    stage.advance(1)
    stage.advance(1)
    assert stage.take() == []
