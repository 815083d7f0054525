"""The ports of the listeners: bound once, at the start, or inherited from who has bound them.

An inherited socket is shared with other processes: it is closed here, never shut down, and a
socket in the file system keeps its name and its mode.
"""

import os
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from twisted.internet import tcp, unix
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.python.failure import Failure

from mta.inbound.settings import ListenerSettings
from mta.launch import EX_UNAVAILABLE, StartFailed

MONITOR = "metrics"  # what its port is called in errors
BACKLOG = 1024  # the kernel's own bound, net.core.somaxconn, applies too

Opened: TypeAlias = Callable[[ListenerSettings, IListeningPort], None]
"""Told of each port."""


def bound(
    reactor: Any,
    listeners: Iterable[ListenerSettings],
    factory: Callable[[ListenerSettings], IProtocolFactory],
    ports: list[IListeningPort],
    opened: Opened,
) -> None:
    """Bind every listener and add it to ``ports``; ``StartFailed`` for the first that cannot be."""
    for listener in listeners:
        name = listener_name(listener.name)
        ports.append(bind(reactor, name, listener.endpoint, factory(listener)))
        opened(listener, ports[-1])


def listener_name(name: str) -> str:
    """Return what a listener is called in errors."""
    return f"listener {name}"


@dataclass(frozen=True, slots=True)
class Inherited:
    """Descriptors of listening sockets."""

    listeners: Mapping[str, int]  # by the name of the listener
    monitor: int | None


def adopted(
    reactor: Any,
    listeners: Iterable[ListenerSettings],
    factory: Callable[[ListenerSettings], IProtocolFactory],
    descriptors: Mapping[str, int],
    ports: list[IListeningPort],
    opened: Opened,
) -> None:
    """Take up the socket of every listener that has one, and add it to ``ports``.

    One without has come into the configuration since the sockets were bound.
    """
    for listener in listeners:
        if (descriptor := descriptors.get(listener.name)) is not None:
            ports.append(adopt(reactor, descriptor, factory(listener)))
            opened(listener, ports[-1])


class _Fair:
    """Accepts one connection in a turn of the reactor, so that others get some of a crowd.

    Twisted accepts as many as there are; then a worker that happens to be first has them all.
    """

    @property
    def numberAccepts(self) -> int:
        """How many to accept in a turn."""
        return 1

    @numberAccepts.setter
    def numberAccepts(self, number: int) -> None:
        """Twisted would have it grow."""


class _TcpPort(_Fair, tcp.Port):
    pass


class _UnixPort(_Fair, unix.Port):
    pass


def adopt(reactor: Any, descriptor: int, factory: IProtocolFactory) -> IListeningPort:
    """Listen on a socket that is bound and listens already."""
    os.set_blocking(descriptor, False)
    os.set_inheritable(descriptor, False)
    shared = socket.socket(fileno=descriptor)
    port: Any
    if shared.family == socket.AF_UNIX:
        # Twisted would change the mode of the file, and unlink it at the end; of a name in the
        # abstract namespace it believes that there is no file.
        port = _UnixPort("\0inherited", factory, BACKLOG, reactor=reactor)  # type: ignore[arg-type]
    else:
        port = _TcpPort(0, factory, BACKLOG, shared.getsockname()[0], reactor)
    vars(port).update(_preexistingSocket=shared, _shouldShutdown=False)
    port.startListening()
    return port  # type: ignore[no-any-return]


def bind(reactor: Any, name: str, endpoint: str, factory: IProtocolFactory) -> IListeningPort:
    """Bind one port; ``StartFailed`` says why it cannot be."""
    result: list[Any] = []
    try:
        where = serverFromString(reactor, _with_backlog(endpoint))
    except LookupError as error:  # the syntax has been checked with the configuration
        text = f"{name}: nobody has handed over {endpoint} (FileDescriptorName= of a socket unit)"
        raise StartFailed(text, EX_UNAVAILABLE) from error
    where.listen(factory).addBoth(result.append)
    if not result:
        raise StartFailed(f"{name}: not bound at once", EX_UNAVAILABLE)
    if isinstance(result[0], Failure):
        reason = _reason(result[0].value)
        raise StartFailed(f"{name} cannot listen on {endpoint}: {reason}", EX_UNAVAILABLE)
    port: IListeningPort = result[0]
    return port


def place(address: Any) -> str:
    """Return the address of a port as people write it."""
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    if host is None:
        name = getattr(address, "name", None)
        return os.fsdecode(name).replace("\0", "@") if name else str(address)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _with_backlog(endpoint: str) -> str:
    """Let more than Twisted's 50 connections wait to be accepted: clients come in crowds."""
    if endpoint.startswith(("tcp:", "tcp4:", "tcp6:")) and ":backlog=" not in endpoint:
        return f"{endpoint}:backlog={BACKLOG}"
    return endpoint


def _reason(error: BaseException | None) -> str:
    if isinstance(error, CannotListenError):
        error = error.socketError
    return getattr(error, "strerror", None) or str(error)
