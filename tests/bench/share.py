"""A small part of a core, or of a disk, for some processes: Linux's cgroups.

Knows both versions; the second one was written by its manual and not tried on a kernel.  The period
is short, so that who has used up its part of a core waits for milliseconds and not for a tenth of
a second; until then a group goes before what else the machine does (``nice`` says nothing of
groups).  Of the disk only writes are bounded, and only those that are waited for count.
"""

import os
from collections.abc import Mapping
from pathlib import Path

PERIOD_US = 10_000
ROOT = Path("/sys/fs/cgroup")


class NoShares(Exception):
    """Why shares of a core, or of a disk, cannot be given here."""


class Share:
    """A group of processes with bounds; removed by ``close``."""

    def __init__(
        self,
        name: str,
        controllers: tuple[str, str],
        first: Mapping[str, str],
        second: Mapping[str, str],
        root: Path,
    ) -> None:
        """Make the group, with what is to be written in its files.

        ``controllers``: the names in the first and the second version, as ``first`` and ``second``.
        ``NoShares`` with the reason where that cannot be.
        """
        listed = root / "cgroup.controllers"
        new = listed.exists() and controllers[1] in listed.read_text().split()
        place = root if new else root / controllers[0]
        if not new and not (place / "cgroup.procs").exists():
            raise NoShares(f"no controller {controllers[0]} of cgroups at {root} or {place}")
        self._directory = place / f"mta-bench-{os.getpid()}-{name}"
        try:
            if new:
                (place / "cgroup.subtree_control").write_text(f"+{controllers[1]}")
            self._directory.mkdir()
            for file, value in (second if new else first).items():
                self._say(file, value)
        except OSError as fault:
            raise NoShares(f"no cgroup at {self._directory}: {fault.strerror}") from fault

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


def of_a_core(name: str, cores: float, root: Path = ROOT) -> Share:
    """Return a group that gets ``cores`` (0.2: a fifth of one) and no more."""
    quota_us = str(round(cores * PERIOD_US))
    first = {
        "cpu.shares": "262144",
        "cpu.cfs_period_us": str(PERIOD_US),
        "cpu.cfs_quota_us": quota_us,
    }
    second = {"cpu.weight": "10000", "cpu.max": f"{quota_us} {PERIOD_US}"}
    return Share(name, ("cpu", "cpu"), first, second, root)


def of_a_disk(name: str, octets: int, path: Path, root: Path = ROOT) -> Share:
    """Return a group that writes so many ``octets`` a second to the disk that ``path`` is on."""
    device = _disk(path)
    first = {"blkio.throttle.write_bps_device": f"{device} {octets}"}
    second = {"io.max": f"{device} wbps={octets}"}
    return Share(name, ("blkio", "io"), first, second, root)


def _disk(path: Path) -> str:
    """Return the numbers of the whole disk, MAJOR:MINOR: a partition cannot have bounds."""
    number = path.stat().st_dev
    device = f"{os.major(number)}:{os.minor(number)}"
    node = Path("/sys/dev/block") / device
    if (node / "partition").exists():
        return (node.resolve().parent / "dev").read_text().strip()
    return device
