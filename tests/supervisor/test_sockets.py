"""The sockets of all workers: bound once, and nobody is accepted by who has bound them."""

import os
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from mta.supervisor import sockets
from mta.supervisor.sockets import Sockets


@pytest.fixture
def bound(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Two listeners on free ports, one of them in the file system."""
    listeners = [
        SimpleNamespace(name="smtps", endpoint="tcp:0:interface=127.0.0.1"),
        SimpleNamespace(name="local", endpoint=f"unix:{tmp_path / 'smtp'}"),
    ]
    monkeypatch.setattr(sockets, "listeners", lambda settings: listeners)
    monkeypatch.setattr(sockets, "monitor_endpoint", lambda endpoint, number: endpoint)
    found = Sockets(reactor)
    settings: Any = SimpleNamespace(metrics=SimpleNamespace(listen="tcp:0:interface=127.0.0.1"))
    found.bind(settings, 2)
    yield found
    close(found)


def close(found: Sockets) -> None:
    """Let go of everything, with as many turns of the reactor as that takes."""
    turning: Any = reactor
    closed: list[object] = []
    Deferred.fromCoroutine(found.close()).addBoth(closed.append)
    for _ in range(10):
        turning.runUntilCurrent()
    assert closed == [None]


def test_the_supervisor_does_not_accept(bound: Any) -> None:
    """A client that it took would wait for a greeting for ever."""
    reading: Any = reactor
    descriptors = bound.descriptors(1)
    assert sorted(descriptors) == ["--listener=local", "--listener=smtps", "--monitor"]
    inherited = set(descriptors.values())
    assert not [one for one in reading.getReaders() if one.fileno() in inherited]


def test_the_monitor_alone_is_each_workers_own(bound: Any) -> None:
    """Sockets of clients are the same for all."""
    first, second = bound.descriptors(1), bound.descriptors(2)
    assert first.pop("--monitor") != second.pop("--monitor")
    assert first == second


def test_closing_ends_no_socket_of_the_workers(bound: Any) -> None:
    """Attack on who is connected: the supervisor stops first, and its workers finish."""
    shared = socket.socket(fileno=os.dup(bound.descriptors(1)["--listener=smtps"]))
    with shared, socket.create_connection(shared.getsockname(), 5) as client:
        close(bound)
        shared.settimeout(5)
        accepted, _ = shared.accept()
        with accepted:
            accepted.sendall(b"220 ")
            assert client.recv(4) == b"220 "


def test_places_are_as_people_write_them(bound: Any, tmp_path: Path) -> None:
    """A path is a path."""
    tcp, local = bound.places()
    assert tcp.startswith("127.0.0.1:")
    assert local == str(tmp_path / "smtp")
