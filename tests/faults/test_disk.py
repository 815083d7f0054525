"""Disks that are full, slow or failing, under the spool and under the log."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from relay_process import eventually

Bed = Callable[..., Any]
Disk = Callable[[int], Path]
DOWN_NEVER = "\n[queue]\ndown_after = 1000\n"  # nothing waits for a site to be tried again


def fill(place: Path) -> Path:
    """Take all room that is left in ``place``; return the file that has it."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while file.write(b"\0" * size) == size:
                    pass
            except OSError:
                continue
    return filler


def take(place: Path) -> Path:
    """Take all room at once, so that what is given up meanwhile stays for others."""
    filler = place / "filler"
    with filler.open("wb") as file:
        while True:  # the service takes some between the question and the call
            found = os.statvfs(place)
            try:
                os.posix_fallocate(file.fileno(), 0, max(1, found.f_bavail) * found.f_frsize)
            except OSError:
                continue
            return filler


def test_no_room_for_the_wal(bed: Bed, small_disk: Disk) -> None:
    """Somebody fills the disk under load: 452, and mail as before when there is room again."""
    one, disk = bed(), small_disk(48)
    one.relay.use_spool(f"sqlite:///{disk}/mta.sqlite")
    one.start()
    filler = fill(disk)
    eventually(lambda: one.load.answers[452] > 20)
    time.sleep(3)
    filler.unlink()
    one.recovers()
    eventually(lambda: "new mail has room again" in one.relay.log)
    one.count("disk full: WAL")


def test_no_room_for_more_mail(bed: Bed, small_disk: Disk) -> None:
    """Mail that cannot leave fills the disk of its spool: 452; then it leaves, by itself."""
    one, disk = bed(DOWN_NEVER, size=200_000, clients=2), small_disk(32)
    one.relay.use_spool(f"sqlite:///{disk}/mta.sqlite")
    one.name_server.mood = "failing"
    one.start(0)
    eventually(lambda: one.load.answers[452] > 10, timeout_s=60)
    eventually(lambda: "no room" in one.relay.log)
    eventually(lambda: "for want of room" in one.relay.mta("status").stdout)
    time.sleep(2)
    one.name_server.mood = "well"
    one.recovers(timeout_s=120)
    eventually(lambda: "for want of room" not in one.relay.mta("status").stdout)
    one.count("disk full: queue grows until it is")


def test_no_room_whoever_has_it(bed: Bed, small_disk: Disk) -> None:
    """Mail waits on a disk that others have filled to the last page: it leaves, new mail waits."""
    one, disk = bed(DOWN_NEVER, size=20_000, clients=2), small_disk(32)
    one.relay.use_spool(f"sqlite:///{disk}/mta.sqlite")
    one.name_server.mood = "failing"
    one.start(100)
    filler = take(disk)
    eventually(lambda: one.load.answers[452] > 10)
    one.name_server.mood = "well"
    eventually(lambda: one.load.recipients <= set(one.arrived()), timeout_s=60)
    filler.unlink()
    one.recovers()
    eventually((disk / "mta.sqlite-reserve").exists)
    one.count("disk full: others', while mail waits")
    assert "is given up" in one.relay.log


def test_no_room_for_the_log(bed: Bed, small_disk: Disk) -> None:
    """A log that cannot be written stops no mail, and says afterwards how much is missing."""
    disk = small_disk(1)
    one = bed(f'\n[log]\ntext = "{disk}/mail.log"\n')
    one.start()
    filler = fill(disk)
    one.more(100)
    time.sleep(1)
    filler.unlink()
    one.recovers()
    one.count("disk full: log")
    assert one.load.temporary == one.load.lost == 0
    assert "lines of this log could not be written" in (disk / "mail.log").read_text()


def on_disk(one: Any, library: str) -> Path:
    """Put the spool on the disk of ``disk.c``; return the file that tells its manner."""
    manner = Path(one.relay.directory / "manner")
    one.relay.environment |= {
        "LD_PRELOAD": library,
        "DISK_PREFIX": str(one.relay.directory / "spool"),
        "DISK_MANNER": str(manner),
    }
    return manner


@pytest.mark.parametrize("delay_s", [1, 4])
def test_each_fsync_takes_seconds(bed: Bed, preload: Callable[[str], str], delay_s: int) -> None:
    """A slow disk makes mail slow, and nothing else: no answer comes before its commit."""
    one = bed()
    manner = on_disk(one, preload("disk"))
    one.start()
    manner.write_text(str(delay_s * 1000))
    time.sleep(1)
    began = time.monotonic()
    one.more(8, timeout_s=120)
    assert time.monotonic() - began >= delay_s
    time.sleep(10)
    manner.unlink()
    one.recovers()
    one.count(f"slow disk: {delay_s} s for each fsync")


def fails_for_a_while(one: Any, preload: Callable[[str], str], how: str) -> None:
    """Start, let the disk fail so that clients hear 451, and let it be well again."""
    manner = on_disk(one, preload("disk"))
    one.start()
    manner.write_text(how)
    eventually(lambda: one.load.answers[451] > 10)
    time.sleep(3)
    manner.unlink()
    one.recovers()


def test_fsync_fails(bed: Bed, preload: Callable[[str], str]) -> None:
    """EIO at fsync is no 250: 451 until the disk is well, and nothing is half there."""
    one = bed()
    fails_for_a_while(one, preload, "EIO")
    one.count("failing disk: fsync says EIO")
    assert "the database is away" in one.relay.log


def test_read_only(bed: Bed, preload: Callable[[str], str]) -> None:
    """The file system becomes a read-only one meanwhile: 451, and afterwards all goes on."""
    one = bed()
    fails_for_a_while(one, preload, "EROFS")
    one.count("disk read-only")
    assert "the database is away" in one.relay.log
    assert "the database is back" in one.relay.log
