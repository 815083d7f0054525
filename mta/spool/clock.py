"""The wall clock that all processes of one spool go by: the database's, where there are hosts.

What processes share is written with times: when a lease is over, when mail is due, which hour a
counter belongs to.  A host whose clock is minutes ahead would take every other's lease for over,
and its mail for its own.  So on PostgreSQL each process asks the server for the time, at the start
and with every renewal of its lease, and goes on from the answer by its own monotonic clock.  On
SQLite all are on one host, and its clock is the clock.

What agrees, within the time that asking takes, is left alone.  The dates in headers and signatures
are the host's own: a clock that is far off is said.

Trusts the clock of the database server, and of the one that takes its place.
"""

import time
from collections.abc import Callable

from sqlalchemy import Connection
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from mta.mail.events import Emit, Note
from mta.spool.database import Database
from mta.spool.engine import create_engine, is_sqlite, reading

_AGREE_MS = 100
_TELL_MS = 10_000  # what is further off spoils dates and signatures as well


def database_ms(conn: Connection) -> int | None:
    """Return what time it is by the database server; None where that is this host."""
    if is_sqlite(conn):
        return None
    sql = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)"
    return int(conn.exec_driver_sql(sql).scalar_one())


def wall_ms() -> int:
    """Return the time of this host, in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class SpoolClock:
    """The time, as all processes of the spool have it."""

    def __init__(
        self,
        monotonic: IReactorTime,
        emit: Emit,
        url: str,
        host_ms: Callable[[], int] = wall_ms,
    ) -> None:
        """Go by the host until the database at ``url`` has been asked; for good on SQLite."""
        self._url = url
        self._shared = not url.startswith("sqlite")
        self._monotonic = monotonic
        self._emit = emit
        self._host_ms = host_ms
        self._anchor: tuple[int, float] | None = None  # the database's time, and when it was that
        self._off_ms = 0
        self._told = False

    def now_ms(self) -> int:
        """Return the time in milliseconds since the epoch."""
        if self._anchor is None:
            return self._host_ms()
        at_ms, at_s = self._anchor
        return at_ms + round((self._monotonic.seconds() - at_s) * 1000)

    @property
    def off_ms(self) -> int:
        """How far the host's clock is ahead of the database's, when last seen."""
        return self._off_ms

    def load(self) -> None:
        """Ask and wait for the answer; for the start, before any work."""
        if not self._shared:
            return
        engine = create_engine(self._url, connections=1)
        try:
            with reading(engine) as conn:
                conn.exec_driver_sql("SELECT 1")  # the connection is open: now time counts
                begun_s = self._monotonic.seconds()
                self._heard(database_ms(conn), begun_s)
        finally:
            engine.dispose()

    async def ask(self, database: Database) -> None:
        """Ask the database; ``SpoolUnavailable`` if it does not say."""
        if not self._shared:
            return
        begun_s = self._monotonic.seconds()
        asked: Deferred[int | None] = database.read(database_ms)
        self._heard(await asked, begun_s)
        if (abs(self._off_ms) > _TELL_MS) is not self._told:
            self._told = not self._told
            self._tell()

    def _heard(self, said_ms: int | None, begun_s: float) -> None:
        if said_ms is None:
            return
        now_s = self._monotonic.seconds()
        took_ms = round((now_s - begun_s) * 1000)
        true_ms = said_ms + took_ms // 2
        self._off_ms = self._host_ms() - true_ms
        if abs(self.now_ms() - true_ms) > took_ms + _AGREE_MS:
            self._anchor = (true_ms, now_s)
        elif self._anchor is None:
            self._anchor = (self.now_ms(), now_s)

    def _tell(self) -> None:
        if self._told:
            seconds = abs(self._off_ms) / 1000
            which = "ahead of" if self._off_ms > 0 else "behind"
            text = f"the clock of this host is {seconds:.0f} s {which} the database's, which is"
            text += " what the queue goes by: put it right, for dates and signatures"
            self._emit(Note("warning", "service", text))
        else:
            self._emit(Note("info", "service", "the clock of this host is right again"))
