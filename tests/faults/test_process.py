"""What the process itself may lack or be told wrongly: descriptors, the time of day."""

import resource
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from relay_process import eventually

Bed = Callable[..., Any]


def descriptors(pid: int) -> int:
    """How many files and sockets a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.mark.parametrize("spare", [0, 3])
def test_out_of_descriptors(bed: Bed, spare: int) -> None:
    """None, or a few, are left for 15 s: nothing is lost, and nothing has leaked afterwards."""
    one = bed(clients=12)
    one.start()
    limits = resource.prlimit(one.pid, resource.RLIMIT_NOFILE)
    few = descriptors(one.pid) + spare
    resource.prlimit(one.pid, resource.RLIMIT_NOFILE, (few, limits[1]))
    time.sleep(15)
    resource.prlimit(one.pid, resource.RLIMIT_NOFILE, limits)
    one.recovers()
    one.count(f"no descriptors but {spare}")
    eventually(lambda: descriptors(one.pid) < few + 5, timeout_s=60)


@pytest.mark.parametrize("jump_s", [7200, -7200, 86_400 * 3, -86_400 * 3])
def test_clock_jumps(bed: Bed, preload: Callable[[str], str], jump_s: int) -> None:
    """The wall clock jumps under load, while mail waits for its next attempt."""
    one = bed()
    offset = one.relay.directory / "offset"
    offset.write_bytes(struct.pack("q", 0))
    one.relay.environment |= {"LD_PRELOAD": preload("clock"), "CLOCK_OFFSET": str(offset)}
    one.start()
    one.name_server.mood = "failing"  # what is cached lasts; the rest of the mail is deferred
    with offset.open("r+b") as file:
        file.write(struct.pack("q", jump_s))
    time.sleep(5)
    one.name_server.mood = "well"
    one.recovers()
    one.count(f"clock jumps by {jump_s:+} s")
    assert one.load.temporary == one.load.lost == 0
