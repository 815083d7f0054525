"""What is kept for an operator: by rule, and because a login is not itself."""

import pytest

from mta.policy import brake
from mta.policy.brake import BrakeSettings, judge, usual
from mta.policy.decision import Action
from mta.policy.holds import HoldRule, Holds
from mta.policy.limits import DAY_MS, HOUR_MS
from mta.policy.matching import AddressPattern, Subject, Who
from mta.policy.recipients import Domain, Recipients

SUBJECT = Subject("submission", "192.0.2.1", "ann")
NOON = 20_000 * DAY_MS + 12 * HOUR_MS + 30 * 60_000
SETTINGS = BrakeSettings()


@pytest.mark.parametrize(
    ("rule", "held"),
    [
        (HoldRule("r", Who(logins=("ann",))), True),
        (HoldRule("r", Who(logins=("bob",))), False),
        (HoldRule("r", Who(), senders=(AddressPattern.of("news.org"),)), True),
        (HoldRule("r", Who(), senders=(AddressPattern.of("<>"),)), False),
        (HoldRule("r", Who(), recipient_domains=(".example.com",)), True),
        (HoldRule("r", Who(), recipient_domains=("example.net",)), False),
        (HoldRule("r", Who(), min_size=1000), True),
        (HoldRule("r", Who(), min_size=1001), False),
        (HoldRule("r", Who(logins=("ann",)), min_size=1001), False),
    ],
)
def test_hold_rules(rule, held):
    """All that a rule names must hold; one recipient is enough."""
    domains = ["example.org", "a.example.com"]
    decision = Holds((rule,)).judge(SUBJECT, "x@news.org", domains, 1000)
    assert (decision is not None) is held
    if decision is not None:
        assert (decision.action, decision.reason) == (Action.HOLD, "hold rule r")


def days(count, hour, number=14):
    """A history: so many recipients at one hour of each of the last days."""
    midnight = NOON - NOON % DAY_MS
    return [(midnight - n * DAY_MS + hour * HOUR_MS, count) for n in range(1, number + 1)]


def test_learned_pattern():
    """What is usual depends on the hour; without any mail at this hour, on all hours."""
    assert usual(SETTINGS, days(100, 12) + days(2, 3), NOON) == 100
    assert usual(SETTINGS, days(100, 13) + days(2, 3), NOON) == 100
    assert usual(SETTINGS, days(100, 3) + days(200, 4), NOON) == 150


def test_midnight():
    """The hours beside midnight lie on both of its sides."""
    midnight = NOON - 12 * HOUR_MS
    assert usual(SETTINGS, days(70, 23) + days(1, 12), midnight) == 70


def test_learning():
    """A login that is new is not braked, and the hour that runs teaches nothing."""
    assert usual(SETTINGS, [], NOON) is None
    assert usual(SETTINGS, days(100, 12, 2), NOON) is None
    this_hour = NOON - NOON % HOUR_MS
    assert usual(SETTINGS, [*days(10, 12), (this_hour, 10**6)], NOON) == 10


def test_compromised_login_trips():
    """Five times the usual is too much, and who sends little may send a hundred."""
    assert judge(SETTINGS, 500, 100) is None
    decision = judge(SETTINGS, 501, 100)
    assert decision.action is Action.HOLD
    assert decision.reason.startswith(brake.PREFIX)
    assert judge(SETTINGS, 100, 1) is None
    assert judge(SETTINGS, 101, 1) is not None
    assert judge(SETTINGS, 10**6, None) is None


def test_destinations():
    """Forbidden comes before allowed; where something is allowed nothing else is."""
    patterns = {
        "allowed": (AddressPattern.of("example.org"), AddressPattern.of(".example.org")),
        "forbidden": (AddressPattern.of("boss@example.org"),),
    }
    rules = Recipients(**patterns)
    assert rules.judge("ann@example.org") is None
    assert rules.judge("ann@a.EXAMPLE.org") is None
    assert rules.judge("Boss@example.org").code == 550
    assert rules.judge("ann@example.com").reason == "not an allowed destination"


def test_null_mx():
    """A null MX is 556 5.1.10 (RFC 7505 §3), a missing domain 5.1.2, the unknown is accepted."""
    rules = Recipients(null_mx=True, missing=True)
    assert rules.judge_domain("d", Domain.NULL_MX).reply.to_bytes().startswith(b"556 5.1.10 ")
    assert rules.judge_domain("d", Domain.MISSING).reply.to_bytes().startswith(b"550 5.1.2 ")
    assert rules.judge_domain("d", Domain.UNKNOWN) is None
    assert Recipients(missing=True).judge_domain("d", Domain.NULL_MX) is None
