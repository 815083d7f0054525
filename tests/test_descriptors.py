"""Nearly or quite out of descriptors: clients are told so, and an operator hears of it once."""

import os
import resource
import socket
from collections.abc import Iterator

import pytest
from twisted.internet import tcp
from twisted.internet.task import Clock

from mta.descriptors import WORDS, Descriptors


@pytest.fixture
def descriptors(monkeypatch) -> Iterator[tuple[Descriptors, Clock, list[str]]]:
    """Give the descriptors of this process, a clock, and what is told."""
    monkeypatch.setitem(vars(tcp), "_accept", vars(tcp)["_accept"])  # put back afterwards
    clock, told = Clock(), []
    made = Descriptors(clock)
    made.told = told.append
    made.install()
    yield made, clock, told
    os.close(made._spare)


@pytest.fixture
def limit() -> Iterator[object]:
    """Give a function that allows this process so many descriptors above those in use."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def allow(spare: int | None) -> None:
        if spare is None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            return
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + spare, hard))

    yield allow
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_short_before_the_last(descriptors, limit):
    """Some are kept for mail that is here; it is said once, and once when it is over."""
    made, clock, told = descriptors
    assert not made.short()
    limit(1)
    assert made.short()
    assert made.short()
    clock.advance(60)
    assert len(told) == 1
    assert "descriptors are in use" in told[0]
    limit(None)
    assert not made.short()
    clock.advance(5)
    assert told[1:] == [""]
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize("plain", [True, False])
def test_none_left(descriptors, limit, plain):
    """The client is accepted with the one that was kept, told where it understands, and gone."""
    made, _, told = descriptors
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        client.settimeout(10)
        if plain:
            made.speak(server.fileno())
        limit(0)
        found = list(vars(tcp)["_accept"](None, range(5), server, None))
        limit(None)
        assert found == []
        assert client.recv(100) == (WORDS if plain else b"")
        assert client.recv(100) == b""
    assert len(told) == 1


def test_enough(descriptors):
    """With descriptors left connections are accepted as ever."""
    _, _, told = descriptors
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        server.setblocking(False)
        ((accepted, address),) = vars(tcp)["_accept"](None, range(5), server, None)
        assert address == client.getsockname()
        accepted.close()
    assert told == []


def test_a_low_number_needs_no_look(descriptors, limit):
    """What a connection has got tells how many are in use; without one it is found out."""
    made, _clock, told = descriptors
    limit(1)
    made.accepted(5)
    assert not made.short()
    assert told == []
    assert made.short()  # of the next nothing is known
    made.accepted(made._many)
    assert made.short()
