"""The reactor calls connections without the legacy log's context, and minds what they raise."""

from socket import socketpair

import pytest
from twisted.internet import epollreactor
from twisted.internet.error import ConnectionLost
from twisted.python import context, log

from mta import turns


@pytest.fixture
def reactor(monkeypatch):
    """Give a reactor that has been told."""
    monkeypatch.setitem(vars(epollreactor), "log", epollreactor.log)  # put back afterwards
    turns.install()
    return epollreactor.EPollReactor()


class Pair:
    """One end of a pair of sockets, with something to read."""

    def __init__(self, pair, work):
        self.socket, other = pair
        other.send(b"x")
        self.work = work
        self.seen = []

    def logPrefix(self):
        raise AssertionError("nobody needs it")

    def fileno(self):
        return self.socket.fileno()

    def doRead(self):
        self.seen.append((self.socket.recv(10), context.get(log.ILogContext)["system"]))
        return self.work()

    def connectionLost(self, reason):
        self.seen.append(reason.type)


@pytest.fixture
def pair():
    """Give two connected sockets."""
    ends = socketpair()
    yield ends
    for one in ends:
        one.close()


def test_a_connection_is_called(reactor, pair):
    """What has come is read, and no context has been made for the log."""
    end = Pair(pair, lambda: None)
    reactor.addReader(end)
    reactor.doIteration(1)
    assert end.seen == [(b"x", "-")]


def test_what_fails_is_told_and_disconnected(reactor, pair):
    """A fault in a connection is logged, ends that connection, and leaves the reactor at work."""
    heard = []
    log.addObserver(heard.append)
    end = Pair(pair, lambda: 1 / 0)
    reactor.addReader(end)
    try:
        reactor.doIteration(1)
    finally:
        log.removeObserver(heard.append)
    assert end.seen == [(b"x", "-"), ZeroDivisionError]
    assert [one["failure"].type for one in heard if one["isError"]] == [ZeroDivisionError]


def test_a_fault_of_the_reactor_itself_is_told(reactor, pair):
    """Even what fails outside of the connection's own work is logged and not thrown."""
    heard = []
    log.addObserver(heard.append)
    end = Pair(pair, ConnectionLost)

    def lost(reason):
        raise KeyError("in connectionLost")

    end.connectionLost = lost
    reactor.addReader(end)
    try:
        reactor.doIteration(1)
    finally:
        log.removeObserver(heard.append)
    assert [one["failure"].type for one in heard if one["isError"]] == [KeyError]
