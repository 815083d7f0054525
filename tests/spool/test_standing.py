"""How mail stands, by domain and address: complete, and the same on both databases."""

from mta.spool import operate, outcomes, standing
from mta.spool.filters import Filter
from mta.spool.schema import State
from mta.spool.standing import Cause


def test_domain(table, mail):
    """Tried, held, new and in hand are told apart; the oldest and the next attempt are found."""
    tried = mail.intake("a@there.test", "b@there.test", "c@else.test", claim=mail.token)
    held = mail.intake("h@there.test")
    new = [mail.intake(f"n{n}@there.test", next_attempt_ms=mail.now + 900_000) for n in range(2)]
    busy = mail.intake("busy@there.test", claim=mail.token)
    table.accept(tried, held, *new, busy)
    deferred = [mail.settled(n, State.QUEUED) for n in range(3)]
    table.write(outcomes.record, [mail.record(tried, *deferred)])
    table.write(operate.hold, Filter(ids=(held.envelope.id,)), mail.now, "anna")
    found = table.read(standing.of_domain, "there.test")
    assert (found.stuck, found.fresh, found.in_hand) == (3, 3, 1)
    assert found.oldest == tried.envelope.id
    assert found.next_attempt_ms == mail.now + 300_000
    assert found.causes == (
        Cause(State.QUEUED, 451, "4.7.1", "Greylisted, try again", "mx.example.com", 2),
        Cause(State.HELD, 0, "", "", "", 1),
    )


def test_nothing_waits(table, mail):
    """A domain without a queue is known by what has become of its mail."""
    item = mail.intake("a@there.test", "b@there.test", claim=mail.token)
    table.accept(item)
    states = (mail.settled(0, State.DELIVERED), mail.settled(1, State.BOUNCED))
    table.write(outcomes.record, [mail.record(item, *states)])
    assert table.read(standing.of_domain, "there.test").oldest is None
    found = table.read(standing.finished_of_domain, "there.test")
    assert found.states == {State.DELIVERED: 1, State.BOUNCED: 1}
    assert found.newest == item.envelope.id


def test_address(table, mail):
    """Mail to and from an address, in either case of its letters, newest first and bounded."""
    items = [mail.intake("Bo@there.test", sender="App@here.test") for _ in range(4)]
    table.accept(*items)
    newest = [item.envelope.id for item in items][::-1]
    assert table.read(standing.to_address, "bO@there.test", 3) == newest[:3]
    assert table.read(standing.from_address, "app@HERE.test", 3) == newest[:3]
    assert table.read(standing.from_address, "bo@there.test", 3) == []


def test_groups(table, mail):
    """Recipients are counted by what was asked for; held and untried are causes of their own."""
    tried = mail.intake("a@there.test", "b@there.test", claim=mail.token)
    table.accept(tried, mail.intake("c@there.test"))
    deferred = [mail.settled(n, State.QUEUED) for n in range(2)]
    table.write(outcomes.record, [mail.record(tried, *deferred)])
    rows = table.read(standing.groups, Filter(), mail.now, ("domain", "cause"))
    assert [(row.domain, row.last_code, bool(row.tried), row.recipients) for row in rows] == [
        ("there.test", 451, True, 2),
        ("there.test", 0, False, 1),
    ]
