"""What a process tree costs: processor time and peak memory, read from Linux's /proc.

Processor time counts children that have ended too, as long as their parent waited for
them (Postfix's master and every shell do).  The kernel counts in ticks of 10 ms, so a
figure is only worth something for a run of a second and more.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

_TICK_MS = 1000.0 / os.sysconf("SC_CLK_TCK")
_IDLE_SAMPLE_S = 0.25
_IDLE_SHARE = 0.04  # of one core


class Unmeasurable(Exception):
    """The process is not there (any more)."""


def cpu_ms(root: int) -> float:
    """Return the processor time, user and system, of ``root`` and all below it."""
    times = _times()
    return sum(times[pid][1] for pid in _below(root, times)) * _TICK_MS


def tree(root: int) -> list[int]:
    """Return ``root`` and all processes below it."""
    return list(_below(root, _times()))


def _below(root: int, times: Mapping[int, tuple[int, int]]) -> Iterator[int]:
    if root not in times:
        raise Unmeasurable(f"process {root} has ended")
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in times.items():
        children.setdefault(parent, []).append(pid)
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting.extend(children.get(pid, ()))


def _times() -> dict[int, tuple[int, int]]:
    """Return {process: (parent, ticks of its own and of its reaped children)}."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended since it was listed
        fields = stat[stat.rindex(")") + 2 :].split()
        found[int(entry.name)] = int(fields[1]), sum(map(int, fields[11:15]))
    return found


def wait_until_idle(cpu: Callable[[], float], limit_s: float = 30.0) -> float:
    """Wait until ``cpu``, in milliseconds, hardly grows any more; return it."""
    end = time.monotonic() + limit_s
    before = cpu()
    while time.monotonic() < end:
        time.sleep(_IDLE_SAMPLE_S)
        now = cpu()
        if now - before <= _IDLE_SAMPLE_S * 1000 * _IDLE_SHARE:
            return now
        before = now
    return before


def memory_mb(pid: int, field: str) -> float:
    """Return ``VmRSS`` (now) or ``VmHWM`` (peak) of one process in units of 2**20 octets."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise Unmeasurable(f"process {pid} has no {field}")


def forget_peak(pid: int) -> None:
    """Let the peak (``VmHWM``) begin again at what the process uses now (proc(5))."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
