"""The ports of the listeners: bound once, at the start."""

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.python.failure import Failure

from mta.inbound.settings import ListenerSettings
from mta.launch import EX_UNAVAILABLE, StartFailed

BACKLOG = 1024  # the kernel's own bound, net.core.somaxconn, applies too


def bound(
    reactor: Any,
    listeners: Iterable[ListenerSettings],
    factory: Callable[[ListenerSettings], IProtocolFactory],
    ports: list[IListeningPort],
) -> None:
    """Bind every listener and add it to ``ports``; ``StartFailed`` for the first that cannot be."""
    for listener in listeners:
        name = f"listener {listener.name}"
        ports.append(bind(reactor, name, listener.endpoint, factory(listener)))


def bind(reactor: Any, name: str, endpoint: str, factory: IProtocolFactory) -> IListeningPort:
    """Bind one port; ``StartFailed`` says why it cannot be."""
    result: list[Any] = []
    serverFromString(reactor, _with_backlog(endpoint)).listen(factory).addBoth(result.append)
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
        return str(getattr(address, "name", address))
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
