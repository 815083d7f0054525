"""Who may send as whom, and what spoofers try."""

import ipaddress

import pytest

from mta.policy.decision import Action
from mta.policy.matching import AddressPattern, Subject, Who, network_of
from mta.policy.senders import SenderRule, Senders, judge_authors, judge_sender


def rule(*addresses, **options):
    """A rule for everybody."""
    return SenderRule("people", Who(), addresses, **options)


@pytest.mark.parametrize(
    ("pattern", "login", "address", "permitted"),
    [
        ("ann@example.org", "ann", "Ann@EXAMPLE.org", True),
        ("ann@example.org", "ann", "ann@example.org.evil.test", False),
        ("ann@example.org", "ann", '"ann"@example.org', False),
        ("{login}", "ann@example.org", "ann@example.org", True),
        ("{login}", "ann@example.org", "bob@example.org", False),
        ("{login}", "ann", "ann", False),
        ("{user}@example.org", "ann@corp", "ann@example.org", True),
        ("{user}@example.org", "ann", "ann@example.org", True),
        ("@example.org", "app", "anything@example.org", True),
        ("example.org", "app", "anything@sub.example.org", False),
        (".example.org", "app", "x@sub.example.org", True),
        (".example.org", "app", "x@example.org", False),
        ("*@*.example.org", "app", "x@a.b.example.org", True),
        ("app-*@example.org", "app", "app-7@example.org", True),
        ("app-*@example.org", "app", "root@example.org", False),
        ("app-*@example.org", "app", '"app-7@evil.test"@evil.test', False),
        ("a.c@example.org", "app", "abc@example.org", False),  # the dot is no wildcard
        ("ann@münchen.example", "ann", "ann@xn--mnchen-3ya.example", True),
    ],
)
def test_patterns(pattern, login, address, permitted):
    """Exact addresses, domains, wildcards and the login itself mean what they say."""
    assert rule(pattern).permits(login, address) is permitted


@pytest.mark.parametrize(
    ("address", "permitted"),
    [
        ("ann+lists@example.org", True),
        ("ann+@example.org", True),
        ("ann+a+b@example.org", True),
        ("+ann@example.org", False),
        ("bob+ann@example.org", False),
        ("annx+y@example.org", False),
        ("ann+x@evil.test", False),
        ('"ann+x"@example.org', False),
        ("ann-x@example.org", False),
    ],
)
def test_plus_address_abuse(address, permitted):
    """A tag after the plus opens nobody else's address."""
    assert rule("{user}@example.org", plus=True).permits("ann", address) is permitted
    assert not rule("{user}@example.org").permits("ann", "ann+lists@example.org")


@pytest.mark.parametrize("login", ["*", "*@example.org", ""])
def test_a_login_is_no_pattern(login):
    """An account called * does not own every address."""
    assert not rule("{user}@example.org", "{login}").permits(login, "ceo@example.org")


def test_first_match_wins():
    """The first rule about the login decides, later ones do not open what it closes."""
    senders = Senders(
        (
            SenderRule("apps", Who(logins=("app-*",)), ("@apps.example.org",)),
            SenderRule("inside", Who(clients=(ipaddress.ip_network("192.0.2.0/24"),)), ("@i.org",)),
        )
    )
    assert senders.rule_for(Subject("s", "192.0.2.9", "app-1")).name == "apps"
    assert senders.rule_for(Subject("s", "::ffff:192.0.2.9")).name == "inside"
    assert senders.rule_for(Subject("s", "198.51.100.1", "ann")) is None


def test_mail_from_outside_is_nobody_s_to_own():
    """Whoever brings mail for our domains from outside is subject only to rules that name hosts."""
    everybody = SenderRule("everybody", Who(), ("example.org",))
    there = SenderRule("there", Who(listeners=("smtp",)), ("example.org",))
    outside = Subject("smtp", "198.51.100.1", outside=True)
    assert Senders((everybody,)).rule_for(outside) is None
    assert Senders((everybody,)).rule_for(outside._replace(outside=False)) is everybody
    assert Senders((everybody,)).rule_for(outside._replace(login="ann")) is everybody
    assert Senders((everybody, there)).rule_for(outside) is there


def test_wrong_sender():
    """The client is told what everybody is told; the log gets rule and address."""
    decision = judge_sender(rule("{login}"), "ann@example.org", "ceo@example.org")
    assert (decision.action, decision.code, decision.enhanced) == (Action.REFUSE, 550, "5.7.1")
    assert "people" not in decision.text
    assert "ceo" not in decision.text
    assert "people" in decision.reason
    assert "<ceo@example.org>" in decision.reason


def test_null_sender():
    """Receipts go out with the null sender unless the rule forbids it."""
    assert judge_sender(rule("{login}"), "ann", "") is None
    assert judge_sender(rule("{login}", null_sender=False), "ann", "").code == 550


def test_rewriting():
    """A rule that rewrites accepts, with the address of the login."""
    decision = judge_sender(
        rule("{user}@example.org", rewrite="{user}@example.org"), "ann", "x@evil.test"
    )
    assert decision.action is Action.ACCEPT
    assert decision.rewrite == "ann@example.org"


def test_authors():
    """Each author must be permitted; two From fields, or none, never are, rewriting or not."""
    one = rule("{login}", rewrite="{login}")
    assert judge_authors(one, "a@b.org", 0, ()).code == 550
    assert judge_authors(one, "a@b.org", 1, ("a@b.org",)) is None
    assert judge_authors(one, "a@b.org", 1, ("a@b.org", "c@b.org")).rewrite == "a@b.org"
    assert judge_authors(one, "a@b.org", 1, None).rewrite == "a@b.org"
    assert judge_authors(one, "a@b.org", 2, ("a@b.org",)).code == 550
    assert judge_authors(rule("{login}", header=False), "a@b.org", 2, ("x@y",)) is None


def test_networks():
    """IPv6 clients are counted by their /64, IPv4 by address; what is no address by itself."""
    assert network_of("2001:db8:1:2:3::4") == "2001:db8:1:2::/64"
    assert network_of("::ffff:192.0.2.7") == "192.0.2.7"
    assert network_of("192.0.2.7", 24, 48) == "192.0.2.0/24"
    assert network_of("/run/socket") == "/run/socket"
    assert AddressPattern.of("<>").matches("", "")
