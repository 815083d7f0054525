"""The model of N nodes and what gives them their shares: exact values."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))

import pytest
from scaling_model import Costs, Room, deviation, enough, limits, predicted
from share import NoShares, of_a_core, of_a_disk

COSTS = Costs(relay_ms=0.8, database_ms=0.25, beside_ms=0.2, wal_octets=15_180.8, commits=0.1)
ROOM = Room(node_cores=0.2, database_cores=0.1, cores=2, disk_octets=32e6)


@pytest.mark.parametrize(
    ("nodes", "rate", "what"), [(1, 250, "nodes"), (2, 400, "database"), (3, 400, "database")]
)
def test_nodes_add_up_until_the_database_has_no_more(nodes: int, rate: float, what: str) -> None:
    """N nodes do N times as much as one, and no more than the database's share is good for."""
    found = predicted(COSTS, ROOM, nodes)
    assert (found.rate, found.what) == (pytest.approx(rate), what)


def test_what_each_part_could_do_stands_in_the_order_in_which_it_ends() -> None:
    """The machine's cores are everybody's, the disk is the log's: 16 000 octets a message."""
    found = [(limit.what, round(limit.rate)) for limit in limits(COSTS, ROOM, 1)]
    assert found == [("nodes", 250), ("database", 400), ("machine", 1600), ("WAL", 2000)]


def test_the_number_of_nodes_that_the_database_is_enough_for() -> None:
    """From there on, more nodes bring nothing; a slow disk comes before the processor."""
    assert enough(COSTS, ROOM) == pytest.approx(1.6)
    slow = Room(node_cores=0.2, database_cores=0.1, cores=2, disk_octets=3.2e6)
    assert enough(COSTS, slow) == pytest.approx(0.8)
    assert predicted(COSTS, slow, 4).what == "WAL"


def test_a_deviation_is_a_part_of_what_was_expected() -> None:
    """More than expected is positive."""
    assert deviation(105, 100) == pytest.approx(0.05)
    assert deviation(380, 400) == pytest.approx(-0.05)


def test_a_share_is_written_as_the_first_cgroups_want_it(tmp_path: Path) -> None:
    """A fifth of a core is 2 ms in 10."""
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cgroup.procs").touch()
    share = of_a_core("one", 0.2, tmp_path)
    (group,) = (one for one in (tmp_path / "cpu").iterdir() if one.is_dir())
    share.take(4711)
    found = {one.name: one.read_text() for one in group.iterdir()}
    assert found == {
        "cpu.cfs_quota_us": "2000",
        "cpu.cfs_period_us": "10000",
        "cpu.shares": "262144",
        "cgroup.procs": "4711",
    }


def test_a_share_is_written_as_the_second_cgroups_want_it(tmp_path: Path) -> None:
    """One file with quota and period, and the controller is turned on first."""
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io\n")
    of_a_core("one", 0.15, tmp_path)
    (group,) = (one for one in tmp_path.iterdir() if one.is_dir())
    found = {one.name: one.read_text() for one in group.iterdir()}
    assert found == {"cpu.max": "1500 10000", "cpu.weight": "10000"}
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu"


def test_a_share_of_a_disk_names_the_device(tmp_path: Path) -> None:
    """The numbers of a disk, not of a partition, and octets a second."""
    (tmp_path / "blkio").mkdir()
    (tmp_path / "blkio" / "cgroup.procs").touch()
    of_a_disk("one", 4_000_000, tmp_path, tmp_path)
    (group,) = (one for one in (tmp_path / "blkio").iterdir() if one.is_dir())
    words = (group / "blkio.throttle.write_bps_device").read_text()
    device, octets = words.split()
    assert octets == "4000000"
    assert not (Path("/sys/dev/block") / device / "partition").exists()


def test_without_the_controller_there_is_a_reason(tmp_path: Path) -> None:
    """Who has no cgroups is told so, and where they were looked for."""
    with pytest.raises(NoShares, match="no controller cpu of cgroups at"):
        of_a_core("one", 0.2, tmp_path)
