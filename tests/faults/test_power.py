"""Power cuts under SQLite: what the disk was not told to keep is gone, and nothing else may be.

Two proofs.  The system calls of a running service, in their order: between the writes of a
message to the WAL and its 250 there is an fsync of the WAL.  And the cut itself, played: what
each file was at its last fsync is put in the place of the spool, once as it is, and then with some
of what was written since, sector by sector at random, as a disk may have kept it.
"""

import random
import re
import shutil
import signal
import smtplib
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from relay_process import eventually
from witness import Witness

Bed = Callable[..., Any]
SECTOR = 512
CUTS = 8
MIXTURES = 6
_ID = re.compile(r"1M[0-9A-Z]{14,15}")


def test_each_250_follows_the_fsync_of_its_wal(bed: Bed, tmp_path: Path) -> None:
    """strace sees the WAL written, then synced, then the 250 sent: for each message."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    one = bed()
    one.relay.start()
    trace = tmp_path / "trace"
    tracer = subprocess.Popen(
        ["strace", "-f", "-y", "-qq", "-s", "5000", "-o", str(trace), "-p", str(one.pid),
         "-e", "trace=fsync,fdatasync,pwrite64,write,send,sendto,sendmsg"],
        stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 20
        while "TracerPid:\t0" in Path(f"/proc/{one.pid}/status").read_text():
            assert tracer.poll() is None, tracer.communicate()
            assert time.monotonic() < deadline
        with smtplib.SMTP("127.0.0.1", one.port, timeout=60) as client:
            for number in range(30):
                text = f"Subject: n{number}\r\n\r\nmark-{number}-mark\r\n"
                client.sendmail("app@home.test", [f"n{number}@there.test"], text)
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(20)
    assert followed(trace.read_text()) == 30


def followed(trace: str) -> int:
    """Count the 250s to a message; its id must be in a WAL's octets that were synced before.

    ``-y`` puts the path behind a descriptor.  A call that another thread's interrupts has its
    result on a line of its own, and an fsync covers what was written before it began.
    """
    seen: set[str] = set()
    synced: set[str] = set()
    syncing: dict[str, set[str]] = {}
    count = 0
    for line in trace.splitlines():
        thread = line.split()[0]
        if "pwrite64(" in line and "-wal>" in line:
            seen |= set(_ID.findall(line))
        elif re.search(r"f(data)?sync\(.*-wal>", line):
            syncing[thread] = set(seen)
        if re.search(r"f(data)?sync(\(.*-wal>| resumed).*= 0$", line):
            synced |= syncing.pop(thread, set())
        if answer := re.search(r"<socket:.*250 2\.0\.0 Ok: queued as (\w+)", line):
            assert answer[1] in synced, f"a 250 before its fsync: {line}"
            count += 1
    return count


def test_power_cuts_lose_nothing_that_was_answered(
    bed: Bed, preload: Callable[[str], str], tmp_path: Path
) -> None:
    """After each cut the spool opens, is whole, and has every message that was answered 250.

    Nothing leaves meanwhile (the name server is dead), so that all must be in the spool.
    """
    one, shadow = bed(), tmp_path / "shadow"
    shadow.mkdir()
    one.name_server.mood = "dead"
    spool = next(one.relay.directory.glob("**/*.sqlite"))
    shutil.copy(spool, shadow / spool.name)
    one.relay.environment |= {
        "LD_PRELOAD": preload("disk"),
        "DISK_PREFIX": str(spool.parent),
        "DISK_SHADOW": str(shadow),
    }
    dice, promised, opened = random.Random(20261125), set(), 0
    for cut in range(CUTS):
        one.relay.start()
        load = Witness(one.port, prefix=f"c{cut}n")
        eventually(lambda load=load: len(load.accepted) > 40)  # type: ignore[misc]
        time.sleep(dice.random())
        one.relay.stop(signal.SIGKILL)
        load.stop()
        promised |= load.recipients
        for number in range(MIXTURES):
            place = tmp_path / f"cut{cut}-{number}"
            mixture(spool.parent, shadow, place, dice, share=number / MIXTURES)
            assert promised - kept(place / spool.name) == set()
            opened += 1
        restore(tmp_path / f"cut{cut}-{dice.randrange(MIXTURES)}", spool, shadow)
    one.name_server.mood = "well"
    one.relay.start()
    one.relay.mta("queue", "retry", "--all", "--yes", check=False)
    one.receiver.wait_until(lambda: promised <= set(one.arrived()), timeout_s=120)
    one.row(f"power cut: {CUTS} cuts, {opened} spools", promised)


def mixture(spool: Path, shadow: Path, place: Path, dice: random.Random, share: float) -> None:
    """Make in ``place`` what a disk may have: all that was synced, and a ``share`` of the rest."""
    place.mkdir()
    for synced in shadow.glob("[!.]*"):
        octets, written = bytearray(synced.read_bytes()), b""
        if share and (spool / synced.name).exists():
            written = (spool / synced.name).read_bytes()
            octets.extend(bytes(max(0, len(written) - len(octets))))
        for at in range(0, len(written), SECTOR):
            if dice.random() < share:
                octets[at : at + SECTOR] = written[at : at + SECTOR]
        (place / synced.name).write_bytes(octets)


def kept(spool: Path) -> set[str]:
    """Open a copy of the spool, as the next start would; return the recipients that are in it."""
    copy = spool.parent / "look"
    copy.mkdir()
    for file in spool.parent.glob(f"{spool.name}*"):
        shutil.copy(file, copy / file.name)
    connection = sqlite3.connect(copy / spool.name)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return {one for (one,) in connection.execute("SELECT address FROM recipients")}
    finally:
        connection.close()
        shutil.rmtree(copy)


def restore(cut: Path, spool: Path, shadow: Path) -> None:
    """Put what the cut has left in the place of the spool, and of what is known to be kept."""
    for place in (spool.parent, shadow):
        for old in place.iterdir():
            old.unlink()
        for file in cut.iterdir():
            shutil.copy(file, place / file.name)
