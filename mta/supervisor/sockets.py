"""The listening sockets of all workers: bound once by the supervisor, which never accepts.

All workers accept from the same sockets, so a connection that waits belongs to nobody and is not
lost with a worker that dies.  What is bound stays bound while workers come and go.

The listener for monitors is the exception: its answers are about one process, so each worker has
one of its own, on ports that follow each other.

Trusts systemd, or whoever else hands over sockets, as a single process does.
"""

from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory

from mta.config.build import listeners
from mta.config.settings import Settings
from mta.config.workers import monitor_endpoint
from mta.ports import MONITOR, bind, listener_name, place


class Sockets:
    """What is bound."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._ports: dict[str, IListeningPort] = {}
        self._monitors: list[IListeningPort] = []

    def bind(self, settings: Settings, workers: int) -> None:
        """Bind everything; ``StartFailed`` for the first that cannot be."""
        for one in listeners(settings):
            self._ports[one.name] = self._bound(listener_name(one.name), one.endpoint)
        where = settings.metrics.listen
        if where is not None:
            for number in range(1, workers + 1):
                self._monitors.append(self._bound(MONITOR, monitor_endpoint(where, number)))

    def _bound(self, name: str, endpoint: str) -> IListeningPort:
        factory = Factory()
        factory.noisy = False
        port: Any = bind(self._reactor, name, endpoint, factory)
        port.stopReading()  # workers accept, the supervisor does not
        # Closing our descriptor must not end the socket of those who still work with it
        vars(port)["_shouldShutdown"] = False
        return port  # type: ignore[no-any-return]

    def descriptors(self, number: int) -> dict[str, int]:
        """Return what the worker ``number`` inherits: descriptors by the worker's option."""
        found = {f"--listener={name}": _fileno(port) for name, port in self._ports.items()}
        if self._monitors:
            found["--monitor"] = _fileno(self._monitors[number - 1])
        return found

    def places(self) -> list[str]:
        """Return where clients can connect, as people write it."""
        return [place(port.getHost()) for port in self._ports.values()]

    async def close(self) -> None:
        """Let go of everything."""
        for port in (*self._ports.values(), *self._monitors):
            await maybeDeferred(port.stopListening)


def _fileno(port: Any) -> int:
    return int(port.fileno())
