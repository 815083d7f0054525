"""How a start ends that cannot succeed: one clear line, and a status where twistd lets us.

In the foreground the line goes to standard error and the process ends with its own status.
A daemon has given up its standard error by the time that ports are bound and the spool is
opened, while twistd's parent process waits to hear how it went: so a copy of standard error
is kept until the start has succeeded.  twistd's parent always ends with status 1 and adds two
lines of its own.
"""

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from twisted.python import log

# sysexits.h
EX_UNAVAILABLE = 69
EX_CANTCREAT = 73
EX_CONFIG = 78  # the configuration is wrong, a restart will not help


class StartFailed(Exception):
    """The service cannot start; the text is one line, ``status`` the exit status."""

    def __init__(self, problem: str, status: int) -> None:
        super().__init__(problem)
        self.status = status


class Launch:
    """One start; ``twistd`` is what it was told on its command line, None without one."""

    def __init__(self, twistd: Mapping[str, Any] | None) -> None:
        self._twistd: Mapping[str, Any] = {"nodaemon": True} if twistd is None else twistd
        self.foreground = bool(self._twistd.get("nodaemon"))
        self._terminal = -1 if self.foreground else os.dup(2)

    def succeeded(self) -> None:
        """Let go of the terminal, or of the pipe, that the operator reads."""
        if self._terminal >= 0:
            os.close(self._terminal)
            self._terminal = -1

    def refuse(self, problem: str, status: int) -> NoReturn:
        """Say what is wrong and end the process."""
        self.say(problem)
        pipe = self._twistd.get("statusPipe")
        if pipe is not None:
            for line in _lines(problem):
                log.msg(line)
            with suppress(OSError):
                os.write(pipe, b"1 see above")
        self._remove_pid_file()
        raise SystemExit(status)

    def leave(self, status: int) -> NoReturn:
        """End the process when its reactor has ended, where twistd would take it for a success."""
        self._remove_pid_file()
        sys.stdout.flush()
        os._exit(status)

    def say(self, problem: str) -> None:
        """Tell the operator who has started this."""
        text = "".join(f"{line}\n" for line in _lines(problem))
        if self._terminal >= 0:
            with suppress(OSError):  # nobody listens any more
                os.write(self._terminal, text.encode("utf-8", "replace"))
            return
        stream = sys.__stderr__ or sys.stderr  # twistd may have put its log in the place of stderr
        stream.write(text)
        stream.flush()

    def _remove_pid_file(self) -> None:
        """Take away the file that twistd has written for this process, as it would itself."""
        path = self._twistd.get("pidfile")
        if not path:
            return
        with suppress(OSError):
            if Path(path).read_text().strip() == str(os.getpid()):
                Path(path).unlink()


def _lines(problem: str) -> list[str]:
    return [f"mta: {line}" for line in problem.splitlines()]
