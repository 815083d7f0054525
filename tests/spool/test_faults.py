"""The database busy, gone, full or read-only: told in time, never 'done', and it comes back."""

import shutil
import sqlite3
from pathlib import Path
from time import monotonic, sleep

import psycopg
import pytest

from mta.mail.events import Note
from mta.spool import database as database_module
from mta.spool import engine as engine_module
from mta.spool import history, intake, leases
from mta.spool.errors import SpoolFull, SpoolUnavailable


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    """Wait less than the program does."""
    monkeypatch.setattr(database_module, "PATIENCE_S", 0.3)
    monkeypatch.setattr(engine_module, "BUSY_S", 0.05)


@pytest.fixture
def sqlite_spool(sqlite_url, open_spool):
    """Give a running spool on SQLite that has been written to."""
    spool = open_spool(sqlite_url)
    spool.path = Path(sqlite_url.removeprefix("sqlite:///"))
    spool.wait(spool.database.write(leases.wake))
    return spool


@pytest.fixture
def postgresql_spool(postgresql_url, open_spool):
    """Give a running spool on PostgreSQL that has been written to."""
    spool = open_spool(postgresql_url)
    spool.wait(spool.database.write(leases.wake))
    return spool


def _notes(spool):
    """Return what was said, after all that threads have handed over has been run."""
    spool.wait(spool.database.read(lambda _conn: None))
    return [(event.level, event.text) for event in spool.events if isinstance(event, Note)]


def _fails(spool, error=SpoolUnavailable, count=1):
    for _ in range(count):
        with pytest.raises(error):
            spool.wait(spool.database.write(leases.wake))


def test_locked(sqlite_spool):
    """A spool that another process has locked is away for as long as that lasts; told once."""
    other = sqlite3.connect(sqlite_spool.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    _fails(sqlite_spool, count=3)
    other.execute("COMMIT")
    other.close()
    sqlite_spool.wait(sqlite_spool.database.write(leases.wake))
    said = _notes(sqlite_spool)
    assert [level for level, _ in said] == ["error", "info"]
    assert "locked" in said[0][1]
    assert "back" in said[1][1]


def test_locked_for_a_moment(sqlite_spool, monkeypatch):
    """A lock that passes within the patience is not noticed by anybody."""
    monkeypatch.setattr(database_module, "PATIENCE_S", 20)
    other = sqlite3.connect(sqlite_spool.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    tried = []

    def work(conn):
        tried.append(1)

    write = sqlite_spool.database.write(work)
    with pytest.raises(AssertionError, match="no result"):
        sqlite_spool.wait(write, 0.2)
    other.execute("COMMIT")
    other.close()
    second = sqlite_spool.database.write(leases.wake)
    sqlite_spool.wait(second)
    assert tried == [1]
    assert _notes(sqlite_spool) == []


def test_full(sqlite_spool, mail, table_of):
    """A full spool refuses with SpoolFull, keeps nothing of it, and takes small work still."""
    table = table_of(sqlite_spool.url)
    small = mail.intake()
    table.accept(small)
    (pages,) = table.rows("PRAGMA page_count")[0]

    def limit(extra):
        """Set the size that the writer's connection may fill."""
        pragma = f"PRAGMA max_page_count = {pages + extra}"
        work = sqlite_spool.database.write(lambda conn: bool(conn.exec_driver_sql(pragma)))
        sqlite_spool.wait(work)

    limit(5)
    large = sqlite_spool.database.write_together(
        intake.accept, mail.intake(chunks=(bytes(200_000),))
    )
    remark = sqlite_spool.database.write(
        history.note, small.envelope.id, None, mail.now, "remark", "root", ""
    )
    with pytest.raises(SpoolFull):
        sqlite_spool.wait(large)
    sqlite_spool.wait(remark)
    assert table.rows("SELECT id FROM messages") == [(small.envelope.id,)]
    limit(1000)
    sqlite_spool.wait(sqlite_spool.database.write(leases.wake))
    with pytest.raises(SpoolFull):  # for a moment nothing large is tried
        sqlite_spool.wait(sqlite_spool.database.write_together(intake.accept, mail.intake()))
    end = monotonic() + 10
    while sqlite_spool.database.room.short and monotonic() < end:
        sleep(0.05)
    large = mail.intake(chunks=(bytes(200_000),))
    sqlite_spool.wait(sqlite_spool.database.write_together(intake.accept, large))
    assert "full" in _notes(sqlite_spool)[0][1]


def test_removed(sqlite_spool, tmp_path):
    """A commit into a file that has been deleted is not a commit; the file put back is used."""
    aside = tmp_path / "aside"
    aside.mkdir()
    for path in tmp_path.glob("spool.db*"):
        path.rename(aside / path.name)
    _fails(sqlite_spool, count=2)
    assert not sqlite_spool.path.exists()
    for path in aside.iterdir():
        path.rename(tmp_path / path.name)
    sqlite_spool.wait(sqlite_spool.database.write(leases.wake))
    found = sqlite_spool.wait(sqlite_spool.database.read(leases.poll, 0))
    assert found.wake >= 2


def test_replaced(sqlite_spool, tmp_path, sqlite_template):
    """A spool restored from a backup under the same name is noticed, and written from then on."""
    for path in tmp_path.glob("spool.db*"):
        path.unlink()
    shutil.copy(sqlite_template, sqlite_spool.path)
    sqlite_spool.wait(sqlite_spool.database.write(leases.wake))
    with sqlite3.connect(sqlite_spool.path) as conn:
        assert conn.execute("SELECT counter FROM wakeups").fetchone() == (1,)


def test_replaced_by_nothing(sqlite_spool, tmp_path):
    """An empty file in its place is a spool that is away, not a program error."""
    for path in tmp_path.glob("spool.db*"):
        path.unlink()
    sqlite_spool.path.touch()
    _fails(sqlite_spool)


def test_connection_gone_read_only(sqlite_spool):
    """A connection that has become read-only is given up for a new one."""
    pragma = "PRAGMA query_only = 1"
    sqlite_spool.wait(sqlite_spool.database.write(lambda conn: bool(conn.exec_driver_sql(pragma))))
    sqlite_spool.wait(sqlite_spool.database.write(leases.wake))
    assert sqlite_spool.wait(sqlite_spool.database.read(leases.poll, 0)).wake == 2


def test_replaced_by_garbage(sqlite_spool, tmp_path):
    """A file that is no database any more is not reported as a fault of the message."""
    for path in tmp_path.glob("spool.db*"):
        path.unlink()
    sqlite_spool.path.write_bytes(bytes(range(256)) * 64)
    _fails(sqlite_spool)


def test_backend_terminated(postgresql_spool, postgresql_url):
    """A connection that the server has ended is replaced without anybody noticing."""
    with psycopg.connect(postgresql_url, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    postgresql_spool.wait(postgresql_spool.database.write(leases.wake))
    assert postgresql_spool.wait(postgresql_spool.database.read(leases.poll, 0)).wake == 2
    assert _notes(postgresql_spool) == []


def test_killed_in_the_middle(postgresql_spool, postgresql_url, mail):
    """A connection lost in the middle of a transaction: it is done again, and once."""
    first = [True]
    item = mail.intake()

    def work(conn):
        intake.accept(conn, [item])
        if first:
            first.clear()
            pid = conn.exec_driver_sql("SELECT pg_backend_pid()").scalar()
            with psycopg.connect(postgresql_url, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s)", (pid,))
            conn.exec_driver_sql("SELECT 1")

    postgresql_spool.wait(postgresql_spool.database.write(work))
    found = postgresql_spool.wait(postgresql_spool.database.read(history.find, item.envelope.id))
    assert found == [item.envelope.id]


@pytest.mark.parametrize(
    ("away", "back"),
    [
        ("ALLOW_CONNECTIONS false", "ALLOW_CONNECTIONS true"),
        ("SET default_transaction_read_only = on", "RESET default_transaction_read_only"),
    ],
)
def test_server_refuses(postgresql_spool, postgresql_server, away, back):
    """A database that takes no connections, or no writes, is away until it does again."""
    with psycopg.connect(postgresql_server, autocommit=True) as other:
        other.execute(f"ALTER DATABASE spool {away}")
        try:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'spool'"
            )
            _fails(postgresql_spool, count=2)
        finally:
            other.execute(f"ALTER DATABASE spool {back}")
    postgresql_spool.wait(postgresql_spool.database.write(leases.wake))
    assert [level for level, _ in _notes(postgresql_spool)] == ["error", "info"]


def test_deadlock_is_tried_again(postgresql_spool, postgresql_url):
    """A transaction that PostgreSQL sacrifices to end a deadlock is done again."""
    tries = []

    def work(conn):
        tries.append(1)
        if len(tries) == 1:
            conn.exec_driver_sql("DO $$ BEGIN RAISE deadlock_detected; END $$")

    postgresql_spool.wait(postgresql_spool.database.write(work))
    assert len(tries) == 2


def test_disk_full_on_postgresql(postgresql_spool):
    """PostgreSQL's want of room is SpoolFull as well."""

    def work(conn):
        conn.exec_driver_sql("DO $$ BEGIN RAISE disk_full; END $$")

    with pytest.raises(SpoolFull):
        postgresql_spool.wait(postgresql_spool.database.write(work))


def test_reader_survives(postgresql_spool, postgresql_url):
    """A reader whose pooled connection was ended reads all the same."""
    postgresql_spool.wait(postgresql_spool.database.read(leases.poll, 0))
    with psycopg.connect(postgresql_url, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert postgresql_spool.wait(postgresql_spool.database.read(leases.poll, 0)).wake == 1
