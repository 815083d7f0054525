"""Processes of ``mta`` and ``twistd`` that have their imports behind them.

A start of Python with all that the relay needs takes a second of processor time, and the tests
start a thousand processes.  Here one process, begun when it is first wanted, imports everything and
nothing more (no reactor), and forks for each that is to be started.  What is forked has the
arguments, the environment, the directory, the descriptors and the network (``network``) of who asks
for it, ends as a program does, and is told of by its process id and its exit status.

It is for what does not ask for more: with another environment of the interpreter (``possible``), or
by a command of its own, a start is a start as usual.

Nobody outlives the process of the tests, however that ends: what was started here dies with it,
and whatever else has its mark in the environment (``MARK``) is told to end, and then killed.
"""

import atexit
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import secrets
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

_MAY_DIFFER = ("MTA_", "NOTIFY_", "PYTEST_")  # of the environment: nothing reads it at import
MARK = "PYTEST_PROCESS_OF"
_PDEATHSIG = 1
_LAST_S = 5.0
_ASKED = 1 << 20
_NOT_BEFORE = ("mta.demo", "mta.__main__", "mta.spool.migrations")
_OTHERS = (
    "mta.__main__", "alembic.command", "sqlalchemy.dialects.sqlite", "psycopg",
    "sqlalchemy.dialects.postgresql.psycopg", "twisted.scripts.twistd", "twisted.plugin",
    "twisted.application.app", "twisted.application.runner", "twisted.internet.epollreactor",
    "twisted.internet.endpoints", "twisted.protocols.tls", "twisted.logger",
)  # fmt: skip


class Warm:
    """A process that is started warm; as much of ``subprocess.Popen`` as the tests need."""

    def __init__(self, status: int) -> None:
        self._status = os.fdopen(status, "rb", buffering=0)
        self.pid = int(self._status.read(20).strip())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit status, as ``Popen`` has it, or None while it runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended; return its exit status."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            self.returncode = int(self._status.read(20) or -signal.SIGKILL)
            self._status.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class _Stem:
    """The process that forks, seen from the tests."""

    def __init__(self) -> None:
        self.environment = dict(os.environ)
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            theirs.set_inheritable(True)
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the tests; they end what they have started
            )
        atexit.register(self.close)

    def start(
        self, program: str, arguments: Sequence[str], environment: Mapping[str, str],
        directory: Path, descriptors: tuple[int, int, int],
    ) -> Warm:  # fmt: skip
        ours, status = os.pipe()
        network = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        asked = json.dumps([program, list(arguments), dict(environment), str(directory)]).encode()
        assert len(asked) < _ASKED
        try:
            with self._lock:
                socket.send_fds(self._socket, [asked], [*descriptors, network, status])
        finally:
            os.close(status)
            os.close(network)
        return Warm(ours)

    def close(self) -> None:
        self._socket.close()
        self._process.wait(10)


_stems: dict[int, _Stem] = {}  # by process: whoever was forked has none


def possible(environment: Mapping[str, str]) -> bool:
    """Tell whether a process with that environment can be started warm."""
    return _of_interpreter(environment) == _of_interpreter(_stem().environment)


def start(
    program: str, arguments: Sequence[str], environment: Mapping[str, str], directory: Path,
    descriptors: tuple[int, int, int],
) -> Warm:  # fmt: skip
    """Start "mta" or "twistd" with standard input, output and error as given."""
    return _stem().start(program, arguments, environment, directory, descriptors)


def run(
    program: str, arguments: Sequence[str], environment: Mapping[str, str], timeout_s: float = 60.0
) -> "subprocess.CompletedProcess[str]":
    """Run to the end, as ``subprocess.run`` does with ``capture_output``."""
    with TemporaryFile() as out, TemporaryFile() as err, Path(os.devnull).open("rb") as none:
        descriptors = (none.fileno(), out.fileno(), err.fileno())
        process = start(program, arguments, environment, Path.cwd(), descriptors)
        try:
            status = process.wait(timeout_s)
        except BaseException:
            process.kill()
            raise
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read().decode().replace("\r\n", "\n"))
    return subprocess.CompletedProcess([program, *arguments], status, *said)


def mark() -> None:
    """Mark what is started from here on as ours."""
    os.environ[MARK] = secrets.token_hex(16)


def watch() -> None:
    """See to it that nothing outlives us; what is started here does so by itself."""
    _stem()


def _stem() -> _Stem:
    found = _stems.get(os.getpid())
    if found is None:
        found = _stems[os.getpid()] = _Stem()
    return found


def _of_interpreter(environment: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in environment.items() if not k.startswith(_MAY_DIFFER)}


# What follows is the process that forks --------------------------------------------------------


class _NoReactor:
    """Keeps the reactor from being imported, and whatever imports it: each fork has its own."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "twisted.internet.reactor":
            raise ImportError("not before the fork")


def _import_all() -> None:
    """Import what the service and the commands do, and nothing that begins to work by that."""
    import mta

    sys.meta_path.insert(0, _NoReactor())
    for package in pkgutil.walk_packages(mta.__path__, "mta."):
        if not package.name.startswith(_NOT_BEFORE):
            with suppress(ImportError):
                importlib.import_module(package.name)
    for name in _OTHERS:
        importlib.import_module(name)
    del sys.meta_path[0]
    assert threading.active_count() == 1, "a fork has but one thread"


def _serve(asked: socket.socket) -> tuple[str, list[str]]:
    """Fork for each that asks, and tell what has become of it; return in what was forked."""
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    running: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([asked, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _reap(running)
        if asked not in ready:
            continue
        octets, descriptors, _, _ = socket.recv_fds(asked, _ASKED, 5)
        if not octets:
            for pid in running:
                os.kill(pid, signal.SIGKILL)
            _end_all()
            os._exit(0)
        *given, status = descriptors
        parent = os.getpid()
        pid = os.fork()
        if not pid:
            for one in (woken, wakes, status, *running.values()):
                os.close(one)
            asked.close()
            return _become(json.loads(octets), given, parent)
        running[pid] = status
        _tell(status, pid)
        for one in given:
            os.close(one)


def _end_all() -> None:
    """End what is marked as the tests' own: servers of a run that has been killed."""
    if MARK not in os.environ:
        return
    ends = time.monotonic() + _LAST_S
    sent: int = signal.SIGTERM
    while (left := _marked(f"{MARK}={os.environ[MARK]}".encode())) and time.monotonic() < ends + 1:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, sent)
        sent = signal.SIGKILL if time.monotonic() > ends else 0
        time.sleep(0.05)


def _marked(mark: bytes) -> list[int]:
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (place / "environ").read_bytes().split(b"\0"):
                found.append(int(place.name))
    return [pid for pid in found if pid != os.getpid()]


def _reap(running: dict[int, int]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        _tell(running[pid], os.waitstatus_to_exitcode(status))
        os.close(running.pop(pid))


def _tell(status: int, number: int) -> None:
    with suppress(BrokenPipeError):  # nobody wants to know any more
        os.write(status, b"%-20d" % number)


def _become(asked: list[Any], given: list[int], parent: int) -> tuple[str, list[str]]:
    """Be what was asked for, in what was forked; return the program and its arguments."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    libc = ctypes.CDLL(None)
    libc.prctl(_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    *standard, network = given
    if os.fstat(network).st_ino != Path("/proc/self/ns/net").stat().st_ino:
        assert libc.setns(network, 0) == 0, "the network cannot be entered"
    os.close(network)
    for number, one in enumerate(standard):
        os.dup2(one, number)
        os.close(one)
    program, arguments, environment, directory = asked
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    return program, arguments


def _main() -> None:
    _import_all()
    gc.collect()
    gc.freeze()
    program, arguments = _serve(socket.socket(fileno=int(sys.argv[1])))
    sys.argv = [str(Path(sys.executable).parent / program), *arguments]
    status = 1
    try:
        _run(program)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        else:
            status = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    else:
        status = 0
    _end(status)


def _run(program: str) -> None:
    if program == "mta":
        from mta.__main__ import main

        main()
    else:
        from twisted.scripts.twistd import run as twistd

        sys.exit(twistd())


def _end(status: int) -> None:
    """End as the interpreter does, but for taking apart what it has imported: that is slow."""
    threading._shutdown()
    atexit._run_exitfuncs()
    for file in (sys.stdout, sys.stderr):
        try:
            file.flush()
        except OSError:
            status = 120
    os._exit(status)


if __name__ == "__main__":
    _main()
