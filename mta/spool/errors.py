"""What can be wrong with the spool, and which driver's error means what.

Only two things matter to callers: whether the same work may succeed later without
anybody changing the program (``SpoolUnavailable``), and whether it is room that is
missing (``SpoolFull``).  Whatever is neither is a fault of the one write that met it
and comes to its caller as it is.
"""

from sqlite3 import Error as SqliteError

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout


class SpoolUnavailable(Exception):
    """The spool cannot be written or read at the moment: busy, gone, read-only, failing."""


class SpoolFull(SpoolUnavailable):
    """There is no room left: on the disk, or in the size that the database is allowed."""


class SpoolUnusable(Exception):
    """The spool cannot be used as it is; the text is one line and says what to do."""


# SQLite's primary result codes, https://www.sqlite.org/rescode.html
_SQLITE_FULL = 13
_SQLITE_AWAY = {
    3,  # PERM
    4,  # ABORT
    5,  # BUSY
    6,  # LOCKED
    7,  # NOMEM
    8,  # READONLY
    9,  # INTERRUPT
    10,  # IOERR
    11,  # CORRUPT: an operator has to act, but the message is not at fault
    14,  # CANTOPEN
    15,  # PROTOCOL: too many races for the WAL
    17,  # SCHEMA
    22,  # NOLFS
    23,  # AUTH
    26,  # NOTADB
}

# PostgreSQL's SQLSTATEs, by class or whole
_PG_FULL = ("53100",)
_PG_AWAY = (
    "08",  # connection exception
    "25P03",  # we were silent in a transaction for too long
    "25006",  # read-only transaction: a standby, or default_transaction_read_only
    "28",  # invalid authorization
    "3D",  # the database is gone
    "40",  # serialization failure, deadlock: rolled back, may be tried again
    "42P01",  # no such table: restored to an older state, or the wrong database
    "53",  # out of memory, too many connections, ...
    "55",  # lock not available, object in use
    "57",  # cancelled, shutting down, cannot connect now
    "58",  # I/O error and other faults outside PostgreSQL
    "XX",  # internal error, data corrupted
)


def classify(error: BaseException) -> SpoolUnavailable | None:
    """Return what ``error`` means to a caller, or None if it is the write's own fault."""
    if isinstance(error, SpoolUnavailable):
        return error
    if isinstance(error, PoolTimeout):
        return SpoolUnavailable("no free connection to the database")
    if isinstance(error, DBAPIError):
        return _classify_driver(error)
    if isinstance(error, OSError):
        return SpoolUnavailable(one_line(error))
    return None


def one_line(error: BaseException) -> str:
    """Say in one line what the driver said, without the statement and its parameters."""
    original = error.orig if isinstance(error, DBAPIError) and error.orig else error
    words = " ".join(str(original).split())
    return words or type(original).__name__


def _classify_driver(error: DBAPIError) -> SpoolUnavailable | None:
    original = error.orig
    words = one_line(error)
    if isinstance(original, SqliteError):
        return _classify_sqlite(original, words)
    state = getattr(original, "sqlstate", None)
    if state is not None and state.startswith(_PG_FULL):
        return SpoolFull(words)
    if error.connection_invalidated or (state is not None and state.startswith(_PG_AWAY)):
        return SpoolUnavailable(words)
    if state is None and _is_operational(original):
        return SpoolUnavailable(words)  # psycopg could not connect, or lost the line
    return None


def _classify_sqlite(original: SqliteError, words: str) -> SpoolUnavailable | None:
    code = getattr(original, "sqlite_errorcode", 0) & 0xFF
    if code == _SQLITE_FULL:
        return SpoolFull(words)
    if code in _SQLITE_AWAY or words.startswith("no such table"):
        return SpoolUnavailable(words)
    return None


def _is_operational(original: BaseException | None) -> bool:
    return any(kind.__name__ == "OperationalError" for kind in type(original).__mro__)
