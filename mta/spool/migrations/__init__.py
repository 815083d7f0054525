"""The history of the schema: alembic's revisions, in one line, shipped with the program.

``mta db upgrade`` changes a schema, also one that is in use; the service does at its start where
the spool is new, or the configuration says so.  Revisions are written to expand first and to
contract in a later release, so that old and new code can run side by side on one database.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from mta.spool.schema import OLDEST, schema_support


def configuration(conn: Connection | None = None) -> Config:
    """Return alembic's configuration for the revisions here, bound to ``conn``."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = conn
    return config


def apply(conn: Connection) -> None:
    """Bring the database behind ``conn`` up to date, inside the transaction it is in."""
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql("SET LOCAL statement_timeout = 0")
        # Everybody who comes later waits behind us: not long, and then we begin again
        conn.exec_driver_sql("SET LOCAL lock_timeout = '2s'")
        conn.exec_driver_sql("SELECT pg_advisory_xact_lock(7210426)")
    command.upgrade(configuration(conn), "head")
    conn.execute(schema_support.delete())
    conn.execute(schema_support.insert().values(oldest=OLDEST))
