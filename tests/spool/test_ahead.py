"""What a clock that was ahead has put off: found in steps, and no more than that."""

from dataclasses import replace

from sqlalchemy import text

from mta.spool import ahead, leases, outcomes
from mta.spool.schema import State

HOUR_MS = 3_600_000


def deferred(table, mail, wait_ms=600_000, **more):
    """Take in a message and defer it; return its id."""
    item = mail.intake(claim=mail.token, **more)
    table.accept(item)
    settled = replace(mail.settled(0, State.QUEUED), next_attempt_ms=mail.now + 20 + wait_ms)
    table.write(outcomes.record, [mail.record(item, settled)])
    return item.envelope.id


def walk(table, now_ms):
    """Go through all of the queue; return what was found and in how many steps."""
    found, after, steps = [], "", 0
    while True:
        steps += 1
        part = table.write(ahead.find, after, now_ms)
        found += part.those
        if not (after := part.after):
            return found, steps


def test_found_in_steps(table, mail, monkeypatch):
    """A long queue is looked through piece by piece, each recipient once."""
    monkeypatch.setattr(ahead, "STEP", 3)
    ids = {deferred(table, mail) for _ in range(10)}
    found, steps = walk(table, mail.now - 2 * HOUR_MS)
    assert {one.message_id for one in found} == ids
    assert len(found) == 10
    assert steps >= 3


def test_an_interval_is_kept(table, mail):
    """What had ten minutes to wait has ten minutes from now; a second look finds nothing."""
    deferred(table, mail)
    now_ms = mail.now - 2 * HOUR_MS
    (one,), _ = walk(table, now_ms)
    assert one.should_ms - now_ms == 600_000
    assert table.write(ahead.bring_back, [one]) == 1
    assert table.rows("SELECT next_attempt_ms FROM recipients") == [(one.should_ms,)]
    assert table.write(ahead.bring_back, [one]) == 0  # it is not as it was


def test_what_is_claimed_or_restrained_is_left_alone(table, mail):
    """Neither what is in hand nor what waits for a restraint is touched."""
    table.accept(mail.intake(claim="another run"))
    message_id = deferred(table, mail)
    restrain = text(f"UPDATE recipients SET restraint = 7 WHERE message_id = '{message_id}'")
    table.write(lambda conn: conn.execute(restrain) and None)
    assert walk(table, mail.now - 2 * HOUR_MS) == ([], 1)


def test_a_right_clock_finds_nothing(table, mail):
    """Neither now nor with clocks that differ by some minutes."""
    deferred(table, mail, wait_ms=4 * HOUR_MS)
    table.accept(mail.intake())
    assert walk(table, mail.now)[0] == []
    assert walk(table, mail.now - ahead.SLACK_MS + 1000)[0] == []


def test_leases_end_by_the_new_clock(table, mail):
    """On one host a dead run's lease does not last until the clock has caught up."""
    table.write(leases.register_node, "one", "token", mail.now, 180_000, {})
    now_ms = mail.now - 2 * HOUR_MS
    table.write(ahead.shorten_leases, now_ms, 180_000)
    (node,) = table.write(leases.everyone)
    sqlite = table.engine.dialect.name == "sqlite"
    assert node.lease_until_ms == (now_ms + 180_000 if sqlite else mail.now + 180_000)
