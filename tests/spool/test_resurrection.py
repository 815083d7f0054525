"""Mail that was given up comes back whole while its octets are kept, and only then."""

from functools import partial

import pytest

from mta.mail.envelope import Asked, DeliverBy
from mta.spool import history, leases, operate, outcomes, resurrection, retention
from mta.spool.filters import Filter
from mta.spool.schema import State

DAY = 86_400_000


def given_up(table, mail, *states, **changes):
    """Take a message in and settle it."""
    item = mail.intake(
        *(f"u{n}@there.test" for n in range(len(states))), claim=mail.token, **changes
    )
    table.accept(item)
    settled = [mail.settled(n, state) for n, state in enumerate(states)]
    table.write(outcomes.record, [mail.record(item, *settled)])
    return item


def back(table, mail, *items, now_ms=None):
    """Resurrect; return how many recipients it were."""
    wanted = Filter(
        ids=tuple(item.envelope.id for item in items), among=(State.BOUNCED, State.EXPIRED)
    )
    return table.write(resurrection.resurrect, wanted, now_ms or mail.now + 1000, "anna", 500)


def content(table, item):
    """Return the octets that the spool has."""
    sql = "SELECT data FROM chunks WHERE message_id = :id ORDER BY number"
    return b"".join(bytes(data) for (data,) in table.rows(sql, id=item.envelope.id))


@pytest.mark.parametrize("state", [State.BOUNCED, State.EXPIRED])
def test_there_and_back(table, mail, state):
    """What comes back is due, can be claimed, and has a new lifetime; its history says who."""
    item = given_up(table, mail, state, State.DELIVERED)
    assert content(table, item) == b"0123456789"
    now = mail.now + 5 * DAY
    assert back(table, mail, item, now_ms=now) == 1
    assert table.states(item) == ["queued", "delivered"]
    (claimed,) = table.write(leases.claim_due, "t", now, now + 60_000, 10)
    assert [(one.number, one.attempts) for one in claimed.recipients] == [(0, 2)]
    assert claimed.envelope.expires_ms == now + 4 * DAY
    found = table.read(history.trace, item.envelope.id)
    assert found.finished_ms is None
    assert [(event.verb, event.who, event.recipient) for event in found.events] == [
        ("resurrect", "anna", 0)
    ]
    assert table.rows("SELECT count(*) FROM kept") == [(0,)]


def test_delivered_and_removed_keep_nothing(table, mail):
    """The octets of what everybody got, or an operator removed, go at once."""
    done = given_up(table, mail, State.DELIVERED)
    gone = mail.intake()
    table.accept(gone)
    table.write(operate.remove, Filter(ids=(gone.envelope.id,)), mail.now + 1, "anna")
    assert (content(table, done), content(table, gone)) == (b"", b"")
    assert table.rows("SELECT count(*) FROM kept") == [(0,)]
    assert back(table, mail, done, gone) == 0


def test_while_others_wait(table, mail):
    """A recipient that bounced comes back also while the message has others in the queue."""
    item = given_up(table, mail, State.BOUNCED, State.QUEUED)
    assert back(table, mail, item) == 1
    assert table.states(item) == ["queued", "queued"]


def test_time_is_bounded(table, mail):
    """After its time the content is gone, and with it the way back."""
    item = given_up(table, mail, State.BOUNCED)
    assert table.write(resurrection.purge, mail.now + 20, 1000, 10) == 0
    assert table.write(resurrection.purge, mail.now + 21, 1000, 10) == 1
    assert content(table, item) == b""
    assert back(table, mail, item) == 0
    assert table.states(item) == ["bounced"]


def test_size_is_bounded(table, mail):
    """Of too much content the oldest goes, and no more than has to."""
    items = [given_up(table, mail, State.BOUNCED) for _ in range(5)]
    assert table.write(resurrection.purge, 0, 25, 10) == 3
    assert [len(content(table, item)) for item in items] == [0, 0, 0, 10, 10]
    assert table.write(resurrection.purge, 0, 25, 10) == 0


def test_late_delivery_of_what_is_gone(table, mail):
    """A message that ends twice, its content gone between, is not said to be kept."""
    item = given_up(table, mail, State.BOUNCED)
    table.write(resurrection.purge, mail.now + 21, 1000, 10)
    table.write(outcomes.finish, [item.envelope.id], mail.now + 30)
    assert table.rows("SELECT count(*) FROM kept") == [(0,)]


def test_a_deadline_that_is_over(table, mail):
    """A deadline of the sender's does not send it straight back (RFC 2852)."""
    by = DeliverBy(mail.now + 100, "R")
    item = given_up(table, mail, State.BOUNCED, asked=Asked(deliver_by=by))
    back(table, mail, item)
    assert table.read(history.trace, item.envelope.id).envelope.asked.deliver_by is None


def test_forgotten_with_the_message(table, mail):
    """What is purged from the history leaves no octets behind."""
    item = given_up(table, mail, State.BOUNCED)
    assert table.write(retention.purge, mail.now + 1000, 1, 10)[0] == 1
    assert content(table, item) == b""
    assert table.rows("SELECT count(*) FROM kept") == [(0,)]


def test_held_and_by_another_route(table, mail):
    """What comes back held waits, and has the route it was given; without one it keeps its own."""
    one, two = given_up(table, mail, State.BOUNCED), given_up(table, mail, State.BOUNCED)
    table.rows("UPDATE recipients SET route = 'old' RETURNING 1")
    wanted = Filter(ids=(one.envelope.id,), among=(State.BOUNCED,))
    now = mail.now + 1000
    count = table.write(
        partial(resurrection.resurrect, held=True, route="new"), wanted, now, "anna", 9
    )
    assert (count, back(table, mail, two)) == (1, 1)
    assert table.states(one) + table.states(two) == ["held", "queued"]
    routes = table.rows("SELECT message_id, route FROM recipients ORDER BY message_id")
    assert sorted(routes) == sorted([(one.envelope.id, "new"), (two.envelope.id, "old")])
    claimed = table.write(leases.claim_due, "t", now + 1, now + 60_000, 10)
    assert [item.envelope.id for item in claimed] == [two.envelope.id]
