"""A process that nobody answers leaves the mail to others, and finds back by itself."""

import pytest

from mta.mail.events import Note
from mta.mail.outcome import Blame, Outcome, Peer, Verdict
from mta.queue.outside import FOR_S, PROBE, PROBE_S, SITES, Outside
from mta.spool import alarms

_DOMAINS = [f"d{number}.example" for number in range(SITES + 2)]


def silent(command="connect", reached=False):
    return Outcome(
        1, Verdict.DEFERRED, 0, "4.4.1", "whatever", command, Blame.SITE, reached=reached
    )


def silence(outside, sites=SITES, over_s=FOR_S):
    """Let so many sites be silent in that time; return what was said of each."""
    step = over_s / max(1, sites - 1)
    return [outside.ended(f"s{n}", [silent()], n * step, n * step) for n in range(sites)]


def test_many_silent_sites_in_a_row_are_our_own_trouble():
    """The fifth, ten seconds after the first, tells; the one before does not."""
    outside = Outside()
    assert silence(outside) == [False] * (SITES - 1) + [True]
    assert outside.cut_off


def test_one_site_again_and_again_is_its_own_trouble():
    """However often it is silent."""
    outside = Outside()
    assert not any(outside.ended("s", [silent()], n * 10.0, n * 10.0) for n in range(100))
    assert not outside.cut_off


def test_a_burst_tells_nothing_yet():
    """A second without an answer is no sign."""
    outside = Outside()
    silence(outside, 50, over_s=FOR_S / 2)
    assert not outside.cut_off


def test_attempts_that_lasted_tell_at_once():
    """They were begun together and ended together, and nobody has answered meanwhile."""
    outside = Outside()
    assert [outside.ended(f"s{n}", [silent()], 0.0, 30.0) for n in range(5)] == [False] * 4 + [True]


def test_an_answer_in_the_meantime_counts():
    """Attempts that were begun before it say nothing of the time before it."""
    outside = Outside()
    outside.answered(25.0)
    assert not any(outside.ended(f"s{n}", [silent()], 0.0, 30.0) for n in range(9))
    assert outside.ended("x", [silent()], 0.0, 35.0)


def test_whoever_answers_ends_it():
    """A refusal, and a connection that is refused, show that the way is there."""
    refused = Outcome(1, Verdict.FAILED, 550, "5.1.1", "no", "RCPT", peer=Peer("mx", "192.0.2.1"))
    for answer in (refused, silent(reached=True)):
        outside = Outside()
        silence(outside)
        assert outside.ended("x", [answer], 11.0, 11.0)
        assert not outside.cut_off
        assert outside.silent == set()


def test_what_was_cut_off_by_ourselves_says_nothing():
    """Neither a policy that cannot be met nor the end of the service is silence."""
    outside = Outside()
    for n in range(20):
        outside.ended(f"s{n}", [silent(command="TLS policy", reached=None)], 0.0, n * 10.0)
        outside.ended(f"t{n}", [silent(command="", reached=None)], 0.0, n * 10.0)
    assert not outside.cut_off


@pytest.mark.parametrize("peer", [None, Peer("/var/mail/ann", final=True)])
def test_what_never_leaves_this_host_says_nothing(peer):
    """A Maildir, a socket and a route that discards take mail however cut off we are."""
    outside = Outside()
    silence(outside)
    local = Outcome(1, Verdict.DELIVERED, 250, "2.0.0", "written", "end of data", peer=peer)
    assert not outside.ended("x", [local], 11.0, 11.0)
    assert outside.cut_off


def test_now_and_then_something_is_tried():
    """Once in a while, as long as it lasts."""
    outside = Outside()
    silence(outside)
    assert not outside.may_try(FOR_S + PROBE_S - 1)
    assert outside.may_try(FOR_S + PROBE_S)
    outside.tries(FOR_S + PROBE_S)
    assert not outside.may_try(FOR_S + PROBE_S + 1)


def cut_off(stage, scheduler):
    for number, domain in enumerate(_DOMAINS):
        stage.accept(scheduler, f"u{number}@{domain}")
    for attempt in stage.take():
        stage.advance(2.0)
        attempt.ends(*(silent() for _ in attempt.job.recipients))
    stage.advance(0)


def test_mail_is_left_to_others_and_tried_a_little_at_a_time(stage):
    """No attempt is begun for what is due, but for a handful; an operator can see why."""
    scheduler = stage.scheduler()
    cut_off(stage, scheduler)
    (alarm,) = stage.database.read(alarms.everybodys).result
    assert alarm.name == "outside"
    for number in range(20):
        stage.accept(scheduler, f"v{number}@later{number}.example")
    stage.advance(1.0)
    assert stage.take() == []
    stage.advance(PROBE_S)
    stage.advance(1.0)
    assert 1 <= len(stage.take()) <= PROBE


def test_the_first_answer_ends_it(stage):
    """All that waits is begun at once, and the alarm is gone."""
    scheduler = stage.scheduler()
    cut_off(stage, scheduler)
    for number in range(20):
        stage.accept(scheduler, f"v{number}@later{number}.example")
    stage.advance(PROBE_S)
    stage.advance(1.0)
    probes = stage.take()
    probes[0].delivers()
    stage.advance(1.0)
    assert len(stage.take()) + len(probes) == 20
    assert stage.database.read(alarms.everybodys).result == []
    assert any(isinstance(e, Note) and "answers again" in e.text for e in stage.events)
