"""The listener for monitors, and what strangers may try at it."""

from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from mta.metrics import web
from mta.metrics.web import CONNECTIONS, site

ADDRESS = IPv4Address("TCP", "192.0.2.1", 4711)
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: relay\r\n\r\n"


@pytest.fixture
def listener() -> Any:
    """What the endpoint listens with; nothing is asked of the parts here."""
    parts: Any = SimpleNamespace(families=SimpleNamespace(registry=None))
    return site(parts)


def connected(listener: Any, clock: Clock | None = None) -> StringTransport:
    """Connect; the transport has what is answered.  No timer is left in the reactor."""
    transport = StringTransport(peerAddress=ADDRESS)
    protocol = listener.buildProtocol(ADDRESS)
    protocol.wrappedProtocol.callLater = (clock or Clock()).callLater
    protocol.makeConnection(transport)
    transport.protocol = protocol
    return transport


def test_health(listener: Any) -> None:
    """One line, not kept by anybody on the way."""
    transport = connected(listener)
    transport.protocol.dataReceived(HEALTH)
    head, _, body = transport.value().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nCache-Control: no-store" in head
    assert body.replace(b"\r\n", b"\n") in (b"ok\n", b"3\nok\n\n0\n\n")


def test_attack_many_requests_and_no_reading(listener: Any) -> None:
    """A connection has one answer, whatever is sent behind the first request."""
    transport = connected(listener)
    transport.protocol.dataReceived(HEALTH * 1000)
    assert transport.value().count(b"HTTP/1.1 ") == 1
    assert b"\r\nConnection: close\r\n" in transport.value()
    assert transport.disconnecting


@pytest.mark.parametrize(
    "length", [b"Content-Length: 5000000000", b"Content-Length: 1", b"Transfer-Encoding: chunked"]
)
def test_attack_a_body(listener: Any, length: bytes) -> None:
    """Nobody here reads one; it would be kept in memory or in a temporary file."""
    transport = connected(listener)
    transport.protocol.dataReceived(b"POST /metrics HTTP/1.1\r\nHost: a\r\n" + length)
    assert not transport.disconnected
    transport.protocol.dataReceived(b"\r\n\r\n")
    assert transport.disconnected or transport.disconnecting
    assert transport.value() == b""


def test_attack_headers_without_end(listener: Any) -> None:
    """They are bounded, in octets as in number."""
    for endless in (b"X: " + b"a" * 200, b"X: a\r\n" * 40):
        transport = connected(listener)
        transport.protocol.dataReceived(b"GET /healthz HTTP/1.1\r\n")
        for _ in range(200):
            if not (transport.disconnecting or transport.disconnected):
                transport.protocol.dataReceived(endless)
        assert transport.disconnecting or transport.disconnected


def test_attack_all_connections(listener: Any) -> None:
    """Beyond the bound nobody is taken; whoever leaves makes room."""
    taken = [connected(listener) for _ in range(CONNECTIONS)]
    assert listener.buildProtocol(ADDRESS) is None
    taken[0].protocol.connectionLost(None)
    assert connected(listener).value() == b""


def test_a_silent_connection_is_given_up(listener: Any) -> None:
    """After the time-out, so that the places are not held for ever."""
    clock = Clock()
    transport = connected(listener, clock)
    transport.protocol.dataReceived(b"GET /healthz HTTP/1.1\r\nHost")
    clock.advance(web.IDLE_S - 1)
    assert not transport.disconnecting
    clock.advance(1)
    assert transport.disconnecting
