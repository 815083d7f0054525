"""Room for mail: what new mail must leave free, so that what is here can go out.

Each attempt is written down before and after, and a lease is renewed all the time; a spool that
new mail has filled to the last page could not even be emptied.  So new mail is refused while there
is still some room (``min_free``), as by Postfix's ``queue_minfree``, and part of that room is held
by a file beside the spool, the *reserve*.  Where others fill the disk, or a quota does that
``statvfs`` knows nothing of, the reserve is given up when a write fails that is not new mail, and
made again when there is room.

What is left on SQLite is the room in the file system and, inside the database, the pages that are
free, less what the database has still to grow by when its log (WAL) is written back.  It is looked
at once a second, more often when little is left, and by one thread.  PostgreSQL's disk is not ours
to look at: when it says that it is full, new mail is refused for a while that doubles each time.

Trusts what the file system says of itself.  Knowingly: history that grows while nothing can be
delivered for weeks uses up the reserve as well; then all waits until somebody makes room.
"""

import os
import sqlite3
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from errno import EDQUOT, ENOSPC
from pathlib import Path
from time import monotonic
from typing import Any

from mta.spool import intake
from mta.spool.engine import parse, sqlite_path
from mta.spool.line import Line

BRINGING: Collection[Callable[..., Any]] = (intake.accept, intake.store_chunk)
"""The writes that new mail comes by: these are refused while room is short."""

_SHARE = 10  # of a small file system, so small a part is kept free
_HELD = 4  # of which so much is held by the reserve
_ENOUGH = 1.25  # room is no longer short when there is so much more than must be
_FASTEST = 512 * 1024 * 1024  # octets a second that new mail may bring
_SELDOM_S, _OFTEN_S = 1.0, 0.02  # between two looks
_FIRST_PAUSE_S, _LAST_PAUSE_S = 1.0, 30.0
_FULL = (ENOSPC, EDQUOT)


def room_of(url: str, line: Line, min_free: int) -> "Room":
    """Return what looks after the room of the spool at ``url``, ``line`` its writer's."""
    parsed = parse(url)
    if parsed.get_backend_name() == "sqlite" and min_free:
        return SqliteRoom(sqlite_path(parsed), line, min_free)
    return Room()


class Room:
    """Of a database on a disk that is not ours: learns from its refusals.

    All but ``has`` is called in the writer's thread.
    """

    def __init__(self) -> None:
        self.short = False  # new mail is refused
        self.why = ""
        self.left = 1 << 62  # octets that new mail may take
        self._until_s = 0.0
        self._pause_s = _FIRST_PAUSE_S
        self._filled_s = 0.0

    def has(self, size: int) -> bool:
        """Tell whether a message of ``size`` octets may come; in the reactor's thread."""
        return not self.short and size <= self.left

    @property
    def alarm(self) -> str:
        """Why new mail is refused, as far as is known; "" where it is not."""
        return self.why

    def worked(self) -> None:
        """A write has succeeded."""
        if not self.short:
            self.why = ""

    @property
    def pause_s(self) -> float | None:
        """How long until the next look although nothing is written; None: that need not be."""
        return _SELDOM_S if self.short else None

    def look(self) -> None:
        """Find out whether room is short: it was, and may be tried again."""
        if self.short and monotonic() >= self._until_s:
            self.short = False

    def filled(self, why: str) -> None:
        """A write has been refused for want of room."""
        now = monotonic()
        if self.short:
            return
        if now - self._filled_s > 4 * _LAST_PAUSE_S:
            self._pause_s = _FIRST_PAUSE_S
        self.short, self.why, self._filled_s = True, why, now
        self._until_s = now + self._pause_s
        self._pause_s = min(2 * self._pause_s, _LAST_PAUSE_S)

    def make(self) -> bool:
        """Give up what is held for writes that must be done; tell whether that has made room."""
        return False


@dataclass(frozen=True, slots=True)
class _Sizes:
    """What is kept free on a file system: ``floor`` by refusing mail, ``reserve`` by a file."""

    floor: int
    reserve: int


class SqliteRoom(Room):
    """Of a spool in a file."""

    def __init__(self, path: Path, line: Line, min_free: int) -> None:
        super().__init__()
        self._path = path
        self._wal = path.with_name(f"{path.name}-wal")
        self._reserve = path.with_name(f"{path.name}-reserve")
        self._line = line
        self._min_free = min_free
        self._next_s = 0.0
        self._whole = True  # the reserve is there, or cannot be had
        self._unable = False  # to have one

    def look(self) -> None:
        """Measure, unless that was done a moment ago."""
        now = monotonic()
        if now < self._next_s:
            return
        try:
            sizes, left = self._measure()
        except Exception:  # the write that follows finds out what is wrong, and says so
            self._next_s = now + _SELDOM_S
            return
        wanted = sizes.floor * (_ENOUGH if self.short else 1)
        enough = left >= wanted and (self._whole or self._hold(sizes.reserve))
        self.left = max(0, left - sizes.floor)
        self.short = not enough
        self.why = self._words(sizes, left) if self.short else ""
        headroom_s = self.left / _FASTEST
        self._next_s = now + (_SELDOM_S if self.short else min(max(headroom_s, _OFTEN_S), 1.0))

    def filled(self, why: str) -> None:
        """Look at once."""
        self._next_s = 0.0

    def make(self) -> bool:
        """Give up the reserve, and write the log back into the database so that it is empty."""
        before = _size(self._wal)
        held = _size(self._reserve)
        self.short, self.why, self._whole = True, f"{self._reserve} is given up", self._unable
        self._reserve.unlink(missing_ok=True)
        with suppress(sqlite3.Error), self._line.connection() as conn:
            raw: Any = conn.connection.driver_connection
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return held > 0 or _size(self._wal) < before

    def _words(self, sizes: _Sizes, left: int) -> str:
        """Say what is short; the same words for as long as it is."""
        if left >= sizes.floor * _ENOUGH:
            return f"{self._reserve} cannot be made"
        most, place = sizes.floor >> 10, self._path.parent
        return f"less than {most} KiB are left for {place}"

    def _measure(self) -> tuple[_Sizes, int]:
        """Return what must be left, and what is."""
        found = os.statvfs(self._path.parent)
        most = min(self._min_free, found.f_blocks * found.f_frsize // _SHARE)
        sizes = _Sizes(most - most // _HELD, most // _HELD)
        held = 0 if self._unable else _size(self._reserve)
        if not self._unable and held < sizes.reserve:
            self._whole = False
        free = found.f_bavail * found.f_frsize
        missing = 0 if self._unable else max(0, sizes.reserve - held)
        return sizes, free - missing + self._inside()

    def _inside(self) -> int:
        """Return what the database has free, as far as its log can follow, less what it owes."""
        with self._line.connection() as conn:
            raw: Any = conn.connection.driver_connection
            page, pages, unused = (
                raw.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("page_size", "page_count", "freelist_count")
            )
        owed = max(0, pages * page - _size(self._path))
        return int(min(unused * page, _size(self._wal)) - owed)

    def _hold(self, size: int) -> bool:
        """Make the reserve; False if there is no room for it."""
        try:
            file = os.open(self._reserve, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(file, 0, max(1, size))
            finally:
                os.close(file)
        except OSError as error:
            self._reserve.unlink(missing_ok=True)
            self._unable = error.errno not in _FULL
            self._whole = self._unable
            return self._unable
        self._whole = True
        return True


def _size(path: Path) -> int:
    """Return the octets of a file, 0 if there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
