"""A spool filled with a million messages by statements of SQL, a second or so for each 100 000.

Messages have one recipient each; they were deferred four hours ago, or finished forty days ago.
SQLite and PostgreSQL take the same expressions but for a few words.  Indexes are made anew after
the rows, and PostgreSQL's statistics too, as autovacuum would have done in the time that such a
queue takes to grow.
"""

import sqlite3
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from multiprocessing import Process
from pathlib import Path
from typing import Protocol

import psycopg
from sqlalchemy import Boolean, Float, Integer, LargeBinary, Table

from mta.spool import engine
from mta.spool.schema import attempts, chunks, messages, recipients

BASE_MS = time.time_ns() // 1_000_000
_WAITED_MS = 4 * 3_600_000
_LONG_AGO_MS = 40 * 86_400_000
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@dataclass(frozen=True, slots=True)
class Content:
    """What a spool is filled with."""

    number: int  # messages
    words: Mapping[str, str]  # expressions for "domain" and "site"; ``i`` counts from 0
    done: bool = False  # long ago; else they wait
    attempts: int = 1  # of each


MANY = {"domain": "'d' || (i % 5000) || '.example'", "site": "'mx' || (i % 500) || '.example'"}
ONE = {"domain": "'dead.example'", "site": "'mx.dead.example'"}
DONE = {"domain": "'done.example'", "site": "'mx.done.example'"}


class Store(Protocol):
    """Where a spool lies."""

    url: str

    def fill(self, content: Content) -> None:
        """Insert it."""

    def number(self, sql: str) -> int:
        """Return what a query counts."""

    def mb(self) -> float:
        """How large it is."""


class Sqlite:
    """A file; made by being named here."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.url = f"sqlite:///{path}"
        engine.prepare(self.url)

    def fill(self, content: Content) -> None:
        """Insert it."""
        task = Process(target=self._fill, args=(content,))  # for its memory's sake
        task.start()
        task.join()
        if task.exitcode:
            raise SystemExit("the spool could not be filled")

    def _fill(self, content: Content) -> None:
        with sqlite3.connect(self._path, isolation_level=None) as conn:
            conn.execute("PRAGMA synchronous = OFF")
            conn.execute("PRAGMA cache_size = -400000")
            conn.execute("BEGIN")
            made = conn.execute(
                "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
            ).fetchall()
            for name, _ in made:
                conn.execute(f"DROP INDEX {name}")
            for table, series, values in _tables(content, _SQLITE):
                conn.execute(
                    "WITH RECURSIVE n(i) AS"
                    f" (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {series - 1})"
                    f" INSERT INTO {table.name} ({_names(values)})"
                    f" SELECT {', '.join(values.values())} FROM n"
                )
            for _, sql in made:
                conn.execute(sql)
            conn.execute("COMMIT")
        conn.close()

    def number(self, sql: str) -> int:
        """Return what a query counts."""
        conn = sqlite3.connect(self._path)
        try:
            return int(conn.execute(sql).fetchone()[0])
        finally:
            conn.close()

    def mb(self) -> float:
        """How large the file is."""
        return self._path.stat().st_size / 1e6


class Postgres:
    """A database of its own at ``url``, with the schema in it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(self.url, autocommit=True)

    def fill(self, content: Content) -> None:
        """Insert it."""
        with self._connect() as conn:
            conn.execute("SET session_replication_role = replica")  # no look-up for each key
            conn.execute("SET maintenance_work_mem = '512MB'")
            with conn.transaction():
                made = conn.execute(
                    "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
                    " AND tablename IN ('messages', 'recipients', 'attempts', 'chunks')"
                    " AND indexname LIKE 'ix_%'"
                ).fetchall()
                for name, _ in made:
                    conn.execute(f"DROP INDEX {name}")
                for table, series, values in _tables(content, _POSTGRESQL):
                    conn.execute(
                        f"INSERT INTO {table.name} ({_names(values)}) SELECT"
                        f" {', '.join(values.values())}"
                        f" FROM generate_series(0::bigint, {series - 1}) AS n(i)"
                    )
                for _, sql in made:
                    conn.execute(sql)
            conn.execute("VACUUM ANALYZE")
            conn.execute("CHECKPOINT")

    def number(self, sql: str) -> int:
        """Return what a query counts."""
        with self._connect() as conn:
            row = conn.execute(sql).fetchone()
        assert row is not None
        return int(row[0])

    def mb(self) -> float:
        """How large the database is."""
        return self.number("SELECT pg_database_size(current_database())") / 1e6


_SQLITE = {"no": "0", "empty": "X''", "octets": "zeroblob(200)", "letter": "char(65 + i % 20)"}
_POSTGRESQL = {
    "no": "false",
    "empty": "''::bytea",
    "octets": "decode(repeat('00', 200), 'hex')",
    "letter": "chr(65 + (i % 20)::int)",
}


def _tables(
    content: Content, dialect: Mapping[str, str]
) -> list[tuple[Table, int, dict[str, str]]]:
    """Return tables, how many rows each gets, and an expression for each of their columns."""
    found = []
    for table in (messages, recipients, attempts, *(() if content.done else (chunks,))):
        values = _needed(table, dialect) | _values(table, content, dialect)
        values |= {k: v for k, v in content.words.items() if k in table.c}
        times = content.attempts if table is attempts else 1
        if times > 1:  # ``i`` counts attempts
            values["message_id"] = _queue_id(f"(i / {times})", content)
            values["attempt"] = f"i % {times} + 1"
        found.append((table, content.number * times, values))
    return found


def _names(columns: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)


def _needed(table: Table, dialect: Mapping[str, str]) -> dict[str, str]:
    """Return the least that each column takes."""
    return {
        column.name: dialect["empty"]
        if isinstance(column.type, LargeBinary)
        else dialect["no"]
        if isinstance(column.type, Boolean)
        else "0"
        if isinstance(column.type, (Integer, Float))
        else "''"
        for column in table.c
        if not column.nullable
    }


def _arrived(content: Content, i: str = "i") -> str:
    return f"{BASE_MS - (_LONG_AGO_MS if content.done else _WAITED_MS)} + {i}"


def _queue_id(i: str, content: Content) -> str:
    """Return the expression for the id of message ``i``: one each ms (``mta.mail.queue_id``)."""
    parts = [(f"({_arrived(content, i)})", shift) for shift in range(40, -1, -5)]
    parts += [(i, shift) for shift in range(30, -1, -5)]
    return " || ".join(
        f"substr('{_ALPHABET}', CAST(({value} >> {shift}) & 31 AS INTEGER) + 1, 1)"
        for value, shift in parts
    )


def _values(table: Table, content: Content, dialect: Mapping[str, str]) -> dict[str, str]:
    arrived, done = _arrived(content), content.done
    if table is messages:
        values = {
            "id": _queue_id("i", content),
            "sender": "'app' || (i % 100) || '@home.test'",
            "size": "4096",
            "kind": "'mail'",
            "created_ms": arrived,
            "expires_ms": f"{arrived} + 432000000",
            "message_id": f"'<{int(done)}.' || i || '@home.test>'",
            "login": "'app' || (i % 100)",
            "chunks": "1",
        }
        return values | ({"finished_ms": f"{arrived} + 1000"} if done else {})
    values = {"message_id": _queue_id("i", content)}
    if table is chunks:
        return values | {"data": dialect["octets"]}
    if table is attempts:
        return values | {
            "attempt": "1",
            "verdict": "'deferred'",
            "state": "'queued'",
            "code": "451",
            "blame": "'recipient'",
            "tls_level": "'none'",
        }
    values |= {"address": "'user' || i || '@example'", "attempts": "1"}
    if done:
        return values | {"state": "'delivered'", "finished_ms": f"{arrived} + 1000"}
    return values | {
        "state": "'queued'",
        "next_attempt_ms": f"{BASE_MS} + (i * 7919 % 14400) * 1000",
        "last_code": "451",
        "last_enhanced": "'4.7.1'",
        "last_text": f"'Try again later, reason ' || {dialect['letter']}",
        "last_ms": f"{arrived} + 1000",
        "last_category": "'greylisted'",
    }
