"""Where relayed messages end: sinks on loopback, and how many they have had.

smtp-sink takes what throughput runs send; where it is missing, and wherever the age of a
message is asked for, ``sink_server.py`` does.
"""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

from net import HOST, wait_for_port

_SERVER = Path(__file__).with_name("sink_server.py")
_COUNT = re.compile(rb"mesg=(\d+)")
_SIGNED = re.compile(rb"signed=(\d+)")
_AGE = re.compile(rb"age=(\d+)")


class Lost(Exception):
    """Fewer messages arrived than were sent."""


class Sink:
    """One sink process and a thread that reads its running counter."""

    def __init__(self, port: int, *, timing: bool, pair: tuple[Path, Path] | None = None) -> None:
        """``pair``: certificate and key, for STARTTLS."""
        self.port = port
        if not timing and shutil.which("smtp-sink"):
            rights = ["-u", "nobody"] if os.geteuid() == 0 else []
            command = ["smtp-sink", "-c", *rights, f"{HOST}:{port}", "1000"]
        else:
            command = [sys.executable, str(_SERVER), HOST, str(port), *map(str, pair or ())]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        self._news = threading.Condition()
        self._count = 0
        self._at = time.monotonic()
        self._ages_ms: list[float] = []
        self.signed = 0  # of those that a timing sink has had
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        wait_for_port(port, lambda: self._process.poll() is None)

    @property
    def count(self) -> int:
        """How many messages it has had."""
        return self._count

    @property
    def pid(self) -> int:
        """The sink's process."""
        return self._process.pid

    def wait_for(self, count: int, stalled_s: float = 30.0) -> float:
        """Wait until ``count`` have arrived; return when (CLOCK_MONOTONIC seconds) they had.

        ``Lost`` if nothing at all arrives for ``stalled_s``.
        """
        with self._news:
            while self._count < count:
                before = self._count
                if not self._news.wait(stalled_s) and self._count == before:
                    raise Lost(f"{count - before} messages have not arrived")
            return self._at

    def take_ages_ms(self) -> list[float]:
        """Return how old each message was that came since the last call."""
        with self._news:
            taken, self._ages_ms = self._ages_ms, []
        return taken

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        descriptor, rest = self._process.stdout.fileno(), b""
        while data := os.read(descriptor, 65536):
            now = time.monotonic()
            data = rest + data
            whole = max(data.rfind(b"\r"), data.rfind(b"\n")) + 1
            counts, rest = _COUNT.findall(data, 0, whole), data[whole:]
            signed = _SIGNED.findall(data, 0, whole)
            ages = _AGE.findall(data, 0, whole)
            with self._news:
                if counts and int(counts[-1]) > self._count:
                    self._count, self._at = int(counts[-1]), now
                if signed:
                    self.signed = int(signed[-1])
                self._ages_ms.extend(int(one) / 1e6 for one in ages)
                self._news.notify_all()
