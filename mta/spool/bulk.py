"""Many rows in few statements: the hot path's way to the database.

Python's sqlite3 gives up the interpreter lock at each step of each statement and has to
win it back from a busy reactor thread, so the cost of a batch is the number of its statements
far more than that of its rows; ``executemany`` is a statement for each row.  Here a batch
is ``VALUES`` lists of up to 64 rows, whose texts are made once and which SQLite keeps prepared.
Values go to the driver as they are: no type of SQLAlchemy's is asked.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Table

from mta.spool.driver import run

MOST_ROWS = 64  # in one statement: all sizes of all tables, prepared, take 13 MB


def mark(conn: Connection) -> str:
    """Return the driver's mark for one parameter."""
    return "?" if conn.dialect.paramstyle == "qmark" else "%s"


def insert(conn: Connection, table: Table, rows: Sequence[tuple[Any, ...]], first: int = 0) -> None:
    """Insert ``rows``, tuples of the columns of ``table`` in their order.

    The ``first`` columns are left out, where the database knows better (a number of its own), and
    so may the last ones be, which then have their defaults.
    """
    parameter = mark(conn)
    for part in _parts(rows):
        sql = _insert(table, parameter, len(part), first, len(part[0]))
        run(conn, sql, tuple(chain.from_iterable(part)))


def update(conn: Connection, head: str, tail: str, rows: Sequence[tuple[Any, ...]]) -> int:
    """Run ``head (VALUES rows) tail`` for all rows; return how many rows it has changed.

    Both databases call the columns of the list ``column1``, ``column2``, ...
    """
    changed = 0
    for part in _parts(rows):
        rows_text = values(mark(conn), len(part[0]), len(part))
        sql = f"{head} (VALUES {rows_text}) {tail}"
        changed += run(conn, sql, tuple(chain.from_iterable(part))).rowcount
    return changed


def id_lists(conn: Connection, ids: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield texts ``(?, ?, ...)`` with the ids that fill them; the last id fills gaps up."""
    for start in range(0, len(ids), MOST_ROWS):
        part = tuple(ids[start : start + MOST_ROWS])
        size = 1 << (len(part) - 1).bit_length()
        yield values(mark(conn), size, 1), part + part[-1:] * (size - len(part))


def storable(words: str) -> str:
    """Return what strangers said as both databases take it: no NUL, no lone surrogates.

    Without it a peer could answer what cannot be recorded, and be asked again for ever.
    """
    if words.isascii() and "\0" not in words:
        return words
    return words.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")


@lru_cache(maxsize=512)
def _insert(table: Table, parameter: str, rows: int, first: int, width: int) -> str:
    columns = list(table.columns)[first : first + width]
    names = ", ".join(f'"{column.name}"' for column in columns)
    rows_text = values(parameter, len(columns), rows)
    return f"INSERT INTO {table.name} ({names}) VALUES {rows_text}"  # noqa: S608


@lru_cache(maxsize=512)
def values(parameter: str, columns: int, rows: int) -> str:
    """Return ``(?, ?), (?, ?)`` for so many columns and rows."""
    row = f"({', '.join([parameter] * columns)})"
    return ", ".join([row] * rows)


def _parts(rows: Sequence[tuple[Any, ...]]) -> Iterator[Sequence[tuple[Any, ...]]]:
    for start in range(0, len(rows), MOST_ROWS):
        yield rows[start : start + MOST_ROWS]
