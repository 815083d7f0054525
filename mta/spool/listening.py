"""News between the processes of one spool: PostgreSQL's LISTEN and NOTIFY.

``tell`` is part of a transaction: the server passes the word on at the commit, once however
often it was said in it.  The word says nothing but "look": what there is to do is in the
tables.  One connection, in a thread of its own, listens; a line that is lost is made anew with
pauses that double up to ``LAST_PAUSE_S``, and after each new line we look once, for what was
said meanwhile.  A word may be lost: whoever listens still polls, only less often.

On SQLite there is nobody to tell: no thread and no statement.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from mta.mail.events import Emit, Note
from mta.spool.engine import create_engine, is_sqlite
from mta.spool.errors import one_line

if TYPE_CHECKING:  # a command that looks at the queue waits for no reactor
    from twisted.internet.interfaces import IReactorFromThreads

FIRST_PAUSE_S = 0.2
LAST_PAUSE_S = 10.0
_CHANNEL = "mta_spool"
_TOGETHER_S = 0.05  # news that come faster are one
_STEP_S = 1.0  # how soon the thread sees that it is to end


def tell(conn: Connection) -> None:
    """Tell the other processes, at the commit, to look into the spool."""
    if not is_sqlite(conn):
        conn.exec_driver_sql(f"NOTIFY {_CHANNEL}")


class Listener:
    """Calls ``heard()`` in the reactor's thread whenever there may be something new."""

    def __init__(
        self, url: str, reactor: "IReactorFromThreads", heard: Callable[[], None], emit: Emit
    ) -> None:
        """``url`` leads to PostgreSQL."""
        self._engine = create_engine(url, connections=1)
        self._reactor = reactor
        self._heard = heard
        self._emit = emit
        self._end = Event()
        self._failing = False
        self._thread = Thread(target=self._run, name="spool listener", daemon=True)
        self.listening = False  # whether news come at once, as far as is known

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Listen no more; the thread ends by itself within a second or so."""
        self._end.set()

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._end.is_set():
            try:
                with self._line() as connection:
                    pause_s = FIRST_PAUSE_S
                    self._listen(connection)
            except Exception as error:  # whatever it is, there is polling
                self._lost(one_line(error))
            self._end.wait(pause_s)
            pause_s = min(2 * pause_s, LAST_PAUSE_S)

    @contextmanager
    def _line(self) -> Iterator[Any]:
        pooled = self._engine.raw_connection()
        try:
            connection: Any = pooled.driver_connection
            connection.autocommit = True
            connection.execute(f"LISTEN {_CHANNEL}")
            yield connection
        finally:
            self.listening = False
            pooled.invalidate()

    def _listen(self, connection: Any) -> None:
        self.listening = True
        if self._failing:
            self._failing = False
            self._say(Note("info", "spool", "listening for news works again"))
        self._reactor.callFromThread(self._heard)
        while not self._end.is_set():
            for _ in connection.notifies(timeout=_STEP_S, stop_after=1):
                self._reactor.callFromThread(self._heard)
                self._end.wait(_TOGETHER_S)

    def _lost(self, why: str) -> None:
        if not self._failing:
            self._failing = True
            text = f"listening for news fails, polling goes on: {why}"
            self._say(Note("warning", "spool", text))

    def _say(self, note: Note) -> None:
        self._reactor.callFromThread(self._emit, note)
