"""What the tests stand on: processes that are started warm, and a reactor that is left alone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import warm
from twisted.internet import task
from twisted.internet.base import ReactorBase
from twisted.internet.defer import succeed

from mta.admin import asking

SUPPORT = Path(__file__).parent / "support"
OUTLIVED = """
import os, signal, subprocess, sys
sys.path.insert(0, sys.argv[1])
import warm
warm.mark()
command, none = ["-n", "--pidfile=", "web"], os.open(os.devnull, os.O_RDWR)
started = warm.start("twistd", command, os.environ, sys.argv[2], [none] * 3)
server = subprocess.Popen(["sleep", "600"], stdout=none, start_new_session=True)
print(started.pid, server.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_nobody_runs_the_reactor_of_the_tests() -> None:
    """Who runs and stops it would leave it unusable for all tests that follow."""
    with pytest.raises(AssertionError, match="use a process"):
        task.react(lambda reactor: succeed(None))
    with pytest.raises(AssertionError, match="use a process"):
        asking.react(lambda reactor: succeed(None))
    with pytest.raises(AssertionError, match="use a process"):
        ReactorBase.run(None)


@pytest.mark.parametrize(
    "arguments",
    [["--version"], ["nonsense"], ["--config", "nowhere.toml", "status"], ["explain", "--help"]],
)
def test_what_is_started_warm_says_what_a_fresh_start_says(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both outputs, and the status."""
    monkeypatch.chdir(tmp_path)
    program = str(Path(sys.executable).parent / "mta")
    fresh = subprocess.run(
        [program, *arguments], check=False, capture_output=True, text=True, timeout=60
    )
    quick = warm.run("mta", arguments, os.environ)
    assert (quick.returncode, quick.stdout, quick.stderr) == (
        fresh.returncode,
        fresh.stdout,
        fresh.stderr,
    )


def test_a_signal_is_a_status_as_elsewhere(tmp_path: Path) -> None:
    """It can be killed, and that is seen."""
    with Path(os.devnull).open("r+b") as none:
        started = warm.start(
            "twistd", ["-n", "--pidfile=", "web"], os.environ, tmp_path, (none.fileno(),) * 3
        )
    assert started.poll() is None
    started.kill()
    assert started.wait(10) == started.poll() == -signal.SIGKILL


def test_nothing_outlives_the_tests_however_they_end(tmp_path: Path) -> None:
    """A run that is killed leaves neither a service behind nor a server that only has its mark."""
    done = subprocess.run(
        [sys.executable, "-c", OUTLIVED, str(SUPPORT), str(tmp_path)],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    service, server = map(int, done.stdout.split())
    deadline = time.monotonic() + 20
    while _runs(service) or _runs(server):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
