"""Duties done again and again, whatever happens to them."""

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from mta.mail.events import Note
from mta.queue.housekeeping import Housekeeping, Periodic
from mta.queue.settings import QueueSettings
from mta.spool import retention, transcripts
from mta.spool.errors import SpoolUnavailable


class Duty:
    """A duty that the test lets fail."""

    def __init__(self):
        self.done = 0
        self.trouble = None

    async def __call__(self):
        self.done += 1
        if self.trouble is not None:
            raise self.trouble


def periodic(duty, seconds=60.0):
    clock, events = Clock(), []
    made = Periodic(clock, events.append, "counting", lambda: seconds, duty)
    made.start()
    return clock, events, made


def test_a_duty_is_done_at_its_interval():
    """Not at once, then again and again, and not after the stop."""
    duty = Duty()
    clock, _, made = periodic(duty)
    assert duty.done == 0
    clock.pump([30, 30, 60])
    assert duty.done == 2
    made.stop()
    clock.advance(600)
    assert duty.done == 2
    assert clock.getDelayedCalls() == []


def test_a_failure_is_told_once_and_survived():
    """While it fails it is tried sooner; what is wrong is said once, and that it works again."""
    duty = Duty()
    clock, events, _ = periodic(duty)
    duty.trouble = SpoolUnavailable("locked")
    clock.pump([60, 5, 5])
    assert duty.done == 3
    duty.trouble = None
    clock.pump([5, 60])
    assert duty.done == 5
    assert events == [
        Note("warning", "queue", "counting fails: locked"),
        Note("info", "queue", "counting works again"),
    ]


def test_a_fault_of_the_program_is_survived_too():
    """A bug in one duty does not end it, and is an error in the log."""
    duty = Duty()
    clock, events, _ = periodic(duty, 1.0)
    duty.trouble = KeyError("bug")
    clock.pump([1, 1])
    assert duty.done == 2
    assert [event.level for event in events] == ["error"]


def test_a_duty_under_way_is_not_begun_again():
    """The interval counts from the end of one to the beginning of the next."""
    waiting = []

    def duty():
        waiting.append(Deferred())
        return waiting[-1]

    clock, _, made = periodic(duty, 1.0)
    clock.pump([1, 1, 1, 1])
    assert len(waiting) == 1
    waiting[0].callback(None)
    clock.advance(1)
    assert len(waiting) == 2
    made.stop()
    waiting[1].callback(None)
    assert clock.getDelayedCalls() == []


class Database:
    """Answers each step with how much was removed."""

    def __init__(self, *counts):
        self.counts = list(counts)
        self.calls = []

    def write(self, fn, *args):
        self.calls.append((fn, *args))
        count = self.counts.pop(0) if self.counts else 0
        return succeed((count, 5000 + len(self.calls)) if fn is retention.purge else count)


def housekeeping(database):
    clock = Clock()
    settings = QueueSettings("relay.example.org", retention_s=1000, orphan_age_s=500)
    made = Housekeeping(clock, database, settings, lambda: 10**9, lambda event: None)
    made.start()
    return clock, made


def test_purging_goes_in_small_steps_with_pauses():
    """Full steps follow each other after a pause; a step that is not full is the last one."""
    database = Database(100, 100, 7)
    clock, _ = housekeeping(database)
    clock.advance(60)
    assert database.calls == [(retention.purge, 10**9, 1_000_000, 100, 0)]
    clock.advance(0.03)
    assert len(database.calls) == 1
    clock.pump([0.03, 0.05, 0.05, 0.05])
    begins = [args[-1] for fn, *args in database.calls if fn is retention.purge]
    assert begins == [0, 5001, 5002]  # each where the one before it has ended


def test_purging_rests_longer_where_a_step_takes_long():
    """Where a step waits for much mail, four times as long is left to that, a second at most."""
    waiting = []
    database = Database()
    database.write = lambda *_: waiting.append(Deferred()) or waiting[-1]
    clock, made = housekeeping(database)
    clock.advance(60)
    for number, (took_s, rest_s) in enumerate([(0.1, 0.4), (3.0, 1.0)], 1):
        clock.advance(took_s)
        waiting[-1].callback((100, 0))
        clock.advance(rest_s - 0.01)
        assert len(waiting) == number
        clock.advance(0.02)
        assert len(waiting) == number + 1
    made.stop()


def test_orphans_are_swept_every_hour():
    """Chunks older than the settings say, by the wall clock."""
    database = Database()
    clock, _ = housekeeping(database)
    clock.advance(3600)
    assert (retention.sweep_orphans, 10**9 - 500_000, 100) in database.calls


def test_stop_ends_a_long_purge():
    """The stop does not wait until millions of rows are gone."""
    database = Database(*[100] * 1000)
    clock, made = housekeeping(database)
    clock.pump([60, 0.05])
    made.stop()
    clock.pump([0.2] * 10)
    assert len(database.calls) == 2
    assert clock.getDelayedCalls() == []


def test_transcripts_are_forgotten_earlier():
    """What was said goes after a time of its own, when the messages of the hour have gone."""
    database = Database()
    clock, _ = housekeeping(database)
    clock.advance(60)
    day_ms = 86_400_000
    assert database.calls[1:2] == [(transcripts.purge, 10**9 - 3 * day_ms, 100)]
