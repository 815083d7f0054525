"""Relays on one PostgreSQL, each with its part of a core, loaded together: one run of ``nodes.py``.

Counts whole runs: what is sent is waited for at the sink, and what all that was costs is divided
by the number of messages.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import load
import measure
import psycopg
from cells import TARGET_SIZE, Cell, Scenario
from places import Places
from postgresql import PostgreSQL
from relay import Relay
from scaling_model import Costs
from share import Share, of_a_core, of_a_disk
from sink import Sink

_WARM_UP = 80  # messages for each node
_REST_S = 10.0
_LATER_S = 1.1  # until what PostgreSQL's processes have counted is seen by others
_COUNTERS = """
SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0'), (SELECT xact_commit FROM pg_stat_database
WHERE datname = current_database()), (SELECT sum(n_tup_upd + n_tup_del) FROM pg_stat_all_tables
WHERE schemaname IN ('public', 'pg_toast')), pg_database_size(current_database())
"""


@dataclass(frozen=True, slots=True)
class Shared:
    """One spool for several relays; what the server costs is not one relay's."""

    url: str

    def fresh(self) -> str:
        """Return where it is."""
        return self.url

    def cpu_ms(self) -> float:
        """Nothing: it is counted once, not for each relay."""
        return 0.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """How to run; shares are parts of a core."""

    share: float  # of each node
    database_share: float | None  # None: as much as there is
    disk_octets: int | None  # that PostgreSQL may write in a second
    clients: int  # at each node
    seconds: float  # about how long a run takes
    compress: bool  # let PostgreSQL compress bodies, as it comes


@dataclass(frozen=True, slots=True)
class Counters:
    """Running totals: milliseconds of a processor, and what PostgreSQL counts."""

    relays_ms: float
    database_ms: float
    sink_ms: float
    wal: float
    commits: float
    dead: float  # row versions that are left for vacuum
    size: float


@dataclass(frozen=True, slots=True)
class Run:
    """One run of N nodes; all but the rates and the share is for one message."""

    accepted: float  # a second
    delivered: float
    used: float  # of the processor time that the nodes may use
    costs: Costs
    dead: float
    size: float


class Cluster:
    """The database, the sink, and relays as they are asked for."""

    def __init__(self, wanted: Wanted, places: Places) -> None:
        """Start what all runs share."""
        self._wanted = wanted
        self._places = places
        self._cell = Cell(Scenario.RELAY, wanted.clients, TARGET_SIZE)
        self._spools = places.fresh("postgresql")
        self._postgresql = PostgreSQL(self._spools)
        self._sink = Sink(places.sink_port, timing=False)

    def close(self) -> None:
        """Stop them."""
        self._sink.stop()
        self._postgresql.stop()

    def run(self, nodes: int) -> Run:
        """Measure so many nodes, on a new spool."""
        url = self._postgresql.fresh()
        if not self._wanted.compress:
            _execute(url, "ALTER TABLE chunks ALTER COLUMN data SET STORAGE EXTERNAL")
        if self._wanted.disk_octets:  # a new file of 16 MB would be written twice: seconds
            _execute(url, "ALTER SYSTEM SET wal_init_zero = off")
            _execute(url, "SELECT pg_reload_conf()")
        with self._relays(url, nodes) as relays:
            self._load(relays, _WARM_UP)
            speed, *_ = self._load(relays, 2 * _WARM_UP)
            each = max(int(speed * self._wanted.seconds / nodes), _WARM_UP)
            measure.wait_until_idle(lambda: self._busy_ms(relays), _REST_S)
            time.sleep(_LATER_S)
            before = self._counters(url, relays)
            delivered, accepted, beside_ms = self._load(relays, each)
            seconds = each * nodes / delivered
            measure.wait_until_idle(lambda: self._busy_ms(relays), _REST_S)
            time.sleep(_LATER_S)
            after = self._counters(url, relays)
        number = each * nodes
        used = (after.relays_ms - before.relays_ms) / 1000 / seconds
        return Run(
            accepted=accepted,
            delivered=delivered,
            used=used / (nodes * self._wanted.share),
            costs=Costs(
                relay_ms=(after.relays_ms - before.relays_ms) / number,
                database_ms=(after.database_ms - before.database_ms) / number,
                beside_ms=(beside_ms + after.sink_ms - before.sink_ms) / number,
                wal_octets=(after.wal - before.wal) / number,
                commits=(after.commits - before.commits) / number,
            ),
            dead=(after.dead - before.dead) / number,
            size=(after.size - before.size) / number,
        )

    @contextmanager
    def _relays(self, url: str, nodes: int) -> Iterator[list[Relay]]:
        """Start them, and then give each its part of a core."""
        with ExitStack() as stack:
            relays = [
                Relay(self._places, Shared(url), node=f"node{number}") for number in range(nodes)
            ]
            for number, relay in enumerate(relays):
                share = of_a_core(f"node{number}", self._wanted.share)
                stack.callback(share.close)
                stack.callback(relay.stop)
                relay.start()
                share.take(*measure.tree(relay.pid))
            for share in self._bounds():
                stack.callback(share.close)
                share.take(*measure.tree(self._postgresql.pid))
            yield relays

    def _bounds(self) -> Iterator[Share]:
        """Yield what bounds the database."""
        if self._wanted.database_share:
            yield of_a_core("postgresql", self._wanted.database_share)
        if self._wanted.disk_octets:
            yield of_a_disk("postgresql", self._wanted.disk_octets, self._spools)

    def _load(self, relays: Sequence[Relay], each: int) -> tuple[float, float, float]:
        """Send ``each`` to each at the same time; return delivered and accepted messages a
        second, and what the generators used, in milliseconds of a processor.
        """
        arrived = self._sink.count
        with ThreadPoolExecutor(len(relays)) as threads:
            ways = [
                threads.submit(load.smtp_source, self._cell, relay.plain_port, each)
                for relay in relays
            ]
            loads = [way.result() for way in ways]
        number, begin = each * len(relays), min(one.begin for one in loads)
        end = self._sink.wait_for(arrived + number)
        cpu_ms = sum(one.core_share * one.seconds for one in loads) * 1000
        accepted = number / (max(one.end for one in loads) - begin)
        return number / (end - begin), accepted, cpu_ms

    def _busy_ms(self, relays: Sequence[Relay]) -> float:
        return self._postgresql.cpu_ms() + sum(relay.cpu_ms() for relay in relays)

    def _counters(self, url: str, relays: Sequence[Relay]) -> Counters:
        wal, commits, dead, size = map(float, _execute(url, _COUNTERS))
        return Counters(
            relays_ms=sum(relay.cpu_ms() for relay in relays),
            database_ms=self._postgresql.cpu_ms(),
            sink_ms=measure.cpu_ms(self._sink.pid),
            wal=wal,
            commits=commits,
            dead=dead,
            size=size,
        )


def _execute(url: str, sql: str) -> Sequence[float]:
    """Have a statement done; return the row, if it gives one."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(sql.encode())
        return (cursor.fetchone() or ()) if cursor.description else ()
