"""Databases that are locked, killed, frozen or read-only under load."""

import os
import signal
import sqlite3
import time
from collections.abc import Callable
from typing import Any

import psycopg
from relay_process import eventually

Bed = Callable[..., Any]


def backends(url: str) -> list[int]:
    """Return the processes of the server that serve the relay."""
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT pid FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return [pid for (pid,) in found]


def alter(url: str, what: str) -> None:
    """Change a setting of the whole server while it runs."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(f"ALTER SYSTEM {what}")
        connection.execute("SELECT pg_reload_conf()")


def test_sqlite_locked_by_another_process(bed: Bed) -> None:
    """A lock held for 12 s: 451 after the patience of a few seconds, then mail as before."""
    one = bed()
    one.start()
    spool = next(one.relay.directory.glob("**/*.sqlite"))
    other = sqlite3.connect(spool, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    time.sleep(12)
    other.execute("ROLLBACK")
    other.close()
    one.recovers()
    one.count("SQLite locked for 12 s")
    assert one.load.answers[451] > 0
    assert "the database is back" in one.relay.log


def test_postgresql_crashes(bed: Bed, server: Any) -> None:
    """An immediate shutdown, as a crash: 451; crash recovery, and mail as before."""
    one = bed()
    one.relay.use_spool(server.get_uri())
    one.start()
    os.kill(server.get_pid(), signal.SIGQUIT)
    eventually(lambda: one.load.answers[451] > 10)
    server.start()
    one.recovers()
    one.count("PostgreSQL: immediate shutdown")


def test_postgresql_loses_a_backend_again_and_again(bed: Bed, server: Any) -> None:
    """SIGKILL of a backend makes the server drop all and recover: a few 451 at most."""
    one = bed()
    one.relay.use_spool(server.get_uri())
    one.start()
    for _ in range(5):
        pids = backends(server.get_uri())
        os.kill(pids[0], signal.SIGKILL)
        one.more(20)
    one.recovers()
    one.count("PostgreSQL: 5 backends killed")


def test_postgresql_freezes(bed: Bed, server: Any) -> None:
    """Backends that are stopped answer nothing and fail nothing: 451 after a minute."""
    one = bed()
    one.relay.use_spool(server.get_uri())
    one.start()
    pids = backends(server.get_uri())
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        eventually(lambda: one.load.answers[451] > 0, timeout_s=90)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    one.recovers()
    one.count("PostgreSQL: frozen until 451")
    assert "has not answered for" in one.relay.log


def test_postgresql_is_read_only(bed: Bed, server: Any) -> None:
    """A server that has become a read-only one: 451 until it can be written again."""
    one = bed()
    one.relay.use_spool(server.get_uri())
    one.start()

    alter(server.get_uri(), "SET default_transaction_read_only = on")
    eventually(lambda: one.load.answers[451] > 10)
    time.sleep(2)
    alter(server.get_uri(), "RESET default_transaction_read_only")
    one.recovers()
    one.count("PostgreSQL: read-only")
