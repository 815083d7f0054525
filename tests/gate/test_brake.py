"""The compromise brake, from learning to release, on both databases."""

from mta.mail.events import Alert
from mta.policy.brake import BrakeSettings, key
from mta.policy.decision import Action
from mta.policy.limits import HOUR_MS
from mta.policy.rules import Policy
from mta.spool import brakes, policy
from mta.spool.counters import Count
from mta.spool.policy import Given

POLICY = Policy(brake=BrakeSettings(factor=5, floor=2))


def learn(one, login="ann", usual=10):
    """A week in which the login has sent so many each hour."""
    now = one.gate.now_ms()
    this_hour = now - now % HOUR_MS
    rows = [
        Count(key(login), this_hour - n * HOUR_MS, HOUR_MS, usual, now + 10**10)
        for n in range(2, 7 * 24)
    ]
    given = Given(rows, (), 0)
    one.spool.wait(one.spool.database.write(policy.exchange, given, "past", 0, now - 10**6))


def test_compromised_login(process):
    """The login is held, with one alarm for all processes, and at the others within a second."""
    one, two = process(POLICY), process(POLICY)
    learn(one)
    client = one.arrive("ann")
    assert one.message(client, 50) is None
    held = one.message(client, 1)
    assert held.action is Action.HOLD
    assert held.reason.startswith("brake: 51 recipients in an hour, usual are 10")
    assert one.message(client).action is Action.HOLD
    two.exchange()
    assert two.message(two.arrive("ann")).action is Action.HOLD
    assert one.message(one.arrive("bob"), 1000) is None
    alerts = [event for event in one.events + two.events if isinstance(event, Alert)]
    assert [(event.what, event.subject) for event in alerts] == [("compromise", "ann")]


def test_released(process):
    """A release is in force within a second, and the same burst does not trip it again."""
    one = process(POLICY)
    learn(one)
    client = one.arrive("ann")
    assert one.message(client, 100).action is Action.HOLD
    one.spool.wait(one.spool.database.write(brakes.release, "ann", one.gate.now_ms()))
    one.exchange()
    assert one.message(client, 100) is None
    assert len([event for event in one.events if isinstance(event, Alert)]) == 1


def test_restart_keeps_the_brake(process):
    """A login that was stopped is stopped after a restart."""
    first = process(POLICY)
    learn(first)
    first.message(first.arrive("ann"), 100)
    first.stop()
    second = process(POLICY)
    assert second.message(second.arrive("ann")).action is Action.HOLD


def test_new_login(process):
    """A login without a history is left to the limits."""
    one = process(POLICY)
    client = one.arrive("new")
    assert one.message(client, 10_000) is None
    assert one.message(client, 10_000) is None
