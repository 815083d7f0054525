"""A small part of a core for some processes: the ``cpu`` controller of Linux's cgroups.

Knows both versions; the second one was written by its manual and not tried on a kernel.  The period
is short, so that who has used up its part waits for milliseconds and not for a tenth of a second;
until then a group goes before what else the machine does (``nice`` says nothing of groups).
"""

import os
from pathlib import Path

PERIOD_US = 10_000
ROOT = Path("/sys/fs/cgroup")


class NoShares(Exception):
    """Why shares of a core cannot be given here."""


class Share:
    """A group that gets ``cores`` (0.2: a fifth of one) and no more; removed by ``close``."""

    def __init__(self, name: str, cores: float, root: Path = ROOT) -> None:
        """Make the group; ``NoShares`` with the reason where that cannot be."""
        self._quota_us = round(cores * PERIOD_US)
        controllers = root / "cgroup.controllers"
        self._second = controllers.exists() and "cpu" in controllers.read_text().split()
        place = root if self._second else root / "cpu"
        if not self._second and not (place / "cpu.cfs_quota_us").exists():
            raise NoShares(f"no cpu controller of cgroups at {root} or {place}")
        self._directory = place / f"mta-bench-{os.getpid()}-{name}"
        try:
            self._make(place)
        except OSError as fault:
            raise NoShares(f"no cgroup at {self._directory}: {fault.strerror}") from fault

    def _make(self, place: Path) -> None:
        if self._second:
            (place / "cgroup.subtree_control").write_text("+cpu")
        self._directory.mkdir()
        if self._second:
            self._say("cpu.weight", "10000")
            self._say("cpu.max", f"{self._quota_us} {PERIOD_US}")
        else:
            self._say("cpu.shares", "262144")
            self._say("cpu.cfs_period_us", str(PERIOD_US))
            self._say("cpu.cfs_quota_us", str(self._quota_us))

    def take(self, *pids: int) -> None:
        """Put processes, with all their threads, into the group; their children come along."""
        for pid in pids:
            self._say("cgroup.procs", str(pid))

    def close(self) -> None:
        """Let go who is still in the group, and remove it."""
        for pid in (self._directory / "cgroup.procs").read_text().split():
            (self._directory.parent / "cgroup.procs").write_text(pid)
        self._directory.rmdir()

    def _say(self, name: str, value: str) -> None:
        (self._directory / name).write_text(value)
