"""Connections that are used again: what goes over them, how long they live, how they die."""

from collections.abc import Callable
from typing import Any

import pytest

from mta.delivery.routes import Mx, Route
from mta.mail.envelope import Job
from mta.mail.outcome import Verdict


def test_second_message(world: Any, job: Callable[..., Job]) -> None:
    """On a connection in use a message costs two writes and two rounds, nothing else."""
    host = world.host()
    world.deliver(job())
    (wire,) = host.connections
    wire.writes.clear()
    (outcome,) = world.deliver(job())
    assert wire.writes == [
        b"MAIL FROM:<a@here.test> SIZE=39\r\nRCPT TO:<b@there.test>\r\nDATA\r\n",
        b"Subject: hi\r\n\r\n..dots\r\n...and dots\r\nend\r\n.\r\n",
    ]
    assert outcome.verdict is Verdict.DELIVERED
    assert outcome.peer.use == 2
    assert outcome.timing.connect == 0


def test_other_domain_same_host(world: Any, job: Callable[..., Job]) -> None:
    """Connections belong to hosts, not to domains."""
    host = world.host()
    world.deliver(job())
    world.deliver(job("b@elsewhere.test"))
    assert len(host.connections) == 1


def test_other_tls_other_connection(world: Any, job: Callable[..., Job]) -> None:
    """A connection in the clear never serves a route that wants to know better."""
    host = world.host()
    world.deliver(job())
    world.use(Route("strict", Mx(tls="verify")))
    (outcome,) = world.deliver(job())
    assert (outcome.verdict, outcome.command) == (Verdict.DEFERRED, "STARTTLS")
    assert len(host.connections) == 2
    assert len(host.messages) == 1


def test_reset_on_reuse(world: Any, job: Callable[..., Job]) -> None:
    """A transaction that was left open is reset by the next one."""
    host = world.host(RCPT=[b"550 5.1.1 Nobody\r\n"])
    world.deliver(job())
    (outcome,) = world.deliver(job())
    assert outcome.verdict is Verdict.DELIVERED
    assert len(host.connections) == 1
    assert b"RSET\r\nMAIL" in host.connections[0].writes[-2]


def test_idle_connection_is_closed(world: Any, job: Callable[..., Job]) -> None:
    """After five idle seconds the connection is closed, with QUIT."""
    host = world.host()
    world.deliver(job())
    world.reactor.advance(4.9)
    world.reactor.settle()
    assert host.connections[0].closed is None
    world.reactor.advance(0.2)
    world.reactor.settle()
    assert host.connections[0].commands[-1] == "QUIT"
    assert host.connections[0].closed
    assert world.reactor.getDelayedCalls() == []


def test_messages_per_connection(world: Any, job: Callable[..., Job]) -> None:
    """A connection is not kept for ever."""
    host = world.host()
    world.use(messages_per_connection=2)
    for _ in range(5):
        world.deliver(job())
    assert [wire.commands.count("MAIL") for wire in host.connections] == [2, 2, 1]
    assert [wire.closed is not None for wire in host.connections] == [True, True, False]


def test_few_idle_connections(world: Any, job: Callable[..., Job]) -> None:
    """The oldest goes when there are too many."""
    world.use(idle_connections=2)
    hosts = []
    for n in range(3):
        hosts.append(world.host(f"mx{n}.test", f"192.0.2.{n}"))
        world.mx[f"d{n}.test"] = [f"mx{n}.test"]
        world.deliver(job(f"b@d{n}.test"))
    assert [host.connections[0].closed is not None for host in hosts] == [True, False, False]


def die_silently(wire: Any) -> None:
    wire._stalled = True
    wire.write = lambda data: wire.hang_up()


def die_with_421(wire: Any) -> None:
    wire.host.script["MAIL"] = [b"421 4.4.2 You were idle too long\r\n"]


@pytest.mark.parametrize("die", [die_silently, die_with_421])
def test_dead_connection_is_no_failure(
    world: Any, job: Callable[..., Job], die: Callable[[Any], None]
) -> None:
    """A connection that died while idle is replaced; nobody is deferred for it."""
    host = world.host()
    world.deliver(job())
    die(host.connections[0])
    (outcome,) = world.deliver(job())
    assert outcome.verdict is Verdict.DELIVERED
    assert (outcome.peer.use, len(host.connections), len(host.messages)) == (1, 2, 2)


def test_dead_connection_counts_once_something_was_answered(
    world: Any, job: Callable[..., Job]
) -> None:
    """After an answer to MAIL a lost connection is an ordinary failure of the site."""
    host = world.host(RCPT=[b"250 2.1.5 Ok\r\n", "close"])
    world.deliver(job())
    (outcome,) = world.deliver(job())
    assert (outcome.verdict, outcome.command) == (Verdict.DEFERRED, "RCPT")
    assert len(host.connections) == 1


def test_death_while_idle_is_noticed(world: Any, job: Callable[..., Job]) -> None:
    """A host that closes an idle connection, or says 421 on it, is dialled anew."""
    host = world.host()
    world.deliver(job())
    host.connections[0].hang_up()
    world.reactor.settle()
    world.deliver(job())
    host.connections[1].say(b"421 4.4.2 Bye\r\n")
    world.reactor.settle()
    assert host.connections[1].closed == "aborted"
    world.deliver(job())
    assert len(host.connections) == 3
    assert [wire.commands.count("MAIL") for wire in host.connections] == [1, 1, 1]


def test_not_reused_after_421(world: Any, job: Callable[..., Job]) -> None:
    """Whoever answered the dot with 421 is closing."""
    host = world.host(end_of_data=[b"421 4.3.2 Not now\r\n"])
    (outcome,) = world.deliver(job())
    assert (outcome.verdict, outcome.code) == (Verdict.DEFERRED, 421)
    assert not outcome.maybe_delivered
    world.deliver(job())
    assert len(host.connections) == 2


def test_open_connection_decides_among_equals(world: Any, job: Callable[..., Job]) -> None:
    """Of hosts of equal preference the one that is connected to is taken, never a worse one."""
    one, two = world.host("mx1.test", "192.0.2.1"), world.host("mx2.test", "192.0.2.2")
    world.mx["there.test"] = ["mx2.test"]
    world.deliver(job())
    world.mx["there.test"] = ["mx1.test", "mx2.test"]  # 0 and 10
    world.deliver(job())
    assert (len(one.messages), len(two.messages)) == (1, 1)
    world.preference = 0
    world.mx["there.test"] = ["mx3.test", "mx2.test"]
    world.deliver(job())
    assert (len(one.messages), len(two.messages)) == (1, 2)


def test_concurrent_jobs(world: Any, job: Callable[..., Job]) -> None:
    """Each job has a connection to itself; afterwards all of them wait for more."""
    host = world.host()
    results = []
    for _ in range(3):
        world.delivery.deliver(job()).addCallback(results.append)
    world.reactor.settle()
    assert len(results) == 3
    assert len(host.connections) == 3
    for _ in range(3):
        world.delivery.deliver(job()).addCallback(results.append)
    world.reactor.settle()
    assert len(results) == 6
    assert len(host.connections) == 3


def test_stop(world: Any, job: Callable[..., Job]) -> None:
    """Stopping says QUIT to the idle, and is done when they have gone."""
    host = world.host()
    world.deliver(job())
    done: list[None] = []
    world.delivery.stop().addCallback(done.append)
    assert not done
    world.reactor.settle()
    assert done == [None]
    assert host.connections[0].commands[-1] == "QUIT"
    assert world.reactor.getDelayedCalls() == []


def test_stop_does_not_wait_for_the_deaf(world: Any, job: Callable[..., Job]) -> None:
    """A host that does not answer QUIT is left after five seconds."""
    host = world.host(QUIT="stall")
    world.deliver(job())
    done: list[None] = []
    world.delivery.stop().addCallback(done.append)
    world.reactor.settle()
    assert not done
    world.reactor.advance(5)
    world.reactor.settle()
    assert done == [None]
    assert host.connections[0].closed
    assert world.reactor.getDelayedCalls() == []


def test_refused_session_is_left_in_order(world: Any, job: Callable[..., Job]) -> None:
    """After a refused greeting the client says QUIT (RFC 5321 §3.1) and closes."""
    host = world.host(greeting=b"554 5.7.1 Not you\r\n")
    world.deliver(job())
    assert host.connections[0].commands == ["QUIT"]
    assert host.connections[0].closed


def test_nothing_is_kept_after_stop(world: Any, job: Callable[..., Job]) -> None:
    """A job that ends after the stop leaves no idle connection and no timer behind."""
    host = world.host(end_of_data="stall")
    results = world.start(job())
    world.delivery.stop()
    host.connections[0].say(b"250 2.0.0 Taken\r\n")
    host.connections[0]._stalled = False
    world.reactor.settle()
    assert results[0][0].verdict is Verdict.DELIVERED
    assert host.connections[0].commands[-1] == "QUIT"
    assert world.reactor.getDelayedCalls() == []
