"""Ten thousand clients that are connected and silent: what each costs, and do the others notice?

``make idle``: the service as it is installed, on an SQLite spool, and clients from eight addresses
of 127.0.0.0/8.  For each way of being idle: how long it took to connect them all, what the
service's resident memory grew by for each (the kernel's own buffers for a socket are not in it),
and what fresh mail is like beside them: messages a second and the 99th percentile of the time
of one, in turn with a second service that has no such clients.  The last column is the ratio.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles

import measure
from client import Work
from hold import Held, Hold
from load import Load, own_clients
from net import HOST, free_ports, wait_for_port
from sink import Sink

from mta.tls.selfsigned import self_signed

_BIN = Path(sys.executable).parent
_LOGIN, _PASSWORD = "app7", "correct horse"
_SOURCES = tuple(f"127.0.0.{last}" for last in range(2, 10))
_SPARE = 200  # connections and descriptors beside those that are held
_CONFIGURATION = """\
host_name = "relay.test"
trusted_networks = ["127.0.0.0/8"]

[spool]
url = "sqlite:///{directory}/spool.sqlite"

[[listener]]
name = "plain"
endpoint = "tcp:{plain}:interface={host}:backlog=1024"
tls = "none"
auth = "none"

[[listener]]
name = "smtps"
endpoint = "tcp:{smtps}:interface={host}:backlog=1024"
tls = "implicit"
auth = "required"

[[listener]]
name = "submission"
endpoint = "tcp:{submission}:interface={host}:backlog=1024"
tls = "starttls"
auth = "required"

[[certificate]]
certificate = "{directory}/certificate.pem"
key = "{directory}/key.pem"

[[route]]
name = "sink"
smarthost = {{ host = "{host}", port = {sink}, tls = "none" }}

[limits]
connections = {connections}

[log]
text = "{directory}/mail.log"
"""


class Service:
    """The relay in a directory of its own, with an account."""

    def __init__(self, directory: Path, connections: int) -> None:
        """Let in so many ``connections`` at each of three listeners."""
        self.directory = directory
        self.plain, self.smtps, self.submission, self.sink = free_ports(4)
        certificate, key = self_signed("localhost", datetime.now(UTC))
        (directory / "certificate.pem").write_bytes(certificate)
        (directory / "key.pem").write_bytes(key)
        (directory / "key.pem").chmod(0o600)
        self.configuration = directory / "mta.toml"
        values = {"host": HOST, "plain": self.plain, "smtps": self.smtps}
        self.configuration.write_text(
            _CONFIGURATION.format(
                directory=directory,
                connections=connections,
                submission=self.submission,
                sink=self.sink,
                **values,
            )
        )
        (directory / "password").write_text(_PASSWORD + "\n")
        environment = {**os.environ, "MTA_CONFIG": str(self.configuration)}
        arguments = ["account", "add", _LOGIN, "--password-file", str(directory / "password")]
        subprocess.run(
            [sys.executable, "-m", "mta", *arguments], check=True, env=environment, stdout=-3
        )

    @contextmanager
    def running(self) -> Iterator[int]:
        """Run it; yield its process."""
        with (self.directory / "service.out").open("wb") as out:
            process = subprocess.Popen(
                [_BIN / "twistd", "-n", "--pidfile=", "mta", "--config", self.configuration],
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env={**os.environ, "PYTHONPATH": str(Path.cwd())},
            )
        sink = Sink(self.sink, timing=False)
        self._pid = process.pid
        try:
            wait_for_port(self.smtps, lambda: process.poll() is None)
            yield process.pid
        finally:
            process.terminate()
            process.wait(60)
            sink.stop()

    def settled(self) -> None:
        """Wait until it has done what it had to do."""
        _settled(self._pid)


@dataclass(frozen=True, slots=True)
class Figure:
    """What one way of being idle costs."""

    way: str
    number: int
    connecting_s: float
    octets: float  # of resident memory, each
    pairs: tuple[tuple[Load, Load], ...]  # mail at a service without them, and at theirs
    alive: int  # how many were still there at the end

    def row(self) -> str:
        """Return a line of the table: medians."""
        without, beside = zip(*self.pairs, strict=True)
        ratio = median(one.seconds / other.seconds for one, other in self.pairs)
        lost = self.number - self.alive
        return (
            f"{self.way:34} {self.number:7} {self.number / self.connecting_s:7.0f}/s"
            f" {self.octets / 1024:8.1f} KiB {_speed(without):16} {_speed(beside):16}"
            f" {ratio:5.2f}" + (f" {lost} LOST" if lost else "")
        )


def _speed(loads: Sequence[Load]) -> str:
    each = median(len(one.latencies_ms) / one.seconds for one in loads)
    p99 = median(quantiles(one.latencies_ms, n=100)[98] for one in loads)
    return f"{each:5.0f}/s {p99:4.0f} ms"


def ways(service: Service, number: int, octets: int) -> Iterator[tuple[str, Hold]]:
    """Yield each way of being idle; the last two have sent a message of so many octets."""
    plain = Hold(HOST, service.plain, number, sources=_SOURCES)
    tls = replace(plain, port=service.smtps, tls=True)
    known = replace(tls, login=_LOGIN, password=_PASSWORD)
    yield "plain, after EHLO", plain
    yield "TLS, before AUTH", tls
    yield "TLS, after AUTH", known
    starttls = replace(known, port=service.submission, tls=False, starttls=True)
    yield "STARTTLS, after AUTH", starttls
    sent = {"message_octets": octets, "recipient": "to@sink.test"}
    yield f"plain, after a message of {octets // 1000} KB", replace(plain, **sent)
    yield f"TLS, after a message of {octets // 1000} KB", replace(known, **sent)


def measured(services: Sequence[Service], way: str, hold: Hold, rounds: int, load: Work) -> Figure:
    """Start two services, measure one way beside the second, and stop them."""
    alone, theirs = services
    pairs = []
    with alone.running(), theirs.running() as pid:
        for service in services:  # what is made once is made now
            own_clients(replace(load, port=service.plain))
        with Held(replace(hold, number=min(200, hold.number))):
            pass
        _settled(pid)
        before = measure.memory_mb(pid, "VmRSS")
        with Held(hold) as held:
            _settled(pid)
            octets = (measure.memory_mb(pid, "VmRSS") - before) * 2**20 / hold.number
            for _ in range(rounds):
                pair = []
                for service in services:
                    pair.append(own_clients(replace(load, port=service.plain)))
                    service.settled()
                pairs.append((pair[0], pair[1]))
            alive, seconds = held.alive(), held.seconds
    return Figure(way, hold.number, seconds, octets, tuple(pairs), alive)


def _settled(pid: int) -> None:
    measure.wait_until_idle(lambda: measure.cpu_ms(pid))
    time.sleep(0.2)


def _room(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted + _SPARE:
        raise SystemExit(f"{wanted + _SPARE} descriptors are needed, `ulimit -Hn` is {hard}")
    if soft < wanted + _SPARE:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted + _SPARE, hard))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--number", type=int, default=10_000, help="idle connections")
    parser.add_argument("--messages", type=int, default=4_000, help="of fresh mail, each time")
    parser.add_argument("--rounds", type=int, default=3, help="of mail, without and beside them")
    parser.add_argument("--octets", type=int, default=10_000, help="of a message sent before")
    parser.add_argument("--directory", help="where the spool lies (default: the system's)")
    parser.add_argument("only", nargs="*", help="ways that begin with this")
    wanted = parser.parse_args()
    _room(wanted.number)
    print(f"{'':34} {'number':>7} {'connect':>9} {'each':>12} {'mail without':16} beside")
    with tempfile.TemporaryDirectory(dir=wanted.directory, prefix="mta-idle-") as directory:
        places = [Path(directory) / name for name in ("alone", "theirs")]
        for place in places:
            place.mkdir()
        services = [Service(place, wanted.number + _SPARE) for place in places]
        load = Work(HOST, 0, 20, wanted.messages, 4096, "to@sink.test", 50)
        for way, hold in ways(services[1], wanted.number, wanted.octets):
            if not wanted.only or way.startswith(tuple(wanted.only)):
                print(measured(services, way, hold, wanted.rounds, load).row(), flush=True)


if __name__ == "__main__":
    main()
