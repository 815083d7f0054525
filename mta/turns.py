"""How the reactor calls what has something to read or to write: without words for the legacy log.

Twisted puts the name of each connection into the context of ``twisted.python.log`` before it
calls it, should it want to log something by that; nothing here does.  It is a twentieth
of what a message costs, so the reactor's one call is replaced here.  What fails is
logged and disconnected as before.

Knowingly: only for epoll, which is the reactor that twistd takes on Linux; elsewhere all stays as
it is.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from twisted.python import log

try:
    from twisted.internet import epollreactor
except ImportError:  # not Linux
    epollreactor = None  # type: ignore[assignment]


def _call(selectable: Any, work: Callable[..., object], *arguments: Any) -> None:
    try:
        work(*arguments)
    except KeyboardInterrupt:
        raise
    except BaseException:
        log.err(None, f"{selectable!r}")


def install() -> None:
    """From here on, for the whole process; may be called again."""
    if epollreactor is not None:
        vars(epollreactor)["log"] = SimpleNamespace(callWithLogger=_call)
