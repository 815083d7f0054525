"""Statements that the hot path hands to the driver itself.

What SQLAlchemy does about each statement costs four times what the driver does, with the
interpreter's lock in hand that the reactor waits for.  Connections, transactions and what errors
are stay SQLAlchemy's.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError


def run(conn: Connection, sql: str, parameters: Sequence[Any] = ()) -> Any:
    """Have the driver of ``conn``, in a transaction already, do ``sql``; return its cursor.

    Raises what SQLAlchemy would raise.
    """
    driver: Any = conn.connection.driver_connection
    dialect = conn.dialect
    try:
        return driver.execute(sql, parameters)
    except dialect.loaded_dbapi.Error as error:
        lost = dialect.is_disconnect(error, driver, None)
        if lost:
            conn.invalidate(error)
        raise DBAPIError.instance(
            sql, None, error, dialect.loaded_dbapi.Error, connection_invalidated=lost
        ) from error
