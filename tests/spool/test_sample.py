"""The figures of a monitor, counted on both databases."""

from mta.mail.restraint import Restraint
from mta.spool import alarms, brakes, outcomes, restraints, sample
from mta.spool.schema import State


def test_an_empty_spool(table, mail):
    """Nothing waits, nothing is old; the spool is there even so."""
    found = table.read(sample.sample, mail.now)
    assert (found.new, found.deferred, found.held, found.due, found.oldest) == (0, 0, 0, 0, None)
    assert table.read(sample.reachable) is False


def test_what_waits_is_told_apart(table, mail):
    """Never tried, and held; due or not; the oldest; what has been decided."""
    first = mail.intake("a@one.example", "b@two.example", created_ms=mail.now - 5000)
    table.accept(first)
    table.accept(mail.intake("c@one.example", next_attempt_ms=mail.now + 10_000))
    table.accept(mail.intake("d@one.example", held="a rule"))
    table.register()
    table.write(restraints.suspend, Restraint(0, "suspend", "all", "", "why", mail.now, who="ann"))
    table.write(brakes.trip, "app7", "too much", mail.now)
    found = table.read(sample.sample, mail.now)
    assert (found.new, found.deferred, found.held) == (3, 0, 1)
    assert (found.claimed, found.due) == (0, 2)
    assert found.oldest == first.envelope.id
    assert (found.restraints, found.brakes, found.alarms) == ({"suspend": 1}, 1, 0)
    assert table.read(sample.reachable) is True


def test_an_alarm_counts_while_its_process_is_there(table, mail):
    """What a dead process has said is no alarm any more."""
    table.register()
    node = table.rows("SELECT name FROM nodes")[0][0]
    until_ms = table.rows("SELECT lease_until_ms FROM nodes")[0][0]
    table.write(alarms.put, node, "dns", "does not validate", mail.now)
    assert table.read(sample.sample, until_ms - 1).alarms == 1
    assert table.read(sample.sample, until_ms).alarms == 0


def test_what_was_tried_is_deferred(table, mail):
    """One of two was greylisted."""
    item = mail.intake("a@one.example", "b@two.example", claim=mail.token)
    table.register()
    table.accept(item)
    table.write(outcomes.record, [mail.record(item, mail.settled(0, State.QUEUED))])
    found = table.read(sample.sample, mail.now)
    assert (found.new, found.deferred, found.claimed) == (1, 1, 1)
