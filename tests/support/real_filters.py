"""Filters of Debian's packages as processes: OpenDKIM, and a program on libmilter."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

PYTHON = "/usr/bin/python3"
SUPPORT = Path(__file__).parent


def has_opendkim() -> bool:
    return shutil.which("opendkim") is not None


def has_pymilter() -> bool:
    if not Path(PYTHON).exists():
        return False
    environ = {key: text for key, text in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [PYTHON, "-c", "import Milter"], check=False, capture_output=True, env=environ
    )
    return done.returncode == 0


class RealFilter:
    """A process that listens on ``place``, as libmilter writes it."""

    def __init__(self, command: list[str], place: str, directory: Path) -> None:
        self.place = place
        environ = {key: text for key, text in os.environ.items() if key != "PYTHONPATH"}
        self.log = directory / "filter.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environ)
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 20
        while True:
            assert self.process.poll() is None, self.log.read_text(errors="replace")
            try:
                self._connect().close()
            except OSError:
                assert time.monotonic() < deadline, "the filter does not listen"
                time.sleep(0.05)
            else:
                return

    def _connect(self) -> socket.socket:
        kind, _, where = self.place.partition(":")
        if kind != "inet":
            made = socket.socket(socket.AF_UNIX)
            made.connect(where)
            return made
        port, _, host = where.partition("@")
        return socket.create_connection((host, int(port)), 5)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)


class EveryChange(RealFilter):
    """``every_change.py``."""

    def __init__(self, directory: Path, place: str) -> None:
        self.heard_path = directory / "heard"
        script = str(SUPPORT / "every_change.py")
        super().__init__([PYTHON, script, place, str(self.heard_path)], place, directory)

    @property
    def heard(self) -> list[dict]:
        """What it has written of each message."""
        if not self.heard_path.exists():
            return []
        return [json.loads(line) for line in self.heard_path.read_text().splitlines()]


class OpenDkim(RealFilter):
    """OpenDKIM in the foreground, with a configuration of its own."""

    def __init__(self, directory: Path, place: str, configuration: str) -> None:
        path = directory / "opendkim.conf"
        path.write_text(f"Syslog no\nUMask 000\nRequireSafeKeys no\n{configuration}")
        program = shutil.which("opendkim")
        assert program is not None, sys.path
        super().__init__([program, "-f", "-x", str(path), "-p", place], place, directory)
