"""Large messages: in pieces, at the peer's pace, and never half a message passed off as whole."""

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from mta.mail.envelope import Job
from mta.mail.outcome import Blame, Verdict

CHUNK = b".line of a large message\r\n" * 10_000
MIB = 1024 * 1024


class Stored:
    """A body whose chunks come when the test lets them."""

    memory = None

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = chunks
        self.count = len(chunks)
        self.asked: list[Deferred[bytes]] = []

    def chunk(self, number: int) -> Deferred[bytes]:
        self.asked.append(Deferred())
        return self.asked[-1]

    def give(self, world: Any) -> None:
        number = len(self.asked) - 1
        self.asked[-1].callback(self._chunks[number])
        world.reactor.settle()


@pytest.fixture
def body() -> Stored:
    return Stored(CHUNK, CHUNK, b"end\r\n")


def test_in_pieces(world: Any, job: Callable[..., Job], body: Stored) -> None:
    """Chunks are read one at a time and written as they come, dot-stuffed across borders."""
    host = world.host()
    results = world.start(job(body=body))
    for n in range(3):
        assert len(body.asked) == n + 1
        body.give(world)
    ((outcome,),) = results
    assert outcome.verdict is Verdict.DELIVERED
    assert host.messages == [CHUNK + CHUNK + b"end\r\n"]
    assert host.connections[0].producer is None


def test_large_body_in_memory(world: Any, job: Callable[..., Job]) -> None:
    """What is in memory but large is not copied into one write either."""
    host = world.host()
    (outcome,) = world.deliver(job(content=CHUNK * 4))
    assert outcome.verdict is Verdict.DELIVERED
    assert host.messages == [CHUNK * 4]


def test_the_peer_sets_the_pace(world: Any, job: Callable[..., Job], body: Stored) -> None:
    """While the peer does not read, no further chunk is asked for."""
    host = world.host()
    results = world.start(job(body=body))
    (wire,) = host.connections
    wire.producer.pauseProducing()
    body.give(world)
    assert len(body.asked) == 1
    world.reactor.advance(170)
    wire.producer.resumeProducing()
    world.reactor.settle()
    assert len(body.asked) == 2
    wire.producer.pauseProducing()
    body.give(world)
    world.reactor.advance(170)
    assert not results, "the time-out is for each block, not for the message"
    wire.producer.resumeProducing()
    body.give(world)
    assert results[0][0].verdict is Verdict.DELIVERED


def test_the_peer_stops_reading(world: Any, job: Callable[..., Job], body: Stored) -> None:
    """Attack: a peer that takes no more is left after the time-out for a block."""
    host = world.host()
    results = world.start(job(body=body))
    host.connections[0].producer.pauseProducing()
    body.give(world)
    world.reactor.advance(179)
    assert not results
    world.reactor.advance(2)
    world.reactor.settle()
    ((outcome,),) = results
    assert (outcome.verdict, outcome.command, outcome.blame) == (
        Verdict.DEFERRED,
        "DATA",
        Blame.SITE,
    )
    assert not outcome.maybe_delivered
    assert host.connections[0].closed == "aborted"


def test_a_trickle_does_not_prolong_a_block(
    world: Any, job: Callable[..., Job], body: Stored
) -> None:
    """Attack: octets from a peer that does not read leave its time-out as it is."""
    host = world.host()
    results = world.start(job(body=body))
    host.connections[0].producer.pauseProducing()
    body.give(world)
    for _ in range(181):
        world.reactor.advance(1)
        host.connections[0].say(b"2")
        world.reactor.settle()
    assert results[0][0].command == "DATA"


def test_slow_spool_is_not_the_peers_fault(
    world: Any, job: Callable[..., Job], body: Stored
) -> None:
    """While our own spool is waited for, no time-out of the peer's runs."""
    world.host()
    results = world.start(job(body=body))
    world.reactor.advance(1000)
    for _ in range(3):
        body.give(world)
    assert results[0][0].verdict is Verdict.DELIVERED


def test_missing_chunk(world: Any, job: Callable[..., Job], body: Stored) -> None:
    """A chunk that is gone is our fault: deferred; the half message is cut off, without a dot."""
    host = world.host()
    results = world.start(job(body=body))
    body.give(world)
    body.asked[-1].errback(LookupError("chunk 1 is missing"))
    world.reactor.settle()
    ((outcome,),) = results
    assert (outcome.verdict, outcome.blame, outcome.code) == (Verdict.DEFERRED, Blame.NONE, 0)
    assert "chunk 1 is missing" in outcome.text
    assert host.connections[0].closed == "aborted"
    assert host.messages == []


def test_lost_in_the_middle(world: Any, job: Callable[..., Job], body: Stored) -> None:
    """Lost before the dot: the next host gets it, and nothing is delivered twice."""
    host = world.host()
    other = world.host("mx2.test", "192.0.2.2")
    world.mx["there.test"] = ["mx.test", "mx2.test"]
    results = world.start(job(body=body))
    body.give(world)
    host.connections[0].hang_up()
    world.reactor.settle()
    body.asked[-1].callback(CHUNK)
    world.reactor.settle()
    body._chunks = (b"", b"", CHUNK, CHUNK, b"end\r\n")
    for _ in range(3):
        body.give(world)
    ((outcome,),) = results
    assert (outcome.verdict, outcome.peer.host) == (Verdict.DELIVERED, "mx2.test")
    assert other.messages == [CHUNK + CHUNK + b"end\r\n"]
    assert host.messages == []


def test_refused_in_the_middle(world: Any, job: Callable[..., Job], body: Stored) -> None:
    """A host that refuses while we are still sending is heard, and sent no more."""
    host = world.host()
    results = world.start(job(body=body))
    body.give(world)
    host.connections[0].say(b"552 5.3.4 Too big\r\n")
    world.reactor.settle()
    body.give(world)
    ((outcome,),) = results
    assert (outcome.verdict, outcome.code) == (Verdict.FAILED, 552)
    assert len(host.connections[0].writes) == 3
