"""Cancelling: at any moment, and nothing stays behind."""

from collections.abc import Callable
from typing import Any

import pytest

from mta.delivery.routes import Lmtp, Mx, OnUnknown, Route
from mta.mail.envelope import Job
from mta.mail.outcome import CUT_OFF, Blame, Outcome, Verdict
from mta.queue.health import Health, health

STAGES = ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "end of data"]


@pytest.mark.parametrize("stage", STAGES)
def test_cancelled_while_waiting(world: Any, job: Callable[..., Job], stage: str) -> None:
    """The connection is closed at once, no other host is tried, no timer is left."""
    host = world.host()
    host.script[stage] = "stall"
    world.host("mx2.test", "192.0.2.2")
    world.mx["there.test"] = ["mx.test", "mx2.test"]
    assert world.start(job()) == []
    world.cancel()
    assert host.connections[0].closed == "aborted"
    assert world.reactor.dialled == [("192.0.2.1", 25)]
    assert world.reactor.getDelayedCalls() == []
    assert world.events == []


def test_cancelled_while_connecting(world: Any, job: Callable[..., Job]) -> None:
    """A connection in the making is given up, and the next host is not tried."""
    host = world.host()
    host.silent = True
    world.host("mx2.test", "192.0.2.2")
    world.mx["there.test"] = ["mx.test", "mx2.test"]
    assert world.start(job()) == []
    world.cancel()
    world.reactor.advance(60)
    assert world.reactor.dialled == [("192.0.2.1", 25)]
    assert host.connections == []


def test_cancelled_on_a_reused_connection(world: Any, job: Callable[..., Job]) -> None:
    """It is not parked again: nobody knows what it is in the middle of."""
    host = world.host(MAIL=[b"250 2.1.0 Ok\r\n", "stall"])
    world.deliver(job())
    assert world.start(job()) == []
    world.cancel()
    world.deliver(job())
    assert len(host.connections) == 2
    assert host.connections[0].closed == "aborted"


def test_what_was_said_is_kept(world: Any, job: Callable[..., Job]) -> None:
    """The transcript of an attempt that is cut off ends with the command that nobody answered."""
    world.host(RCPT="stall")
    results = world.start(job())
    world.deferred.cancel()
    world.reactor.settle()
    ((outcome,),) = results
    assert (outcome.verdict, outcome.enhanced, outcome.text) == (
        Verdict.DEFERRED,
        "4.3.2",
        CUT_OFF,
    )
    said = [line[10:] for line in outcome.transcript.split("\n")]
    assert said[0] == "* connect to mx.test[192.0.2.1]:25"
    assert "> RCPT TO:<b@there.test>" in said
    assert said[-1] == "* the attempt was cut off"


def test_no_transcript_where_none_is_wanted(world: Any, job: Callable[..., Job]) -> None:
    """``spool.transcripts = "none"`` holds for attempts that are cut off too."""
    world.use(transcripts="none")
    world.host(RCPT="stall")
    results = world.start(job())
    world.deferred.cancel()
    world.reactor.settle()
    ((outcome,),) = results
    assert (outcome.text, outcome.transcript) == (CUT_OFF, "")


def test_what_was_delivered_to_the_same_host_is_told(world: Any, job: Callable[..., Job]) -> None:
    """Cut off in the second transaction of one session: the first has had its answer."""
    world.use(recipients_per_transaction=1)
    world.host(MAIL=[b"250 2.1.0 Ok\r\n", "stall"])
    results = world.start(job("b@there.test", "c@there.test"))
    world.deferred.cancel()
    world.reactor.settle()
    (outcomes,) = results
    assert [(one.recipient, one.verdict) for one in outcomes] == [
        (0, Verdict.DELIVERED),
        (1, Verdict.DEFERRED),
    ]
    assert len({one.transcript for one in outcomes}) == 1


def cut_off(world: Any, job: Job) -> list[Outcome]:
    """Cancel a delivery that waits for an answer; return what has become of it."""
    results = world.start(job)
    assert results == []
    world.deferred.cancel()
    world.reactor.settle()
    (outcomes,) = results
    assert world.reactor.getDelayedCalls() == []
    return list(outcomes)


AFTER_THE_DOT: list[tuple[OnUnknown, Verdict, str, bool, str]] = [
    ("retry", Verdict.DEFERRED, "4.3.2", False, "the message may be delivered twice"),
    ("hold", Verdict.DEFERRED, "4.3.2", True, "it may have been delivered, and is held"),
    ("delivered", Verdict.DELIVERED, "2.0.0", False, "it counts as delivered"),
]


@pytest.mark.parametrize(("policy", "verdict", "enhanced", "hold", "words"), AFTER_THE_DOT)
def test_cancelled_after_the_final_dot(
    world: Any,
    job: Callable[..., Job],
    policy: OnUnknown,
    verdict: Verdict,
    enhanced: str,
    hold: bool,
    words: str,
) -> None:
    """Nobody knows whether the host has it: the route's policy holds, and no site is blamed."""
    world.host(end_of_data="stall")
    world.use(Route("r", Mx(), on_unknown=policy))
    (outcome,) = cut_off(world, job())
    assert outcome.maybe_delivered
    assert (outcome.verdict, outcome.enhanced, outcome.hold) == (verdict, enhanced, hold)
    assert outcome.text == f"{CUT_OFF}; lost after the final dot: {words}"
    assert (outcome.command, outcome.blame) == ("end of data", Blame.NONE)
    assert outcome.peer is not None
    assert outcome.peer.host == "mx.test"
    assert health([outcome]) is Health.UNKNOWN


@pytest.mark.parametrize("binary", [False, True])
def test_cancelled_after_the_last_octet_of_a_large_message(
    world: Any, job: Callable[..., Job], binary: bool
) -> None:
    """Streamed or in chunks: what counts is whether the end has been sent."""
    body = b"Subject: large\r\n\r\n" + b"x" * 70 + b"\r\n"
    keywords = ("PIPELINING", "8BITMIME", "CHUNKING", "BINARYMIME")
    world.host(keywords=keywords, end_of_data="stall")
    (outcome,) = cut_off(world, job(content=body * 5000, binary=binary))
    assert outcome.maybe_delivered


def test_cancelled_before_the_final_dot(world: Any, job: Callable[..., Job]) -> None:
    """Before the dot there is no doubt, whatever the policy: it is put off."""
    world.host(DATA="stall")
    world.use(Route("r", Mx(), on_unknown="delivered"))
    (outcome,) = cut_off(world, job())
    assert (outcome.verdict, outcome.maybe_delivered) == (Verdict.DEFERRED, False)
    assert outcome.text == CUT_OFF


def test_refused_recipients_are_not_in_doubt(world: Any, job: Callable[..., Job]) -> None:
    """Cut off after the dot: who was refused has failed for good, and who was put off is so."""
    replies = [b"250 2.1.5 Ok\r\n", b"550 5.1.1 no\r\n", b"450 4.2.1 busy\r\n"]
    world.host(RCPT=replies, end_of_data="stall")
    outcomes = cut_off(world, job("a@there.test", "b@there.test", "c@there.test"))
    assert {one.recipient: (one.verdict, one.maybe_delivered) for one in outcomes} == {
        0: (Verdict.DEFERRED, True),
        1: (Verdict.FAILED, False),
        2: (Verdict.DEFERRED, False),
    }


def test_cancelled_between_the_answers_of_lmtp(world: Any, job: Callable[..., Job]) -> None:
    """Who has his answer has it; the other is in doubt."""
    world.host("lmtp.test", end_of_data=[b"250 kept\r\n", "stall"]).lmtp = True
    world.use(Route("r", Lmtp("lmtp.test", 24), on_unknown="hold"))
    first, second = cut_off(world, job("a@l.test", "b@l.test"))
    assert (first.verdict, first.maybe_delivered, first.hold) == (Verdict.DELIVERED, False, False)
    assert (second.verdict, second.maybe_delivered, second.hold) == (Verdict.DEFERRED, True, True)
