"""What shaping says about connections, kept to by deliveries."""

from collections.abc import Callable
from typing import Any

import pytest

from mta.delivery.routes import Mx, Route
from mta.delivery.shaped import at_least
from mta.mail.envelope import Job
from mta.mail.outcome import Verdict
from mta.mail.security import Level, Requirement, Source
from mta.mail.shape import Shape
from mta.shaping.rules import Rule, Shaping


def shaping(**shape: Any) -> Shaping:
    return Shaping((Rule("test", Shape(**shape), mx=("mx.test",)),))


def test_messages_for_each_connection(world: Any, job: Callable[..., Job]) -> None:
    """After as many as the entry says a new connection is made."""
    host = world.host()
    world.use(shaping=shaping(messages_per_connection=2))
    for _ in range(5):
        world.deliver(job())
    assert len(host.connections) == 3


def test_recipients_for_each_transaction(world: Any, job: Callable[..., Job]) -> None:
    """More recipients go in further transactions, on the same connection."""
    host = world.host()
    world.use(shaping=shaping(recipients_per_transaction=2))
    world.deliver(job(*(f"u{n}@there.test" for n in range(5))))
    assert [len(recipients) for _, recipients in host.transactions] == [2, 2, 1]
    assert len(host.connections) == 1


def test_idle_time(world: Any, job: Callable[..., Job]) -> None:
    """A connection is closed when the entry says, though another one may wait for longer."""
    short, long = world.host(), world.host("mx2.test", "192.0.2.2")
    world.mx["long.test"] = ["mx2.test"]
    world.use(shaping=shaping(idle_s=2.0), idle_s=60.0)
    world.deliver(job("b@long.test"))
    world.deliver(job())
    world.reactor.advance(3)
    world.reactor.settle()
    assert b"QUIT" in short.connections[0].writes[-1]
    assert b"QUIT" not in long.connections[0].writes[-1]


def test_other_hosts_are_not_meant(world: Any, job: Callable[..., Job]) -> None:
    """An entry is about its own site."""
    host = world.host("mx2.test", "192.0.2.2")
    world.mx["other.test"] = ["mx2.test"]
    world.use(shaping=shaping(messages_per_connection=1))
    for _ in range(3):
        world.deliver(job("b@other.test"))
    assert len(host.connections) == 1


def test_nothing_in_the_clear_where_a_version_is_asked_for(
    world: Any, job: Callable[..., Job]
) -> None:
    """Attack: STARTTLS is stripped from the answer to EHLO.  The message waits."""
    host = world.host()
    world.use(shaping=shaping(tls_minimum="TLSv1.2"))
    (outcome,) = world.deliver(job())
    assert (outcome.verdict, outcome.command) == (Verdict.DEFERRED, "STARTTLS")
    assert host.messages == []


@pytest.mark.parametrize(
    ("level", "source", "minimum", "then"),
    [
        (Level.MAY, Source.DEFAULT, "", (Level.ENCRYPT, "TLSv1.2")),
        (Level.VERIFY, Source.POLICY, "", (Level.VERIFY, "TLSv1.2")),
        (Level.DANE, Source.DANE, "TLSv1.3", (Level.DANE, "TLSv1.3")),
        (Level.NONE, Source.ROUTE, "", (Level.NONE, "")),
        (Level.MAY, Source.MESSAGE, "", (Level.MAY, "")),
        (Level.VERIFY, Source.MESSAGE, "", (Level.VERIFY, "TLSv1.2")),
    ],
)
def test_what_a_version_adds(
    level: Level, source: Source, minimum: str, then: tuple[Level, str]
) -> None:
    """It never makes a requirement weaker, and a route or message that waives TLS is obeyed."""
    required = Requirement(level, minimum=minimum, source=source)
    found = at_least(required, Shape(tls_minimum="TLSv1.2", names=("entry",)))
    assert isinstance(found, Requirement)
    assert (found.level, found.minimum) == then


def test_a_route_without_tls_stays_without(world: Any, job: Callable[..., Job]) -> None:
    """``tls = "none"`` is somebody's word, too."""
    host = world.host()
    world.use(Route("plain", Mx(tls="none")), shaping=shaping(tls_minimum="TLSv1.2"))
    world.deliver(job())
    assert len(host.messages) == 1
