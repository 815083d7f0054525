"""The connection of a writer that writes all the time."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine

from mta.spool.engine import UNSURE
from mta.spool.errors import SpoolUnavailable


class Line:
    """A connection that is kept while all goes well: taking it anew costs what a statement does."""

    def __init__(self, engine: Engine) -> None:
        """Connect when it is first asked for."""
        self._engine = engine
        self._kept: Connection | None = None

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Give the connection; after a failure the next one is another.

        Raises ``SpoolUnavailable`` at the end where the server said that what it has committed may
        not be on its standby: a 250 would promise too much.
        """
        self._kept = conn = self._kept or self._engine.connect()
        try:
            yield conn
            if conn.info.pop(UNSURE, False):
                raise SpoolUnavailable("committed, but perhaps not on the standby")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give it back."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()
