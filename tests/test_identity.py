"""Which process is meant, and whether it is there: looked at with real processes."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mta import identity

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")


@contextmanager
def child() -> Iterator[tuple[subprocess.Popen[bytes], dict[str, str]]]:
    """A process that waits, and what it would say of itself."""
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    born = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
    about = identity.oneself() | {"pid": str(process.pid), "born": born}
    try:
        yield process, about
    finally:
        process.kill()
        process.communicate()


def test_a_process_is_there_until_it_ends():
    """A zombie, which nobody has waited for yet, has ended."""
    with child() as (process, about):
        assert identity.there(about) is True
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert Path(f"/proc/{process.pid}").exists()
        assert identity.there(about) is False
    assert identity.there(about) is False


def test_attack_a_number_that_was_given_away_again():
    """The process that has the number now began at another time: ours is dead."""
    with child() as (_, about):
        assert identity.there(about | {"born": str(int(about["born"]) - 1)}) is False


@pytest.mark.parametrize(
    "kernel",
    [
        "00000000-0000-4000-8000-000000000000/pid:[4026531836]",  # another machine, or a restart
        f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}/pid:[1]",  # a container
    ],
)
def test_attack_equal_host_names(kernel: str):
    """A number elsewhere says nothing, though the host is called as ours is."""
    with child() as (process, about):
        process.kill()
        process.wait()
        assert identity.there(about | {"kernel": kernel}) is None
        assert not identity.is_here(about | {"kernel": kernel})


def test_an_older_version_is_known_by_its_host():
    """It says only its number and its host."""
    with child() as (process, about):
        older = {"pid": about["pid"], "host": about["host"]}
        assert identity.there(older) is True
        assert identity.there(older | {"host": "elsewhere"}) is None
        process.kill()
        process.wait()
        assert identity.there(older) is False


@pytest.mark.parametrize("pid", ["", "-1", "x", "../1"])
def test_what_is_no_number(pid: str):
    """Of such a process nothing can be said."""
    assert identity.there(identity.oneself() | {"pid": pid}) is None


def test_oneself():
    """Who asks is there, and is nobody else."""
    me = identity.oneself()
    assert identity.is_oneself(me)
    assert identity.there(me) is True
    with child() as (_, about):
        assert not identity.is_oneself(about)
