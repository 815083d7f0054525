"""Sliding windows, whose account something is put on, and what a limit says."""

import ipaddress

from mta.policy.decision import Action
from mta.policy.limits import (
    DAY_MS,
    HOUR_MS,
    Bound,
    LimitRule,
    Limits,
    Measure,
    Per,
    judge,
    sliding,
)
from mta.policy.matching import Subject, Who

SUBJECT = Subject("submission", "2001:db8::7", "ann")


class Used(dict):
    """Counters that stand still."""

    def used(self, key, window_ms, now_ms):
        return self.get(key, 0)


def limit(per, *bounds, action=Action.DEFER, who=None, name="l"):
    return LimitRule(name, per, who or Who(), tuple(Bound(*one) for one in bounds), action)


def test_sliding():
    """The window before counts as far as it still overlaps."""
    assert sliding(5, 100, 0, HOUR_MS) == 105
    assert sliding(5, 100, HOUR_MS // 2, HOUR_MS) == 55
    assert sliding(5, 100, HOUR_MS, HOUR_MS) == 5


def test_no_double_rate_at_the_turn_of_the_hour():
    """What was used just before the hour began is not forgotten when it begins."""
    assert sliding(0, 100, 60_000, HOUR_MS) > 98


def test_one_rule_for_each_way_of_counting():
    """The first of each kind holds: an exception for one login keeps its network's limit."""
    network = limit(Per.NETWORK, (Measure.MESSAGES, DAY_MS, 9), name="net")
    everybody = limit(Per.LOGIN, (Measure.MESSAGES, HOUR_MS, 1), name="all")
    ann = limit(Per.LOGIN, (Measure.MESSAGES, HOUR_MS, 5), who=Who(logins=("ann",)), name="ann")
    applied = Limits((ann, everybody, network)).applied(SUBJECT)
    assert [(one.rule, one.key) for one in applied] == [
        ("ann", f"messages/{HOUR_MS}:login:ann"),
        ("net", f"messages/{DAY_MS}:network:2001:db8::/48"),
    ]


def test_no_login_no_login_limit():
    """Before AUTH only client, network and listener are counted."""
    rules = Limits(tuple(limit(per, (Measure.MESSAGES, HOUR_MS, 1)) for per in Per))
    keys = [one.key for one in rules.applied(SUBJECT._replace(login=""))]
    assert [key.split(":", 2)[1:] for key in keys] == [
        ["client", "2001:db8::/64"],
        ["network", "2001:db8::/48"],
        ["listener", "submission"],
    ]


def test_one_client_of_ipv6():
    """How much of an IPv6 address is one client can be chosen; IPv4 is counted singly."""
    rules = Limits((limit(Per.CLIENT, (Measure.MESSAGES, HOUR_MS, 1)),), ipv6_prefix=56)
    (one,) = rules.applied(SUBJECT._replace(address="2001:db8:0:1ff::7"))
    assert one.key.endswith(":client:2001:db8:0:100::/56")
    (one,) = rules.applied(SUBJECT._replace(address="::ffff:192.0.2.7"))
    assert one.key.endswith(":client:192.0.2.7")


def test_selected_by_network_and_listener():
    """A rule about one network and listener leaves others alone."""
    who = Who(clients=(ipaddress.ip_network("2001:db8::/32"),), listeners=("submission",))
    rules = Limits((limit(Per.LISTENER, (Measure.OCTETS, HOUR_MS, 1), who=who),))
    assert len(rules.applied(SUBJECT)) == 1
    assert rules.applied(SUBJECT._replace(listener="other")) == ()
    assert rules.applied(SUBJECT._replace(address="192.0.2.1")) == ()


def test_what_is_said():
    """Defer, refuse and hold; the client is told neither rule nor number."""
    for action, code in ((Action.DEFER, 451), (Action.REFUSE, 550), (Action.HOLD, 0)):
        (one,) = Limits(
            (limit(Per.LOGIN, (Measure.RECIPIENTS, HOUR_MS, 10), action=action),)
        ).applied(SUBJECT)
        assert judge((one,), Measure.RECIPIENTS, 3, 0, Used({one.key: 7})) is None
        decision = judge((one,), Measure.RECIPIENTS, 4, 0, Used({one.key: 7}))
        assert (decision.action, decision.code) == (action, code)
        assert "10 recipients an hour" in decision.reason
        assert "10" not in decision.text


def test_a_refusal_comes_before_a_hold():
    """Of two limits that are reached, the one that lets in less decides."""
    first = limit(Per.LOGIN, (Measure.MESSAGES, HOUR_MS, 0), action=Action.HOLD)
    second = limit(Per.CLIENT, (Measure.MESSAGES, HOUR_MS, 0))
    applied = Limits((first, second)).applied(SUBJECT)
    assert judge(applied, Measure.MESSAGES, 1, 0, Used()).action is Action.DEFER
