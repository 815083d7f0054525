"""What senders asked for, kept by the queue: who is told what, what waits, what goes first."""

from email import policy
from email.parser import BytesParser

import pytest

from mta.mail.envelope import Asked, DeliverBy, MessageKind
from mta.mail.events import Attempted, Reported
from mta.mail.outcome import Blame, Outcome, Peer, Verdict
from mta.queue.limits import Limits


def ends(attempt, verdict, extensions=(), code=250, enhanced="2.0.0"):
    """End an attempt alike for all recipients; the hop has announced ``extensions``."""
    peer = Peer("mx.example.net", "192.0.2.9", extensions=frozenset(extensions))
    blame = Blame.NONE if verdict is Verdict.DELIVERED else Blame.RECIPIENT
    attempt.ends(
        *(
            Outcome(one.number, verdict, code, enhanced, "words", "RCPT", blame, peer)
            for one in attempt.job.recipients
        )
    )


def told(stage, message_id):
    """Whom each report tells what: (to, subject's first word, {recipient: (action, status)})."""
    found = []
    for _row, content in stage.reports(message_id):
        message = BytesParser(policy=policy.default).parsebytes(content)
        assert message.defects == []
        groups = list(message.iter_parts())[1].get_payload()[1:]
        facts = {
            group["Final-Recipient"].removeprefix("rfc822; "): (group["Action"], group["Status"])
            for group in groups
        }
        found.append((message["To"], message["Subject"].split(":")[0], facts))
    return found


def test_relayed_where_the_next_hop_has_no_dsn(any_stage):
    """RFC 3461 §5.2.2: SUCCESS is answered with "relayed", once, for those who asked."""
    stage = any_stage
    scheduler = stage.scheduler()
    to = [f"r{n}@example.net" for n in range(4)]
    notify = ["SUCCESS", "NEVER", "", "SUCCESS,FAILURE"]
    message_id = stage.accept(scheduler, *to, notify=notify)
    ends(stage.one(), Verdict.DELIVERED, {"PIPELINING"})
    stage.advance(2)
    assert told(stage, message_id) == [
        (
            "a@example.org",
            "Passed on",
            {"r0@example.net": ("relayed", "2.0.0"), "r3@example.net": ("relayed", "2.0.0")},
        )
    ]
    assert [event.kind for event in stage.seen(Reported)] == ["success"]


def test_a_hop_that_has_dsn_reports_by_itself(stage):
    """RFC 3461 §5.2.1: then we say nothing of a success."""
    message_id = stage.accept(stage.scheduler(), "r@example.net", notify=["SUCCESS"])
    ends(stage.one(), Verdict.DELIVERED, {"DSN"})
    assert told(stage, message_id) == []


def test_delivered_where_there_is_no_next_hop(stage):
    """A route that discards is the end of the way."""
    message_id = stage.accept(stage.scheduler(), "r@example.net", notify=["SUCCESS"])
    stage.one().ends(Outcome(0, Verdict.DELIVERED, 0, "2.0.0", "discarded by route x", "route"))
    assert told(stage, message_id) == [
        ("a@example.org", "Delivered", {"r@example.net": ("delivered", "2.0.0")})
    ]


@pytest.mark.parametrize("word", ["NEVER", "SUCCESS", "DELAY"])
def test_who_does_not_want_to_hear_of_failure_does_not(stage, word):
    """NEVER is respected, and so is SUCCESS or DELAY alone; the history knows it all the same."""
    message_id = stage.accept(
        stage.scheduler(), "r@example.net", "s@example.net", notify=[word, "FAILURE"]
    )
    ends(stage.one(), Verdict.FAILED, code=550, enhanced="5.1.1")
    assert told(stage, message_id) == [
        ("a@example.org", "Not delivered", {"s@example.net": ("failed", "5.1.1")})
    ]
    assert [row.state for row in stage.rows(message_id)] == ["bounced", "bounced"]
    assert [row.state for row in stage.history(message_id)] == ["bounced", "bounced"]


def test_the_postmaster_hears_of_what_nobody_else_wants_to(stage):
    """A copy speaks of NEVER as well; there is no other report then."""
    scheduler = stage.scheduler(postmaster="post@example.org", postmaster_copies={"failure"})
    message_id = stage.accept(scheduler, "r@example.net", notify=["NEVER"])
    ends(stage.one(), Verdict.FAILED, code=550, enhanced="5.1.1")
    assert [(to, list(facts)) for to, _, facts in told(stage, message_id)] == [
        ("post@example.org", ["r@example.net"])
    ]


@pytest.mark.parametrize(
    ("notify", "warned"), [("", True), ("DELAY", True), ("FAILURE", False), ("NEVER", False)]
)
def test_delay_is_told_to_who_asks_for_it(stage, notify, warned):
    """A warning goes to who says nothing, or DELAY."""
    scheduler = stage.scheduler(delay_warning_s=60.0)
    message_id = stage.accept(scheduler, "r@example.net", notify=[notify])
    stage.one().defers()
    stage.advance(301)
    stage.one().defers()
    assert [what for _, what, _ in told(stage, message_id)] == ["Delayed"] * warned


@pytest.mark.parametrize("change", [{"sender": ""}, {"kind": MessageKind.DSN}])
def test_nobody_is_told_of_the_success_of_the_null_sender(stage, change):
    """RFC 5321 §4.5.5, whatever NOTIFY says."""
    message_id = stage.accept(stage.scheduler(), "r@example.net", notify=["SUCCESS"], **change)
    ends(stage.one(), Verdict.DELIVERED)
    assert told(stage, message_id) == []


@pytest.mark.parametrize(
    ("ret", "kind"),
    [
        ("FULL", "message/rfc822"),
        ("HDRS", "text/rfc822-headers"),
        ("", "text/rfc822-headers"),
    ],
)
def test_ret(stage, ret, kind):
    """RFC 3461 §4.3: what comes back with a failure; a report has the envelope id, decoded."""
    asked = Asked(ret=ret, envid="a+2Bb")
    message_id = stage.accept(stage.scheduler(), "r@example.net", asked=asked)
    ends(stage.one(), Verdict.FAILED, code=550, enhanced="5.1.1")
    ((_, content),) = stage.reports(message_id)
    message = BytesParser(policy=policy.default).parsebytes(content)
    _, status, returned = message.iter_parts()
    assert returned.get_content_type() == kind
    assert (b"At noon?" in content) is (ret == "FULL")
    assert status.get_payload()[0]["Original-Envelope-Id"] == "a+b"


def test_full_does_not_return_the_whole_with_a_success(stage):
    """RFC 3461 §4.3: only a failure brings the message back."""
    asked = Asked(ret="FULL")
    message_id = stage.accept(stage.scheduler(), "r@example.net", asked=asked, notify=["SUCCESS"])
    ends(stage.one(), Verdict.DELIVERED)
    ((_, content),) = stage.reports(message_id)
    assert b"At noon?" not in content and b"Subject: lunch" in content


def test_held_until_its_release(any_stage):
    """RFC 4865: nothing is tried before; warning and expiry count from the release."""
    stage = any_stage
    scheduler = stage.scheduler(delay_warning_s=600.0)
    asked = Asked(release_ms=stage.now_ms() + 7_200_000)
    message_id = stage.accept(scheduler, "r@example.net", asked=asked, expires_s=3600)
    for _ in range(10):
        stage.advance(719)
    assert stage.take() == []
    for _ in range(15):
        stage.advance(1)
    stage.one().defers()
    assert stage.reports(message_id) == []
    (attempted,) = stage.seen(Attempted)
    assert attempted.queued_s < 10
    stage.advance(301)
    stage.one().defers()
    assert stage.reports(message_id) == []
    for _ in range(12):
        stage.advance(60)
    stage.one().defers()
    assert [what for _, what, _ in told(stage, message_id)] == ["Delayed"]


def test_return_by_gives_up_at_the_deadline(stage):
    """RFC 2852, mode R: one more attempt shortly before it, then it comes back, 5.4.7."""
    scheduler = stage.scheduler()
    by = DeliverBy(stage.now_ms() + 400_000, "R")
    asked = Asked(deliver_by=by)
    message_id = stage.accept(scheduler, "r@example.net", asked=asked, expires_s=400)
    stage.one().defers()
    stage.advance(301)
    stage.one().defers()
    ((state, _, next_s),) = stage.states(message_id)
    assert (state, next_s) == ("queued", 89.0)
    for _ in range(5):
        stage.advance(20)
    stage.one().defers()
    assert stage.rows(message_id)[0].state == "expired"
    stage.advance(10)
    assert told(stage, message_id) == [
        ("a@example.org", "Not delivered", {"r@example.net": ("failed", "5.4.7")})
    ]


def test_tell_by_tells_at_the_deadline_and_goes_on(stage):
    """RFC 2852, mode N: an attempt when it has come, a report that it is late, more attempts."""
    scheduler = stage.scheduler()
    asked = Asked(deliver_by=DeliverBy(stage.now_ms() + 60_000, "N"))
    message_id = stage.accept(scheduler, "r@example.net", asked=asked)
    stage.one().defers()
    assert stage.states(message_id)[0][2] == 60.0
    stage.advance(61)
    stage.one().defers()
    assert [what for _, what, _ in told(stage, message_id)] == ["Delayed"]
    assert stage.states(message_id)[0][:1] == ("queued",)
    ((_, content),) = stage.reports(message_id)
    assert b"Deliver-By-Date: " in content


@pytest.mark.parametrize(
    ("by", "notify", "extensions", "reported"),
    [
        (DeliverBy(1, "N"), "", {"DSN"}, True),  # nobody further on knows the deadline
        (DeliverBy(1, "N"), "NEVER", {"DSN"}, False),
        (DeliverBy(1, "N"), "", {"DSN", "DELIVERBY"}, False),
        (DeliverBy(2**42, "R", True), "", {"DSN", "DELIVERBY"}, True),  # a trace
        (DeliverBy(2**42, "R", True), "NEVER", {"DSN", "DELIVERBY"}, False),
    ],
)
def test_relayed_reports_of_deadlines(stage, by, notify, extensions, reported):
    """RFC 2852 §4.1.4: each hop of a trace, and a hop that cannot keep the deadline."""
    asked = Asked(deliver_by=by)
    message_id = stage.accept(stage.scheduler(), "r@example.net", asked=asked, notify=[notify])
    ends(stage.one(), Verdict.DELIVERED, extensions)
    assert [what for _, what, _ in told(stage, message_id)] == ["Passed on"] * reported


@pytest.mark.parametrize(
    ("priority", "urgency"), [(9, 1), (1, 1), (0, 0), (-1, 0), (-3, 0), (-4, -1), (-9, -1)]
)
def test_priorities_are_rounded_up(priority, urgency):
    """RFC 6710 §5, app. B: MIXER has 4, 0 and -4; what lies between counts as the next higher."""
    assert Asked(priority=priority).urgency == urgency


def test_urgent_mail_is_begun_first(stage):
    """RFC 6710: of what waits for one destination the higher class goes first."""
    scheduler = stage.scheduler(limits=Limits(initial=1, concurrency=1))
    for n, priority in enumerate((0, 0, -4, 0, 4, 9, -9)):
        stage.accept(scheduler, f"r{n}@example.net", asked=Asked(priority=priority))
    order = []
    while begun := stage.take():
        order += [to for attempt in begun for to in attempt.to]
        begun[0].delivers()
        stage.advance(0)
    assert [to[1] for to in order] == ["0", "4", "5", "1", "3", "2", "6"]


def test_urgent_mail_does_not_let_the_rest_starve(stage):
    """Under a flood of urgent mail each lower class still gets its tenth."""
    scheduler = stage.scheduler(limits=Limits(initial=1, concurrency=1))
    stage.accept(scheduler, "first@example.net")
    stage.accept(scheduler, "normal@example.net")
    stage.accept(scheduler, "low@example.net", asked=Asked(priority=-4))
    seen = []
    for n in range(20):
        stage.accept(scheduler, f"u{n}@example.net", asked=Asked(priority=4))
        attempt = stage.one()
        seen += attempt.to
        attempt.delivers()
        stage.advance(0)
    assert {"normal@example.net", "low@example.net"} < set(seen)


def test_urgent_mail_is_next_among_destinations(stage):
    """Where places for deliveries are scarce, the destination with urgent mail gets the next."""
    scheduler = stage.scheduler(limits=Limits(total=1))
    for n in range(4):
        stage.accept(scheduler, f"r@d{n}.example.net")
    stage.accept(scheduler, "r@urgent.example.net", asked=Asked(priority=4))
    stage.one().delivers()
    stage.advance(0)
    assert stage.one().to == ["r@urgent.example.net"]


def test_a_report_has_the_priority_of_its_message(stage):
    """RFC 6710: what is said about urgent mail is urgent."""
    asked = Asked(priority=4)
    message_id = stage.accept(stage.scheduler(), "r@example.net", asked=asked)
    ends(stage.one(), Verdict.FAILED, code=550, enhanced="5.1.1")
    ((row, _),) = stage.reports(message_id)
    assert row.priority == 4
    assert stage.rows(row.id)[0].urgency == 1


def test_what_is_to_return_is_never_begun_after_its_deadline(stage):
    """RFC 2852, mode R: after an outage of ours it comes back; other mail is tried."""
    asked = Asked(deliver_by=DeliverBy(stage.now_ms() + 60_000, "R"))
    message_id = stage.accept(None, "r@example.net", asked=asked, expires_s=60)
    stage.advance(120)
    stage.scheduler()
    stage.advance(2)
    assert [attempt.to for attempt in stage.take()] == [["a@example.org"]]  # the report
    assert told(stage, message_id) == [
        ("a@example.org", "Not delivered", {"r@example.net": ("failed", "5.4.7")})
    ]
