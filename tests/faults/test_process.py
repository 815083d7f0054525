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
    """None, or a few, are left for 15 s: clients hear 421, and nothing has leaked afterwards.

    Each message comes over a new connection, and mail waits for the receiving host.
    """
    one = bed(clients=2, anew=True, timeout_s=20, pause_s=0.1)
    one.refusal = "451 4.3.0 later"
    one.start()
    limits = resource.prlimit(one.pid, resource.RLIMIT_NOFILE)
    usual = descriptors(one.pid)
    resource.prlimit(one.pid, resource.RLIMIT_NOFILE, (least(one.pid) + spare, limits[1]))
    one.refusal = None
    eventually(lambda: one.load.answers[421] > 20)
    time.sleep(15)
    resource.prlimit(one.pid, resource.RLIMIT_NOFILE, limits)
    one.recovers()
    one.count(f"no descriptors but {spare}")
    assert one.load.lost == 0
    assert "descriptors are in use" in one.relay.log
    eventually(lambda: "descriptors for new clients again" in one.relay.log)
    eventually(lambda: descriptors(one.pid) < usual + 5, timeout_s=60)


def least(pid: int) -> int:
    """Return the lowest descriptor that is free: the limit under which none can be had."""
    numbers = {int(file.name) for file in Path(f"/proc/{pid}/fd").iterdir()}
    return next(number for number in range(len(numbers) + 1) if number not in numbers)


HOUR, DAY = 3600, 86_400


@pytest.mark.parametrize("jump_s", [2 * HOUR, -2 * HOUR, 3 * DAY, -3 * DAY])
def test_clock_jumps(bed: Bed, preload: Callable[[str], str], jump_s: int) -> None:
    """The wall clock jumps under load while mail is deferred: it goes on by its schedule.

    Mail may grow two days old and its sender is warned after an hour, so that a jump forward that
    was believed would return or report what waits.
    """
    one = bed(clients=1, pause_s=0.2)
    text = one.relay.config.read_text()
    old = 'expiry = "2d"\ndelay_warning = "1h"\nsteps = ["1s"]'
    one.relay.config.write_text(text.replace('steps = ["1s"]', old))
    offset = one.relay.directory / "offset"
    offset.write_bytes(struct.pack("q", 0))
    one.relay.environment |= {"LD_PRELOAD": preload("clock"), "CLOCK_OFFSET": str(offset)}
    one.start()
    one.refusal = "451 4.3.0 later"
    one.more(20)
    with offset.open("r+b") as file:
        file.write(struct.pack("q", jump_s))
    one.more(20)
    day = time.strftime("%Y-%m-%dT%H", time.gmtime(time.time() + jump_s))
    eventually(lambda: f"\n{day}" in one.relay.log)
    eventually(lambda: f"by {abs(jump_s)} s" in one.relay.log)
    time.sleep(5)  # several attempts of each, by the new time
    one.refusal = None
    one.recovers()
    one.count(f"clock jumps by {jump_s / HOUR:+.0f} h", timeout_s=60)
    assert one.load.temporary == one.load.lost == 0


def test_clock_is_right_again_at_the_next_start(bed: Bed, preload: Callable[[str], str]) -> None:
    """The service ends by a clock that is a day ahead, and starts by one that is right."""
    one = bed(clients=1, pause_s=0.2)
    offset = one.relay.directory / "offset"
    offset.write_bytes(struct.pack("q", DAY))
    one.relay.environment |= {"LD_PRELOAD": preload("clock"), "CLOCK_OFFSET": str(offset)}
    one.refusal = "451 4.3.0 later"
    one.start()
    eventually(lambda: one.relay.log.count("status=deferred") > 10)
    one.relay.stop()
    offset.write_bytes(struct.pack("q", 0))
    one.refusal = None
    one.relay.start()
    one.recovers()
    one.count("clock a day ahead until the next start", timeout_s=60)
