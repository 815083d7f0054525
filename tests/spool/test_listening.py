"""News between processes: told at the commit, heard at once, missed without harm."""

import time
from collections.abc import Callable, Iterator
from threading import Semaphore
from typing import Any

import psycopg
import pytest

from mta.spool import leases, listening, operate
from mta.spool.filters import Filter
from mta.spool.listening import Listener


class Ear:
    """A listener that counts; what the reactor would be given is done at once."""

    def __init__(self, url: str) -> None:
        self.heard = Semaphore(0)
        self.notes: list[Any] = []
        self.listener = Listener(url, self, self.heard.release, self.notes.append)

    def callFromThread(self, fn: Callable[..., Any], *args: Any) -> None:
        fn(*args)

    def hears(self, seconds: float = 10.0) -> bool:
        return self.heard.acquire(timeout=seconds)


@pytest.fixture
def ear(postgresql_url: str) -> Iterator[Ear]:
    """Give a listener that has begun."""
    ear = Ear(postgresql_url)
    ear.listener.start()
    assert ear.hears()  # with each new line one looks once
    yield ear
    ear.listener.stop()


@pytest.fixture
def told(postgresql_url: str, table_of: Any) -> Any:
    """Give a spool that another process writes to."""
    return table_of(postgresql_url)


def test_what_is_accepted_without_room_is_told(ear: Ear, told: Any, mail: Any) -> None:
    """Mail that its own process has no room for is news; what is born claimed is not."""
    told.accept(mail.intake(claim=mail.token))
    assert not ear.hears(0.3)
    told.accept(mail.intake(), mail.intake(), mail.intake())
    assert ear.hears()
    assert not ear.hears(0.3)  # once for a commit


def test_operators_verbs_are_told_at_the_commit(ear: Ear, told: Any, mail: Any) -> None:
    """A verb wakes the schedulers when it is true, not before, and not when it is undone."""
    told.accept(mail.intake(held="policy"))

    def release_and_fail(conn: Any) -> None:
        assert operate.release(conn, Filter(), mail.now, "root") == 1
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        told.write(release_and_fail)
    assert not ear.hears(0.3)
    assert told.write(operate.release, Filter(), mail.now, "root") == 1
    assert ear.hears()


def test_a_lost_line_is_made_anew(ear: Ear, told: Any, postgresql_server: str) -> None:
    """The server ends our session: it is said, a new one listens, and looks once."""
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE query LIKE 'LISTEN%' AND pid <> pg_backend_pid()"
        )
    assert ear.hears()  # the new line
    told.write(leases.wake)
    assert ear.hears()
    texts = [note.text for note in ear.notes]
    assert texts[0].startswith("listening for news fails, polling goes on: ")
    assert texts[1:] == ["listening for news works again"]


def test_a_server_that_is_away_is_asked_with_growing_pauses(monkeypatch: Any) -> None:
    """Nobody listens there: said once, tried ever less often, and polling knows of it."""
    monkeypatch.setattr(listening, "FIRST_PAUSE_S", 0.01)
    ear = Ear("postgresql://nobody@127.0.0.1:1/nothing")
    pauses: list[float] = []
    wait = ear.listener._end.wait
    monkeypatch.setattr(ear.listener._end, "wait", lambda s: pauses.append(s) or wait(0.001))
    ear.listener.start()
    deadline = time.monotonic() + 20
    while len(pauses) < 13 and time.monotonic() < deadline:
        time.sleep(0.01)
    ear.listener.stop()
    assert pauses[:3] == [0.01, 0.02, 0.04]
    assert pauses[12] == listening.LAST_PAUSE_S
    assert not ear.listener.listening
    assert len(ear.notes) == 1
