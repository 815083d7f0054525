"""The history of the schema: alembic's revisions, in one line, shipped with the program.

The service never changes a schema that is in use; ``mta db upgrade`` does, or the start
with a spool that is new.  Revisions are written to expand first and to contract in a
later release, so that old and new code can run side by side on one database.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


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
        conn.exec_driver_sql("SET LOCAL lock_timeout = 0")
    command.upgrade(configuration(conn), "head")
