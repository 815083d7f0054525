"""Where rendered lines go: standard error, a file, syslog, twistd's log.

A log that cannot be written never stops mail: lines that a full disk refused are
counted, and the count is written as soon as writing works again.  A file that was
renamed by logrotate is opened anew at the next write; no signal is needed.
"""

import os
import sys
import syslog
from pathlib import Path
from typing import Protocol

from twisted.logger import Logger


class Sink(Protocol):
    """Takes whole lines, without their line ends."""

    def write(self, lines: list[str]) -> None:
        """Write the lines; never raises for want of space or a reader."""

    def close(self) -> None:
        """Let go of whatever is open."""


class FileSink:
    """Append to a file, following a rotation by rename."""

    def __init__(self, path: Path) -> None:
        """Open ``path`` for appending; ``OSError`` if that is impossible."""
        self._path = path
        self._lost = 0
        self._descriptor = self._open()

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def write(self, lines: list[str]) -> None:
        """Append the lines; count them as lost if that fails."""
        if self._lost:
            lines = [f"warning: {self._lost} lines of this log could not be written", *lines]
        data = memoryview("".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))
        try:
            self._follow_rotation()
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            self._lost += len(lines) - bool(self._lost)
        else:
            self._lost = 0

    def _follow_rotation(self) -> None:
        """Open what has our name now; where we may not, the renamed file has to do."""
        ours = os.fstat(self._descriptor)
        try:
            there = self._path.stat()
            if (there.st_ino, there.st_dev) == (ours.st_ino, ours.st_dev):
                return
        except OSError:
            pass  # gone, or a directory that we may not look into
        try:
            fresh = self._open()
        except OSError:
            return
        os.close(self._descriptor)
        self._descriptor = fresh

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


class StandardErrorSink:
    """Write to standard error; a reader that has gone away is no reason to stop."""

    def write(self, lines: list[str]) -> None:
        """Write the lines and flush."""
        stream = sys.__stderr__  # twistd has put its own log in the place of sys.stderr
        if stream is None:
            return
        try:
            stream.write("".join(f"{line}\n" for line in lines))
            stream.flush()
        except (OSError, ValueError):
            return

    def close(self) -> None:
        """Leave standard error open: it is not ours."""


class TwistdSink:
    """Write to twistd's own log: what "standard error" means for a daemon, which has none."""

    def __init__(self) -> None:
        """Log under the program's name."""
        self._log = Logger(namespace="mta")

    def write(self, lines: list[str]) -> None:
        """Log each line."""
        for line in lines:
            self._log.info("{line}", line=line)

    def close(self) -> None:
        """Leave the log open: it is twistd's."""


class SyslogSink:
    """Hand lines to the local syslog daemon under the mail facility.

    A line begins with its program, ``mta/smtpd: ``; syslog gets that as the tag and puts the
    process id behind it, so that the daemon's filters and Postfix's tools find what they know.
    """

    def __init__(self) -> None:
        """Open the log; the daemon need not run yet."""
        self._tag = "mta"
        syslog.openlog(self._tag, syslog.LOG_PID, syslog.LOG_MAIL)

    def write(self, lines: list[str]) -> None:
        """Send each line, at the priority that it says of itself."""
        for line in lines:
            tag, colon, text = line.partition(": ")
            if not colon or not tag.startswith("mta/"):
                tag, text = "mta", line
            if tag != self._tag:
                self._tag = tag
                syslog.openlog(tag, syslog.LOG_PID, syslog.LOG_MAIL)
            syslog.syslog(_priority(text), text)

    def close(self) -> None:
        """Leave it open: a process has one, and the next sink may be using it already."""


def _priority(text: str) -> int:
    if text.startswith("error: "):
        return syslog.LOG_ERR
    return syslog.LOG_WARNING if text.startswith("warning: ") else syslog.LOG_INFO
