"""One run of one worker process: what it says of itself, what it writes, how it ended.

It says the words of sd_notify(3), a line each, through a pipe.  Its standard output and
error are the supervisor's own, except for a daemon, whose log takes their lines.

Trusts the worker's words as far as they go: ready, or not.  Lines are cut at a bound.
"""

from collections.abc import Callable
from signal import Signals
from typing import Any

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from mta.supervisor.pipes import HOLD, SAY

_LONGEST = 16_384
_LOG = Logger(namespace="mta")  # of a class it would be named after that


class Run(ProcessProtocol):
    """One run, from its start to its end."""

    def __init__(
        self, said: Callable[["Run", str], None], ended: Callable[["Run", int, str], None]
    ) -> None:
        """``said`` gets each line; ``ended`` the exit status (-1 without one) and words for it."""
        self._said = said
        self._ended = ended
        self._rest: dict[int, bytes] = {}
        self.ready = False
        self.pid = 0

    def connectionMade(self) -> None:
        """Twisted calls this when the process has been started."""
        transport: Any = self.transport
        self.pid = transport.pid

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Take what comes through a pipe, in lines."""
        *lines, rest = (self._rest.get(childFD, b"") + data).split(b"\n")
        if len(rest) > _LONGEST:
            lines, rest = [*lines, rest], b""
        self._rest[childFD] = rest
        for line in lines:
            self._line(childFD, line.decode("utf-8", "replace"))

    def _line(self, descriptor: int, line: str) -> None:
        if descriptor == SAY:
            self._said(self, line)
        elif line:
            _LOG.info("{line}", line=line)

    def signal(self, number: Signals) -> None:
        """Send a signal, unless the process has ended."""
        transport: Any = self.transport
        try:
            transport.signalProcess(number)
        except ProcessExitedAlready:
            return

    def processEnded(self, reason: Failure) -> None:
        """Twisted calls this when the process has ended and its pipes are closed."""
        for descriptor, rest in self._rest.items():
            self._line(descriptor, rest.decode("utf-8", "replace"))
        value: Any = reason.value
        status, number = value.exitCode, value.signal
        words = f"exit status {status}" if number is None else Signals(number).name
        self._ended(self, -1 if status is None else status, words)


def pipes(daemon: bool, nothing: int) -> dict[int, Any]:
    """Return what stands behind the first descriptors; ``nothing`` is one of /dev/null."""
    output: tuple[Any, Any] = ("r", "r") if daemon else (1, 2)
    return {0: nothing, 1: output[0], 2: output[1], SAY: "r", HOLD: "w"}
