"""All processes of a spool go by one clock, whatever their hosts' clocks say."""

import time

import pytest
from sqlalchemy import text
from twisted.internet.task import Clock

from mta.mail.events import Note
from mta.spool.clock import SpoolClock, database_ms
from mta.spool.engine import create_engine, reading


class Said:
    """Stands in for the database: says what the test wants it to say."""

    def __init__(self) -> None:
        self.ms = 0

    async def read(self, _fn):
        return self.ms


class World:
    """A host's clock, a database's, and what is told."""

    def __init__(self) -> None:
        self.monotonic, self.said, self.notes = Clock(), Said(), []
        self.host_ms = self.said.ms = 1_800_000_000_000
        url = "postgresql://mta@db.example/mta"
        self.clock = SpoolClock(self.monotonic, self.notes.append, url, lambda: self.host_ms)

    def advance(self, seconds: float) -> None:
        self.monotonic.advance(seconds)
        self.host_ms += int(seconds * 1000)
        self.said.ms += int(seconds * 1000)

    def ask(self) -> None:
        asking = self.clock.ask(self.said)
        with pytest.raises(StopIteration):
            asking.send(None)


@pytest.fixture
def world():
    """Two clocks that agree."""
    return World()


def test_a_host_that_is_wrong_goes_by_the_database(world):
    """Seven minutes ahead: what is shared is right, and somebody is told, once."""
    world.host_ms += 420_000
    world.ask()
    assert world.clock.now_ms() == world.said.ms
    world.advance(60)
    world.ask()
    assert world.clock.now_ms() == world.said.ms
    (note,) = world.notes
    assert note.text.startswith("the clock of this host is 420 s ahead of the database's")


def test_a_jump_of_the_host_is_not_seen(world):
    """What was agreed on goes on by the monotonic clock."""
    world.ask()
    world.advance(10)
    world.host_ms -= 7_200_000
    assert world.clock.now_ms() == world.said.ms
    world.ask()
    assert world.notes[-1].text.startswith("the clock of this host is 7200 s behind")
    world.host_ms = world.said.ms
    world.ask()
    assert world.notes[-1] == Note("info", "service", "the clock of this host is right again")


def test_small_differences_move_nothing(world):
    """Time never goes back by the few milliseconds that asking takes."""
    world.ask()
    world.said.ms -= 90
    before = world.clock.now_ms()
    world.ask()
    assert world.clock.now_ms() == before


def test_on_sqlite_the_host_is_asked_and_nobody_else(tmp_path):
    """One host, one clock: no statement, and no difference."""
    clock = SpoolClock(Clock(), print, f"sqlite:///{tmp_path}/none.db", lambda: 42)
    clock.load()
    assert clock.now_ms() == 42


def test_the_server_says_the_time(spool_url):
    """PostgreSQL gives milliseconds since the epoch; SQLite has nothing to say."""
    engine = create_engine(spool_url)
    with reading(engine) as conn:
        said = database_ms(conn)
    engine.dispose()
    if spool_url.startswith("sqlite"):
        assert said is None
    else:
        assert abs(said - time.time() * 1000) < 5000


def test_a_transaction_that_stands_still_is_broken_off(empty_postgresql_url):
    """A host that is stopped or cut off must not keep its locks: the server has a bound for it."""
    for brisk, bound in ((True, "20s"), (False, "0")):
        engine = create_engine(empty_postgresql_url, brisk=brisk)
        with reading(engine) as conn:
            shown = conn.execute(text("SHOW idle_in_transaction_session_timeout")).scalar()
        engine.dispose()
        assert shown == bound
