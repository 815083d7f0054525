"""The asynchronous door: group commit, bounds, and its end."""

from threading import Event

import pytest
from twisted.internet.defer import CancelledError

from mta.spool import database as database_module
from mta.spool import intake, leases, outcomes
from mta.spool.errors import SpoolUnavailable


class Gate:
    """A write that keeps the writer thread busy until it is opened, so that others gather."""

    def __init__(self, spool):
        self._spool = spool
        self._entered, self._open = Event(), Event()
        self._done = spool.database.write(self._work)
        spool.reactor.turn()
        assert self._entered.wait(10)

    def _work(self, _conn):
        self._entered.set()
        assert self._open.wait(10)

    def open(self):
        """Let the writer go on."""
        self._open.set()
        self._spool.wait(self._done)


@pytest.fixture
def gate(spool):
    """Give a gate that is shut."""
    return Gate(spool)


def test_group_commit(spool, gate):
    """Items that wait at the same moment share one call and one transaction."""
    calls = []

    def work(conn, items):
        calls.append((id(conn), list(items)))
        return [item * 10 for item in items]

    answers = [spool.database.write_together(work, n) for n in range(5)]
    single = spool.database.write(lambda conn: calls.append((id(conn), "single")))
    gate.open()
    assert [spool.wait(answer) for answer in answers] == [0, 10, 20, 30, 40]
    spool.wait(single)
    assert [call for _, call in calls] == [[0, 1, 2, 3, 4], "single"]
    assert len({conn for conn, _ in calls}) == 1


def test_one_failure_fails_nobody_else(spool, gate, mail):
    """A write that cannot succeed takes none of those with it that it shared a commit with."""
    good, twin, other = mail.intake(), mail.intake(), mail.intake()
    spool_writes = [
        spool.database.write_together(intake.accept, item) for item in (good, twin, twin, other)
    ]
    program_error = spool.database.write(lambda _conn: 1 / 0)
    gate.open()
    answers = []
    for answer in (*spool_writes, program_error):
        try:
            answers.append(spool.wait(answer))
        except Exception as error:
            answers.append(type(error).__name__)
    assert answers == [None, None, "IntegrityError", None, "ZeroDivisionError"]
    found = spool.wait(spool.database.read(leases.poll, mail.now))
    assert found.next_due_ms == mail.now


def test_result_is_durable_when_told(spool, mail, table):
    """When the answer comes, another connection sees the message."""
    spool.wait(spool.database.write_together(intake.accept, mail.intake()))
    assert table.rows("SELECT count(*) FROM messages") == [(1,)]


def test_rolled_back(spool, mail, table):
    """What a failing function had written is not there afterwards."""

    def work(conn):
        intake.accept(conn, [mail.intake()])
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        spool.wait(spool.database.write(work))
    assert table.rows("SELECT count(*) FROM messages") == [(0,)]


def test_cancelled_write_is_finished(spool, gate, mail, table):
    """Cancelling a write that waits gives up its answer, not its commit, nor the others'."""
    cancelled, kept = (spool.database.write_together(intake.accept, mail.intake()) for _ in "ab")
    cancelled.cancel()
    gate.open()
    with pytest.raises(CancelledError):
        spool.wait(cancelled)
    spool.wait(kept)
    assert table.rows("SELECT count(*) FROM messages") == [(2,)]


def test_a_frozen_database_keeps_nobody_waiting(spool, gate, mail, table):
    """Attack: a server that is stopped, a disk that hangs: no error ever comes; 60 s, then 451."""
    late = spool.database.write_together(intake.accept, mail.intake())
    spool.reactor.clock.advance(59.0)
    recent = spool.database.write_together(intake.accept, mail.intake())
    assert not late.called
    spool.reactor.clock.advance(1.0)
    with pytest.raises(SpoolUnavailable, match="not answered for 60 s"):
        spool.wait(late)
    assert not recent.called
    with pytest.raises(SpoolUnavailable, match="not answered"):
        gate.open()  # what the writer had in hand is late as well
    spool.wait(recent)
    assert table.rows("SELECT count(*) FROM messages") == [(1,)]  # the late one was not begun
    spool.reactor.turn()
    notes = [event.text for event in spool.events]
    assert notes[0] == "the database is away: the database has not answered for 60 s"
    assert notes[1].startswith("the database is back")


def test_a_write_that_was_begun_and_given_up_may_still_happen(spool, mail, table):
    """Its answer comes too late for anybody and is dropped; the next write goes on as usual."""
    entered, opened = Event(), Event()

    def work(conn):
        entered.set()
        assert opened.wait(10)
        intake.accept(conn, [mail.intake()])

    begun = spool.database.write(work)
    spool.reactor.turn()
    assert entered.wait(10)
    spool.reactor.clock.advance(60.0)
    with pytest.raises(SpoolUnavailable, match="not answered"):
        spool.wait(begun)
    opened.set()
    spool.wait(spool.database.write(leases.wake))
    assert table.rows("SELECT count(*) FROM messages") == [(1,)]


def test_a_frozen_database_keeps_no_reader_waiting(spool):
    """The same for reading: log-ins, bodies, polling."""
    opened = Event()
    reading = spool.database.read(lambda _conn: opened.wait(10))
    spool.reactor.clock.advance(60.0)
    with pytest.raises(SpoolUnavailable, match="not answered"):
        spool.wait(reading)
    opened.set()


def test_bounded_queue(spool, gate, monkeypatch):
    """When the writer does not keep up, new writes are refused instead of piling up."""
    monkeypatch.setattr(database_module, "MOST_WAITING", 3)
    waiting = [spool.database.write(leases.wake) for _ in range(3)]
    with pytest.raises(SpoolUnavailable, match="too many"):
        spool.wait(spool.database.write(leases.wake))
    gate.open()
    for write in waiting:
        spool.wait(write)


def test_stop_does_not_wait_for_a_database_that_is_frozen(spool, gate):
    """A database that never answers holds the end of the service for a bounded time only."""
    stopped = spool.database.stop()
    spool.reactor.clock.advance(database_module.STOP_S - 1)
    assert not stopped.called
    spool.reactor.clock.advance(1)
    assert stopped.called
    gate.open()


def test_stop_finishes_what_waits(spool, gate, table):
    """Stopping commits what waits, and takes nothing more."""
    waiting = [spool.database.write(leases.wake) for _ in range(5)]
    stopped = spool.database.stop()
    for refused in (spool.database.write(leases.wake), spool.database.read(leases.poll, 0)):
        with pytest.raises(SpoolUnavailable, match="closed"):
            spool.wait(refused)
    gate.open()
    spool.wait(stopped)
    assert all(write.called for write in waiting)
    assert table.rows("SELECT counter FROM wakeups") == [(5,)]


def test_never_started(spool_url):
    """A database that was never started refuses work and stops at once."""
    database = database_module.Database(spool_url, None, emit=lambda _event: None)
    refused = database.write(leases.wake)
    refused.addErrback(lambda failure: failure.trap(SpoolUnavailable))
    assert refused.called
    assert database.stop().called


def test_lost_answer(spool, mail, table, monkeypatch):
    """A commit that happened though its answer was lost is not repeated, and not called failed."""
    dialect = spool.database._engine.dialect
    commit, losses = dialect.do_commit, []

    def commit_and_lose(connection):
        commit(connection)
        if losses:
            raise SpoolUnavailable(losses.pop())

    monkeypatch.setattr(dialect, "do_commit", commit_and_lose)
    item = mail.intake(claim=mail.token)
    losses.append("the line broke")
    spool.wait(spool.database.write_together(intake.accept, item))
    losses.append("the line broke")
    recorded = spool.wait(spool.database.write_together(outcomes.record, mail.record(item)))
    assert (recorded, losses) == (outcomes.Recorded((), True), [])
    assert table.rows("SELECT count(*) FROM attempts") == [(1,)]
    assert spool.events == []
