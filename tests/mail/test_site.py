"""Which domains belong together, and what their site is called."""

import pytest

from mta.mail.site import site_of

GOOGLE = [
    (1, "aspmx.l.google.com"),
    (5, "alt1.aspmx.l.google.com"),
    (5, "alt2.aspmx.l.google.com"),
    (10, "alt3.aspmx.l.google.com"),
]


def test_the_same_hosts_are_the_same_site():
    """The set decides: neither the order, nor the preferences, nor a host named twice."""
    other = [(30, host) for _, host in reversed(GOOGLE)] + [(40, "aspmx.l.google.com")]
    assert site_of(GOOGLE) == site_of(other)


def test_other_hosts_are_another_site():
    """Attack: a domain that puts a host of its own beside a provider's is in no one's company."""
    theirs = site_of([(0, "mx.evil.example"), *GOOGLE])
    assert theirs.key != site_of(GOOGLE).key
    assert theirs.name == "mx.evil.example"


def test_the_key_is_the_same_in_every_process():
    """It may be written down: it depends on the names alone."""
    assert site_of(GOOGLE).key == "site:aspmx.l.google.com/eb6a9d10"
    assert site_of([(0, "mx.example.org")]).key == "site:mx.example.org"


@pytest.mark.parametrize(
    ("hosts", "name"),
    [
        (GOOGLE, "aspmx.l.google.com"),
        ([(10, "mx1.example.org"), (20, "mx2.example.org")], "example.org"),
        ([(20, "mx1.a.co.uk"), (10, "mx2.b.co.uk")], "mx2.b.co.uk"),
        ([(20, "mx.a.com"), (10, "mx.b.com")], "mx.b.com"),
        ([(10, "mx.b.org"), (10, "mx.a.net")], "mx.a.net"),
        ([(10, "one.mail"), (10, "two.mail")], "one.mail"),
        ([(10, "example.org"), (20, "mx.example.org")], "example.org"),
    ],
)
def test_names_say_whose_hosts_they_are(hosts, name):
    """What all have in common, unless that is only a registry; else the best host."""
    assert site_of(hosts).name == name
