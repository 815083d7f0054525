"""Cancelling: at any moment, and nothing stays behind."""

from collections.abc import Callable
from typing import Any

import pytest

from mta.mail.envelope import Job

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
