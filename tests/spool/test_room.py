"""Room that new mail leaves free: what is refused, what passes all the same, how it ends."""

import os
from pathlib import Path
from time import monotonic, sleep
from types import SimpleNamespace

import pytest

from mta.spool import intake, leases
from mta.spool import room as room_module
from mta.spool.database import Database
from mta.spool.errors import SpoolFull
from mta.spool.room import Room

MIB = 1024 * 1024
MIN_FREE = 8 * MIB


class Disk:
    """A file system of 1 GiB that has ``free`` octets left, and counts who asks."""

    def __init__(self):
        self.free = 500 * MIB
        self.asked = 0

    def statvfs(self, _path):
        self.asked += 1
        return SimpleNamespace(f_frsize=4096, f_blocks=262_144, f_bavail=self.free // 4096)


@pytest.fixture
def disk(monkeypatch):
    """Put the spool on such a disk, and look at it whenever something is written."""
    made = Disk()
    monkeypatch.setattr(os, "statvfs", made.statvfs)
    return made


@pytest.fixture
def spool(sqlite_url, open_spool, disk, monkeypatch):
    """Give a running spool that keeps ``MIN_FREE`` free."""
    monkeypatch.setattr(room_module, "_SELDOM_S", 0.05)
    real = Database.__init__

    def init(self, *args, **kwargs):
        real(self, *args, min_free=MIN_FREE, **kwargs)

    monkeypatch.setattr(Database, "__init__", init)
    opened = open_spool(sqlite_url)
    opened.path = Path(sqlite_url.removeprefix("sqlite:///"))
    opened.reserve = opened.path.with_name(f"{opened.path.name}-reserve")
    opened.told = []
    opened.database.when_short = opened.told.append
    opened.wait(opened.database.write(leases.wake))
    return opened


def accept(spool, mail):
    """Take in one message."""
    return spool.wait(spool.database.write_together(intake.accept, mail.intake()))


def until(spool, condition):
    """Wait until something has been noticed, which takes a look or two."""
    end = monotonic() + 10
    while not condition():
        assert monotonic() < end
        sleep(0.02)
        spool.wait(spool.database.read(lambda _conn: None))


def test_the_room_is_measured_beside_the_writes(spool, disk, mail):
    """Looking again, when the writer has its connection in hand, holds nobody up."""
    began, asked = monotonic(), disk.asked
    for _ in range(3):
        spool.database.room._next_s = 0.0
        accept(spool, mail)
    assert disk.asked >= asked + 3
    assert spool.database.room.left > 0
    assert monotonic() - began < 5


def test_new_mail_is_refused_and_all_else_passes(spool, disk, mail, table_of):
    """Short of room the spool takes no message and no chunk, but what empties it."""
    accept(spool, mail)
    disk.free = 5 * MIB
    until(spool, lambda: spool.database.write(leases.wake) and spool.database.room.short)
    with pytest.raises(SpoolFull, match="less than 6144 KiB are left"):
        accept(spool, mail)
    with pytest.raises(SpoolFull):
        spool.wait(spool.database.write(intake.store_chunk, "1M0", 0, b"x"))
    spool.wait(spool.database.write(leases.wake))
    assert table_of(spool.url).rows("SELECT count(*) FROM messages") == [(1,)]
    until(spool, lambda: len(spool.told) == 1)
    disk.free = 7 * MIB  # enough by itself, but not enough more to be believed
    sleep(0.2)
    assert spool.database.room.short
    disk.free = 100 * MIB
    until(spool, lambda: not spool.database.room.short)  # though nothing is written
    accept(spool, mail)
    until(spool, lambda: spool.told[1:] == [""])


def test_announced_size_is_weighed(spool, disk):
    """A message that says how large it is may come if so much is left above what must be."""
    disk.free = 20 * MIB
    room = spool.database.room
    until(spool, lambda: spool.database.write(leases.wake) and room.left < 20 * MIB)
    assert room.has(10 * MIB)
    assert not room.has(15 * MIB)


def test_the_reserve_is_given_up_and_made_again(spool, disk):
    """A write that must be done gets the room that a file has held, and later the file is back."""
    assert spool.reserve.stat().st_size == MIN_FREE // 4
    assert spool.reserve.stat().st_mode & 0o777 == 0o600
    disk.free = 3 * MIB
    room = spool.database.room
    assert room.make()
    assert not spool.reserve.exists()
    assert room.short
    disk.free = 100 * MIB
    until(spool, lambda: spool.database.write(leases.wake) and spool.reserve.exists())
    until(spool, lambda: not room.short)


def test_a_full_disk_costs_the_reserve_not_the_outcome(spool, monkeypatch, tmp_path):
    """What must be written is tried again when the reserve has been given up, and succeeds."""
    tried = []

    def outcome(conn):
        tried.append(spool.reserve.exists())
        if tried[-1]:
            raise SpoolFull("database or disk is full")
        return "written"

    assert spool.wait(spool.database.write(outcome)) == "written"
    assert tried == [True, False]


def test_new_mail_never_gets_the_reserve(spool, mail, monkeypatch):
    """A message that does not fit is refused; what is held for outcomes stays."""

    def full(_conn, _items):
        raise SpoolFull("database or disk is full")

    monkeypatch.setattr(room_module, "BRINGING", (full,))
    monkeypatch.setattr("mta.spool.database.BRINGING", (full,))
    with pytest.raises(SpoolFull):
        spool.wait(spool.database.write_together(full, mail.intake()))
    assert spool.reserve.exists()


def test_pages_that_are_free_inside_count(spool, disk, mail):
    """A file that has grown and been emptied has room, though the disk has next to none."""
    large = mail.intake(chunks=intake.divided(bytes(20 * MIB)))
    spool.wait(spool.database.write_together(intake.accept, large))
    emptied = spool.database.write(lambda conn: bool(conn.exec_driver_sql("DELETE FROM chunks")))
    spool.wait(emptied)
    disk.free = 5 * MIB
    until(spool, lambda: spool.database.write(leases.wake) and spool.database.room.left < 50 * MIB)
    assert not spool.database.room.short
    accept(spool, mail)


def test_looked_at_seldom(spool, disk, mail, monkeypatch):
    """A thousand messages do not ask the file system a thousand times."""
    monkeypatch.setattr(room_module, "_SELDOM_S", 1.0)
    sleep(0.1)
    before, begun = disk.asked, monotonic()
    for _ in range(200):
        accept(spool, mail)
    assert disk.asked - before <= 3 + (monotonic() - begun)


def test_no_reserve_where_none_can_be(spool, disk, monkeypatch):
    """A file system that cannot hold one is used without; mail goes on."""

    def fails(*_args):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", fails)
    spool.reserve.unlink()
    until(spool, lambda: spool.database.write(leases.wake) and not spool.reserve.exists())
    sleep(0.1)
    assert not spool.database.room.short


def test_a_disk_that_is_not_ours(monkeypatch):
    """PostgreSQL is full: new mail waits, twice as long each time, 30 s at most."""
    now = [1000.0]
    monkeypatch.setattr(room_module, "monotonic", lambda: now[0])
    room, pauses = Room(), []
    for _ in range(7):
        room.filled("could not extend file")
        assert not room.has(1)
        began = now[0]
        while room.short:
            now[0] += 0.5
            room.look()
        pauses.append(now[0] - began)
        assert room.alarm == "could not extend file"
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    room.worked()
    assert room.alarm == ""
    now[0] += 200
    room.filled("could not extend file")
    now[0] += 1
    room.look()
    assert room.has(1)
