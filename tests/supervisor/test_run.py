"""What one worker says and how it ends."""

import os
import signal

import pytest
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.python.failure import Failure

from mta.supervisor.pipes import SAY
from mta.supervisor.run import Run


class _Told:
    """Gathers what a run says."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.ends: list[tuple[int, str]] = []
        self.run = Run(
            lambda run, line: self.lines.append(line),
            lambda run, status, words: self.ends.append((status, words)),
        )


@pytest.mark.parametrize("size", [1, 7, 100])
def test_lines_in_any_pieces(size: int):
    """States of several lines come as lines, however the pipe cuts them."""
    told = _Told()
    text = b"READY=1\nSTATUS=listening on [::1]:465\nSTOPPING=1\n"
    for start in range(0, len(text), size):
        told.run.childDataReceived(SAY, text[start : start + size])
    assert told.lines == ["READY=1", "STATUS=listening on [::1]:465", "STOPPING=1"]


def test_a_line_without_end_is_cut():
    """Attack: a worker that has gone mad does not fill the supervisor's memory."""
    told = _Told()
    for _ in range(100):
        told.run.childDataReceived(SAY, b"x" * 1000)
    assert len(told.lines) == 5
    assert all(len(line) <= 17_384 for line in told.lines)


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (ProcessDone(0), 0, "exit status 0"),
        (ProcessTerminated(78, None, 78 << 8), 78, "exit status 78"),
        (ProcessTerminated(None, signal.SIGKILL, 9), -1, "SIGKILL"),
    ],
)
def test_how_it_ended(error: Exception, status: int, words: str):
    """A status, or the name of the signal; what stood in the pipe without a line end is told."""
    told = _Told()
    told.run.childDataReceived(SAY, b"STOPPING=1")
    told.run.processEnded(Failure(error))
    assert told.ends == [(status, words)]
    assert told.lines == ["STOPPING=1"]


def test_the_pid_is_that_of_the_process():
    """It is known as soon as the process has been started."""

    class Transport:
        pid = os.getpid()

    told = _Told()
    told.run.makeConnection(Transport())  # type: ignore[arg-type]
    assert told.run.pid == os.getpid()
