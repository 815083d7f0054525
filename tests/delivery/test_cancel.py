"""Cancelling: at any moment, and nothing stays behind."""

from collections.abc import Callable
from typing import Any

import pytest

from mta.mail.envelope import Job
from mta.mail.outcome import CUT_OFF, Verdict

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
