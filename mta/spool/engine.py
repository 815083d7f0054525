"""Connections to the spool's database, and what must hold before the service may use it.

SQLite: WAL with ``synchronous=FULL``, because NORMAL may lose the last commits when the
power fails, and they have been answered 250 (RFC 5321 §6.1).  Every writing transaction
begins with ``BEGIN IMMEDIATE``: one that reads first and writes later could fail at once
with a stale snapshot, which no time-out covers, and the claims rely on it too (``leases``).
The file is private (0600) and is never made by the act of connecting, so that a spool whose
file is gone is an error and not an empty spool.

PostgreSQL: psycopg 3, READ COMMITTED, and no commit that does not wait for its disk.

Trusts the URL; does not guard against another program that writes to the same tables.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import random
from time import sleep
from typing import Any
from urllib.parse import quote

import sqlalchemy
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import QueuePool

from mta.spool.driver import run
from mta.spool.errors import SpoolUnavailable, SpoolUnusable, classify, one_line
from mta.spool.schema import REVISION, schema_support
from mta.spool.url import UNREADABLE, with_hosts

BUSY_S = 2.0  # how long one statement waits for another process's lock
_MIGRATIONS = 20  # times that a migration is begun beside processes that work
_UPGRADE = "run `mta db upgrade` (--config FILE goes before db)"

_SQLITE_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA wal_autocheckpoint = 4000",  # pages: 16 MB between two checkpoints
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA cache_size = -8192",  # KiB for each connection; the rest is in the system's cache
    "PRAGMA temp_store = MEMORY",
    # Debian builds SQLite to overwrite what is deleted: every body would be written twice,
    # and 50 MB of zeros would be in memory when a long message is finished.
    "PRAGMA secure_delete = OFF",
)

# A server that hangs must not hold the one writer thread for ever.
_POSTGRESQL_ARGUMENTS = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    "application_name": "mta",
}
_POSTGRESQL_SETTINGS = (
    "SET statement_timeout = '30s'",
    "SET lock_timeout = '5s'",
    "SELECT set_config('synchronous_commit', 'on', false)"
    " WHERE current_setting('synchronous_commit') = 'off'",
    # The default is for disks with heads.  With it the batches of a new spool, below some 20 000
    # messages, read whole tables: 192 messages a second instead of 315 in turn.
    "SELECT set_config('random_page_cost', '1.1', false)"
    " WHERE current_setting('random_page_cost') = '4'",
    # The server, too, must see soon that we are gone
    "SELECT set_config(name, value, false) FROM (VALUES ('tcp_keepalives_idle', '10'),"
    " ('tcp_keepalives_interval', '5'), ('tcp_keepalives_count', '3'),"
    " ('tcp_user_timeout', '15000')) AS ours(name, value)"
    " WHERE current_setting(name, true) IS NOT NULL",
)
# A host that is cut off, or stopped, in a transaction holds the locks on what it has claimed, and
# nobody could take that back.  A command of an operator's may stand in a pager for longer.
UNSURE = "unsure"  # in a connection's ``info``: its last commit did not wait for the standby
_BRISK = "SET idle_in_transaction_session_timeout = '20s'"


def create_engine(url: str, connections: int = 5, *, brisk: bool = False) -> Engine:
    """Return an engine with at most so many ``connections``; nothing is connected yet.

    ``brisk``: its transactions have no pauses, and one that has is broken off.

    A relative path of an SQLite file is taken from the working directory of now: the
    process may change it later.  Raises ``SpoolUnusable`` for a URL of anything but
    SQLite (a file) or PostgreSQL.
    """
    parsed = parse(url)
    options: dict[str, Any] = {
        "poolclass": QueuePool,
        "pool_size": connections,
        "max_overflow": 0,
        "pool_timeout": 10,
    }
    if parsed.get_backend_name() == "sqlite":
        path = sqlite_path(parsed)
        engine = sqlalchemy.create_engine(parsed, creator=lambda: _open_sqlite(path), **options)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    arguments = {k: v for k, v in _POSTGRESQL_ARGUMENTS.items() if k not in parsed.query}
    engine = sqlalchemy.create_engine(parsed, connect_args=arguments, **options)
    event.listen(engine, "connect", _set_up_brisk if brisk else _set_up_postgresql)
    return engine


def parse(url: str) -> URL:
    """Return ``url`` in parts; raise ``SpoolUnusable`` unless it is SQLite or PostgreSQL.

    PostgreSQL may be at several hosts, ``host:port,[::1]:port``: libpq tries one after the other.
    """
    try:
        parsed = make_url(with_hosts(url) if url.startswith("postgresql") else url)
        backend = parsed.get_backend_name()
        parsed.get_dialect()
    except (ArgumentError, ValueError) as error:
        raise SpoolUnusable(f"spool URL: {UNREADABLE}") from error
    except (NoSuchModuleError, ImportError) as error:
        raise SpoolUnusable(f"spool URL: {one_line(error)}") from error
    if backend not in ("sqlite", "postgresql"):
        raise SpoolUnusable(f"spool URL: {backend} is not supported, only sqlite and postgresql")
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    return parsed


def sqlite_path(parsed: URL) -> Path:
    """Return the absolute path of an SQLite spool."""
    if not parsed.database or parsed.database == ":memory:":
        raise SpoolUnusable("spool URL: sqlite needs a file, as in sqlite:////var/spool/mta/mta.db")
    return Path(parsed.database).absolute()


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One writing transaction: committed at the end, rolled back by an exception.

    Raises ``SpoolUnavailable`` where the database is at fault.
    """
    with _translated(), engine.execution_options(writing=True).begin() as conn:
        yield conn


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One reading transaction: what it sees stays as it is until its end (on SQLite)."""
    with _translated(), engine.begin() as conn:
        yield conn


def is_sqlite(conn: Connection) -> bool:
    """Tell whether ``conn`` leads to SQLite."""
    return conn.dialect.name == "sqlite"


def repeated(conn: Connection) -> bool:
    """Tell whether this transaction may already have happened.

    It is so after a commit whose answer was lost.  Functions whose second run would
    otherwise fail, or do the work twice, look at what is there first.
    """
    return bool(conn.get_execution_options().get("repeated"))


def prepare(url: str, migrate: bool = False) -> str:
    """Check that the spool at ``url`` can be used by this version of the program.

    A new SQLite spool is created, and any is brought up to date if ``migrate`` is set.  A schema
    that is newer is used where it says that this version can.  Returns a warning, or "".
    Raises ``SpoolUnusable`` otherwise, with one line that says what to do.
    """
    parsed = parse(url)
    new = parsed.get_backend_name() == "sqlite" and _prepare_file(sqlite_path(parsed))
    engine = create_engine(url, connections=1)
    try:
        with reading(engine) as conn:
            current = revision(conn)
        if migrate or (new and current is None):
            current = _migrate(engine)
        if current is not None and current > REVISION:
            return _newer(engine, parsed, current)
    except (SpoolUnavailable, DBAPIError) as error:
        raise SpoolUnusable(f"spool {shown(parsed)}: {one_line(error)}") from error
    finally:
        engine.dispose()
    if current != REVISION:
        raise SpoolUnusable(f"spool {shown(parsed)}: {_wrong_revision(current)}")
    return ""


def _newer(engine: Engine, parsed: URL, current: str) -> str:
    """Return a warning that the schema is newer, or refuse it."""
    oldest = None
    with reading(engine) as conn:
        if sqlalchemy.inspect(conn).has_table("schema_support"):
            oldest = conn.execute(sqlalchemy.select(schema_support.c.oldest)).scalar()
    if oldest is None or oldest > REVISION:
        raise SpoolUnusable(f"spool {shown(parsed)}: {_wrong_revision(current)}")
    return (
        f"schema {current} is newer than {REVISION}, which this version was made for; it can work"
        " with it until it is upgraded itself"
    )


def revision(conn: Connection) -> str | None:
    """Return the revision of the schema that ``conn`` sees; None for an empty database."""
    tables = sqlalchemy.inspect(conn).get_table_names()
    if "alembic_version" not in tables:
        if "messages" in tables or "recipients" in tables:
            raise SpoolUnavailable("these tables are not of this program's making")
        return None
    row = conn.exec_driver_sql("SELECT version_num FROM alembic_version").first()
    return row[0] if row else None


def shown(parsed: URL) -> str:
    """Return the URL without its password."""
    return parsed.render_as_string(hide_password=True)


def _migrate(engine: Engine) -> str | None:
    """Bring the schema up to date, unless it is from the future; return what it is then."""
    for _ in range(_MIGRATIONS - 1):
        with suppress(SpoolUnavailable):  # somebody works with the tables for long, or a deadlock
            return _migrate_once(engine)
        sleep(random())  # noqa: S311 - no secret
    return _migrate_once(engine)


def _migrate_once(engine: Engine) -> str | None:
    from mta.spool.migrations import apply  # noqa: PLC0415 - alembic: slow, and rarely needed

    with writing(engine) as conn:
        current = revision(conn)
        if current is None or current < REVISION:
            apply(conn)
        return revision(conn)


def _wrong_revision(current: str | None) -> str:
    if current is None:
        return f"the database is empty: {_UPGRADE}"
    if current < REVISION:
        return f"schema {current} is older than {REVISION}, which this version needs: {_UPGRADE}"
    return (
        f"schema {current} is not known to this version of the program, which needs {REVISION}:"
        f" use the version that made it, or {_UPGRADE} of a newer one"
    )


def _prepare_file(path: Path) -> bool:
    """Check the place of an SQLite spool; return True if there is nothing in it yet."""
    if not path.parent.is_dir():
        raise SpoolUnusable(f"spool {path}: the directory {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise SpoolUnusable(f"spool {path}: the directory {path.parent} is not writable")
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        return path.stat().st_size == 0
    except OSError as error:
        raise SpoolUnusable(f"spool {path}: {error.strerror}") from error


def _open_sqlite(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode=rw",
        uri=True,
        timeout=BUSY_S,
        isolation_level=None,  # transactions are begun by _begin_sqlite, not by guesswork
        check_same_thread=False,  # the pool gives it to one thread at a time
        cached_statements=256,
    )
    try:
        for pragma in _SQLITE_PRAGMAS:
            connection.execute(pragma)
    except BaseException:
        connection.close()
        raise
    return connection


def _begin_sqlite(conn: Connection) -> None:
    write = conn.get_execution_options().get("writing")
    run(conn, "BEGIN IMMEDIATE" if write else "BEGIN")


def _set_up_postgresql(connection: Any, _record: Any) -> None:
    _say(connection, *_POSTGRESQL_SETTINGS)


def _set_up_brisk(connection: Any, record: Any) -> None:
    _say(connection, *_POSTGRESQL_SETTINGS, _BRISK)

    def noticed(notice: Any) -> None:
        # Somebody has ended the wait for the standby (pg_cancel_backend): the server warns, and
        # answers that it has committed.  The words depend on its language, the place does not.
        if notice.source_function == "SyncRepWaitForLSN":
            record.info[UNSURE] = True

    connection.add_notice_handler(noticed)


def _say(connection: Any, *settings: str) -> None:
    with connection.cursor() as cursor:
        for setting in settings:
            cursor.execute(setting)
    connection.commit()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if unavailable := classify(error):
            raise unavailable from error
        raise
