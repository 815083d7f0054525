"""Passwords are guessed slowly, and nobody is locked out by a stranger."""

import pytest

from mta.policy.guard import GuardSettings, Tally, growing, judge, keys

SETTINGS = GuardSettings()


def test_growing_delays():
    """Three failures are forgiven, then it takes twice as long each time, up to a bound."""
    delays = [growing(SETTINGS, failures) for failures in range(9)]
    assert delays == [0, 0, 0, 1, 2, 4, 8, 8, 8]
    assert growing(SETTINGS, 1e9) == 8


def test_login_lock_out_by_a_stranger():
    """A million failures for a login elsewhere block neither it nor, at home, delay it."""
    attacked = Tally(pair=0, address=0, login=1_000_000, at_home=True)
    assert judge(SETTINGS, attacked) == (0.0, None)
    on_a_journey = Tally(pair=0, address=0, login=1_000_000, at_home=False)
    delay_s, decision = judge(SETTINGS, on_a_journey)
    assert decision is None
    assert delay_s == 8


def test_the_guesser_is_blocked():
    """Too many failures of one login from one network: temporarily no more, told as 454."""
    _, decision = judge(SETTINGS, Tally(pair=10, address=10, login=10, at_home=False))
    assert (decision.code, decision.enhanced) == (454, "4.7.0")
    assert "blocked" not in decision.text
    _, decision = judge(SETTINGS, Tally(pair=10, address=10, login=10, at_home=True))
    assert decision is not None


def test_spraying_is_blocked_by_address():
    """One password tried with many logins blocks the address for all but those at home there."""
    _, decision = judge(SETTINGS, Tally(pair=1, address=30, login=1, at_home=False))
    assert decision.reason == "blocked: address"
    assert judge(SETTINGS, Tally(pair=1, address=30, login=1, at_home=True)) == (0.0, None)


@pytest.mark.parametrize("other", ["Ann", "ａｎｎ", "ANN"])
def test_same_login_in_other_letters(other):
    """Writing a login otherwise does not begin a new count."""
    assert keys("192.0.2.1", other) == keys("192.0.2.1", "ann")


def test_an_ipv6_network_is_one_address():
    """Changing addresses within a /64 does not begin a new count either."""
    assert keys("2001:db8::1", "ann") == keys("2001:db8::ffff", "ann")
    assert keys("2001:db8:0:1::1", "ann", 48)[0] == keys("2001:db8:0:2::1", "ann", 48)[0]
    assert keys("2001:db8:0:1::1", "ann")[0] != keys("2001:db8:0:2::1", "ann")[0]
    assert keys("2001:db8::1", "a" * 10_000 + "\ud800")[0].count(":") > 2
    assert len(keys("192.0.2.1", "a" * 10_000)[2]) < 50
