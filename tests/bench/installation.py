"""One installation in a directory: its configuration, commands, service, and mail through it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import measure
from client import Work
from filling import Store
from load import Load, own_clients
from net import HOST, free_ports, wait_for_port
from sink import Sink

_BIN = Path(sys.executable).parent
_CONFIGURATION = """\
host_name = "relay.test"
trusted_networks = ["127.0.0.0/8"]

[spool]
url = "{url}"
retention = "{retention}"

[[listener]]
name = "plain"
endpoint = "tcp:{port}:interface={host}"
tls = "none"
auth = "none"

[[route]]
name = "sink"
recipient_domains = ["sink.test"]
smarthost = {{ host = "{host}", port = {sink}, tls = "none" }}

[[route]]
name = "dead"
smarthost = {{ host = "{host}", port = {dead}, tls = "none" }}

[log]
text = "{directory}/mail.log"
"""


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of a table."""

    what: str
    seconds: float
    memory_mb: float
    remark: str = ""
    cpu_s: float | None = None  # processor time of the command, or the service until then


class Installation:
    """A spool in ``store``, and no service until ``running``."""

    def __init__(self, directory: Path, store: Store) -> None:
        """Write the configuration."""
        self.directory = directory
        self.store = store
        self.port, self._sink_port, self._dead = free_ports(3)
        self.configuration = directory / "mta.toml"
        self.pid = 0
        self.sink: Sink | None = None
        self.keep("14d")

    def keep(self, retention: str) -> None:
        """Keep what is finished for so long; told to a running service by SIGHUP."""
        self.configuration.write_text(
            _CONFIGURATION.format(
                directory=self.directory,
                url=self.store.url,
                retention=retention,
                port=self.port,
                host=HOST,
                sink=self._sink_port,
                dead=self._dead,
            )
        )
        if self.pid:
            os.kill(self.pid, signal.SIGHUP)

    def command(self, *arguments: str, most_s: float | None = None, expected: int = 0) -> Figure:
        """Run ``mta``; with ``most_s`` it is stopped after that time."""
        begin = time.monotonic()
        process = self.begin(*arguments)
        if most_s is not None:
            _end_after(process, most_s)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - begin
        remark = "" if process.returncode in (0, expected, -15) else f"status {process.returncode}"
        cpu_s = usage.ru_utime + usage.ru_stime
        return Figure("mta " + " ".join(arguments), seconds, usage.ru_maxrss / 1024, remark, cpu_s)

    def begin(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start ``mta``."""
        with (self.directory / "out").open("wb") as out:
            return subprocess.Popen(
                [sys.executable, "-m", "mta", *arguments],
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, "MTA_CONFIG": str(self.configuration)},
            )

    def verb(self, *arguments: str, most_s: float) -> Figure:
        """Run a verb for so long; say how many recipients a second it changed."""
        before = self.store.number("SELECT count(*) FROM events")
        found = self.command(*arguments, most_s=most_s)
        changed = self.store.number("SELECT count(*) FROM events") - before
        remark = f"{found.remark} {changed} changed, {changed / found.seconds:.0f}/s"
        return Figure(found.what, found.seconds, found.memory_mb, remark.strip())

    @contextmanager
    def running(self) -> Iterator[Figure]:
        """Run the service; yield how it started."""
        self.sink = Sink(self._sink_port, timing=False)
        with (self.directory / "service.out").open("wb") as out:
            process = subprocess.Popen(
                [_BIN / "twistd", "-n", "--pidfile=", "mta", "--config", self.configuration],
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env={**os.environ, "PYTHONPATH": str(Path.cwd())},
            )
        self.pid = process.pid
        try:
            begin = time.monotonic()
            wait_for_port(self.port, lambda: process.poll() is None)
            seconds, cpu_s = time.monotonic() - begin, measure.cpu_ms(self.pid) / 1000
            yield Figure("start", seconds, self.peak_mb(), cpu_s=cpu_s)
        finally:
            self.pid = 0
            process.terminate()
            process.wait(60)
            self.sink.stop()

    def peak_mb(self) -> float:
        """The most memory the service has had."""
        return measure.memory_mb(self.pid, "VmHWM") or 0.0

    def send(self, messages: int) -> tuple[Load, float]:
        """Send fresh mail through it; return what sending was like, and when all had arrived."""
        assert self.sink is not None
        before, begin = self.sink.count, time.monotonic()
        load = own_clients(Work(HOST, self.port, 20, messages, 4096, "to@sink.test", 50))
        return load, self.sink.wait_for(before + messages) - begin

    def settled(self) -> None:
        """Wait until the service has nothing to do."""
        measure.wait_until_idle(lambda: measure.cpu_ms(self.pid), 10.0)


def _end_after(process: "subprocess.Popen[bytes]", seconds: float) -> None:
    """Stop a process that has not ended by then; it is still to be waited for."""
    end = time.monotonic() + seconds
    look = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while os.waitid(os.P_PID, process.pid, look) is None:
        if time.monotonic() > end:
            os.kill(process.pid, signal.SIGTERM)
            return
        time.sleep(0.02)
