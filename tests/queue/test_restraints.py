"""What is suspended is not dialled and loses nothing; what is slowed down goes on slowly."""

from collections.abc import Callable
from typing import Any

import pytest

from mta.causes.pattern import Pattern
from mta.causes.rules import Action, Rule, Rules
from mta.mail.cause import Cause
from mta.mail.envelope import Asked, DeliverBy, Origin
from mta.mail.events import Restrained
from mta.mail.outcome import Blame, Outcome, Peer, Verdict
from mta.mail.restraint import Restraint
from mta.mail.site import Site
from mta.spool import restraints
from mta.spool.engine import reading, writing

Write = Callable[..., Any]


class Provider:
    """One.example and two.example are one site; every other domain is one by itself."""

    site = Site("site:provider.example", "provider.example", ("mx.provider.example",))

    def known(self, destination):
        name = destination.removeprefix("mx:")
        at_provider = name in ("one.example", "two.example")
        return self.site if at_provider else Site(destination, name)

    alone = known


def write(stage, fn, *args):
    with writing(stage.database.engine) as conn:
        return fn(conn, *args)


def suspend(stage, scope, name, until_s=None, **more):
    """Suspend as an operator does; a running scheduler hears of it within a second."""
    now_ms = stage.now_ms()
    until_ms = None if until_s is None else now_ms + until_s * 1000
    wanted = Restraint(0, "suspend", scope, name, "complaints", now_ms, until_ms, who="ann", **more)
    return write(stage, restraints.suspend, wanted).id


def resume(stage, id_):
    return write(stage, restraints.end, [id_], "ann", stage.now_ms())


def tell(*rules):
    return {"causes": Rules(rules)}


def rule(verb, samples=3, for_s=60.0):
    action = Action(verb, for_s, samples, 600.0)
    return Rule("mine", Cause.RATE_LIMITED, (Pattern("rate limit"),), action=action)


def by_sender(sender, domain, chosen, message_id):
    """Say from where mail goes out: each of two senders has an address of its own, others none."""
    return ({"a": "192.0.2.1", "b": "192.0.2.2"}.get(sender[:1], ""),)


def limits(attempt):
    attempt.all(Verdict.DEFERRED, 421, "4.7.28", "rate limit", Blame.RECIPIENT)


@pytest.mark.parametrize(
    ("scope", "name"),
    [
        ("all", ""),
        ("site", "provider.example"),
        ("domain", "one.example"),
        ("login", "app7"),
        ("route", "bulk"),
    ],
)
def test_what_is_suspended_waits_and_comes_back_at_once(any_stage, scope, name):
    """Nothing is dialled, no attempt is used up, others go on; a resume brings it back at once."""
    stage = any_stage
    scheduler = stage.scheduler(names=Provider())
    scheduler.restraints.route_of = lambda sender, domain, chosen: (
        "bulk" if domain == "one.example" else "default"
    )
    id_ = suspend(stage, scope, name)
    stage.advance(1)
    message_id = stage.accept(scheduler, "u@one.example", origin=Origin(login="app7"))
    assert stage.take() == []
    [(state, attempts, wait_s)] = stage.states(message_id)
    assert (state, attempts) == ("queued", 0)
    assert wait_s > 3600
    if scope != "all":
        stage.accept(scheduler, "u@other.example")
        stage.one().delivers()
    assert resume(stage, id_) == 1
    stage.advance(1)
    stage.advance(0)
    stage.one().delivers()
    stage.advance(0)
    assert stage.states(message_id) == [("delivered", 1, 0)]


def test_what_runs_ends_and_what_waits_for_its_turn_does_not_begin(stage):
    """A delivery under way is let finish; its neighbours in memory go back."""
    scheduler = stage.scheduler(names=Provider())
    ids = [stage.accept(scheduler, "u@one.example") for _ in range(7)]
    running = stage.take()
    assert len(running) == 5
    suspend(stage, "site", "provider.example")
    stage.advance(1)
    for attempt in running:
        attempt.delivers()
    stage.advance(0)
    assert stage.take() == []
    states = [stage.states(one)[0][:2] for one in ids]
    assert states == [("delivered", 1)] * 5 + [("queued", 0)] * 2


def test_a_suspension_holds_when_the_service_starts_again(any_stage):
    """What was suspended is not dialled by the next process, not even mail that is due."""
    stage = any_stage
    message_id = stage.accept(None, "u@one.example")
    suspend(stage, "domain", "one.example")
    stage.scheduler()
    stage.advance(1)
    stage.advance(1)
    assert stage.take() == []
    assert stage.states(message_id)[0][:2] == ("queued", 0)
    [event] = stage.seen(Restrained)
    assert (event.begins, event.already) == (True, True)


def test_it_ends_by_itself(stage):
    """After --for nobody has to do anything."""
    scheduler = stage.scheduler()
    suspend(stage, "domain", "one.example", 100)
    stage.advance(1)
    message_id = stage.accept(scheduler, "u@one.example")
    assert stage.states(message_id) == [("queued", 0, 99.0)]
    stage.advance(99)
    stage.advance(1)
    stage.advance(0)
    stage.one().delivers()
    assert [event.begins for event in stage.seen(Restrained)] == [True, False]


def test_a_suspended_domain_does_not_hold_up_others_of_the_same_message(stage):
    """At a smarthost one delivery has recipients of many domains: only those meant wait."""
    scheduler = stage.scheduler()
    scheduler._destination_of = lambda *_: "smarthost:all"
    suspend(stage, "domain", "one.example")
    suspend(stage, "domain", "two.example")
    stage.advance(1)
    message_id = stage.accept(
        scheduler, "a@one.example", "b@two.example", "c@three.example", "d@one.example"
    )
    attempt = stage.one()
    assert attempt.to == ["c@three.example"]
    attempt.delivers()
    stage.advance(0)
    assert [state for state, *_ in stage.states(message_id)] == [
        "queued", "queued", "delivered", "queued",
    ]  # fmt: skip
    assert scheduler.active == 0


def test_mail_does_not_grow_old_while_it_is_suspended(any_stage):
    """Its expiry moves by the wait, once for all recipients; ended early, by what it has waited."""
    stage = any_stage
    scheduler = stage.scheduler(delay_warning_s=None)
    id_ = suspend(stage, "all", "")
    stage.advance(1)
    message_id = stage.accept(scheduler, "u@one.example", "v@two.example", expires_s=1000)
    accepted_ms = stage.now_ms()
    stage.advance(5000)
    stage.advance(1)
    assert [state for state, *_ in stage.states(message_id)] == ["queued", "queued"]
    resume(stage, id_)
    stage.advance(1)
    stage.advance(0)
    for attempt in stage.take():
        attempt.defers()
    stage.advance(0)
    assert [state for state, *_ in stage.states(message_id)] == ["queued", "queued"]
    with reading(stage.database.engine) as conn:
        [expires_ms] = conn.exec_driver_sql("SELECT expires_ms FROM messages").scalars()
    assert 5_990_000 < expires_ms - accepted_ms < 6_010_000


def test_mail_grows_old_where_the_operator_says_so(stage):
    """With "expires" what runs out of time is returned, with the reason."""
    scheduler = stage.scheduler(delay_warning_s=None)
    suspend(stage, "domain", "one.example", expires=True)
    stage.advance(1)
    message_id = stage.accept(scheduler, "u@one.example", expires_s=1000)
    for _ in range(120):
        stage.advance(10)
    assert stage.states(message_id)[0][0] == "expired"
    [(_, report)] = stage.reports(message_id)
    assert b"complaints" in report


def test_a_deadline_is_kept(stage):
    """Mail that its sender wants back at a time (RFC 2852) goes back then, suspended or not."""
    scheduler = stage.scheduler(delay_warning_s=None)
    suspend(stage, "domain", "one.example")
    stage.advance(1)
    by = DeliverBy(stage.now_ms() + 600_000, "R", False)
    message_id = stage.accept(scheduler, "u@one.example", asked=Asked(deliver_by=by))
    for _ in range(70):
        stage.advance(10)
    assert stage.states(message_id)[0][0] == "expired"


def test_the_sender_is_warned_once_and_the_mail_waits_on(stage):
    """Who waits for a suspension hears of it at the usual time, with the reason."""
    scheduler = stage.scheduler(delay_warning_s=600)
    id_ = suspend(stage, "domain", "one.example")
    stage.advance(1)
    message_id = stage.accept(scheduler, "u@one.example")
    for _ in range(80):
        stage.advance(10)
    [(_, report)] = stage.reports(message_id)
    assert b"Action: delayed" in report and b"complaints" in report
    for attempt in stage.take():  # the report itself
        attempt.delivers()
    resume(stage, id_)
    stage.advance(1)
    stage.advance(0)
    assert stage.one().to == ["u@one.example"]


def test_a_resume_beside_a_put_back_loses_nothing(any_stage):
    """What is put back when its restraint has just been ended is due at once."""
    stage = any_stage
    scheduler = stage.scheduler()
    id_ = suspend(stage, "domain", "one.example")
    stage.advance(1)
    resume(stage, id_)  # not heard of yet
    message_id = stage.accept(scheduler, "u@one.example")
    assert stage.take() == []
    assert stage.states(message_id) == [("queued", 0, 0)]
    stage.advance(1)
    stage.advance(0)
    stage.one().delivers()


def test_replies_suspend_exactly_their_site(any_stage):
    """After so many samples nothing is dialled there, and others go on; each decision is a row."""
    stage = any_stage
    scheduler = stage.scheduler(names=Provider(), **tell(rule("suspend")))
    first = [stage.accept(scheduler, f"u{n}@one.example") for n in range(3)]
    for attempt in stage.take():
        limits(attempt)
    stage.advance(0)
    assert {stage.states(one)[0][:2] for one in first} == {("queued", 1)}
    later = stage.accept(scheduler, "v@two.example")
    stage.accept(scheduler, "w@other.example")
    assert stage.one().to == ["w@other.example"]
    assert stage.states(later)[0][:2] == ("queued", 0)
    [row] = write(stage, restraints.holding, stage.now_ms())
    assert (row.verb, row.site_key, row.cause, row.rule) == (
        "suspend", "site:provider.example", "rate-limited", "mine",
    )  # fmt: skip
    assert row.samples == ("421 4.7.28 rate limit",) * 3
    assert (row.was, row.level, row.until_ms - row.since_ms) == (0, 1, 60_000)
    stage.advance(61)
    stage.advance(1)
    stage.advance(0)
    assert stage.one().to == ["v@two.example"]


def test_a_suspension_that_follows_soon_lasts_twice_as_long(stage):
    """Repeats double it; two processes that see the same decide once."""
    wanted = restraints.Wanted("suspend", "site:x", "x", "", "blocked-ip", "r", ("no",), 60_000)
    first = write(stage, restraints.impose, wanted, 1_000_000)
    assert write(stage, restraints.impose, wanted, 1_000_500) is None
    second = write(stage, restraints.impose, wanted, 1_090_000)
    assert (first.level, second.was, second.level) == (1, 1, 2)
    assert second.until_ms - second.since_ms == 120_000
    much_later = write(stage, restraints.impose, wanted, 9_000_000)
    assert (much_later.was, much_later.level) == (0, 1)


def test_replies_slow_their_site_down_and_it_recovers(stage):
    """One delivery a second at first, half as many with each repeat; then a level less."""
    scheduler = stage.scheduler(names=Provider(), **tell(rule("slow", for_s=600.0)))
    for number in range(3):
        stage.accept(scheduler, f"u{number}@one.example")
    for attempt in stage.take():
        limits(attempt)
    stage.advance(1)
    ids = [stage.accept(scheduler, f"v{n}@two.example") for n in range(4)]
    stage.accept(scheduler, "w@other.example")
    begun = []
    for _ in range(80):
        for attempt in stage.take():
            begun += attempt.to
            attempt.delivers()
        stage.advance(0.1)
    assert begun[:2] == ["v0@two.example", "w@other.example"]
    assert len(begun) == 5
    assert [stage.states(one)[0][0] for one in ids] == ["delivered"] * 4
    [row] = write(stage, restraints.holding, stage.now_ms())
    assert (row.verb, row.was, row.level) == ("slow", 0, 1)
    again = write(
        stage,
        restraints.impose,
        restraints.Wanted("slow", row.site_key, row.name, "", "rate-limited", "mine", (), 600_000),
        row.since_ms + 100_000,
    )
    assert (again.was, again.level) == (1, 2)
    levels = [again.level_at(again.since_ms + at_s * 1000) for at_s in (0, 599, 601, 1199, 1201)]
    assert levels == [2, 2, 1, 1, 0]


@pytest.mark.parametrize("verb", ["suspend", "slow"])
def test_only_the_source_address_that_the_reply_was_said_to(stage, verb):
    """What one address of ours has earned holds for it at that site, and for no other."""
    scheduler = stage.scheduler(names=Provider(), **tell(rule(verb, for_s=600.0)))
    scheduler.restraints.use_sources(by_sender, shaped=False)
    for number in range(3):
        stage.accept(scheduler, f"u{number}@one.example")
    for attempt in stage.take():
        peer = Peer("mx.provider.example", "198.51.100.1", source="192.0.2.1")
        text = ("421", "4.7.28", "rate limit")
        attempt.ends(Outcome(0, Verdict.DEFERRED, int(text[0]), *text[1:], "RCPT", peer=peer))
    stage.advance(1)
    [row] = write(stage, restraints.holding, stage.now_ms())
    assert (row.verb, row.site_key, row.source) == (verb, "site:provider.example", "192.0.2.1")
    for number in range(3):
        stage.accept(scheduler, f"v{number}@two.example", sender="b@example.org")
    free = stage.take()
    assert len(free) == 3
    for number in range(3):
        stage.accept(scheduler, f"w{number}@two.example")
    assert len(stage.take()) == (0 if verb == "suspend" else 1)
    stage.accept(scheduler, "x@other.example")
    assert stage.one().to == ["x@other.example"]


def test_what_one_address_is_told_leaves_the_site_open_for_the_others(stage):
    """Ten 421s in a row to one of two addresses: the site is not given up, nor dialled less."""
    scheduler = stage.scheduler(names=Provider(), **tell(rule("suspend", samples=100)))
    scheduler.restraints.use_sources(by_sender, shaped=False)
    for number in range(10):
        stage.accept(scheduler, f"u{number}@one.example")
        attempt = stage.one()
        peer = Peer("mx.provider.example", "198.51.100.1", source="192.0.2.1")
        attempt.ends(
            Outcome(0, Verdict.DEFERRED, 421, "4.7.28", "rate limit", "RCPT", Blame.SITE, peer)
        )
    for number in range(5):
        stage.accept(scheduler, f"v{number}@two.example", sender="b@example.org")
    assert len(stage.take()) == 5


def test_what_the_only_address_is_told_is_a_fault_of_the_site(stage):
    """Without addresses of our own, five 421s in a row mean that it is left alone."""
    scheduler = stage.scheduler(names=Provider(), **tell(rule("suspend", samples=100)))
    for number in range(5):
        stage.accept(scheduler, f"u{number}@one.example")
        stage.one().all(Verdict.DEFERRED, 421, "4.7.28", "rate limit", Blame.SITE)
    stage.accept(scheduler, "v@two.example")
    assert stage.take() == []


def test_a_fault_of_one_recipient_has_no_consequence_without_a_rule(stage):
    """What no rule acts on changes nothing, and nothing is asked of the spool."""
    scheduler = stage.scheduler(**tell(Rule("quiet", Cause.POLICY, codes=("4",))))
    for number in range(20):
        stage.accept(scheduler, f"u{number}@one.example")
        for attempt in stage.take():
            limits(attempt)
    stage.advance(0)
    assert write(stage, _all) == []


def _all(conn):
    return restraints.latest(conn, by_rule=True) + restraints.latest(conn, by_rule=False)
