"""Files and sockets that the process may still open, and what clients hear when it may not.

A new connection takes the lowest number that is free, so the number that a copy of a file would get
tells how many are in use.  Where fewer are left than the reserve, which is for the spool, the DNS
and for mail on its way out, a new client is told 421 and gone again (``short``).  Where there is
none at all, the one that is kept for this moment is given up, the client accepted, told and gone
again: it would wait for nobody knows how long, and the port, which stays readable, would keep
the processor busy.  Twisted hangs up without a word; its function that accepts is replaced here.

Trusts nothing.  Knowingly: where TLS comes first nothing can be said, and the client sees its
connection closed.
"""

import os
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from errno import EAGAIN, EMFILE, ENFILE
from typing import Any

from twisted.internet import tcp
from twisted.internet.interfaces import IDelayedCall

WORDS = b"421 4.3.2 Too busy; try again later\r\n"
_SHARE, _MOST = 8, 128  # the reserve: so small a part of the limit, and so many at most
_LOOK_S = 5.0
_ACCEPT = vars(tcp)["_accept"]


class Descriptors:
    """Of this process; made once."""

    def __init__(self, reactor: Any) -> None:
        """Nothing is kept before ``install``."""
        self.told: Callable[[str], None] | None = None  # why, and "" when it is over
        self._reactor = reactor
        self._spare = -1
        self._newest: int | None = None  # the number of the connection accepted last
        self._many = 0  # a number from which on it is worth looking closely
        self._plain: set[int] = set()
        self._timer: IDelayedCall | None = None

    def install(self) -> None:
        """Keep one, and accept connections in the place of Twisted."""
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._many = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2

        def accept(logger: Any, accepts: Any, listener: Any, reserved: Any) -> Iterator[Any]:
            found: Iterator[Any] = _ACCEPT(logger, accepts, _Listener(listener, self), reserved)
            return found

        vars(tcp)["_accept"] = accept

    def accepted(self, number: int) -> None:
        """A connection has taken the descriptor ``number``."""
        self._newest = number

    def speak(self, listener: int) -> None:
        """Tell clients of the socket ``listener`` in plain words that there is no room."""
        self._plain.add(listener)

    def short(self) -> bool:
        """Tell whether a new client is to be turned away."""
        newest, self._newest = self._newest, None
        if (newest is not None and newest < self._many) or not self._few():
            return False
        self._tell()
        return True

    def _few(self) -> bool:
        try:
            lowest = os.dup(self._spare)
        except OSError:
            return True
        os.close(lowest)
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return lowest >= limit - min(limit // _SHARE, _MOST)

    def turn_away(self, listener: socket.socket) -> None:
        """Take the next client with what is kept for that, and say no."""
        self._tell()
        with suppress(OSError):
            os.close(self._spare)
        try:
            with suppress(OSError):
                client, _ = listener.accept()
                with client:
                    client.setblocking(False)
                    if listener.fileno() in self._plain:
                        client.send(WORDS)
        finally:
            with suppress(OSError):  # somebody was faster; then it is so next time
                self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def stop(self) -> None:
        """Leave nothing in the reactor."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tell(self) -> None:
        """Say it once, and look from now on whether it is over."""
        if self._timer is not None:
            return
        self._timer = self._reactor.callLater(_LOOK_S, self._look)
        if self.told is not None:
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            self.told(f"nearly all of {limit} descriptors are in use: clients are told 421")

    def _look(self) -> None:
        self._timer = None
        if self._few():
            self._timer = self._reactor.callLater(_LOOK_S, self._look)
        elif self.told is not None:
            self.told("")


class _Listener:
    """A listening socket that never says that there is no descriptor."""

    def __init__(self, real: socket.socket, descriptors: Descriptors) -> None:
        self._real = real
        self._descriptors = descriptors

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept; where none can be had, turn the client away and say that nobody is there."""
        try:
            found = self._real.accept()
        except OSError as error:
            if error.errno not in (EMFILE, ENFILE):
                raise
            self._descriptors.turn_away(self._real)
            raise BlockingIOError(EAGAIN, "turned away") from None
        self._descriptors.accepted(found[0].fileno())
        return found
