"""The one door to the spool for everything that runs in the reactor.

Work is a synchronous function ``fn(conn, ...)`` without side effects outside the
database, because it may run more than once.  One writer thread takes all writes that
wait, runs them in one transaction and answers them all after its commit: the fsync and
the statements are shared by whatever is waiting (group commit).  If anything fails, the
transaction is rolled back and each write runs alone, so that one that cannot succeed does
not fail its neighbours.

While the database is away each write is told so (``SpoolUnavailable``) after a bounded
time; when it is back the next write finds it.  Where it does not even fail, whoever waits is
told so as well (``unanswered``); what the writer had begun may then still happen, what it had
not will not.  A cancelled Deferred does not stop the write.

What it knowingly does not do: keep the order of writes that wait at the same moment.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from time import monotonic, sleep
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

from sqlalchemy import Connection
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from mta.mail.events import Emit
from mta.spool.availability import Availability
from mta.spool.engine import create_engine, parse, reading, repeated, sqlite_path
from mta.spool.errors import SpoolFull, SpoolUnavailable, classify
from mta.spool.line import Line
from mta.spool.room import BRINGING, room_of
from mta.spool.unanswered import ANSWER_S, Unanswered, silence

P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item")


class Reactor(IReactorFromThreads, IReactorTime):
    """What ``Database`` asks of the reactor."""


STOP_S = 15.0  # how long the end of the service waits for a database that does not answer
PATIENCE_S = 5.0  # how long a write is tried again while the database was well before
MOST_WAITING = 10_000  # writes; beyond that the writer does not keep up
MOST_TOGETHER = 256  # writes in one transaction
_MAKINGS = 2  # how often room is made for one write
_FIRST_PAUSE_S = 0.02  # between two tries; it doubles up to the last
_LAST_PAUSE_S = 0.5


@dataclass(slots=True, eq=False)
class _Write:
    fn: Callable[..., Any]
    args: tuple[Any, ...]  # one item, if ``together``
    together: bool
    deferred: Deferred[Any]


_Answer: TypeAlias = tuple[Deferred[Any], Any]  # the value is a Failure if it failed


class Database:
    """Asynchronous reads and writes of the spool at ``url``."""

    def __init__(
        self, url: str, reactor: Reactor, *, readers: int = 2, emit: Emit, min_free: int = 0
    ) -> None:
        """``min_free``: octets of the disk that new mail is not to have (``mta.spool.room``)."""
        self._reactor = reactor
        self._engine = create_engine(url, connections=1, brisk=True)
        self._line = Line(self._engine.execution_options(writing=True))
        self._reading = create_engine(url, connections=readers, brisk=True)
        self._file = _SpoolFile.of(url)
        self._readers = ThreadPool(minthreads=0, maxthreads=readers, name="spool reader")
        # A thread that a frozen database holds must not hold the end of the process.
        vars(self._readers)["threadFactory"] = partial(Thread, daemon=True)
        self._waiting: deque[_Write] = deque()
        self._unanswered = Unanswered(reactor, self._silent)
        self._waking = False
        self._taking = Lock()  # of what waits: by the writer, or because nobody waits any more
        self._bell: SimpleQueue[None] = SimpleQueue()  # the writer is to look what waits
        self._writer: Thread | None = None
        self._open = False
        self._stopped: Deferred[None] = Deferred()
        self._availability = Availability(lambda note: reactor.callFromThread(emit, note))
        # Told of each transaction, in the writer thread: writes in it, seconds
        self.committed: Callable[[int, float], None] | None = None
        self.room = room_of(url, self._line, min_free)
        # Told why new mail is refused, and with "" that it is taken again
        self.when_short: Callable[[str], None] | None = None
        self._short_told = False

    def start(self) -> None:
        """Start the threads."""
        self._open = True
        self._readers.start()
        self._writer = Thread(target=self._write_all, name="spool writer", daemon=True)
        self._writer.start()

    def stop(self) -> Deferred[None]:
        """Take no more work, finish what waits, close the connections; may be called once.

        A database that does not answer is waited for ``STOP_S`` seconds.
        """
        if self._writer is None:
            return succeed(None)
        self._open = False
        self._bell.put(None)
        late = self._reactor.callLater(STOP_S, self._ended)
        return self._stopped.addCallback(lambda _: late.cancel() if late.active() else None)

    @property
    def troubled(self) -> bool:
        """Whether the last writes failed because the database was away or full."""
        return self._availability.troubled

    def write(
        self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Deferred[T]:
        """Run ``fn(conn, *args)`` in a writing transaction; fires after its commit.

        Fails with ``SpoolUnavailable``, or with what ``fn`` raises.
        """
        assert not kwargs, "positional arguments only"
        return self._enqueue(fn, args, together=False)

    def write_together(
        self, fn: Callable[[Connection, Sequence[Item]], Sequence[T]], item: Item
    ) -> Deferred[T]:
        """As ``write``, but ``fn(conn, items)`` gets all items that wait, one result each."""
        return self._enqueue(fn, (item,), together=True)

    def read(
        self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Deferred[T]:
        """Run ``fn(conn, *args)`` in a reading transaction, in one of the reading threads."""
        if not self._open:
            return fail(SpoolUnavailable("the spool is closed"))
        reading = deferToThreadPool(
            self._reactor, self._readers, self._read, lambda conn: fn(conn, *args, **kwargs)
        )
        return reading.addTimeout(ANSWER_S, self._reactor, _unread)

    def _enqueue(
        self, fn: Callable[..., Any], args: tuple[Any, ...], together: bool
    ) -> Deferred[Any]:
        if not self._open:
            return fail(SpoolUnavailable("the spool is closed"))
        if len(self._waiting) >= MOST_WAITING:
            return fail(SpoolUnavailable("too many writes are waiting for the spool"))
        write = _Write(fn, args, together, Deferred())
        self._waiting.append(write)
        self._unanswered.add(write.deferred)
        if not self._waking:
            self._waking = True
            self._reactor.callLater(0, self._wake)
        return write.deferred

    def _wake(self) -> None:
        """Wake the writer once for all that this turn of the reactor has brought.

        A writer that is woken by the first write takes it alone, and fights the reactor for
        the interpreter meanwhile.
        """
        self._waking = False
        if self._bell.empty():
            self._bell.put(None)

    def _read(self, fn: Callable[[Connection], T]) -> T:
        try:
            with reading(self._reading) as conn:
                return fn(conn)
        except SpoolUnavailable:
            # the pooled connection may be what was broken: it is gone from the pool now
            with reading(self._reading) as conn:
                return fn(conn)

    def _write_all(self) -> None:
        """The writer thread."""
        while (batch := self._next_batch()) is not None:
            begun = monotonic()
            answers = self._do(batch)
            if not batch:
                continue
            if self.committed is not None:
                self.committed(len(batch), monotonic() - begun)
            self._reactor.callFromThread(self._answer, answers)
        self._readers.stop()
        self._line.close()
        self._engine.dispose()
        self._reading.dispose()
        self._reactor.callFromThread(self._ended)

    def _do(self, batch: list[_Write]) -> list[_Answer]:
        """Do ``batch``, but new mail only where there is room for it."""
        self.room.look()
        answers: list[_Answer] = []
        if self.room.short:
            answers = _failed([one for one in batch if one.fn in BRINGING], self._no_room())
            batch = [one for one in batch if one.fn not in BRINGING]
        if batch:
            answers += self._commit(batch, monotonic() + PATIENCE_S)
        if bool(self.room.alarm) is not self._short_told:
            self._short_told = not self._short_told
            self._reactor.callFromThread(self._tell_short, self.room.alarm)
        return answers

    def _no_room(self) -> SpoolFull:
        return SpoolFull(f"no room for new mail: {self.room.why}")

    def _tell_short(self, why: str) -> None:
        if self.when_short is not None:
            self.when_short(why)

    def _answer(self, answers: Sequence[_Answer]) -> None:
        for deferred, result in answers:
            self._unanswered.answer(deferred, result)

    def _silent(self, those: set[Deferred[Any]], why: SpoolUnavailable) -> None:
        """Nobody waits for ``those`` any more: what has not been begun is not to be done."""
        with self._taking:
            self._waiting = deque(one for one in self._waiting if one.deferred not in those)
        self._availability.failed(why)

    def _ended(self) -> None:
        self._unanswered.stop()
        if not self._stopped.called:
            self._stopped.callback(None)

    def _next_batch(self) -> list[_Write] | None:
        """Wait for work, or until room is to be looked at; return None at the end."""
        while not (batch := self._taken()):
            if not self._open:  # and nothing is added any more
                return self._taken() or None
            try:
                self._bell.get(timeout=self.room.pause_s)
            except Empty:
                return []
        return batch

    def _taken(self) -> list[_Write]:
        with self._taking:
            count = len(self._waiting)
            if not self._availability.away:  # else: let them all be told with one try
                count = min(count, MOST_TOGETHER)
            return [self._waiting.popleft() for _ in range(count)]

    def _commit(
        self, batch: Sequence[_Write], deadline: float, repeated: bool = False
    ) -> list[_Answer]:
        """Do ``batch``, whatever it takes until ``deadline``; one answer for each write."""
        run = _Run(self._line, batch, self._file, repeated)
        pause = _FIRST_PAUSE_S
        made = 0
        while True:
            try:
                answers = run.once()
            except Exception as error:
                meaning = classify(error)
                if isinstance(meaning, SpoolFull) and made < _MAKINGS and self._make_room(batch):
                    made += 1
                    continue
                if meaning is None or isinstance(meaning, SpoolFull):
                    return self._apart(run, deadline, meaning or error)
                late = monotonic() + pause > deadline or self._availability.away
                self._engine.dispose()
                if late:
                    self._availability.failed(meaning)
                    return _failed(batch, meaning)
                sleep(pause)
                pause = min(2 * pause, _LAST_PAUSE_S)
            else:
                self._availability.worked()
                self.room.worked()
                return answers

    def _make_room(self, batch: Sequence[_Write]) -> bool:
        """Give up the reserve for what must be written; tell whether that was of use."""
        if any(one.fn in BRINGING for one in batch):
            return False
        return self.room.make()

    def _apart(self, run: "_Run", deadline: float, error: Exception) -> list[_Answer]:
        """Do each write of a batch alone, because together they failed with ``error``."""
        if isinstance(error, SpoolFull):
            self.room.filled(str(error))
            if self.room.short:
                self._availability.failed(error)
        if len(run.batch) > 1:
            answers: list[_Answer] = []
            for write in run.batch:
                if self.room.short and write.fn in BRINGING:
                    answers += _failed((write,), self._no_room())
                elif self._availability.away and monotonic() > deadline:
                    answers += _failed((write,), SpoolUnavailable("the database is away"))
                else:
                    answers += self._commit((write,), deadline, run.repeated)
            return answers
        if isinstance(error, SpoolUnavailable):
            self._availability.failed(error)
        return _failed(run.batch, error)


class _Run:
    """One batch in one transaction, as often as it must be tried."""

    def __init__(
        self,
        line: Line,
        batch: Sequence[_Write],
        file: "_SpoolFile | None",
        repeated: bool,
    ) -> None:
        self.batch = batch
        self.repeated = repeated  # a commit was begun and nobody knows what came of it
        self._line = line
        self._file = file

    def once(self) -> list[_Answer]:
        """Do it all in one transaction; the answers are true when this returns."""
        with self._line.connection() as conn:
            if self._file is not None:
                self._file.opened()
            if self.repeated is not repeated(conn):
                conn.execution_options(repeated=self.repeated)
            with conn.begin() as transaction:
                answers = self._work(conn)
                self.repeated = True
                transaction.commit()
            if self._file is not None:
                self._file.check()
        return answers

    def _work(self, conn: Connection) -> list[_Answer]:
        answers: list[_Answer] = []
        together: dict[Callable[..., Any], list[_Write]] = {}
        for write in self.batch:
            if write.together:
                together.setdefault(write.fn, []).append(write)
        for fn, writes in together.items():
            results = fn(conn, [write.args[0] for write in writes])
            answers += zip((write.deferred for write in writes), results, strict=True)
        for write in self.batch:
            if not write.together:
                answers.append((write.deferred, write.fn(conn, *write.args)))
        return answers


@dataclass(slots=True)
class _SpoolFile:
    """The SQLite file: SQLite goes on writing happily to one that has been deleted."""

    path: Path
    identity: tuple[int, int] | None = None

    @classmethod
    def of(cls, url: str) -> "_SpoolFile | None":
        parsed = parse(url)
        return cls(sqlite_path(parsed)) if parsed.get_backend_name() == "sqlite" else None

    def opened(self) -> None:
        """Remember which file it is, if that is not known."""
        if self.identity is None:
            self.identity = self._look()

    def check(self) -> None:
        """Fail unless what was committed is in the file that is found under the path."""
        expected, self.identity = self.identity, None
        if self._look() != expected:
            raise SpoolUnavailable(f"{self.path} has been replaced")
        self.identity = expected

    def _look(self) -> tuple[int, int]:
        found = self.path.stat()
        return found.st_dev, found.st_ino


def _failed(batch: Sequence[_Write], error: Exception) -> list[_Answer]:
    return [(write.deferred, Failure(error)) for write in batch]


def _unread(result: Any, _seconds: float) -> Any:
    if isinstance(result, Failure) and result.check(CancelledError):
        raise silence()
    return result
