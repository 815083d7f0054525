"""The process itself: its start, and what surroundings do to it: a clock that jumps, few files."""

import resource
from collections.abc import Callable
from pathlib import Path

import pytest
from receiver import Receiver
from relay_process import Relay

pytestmark = pytest.mark.flow

# Read by the interpreter before anything of ours or Twisted's has looked at the time.
_JUMPING = """
import os, time
_file, _time, _time_ns = os.environ.get("CLOCK_JUMP", ""), time.time, time.time_ns
def _jump():
    try:
        return float(open(_file).read() or 0)
    except (OSError, ValueError):
        return 0.0
if _file:
    time.time = lambda: _time() + _jump()
    time.time_ns = lambda: _time_ns() + int(_jump() * 1e9)
"""


def greylist() -> Callable[[str], str | None]:
    """Defer each recipient once."""
    seen: set[str] = set()

    def judge(recipient: str) -> str | None:
        if recipient in seen:
            return None
        seen.add(recipient)
        return "450 4.7.1 Greylisted"

    return judge


def test_a_clock_set_back_does_not_stop_the_queue(
    receivers: Callable[..., Receiver],
    relays: Callable[..., Relay],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Attack, or an administrator: the wall clock jumps an hour back; mail is still retried."""
    receiver = receivers(greylist())
    relay = relays(receiver.port)
    (tmp_path / "sitecustomize.py").write_text(_JUMPING)
    jump = tmp_path / "jump"
    jump.write_text("0")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("CLOCK_JUMP", str(jump))
    relay.start()
    relay.send(["before@there.test"], "before the jump")
    receiver.wait(1)
    jump.write_text("-3600")
    relay.send(["after@there.test"], "after the jump")
    receiver.wait(2)
    assert relay.stop() == 0


def test_a_low_limit_of_files_is_raised(
    receivers: Callable[..., Receiver], relays: Callable[..., Relay]
) -> None:
    """A shell's 1024 files would be used up by the connections that are allowed by default."""
    relay = relays(receivers().port)
    command, hard = relay.command(), resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    relay.command = lambda: ["sh", "-c", f"ulimit -S -n 256; exec {' '.join(command)}"]
    relay.start()
    assert relay.process is not None
    limits = Path(f"/proc/{relay.process.pid}/limits").read_text().splitlines()
    files = next(line for line in limits if line.startswith("Max open files"))
    assert int(files.split()[3]) == (65_536 if hard < 0 else min(65_536, hard))
    assert relay.stop() == 0


def test_started_as_everybody_does(
    receivers: Callable[..., Receiver], relays: Callable[..., Relay]
) -> None:
    """The programs of the installation, started afresh: all else here starts them warm."""
    receiver = receivers()
    relay = relays(receiver.port)
    relay.cold = True
    assert relay.mta("--version").stdout.startswith("mta, version ")
    assert relay.mta("status", check=False).returncode == 69
    relay.start()
    relay.send(["u@there.test"], "afresh")
    receiver.wait(1)
    assert relay.mta("trace", "u@there.test").returncode == 0
    assert relay.mta("nonsense", check=False).returncode == 64
    assert relay.stop() == 0
