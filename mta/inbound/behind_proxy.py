"""Connections that come through a proxy: the PROXY header before all else, TLS included.

A listener with ``proxy`` networks talks to peers from there and to nobody else, and each must
begin with the header (``smtp.proxy_header``): a header can say anything, so it counts only from
whom the operator has named, and a peer that was named and sends none has been set up wrongly.
All others are hung up on before a word is said.

When the header is there the session takes the connection over, and nothing of this is
left on the way.  Bounded: the header in size and time, connections without one in number.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocol, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from mta.inbound.client import Client, client_of
from mta.inbound.reception import Reception
from mta.inbound.settings import ListenerSettings, within
from mta.mail.envelope import Origin
from mta.mail.events import Refused
from mta.smtp.proxy_header import ProxyHeaderError, parse


class Door(Factory):
    """Stands before what makes the sessions of a listener, ``inside``."""

    noisy = False

    def __init__(
        self,
        reception: Reception,
        inside: IProtocolFactory,
        listener: Callable[[], ListenerSettings],
    ) -> None:
        self._reception = reception
        self._inside = inside
        self._listener = listener
        self._waiting: set[_Awaiting] = set()

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Make a session, or what waits for the header; None: hang up."""
        listener = self._listener()
        if not listener.proxy:
            return self._inside.buildProtocol(addr)  # type: ignore[arg-type]
        peer = client_of(addr).host
        if not within(peer, listener.proxy):
            self.refused(peer, "not a proxy that is listed")
            return None
        if len(self._waiting) >= self._reception.settings.limits.connections:
            self.refused(peer, "connection limit")
            return None
        waiting = _Awaiting(self, self._reception, peer)
        self._waiting.add(waiting)
        return waiting

    def session(self, client: Client) -> IProtocol | None:
        """Make the session of a client that a proxy has named."""
        return self._inside.buildProtocol(client)

    def forget(self, waiting: "_Awaiting") -> None:
        """It waits no more."""
        self._waiting.discard(waiting)

    def shut_down(self) -> None:
        """Hang up on all that wait."""
        for waiting in tuple(self._waiting):
            waiting.hang_up()

    def refused(self, peer: str, reason: str) -> None:
        """Tell the log."""
        origin = Origin(listener=self._listener().name, client_address=peer)
        self._reception.emit(Refused(origin, "PROXY", "hung up", reason))


class _Awaiting(Protocol):
    """One connection that has not yet said whose it is."""

    def __init__(self, door: Door, reception: Reception, peer: str) -> None:
        self._door = door
        self._reception = reception
        self._peer = peer
        self._data = b""
        self._late: IDelayedCall | None = None

    def connectionMade(self) -> None:
        wait_s = self._reception.settings.limits.proxy_timeout_s
        self._late = self._reception.clock.callLater(wait_s, self._expired)

    def dataReceived(self, data: bytes) -> None:
        self._data += data
        try:
            header = parse(self._data)
        except ProxyHeaderError as error:
            self._door.refused(self._peer, f"PROXY header: {error}")
            self.hang_up()
            return
        if header is not None:
            client = Client(header.client or self._peer, self._peer, known=bool(header.client))
            self._hand_over(client, self._data[header.octets :])

    def _hand_over(self, client: Client, rest: bytes) -> None:
        self._end()
        transport: Any = self.transport
        session = self._door.session(client)
        if session is None:
            transport.abortConnection()
            return
        transport.protocol = session
        session.makeConnection(transport)
        if rest:
            session.dataReceived(rest)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        if self._data:  # else it was somebody's look whether the port is open
            self._door.refused(self._peer, "PROXY header: it broke off")
        self._end()

    def hang_up(self) -> None:
        self._data = b""
        self._end()
        transport: Any = self.transport
        transport.abortConnection()

    def _expired(self) -> None:
        self._door.refused(self._peer, "PROXY header: it did not come in time")
        self.hang_up()

    def _end(self) -> None:
        self._door.forget(self)
        if self._late is not None and self._late.active():
            self._late.cancel()
