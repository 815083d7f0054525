"""DMARC by RFC 9989: the walk up the tree, alignment, and what the owner wants."""

import pytest

from mta.dns.answers import DnsTemporary
from mta.verify import dmarc
from mta.verify.dmarc_record import Policy, record
from mta.verify.results import Result


def spf(domain, value="pass"):
    return Result("spf", value, (("smtp.mailfrom", domain),))


def dkim(domain, value="pass"):
    return Result("dkim", value, (("header.d", domain),))


@pytest.fixture
def verdict(done):
    """Judge a message from ``domain``."""

    def do(zone, domain, *results):
        found = done(dmarc.discover(zone, domain))
        made = done(dmarc.judge(zone, found, results))
        return made.result.value, made.wish.value

    return do


def test_records():
    """RFC 9989 §4.7: what counts as a record, and what it says."""
    read = record([b"v=DMARC1; p=reject; sp=none; np=quarantine; adkim=s; aspf=r; psd=n; t=y; x"])
    assert read is not None
    assert (read.policy, read.subdomains, read.missing) == ("reject", "none", "quarantine")
    assert (read.strict_dkim, read.strict_spf) == (True, False)
    assert (read.public_suffix, read.testing) == ("n", True)
    assert record([b"v=DMARC1;p=NONE"]).policy is Policy.NONE
    assert record([b"v=DMARC1; rua=mailto:a@b.example"]).policy is Policy.NONE
    for wrong in (
        b"v=DMARC2; p=none",
        b"p=none; v=DMARC1",
        b"v=DMARC1; p=odd",
        b"v=DMARC10;p=none",
    ):
        assert record([wrong]) is None
    assert record([b"v=DMARC1; p=none", b"v=DMARC1; p=reject"]) is None  # several: none
    assert record([b"hello", b"v=DMARC1; p=reject"]).policy is Policy.REJECT


def test_alignment(zone, verdict):
    """The very domain, or with "r" one of the same organisation; never another's."""
    zone.txt("_dmarc.example.org", "v=DMARC1; p=reject; aspf=s")
    assert verdict(zone, "example.org", spf("example.org")) == ("pass", "none")
    assert verdict(zone, "example.org", dkim("mail.example.org")) == ("pass", "none")
    assert verdict(zone, "example.org", spf("mail.example.org")) == ("fail", "reject")
    assert verdict(zone, "mail.example.org", dkim("example.org")) == ("pass", "none")
    assert verdict(zone, "example.org", spf("evil.example"), dkim("x.evil.example")) == (
        "fail",
        "reject",
    )
    assert verdict(zone, "example.org", dkim("notexample.org")) == ("fail", "reject")
    assert verdict(zone, "example.org", dkim("example.org", "fail")) == ("fail", "reject")


def test_no_record(zone, verdict):
    """Without a record there is nothing to fail."""
    assert verdict(zone, "example.org", spf("example.org")) == ("none", "none")


def test_subdomains(zone, verdict):
    """sp= for what is below the organisation, np= for what does not even exist, p= for the rest."""
    zone.txt("_dmarc.example.org", "v=DMARC1; p=none; sp=quarantine; np=reject")
    zone.add("there.example.org", "A", "192.0.2.1")
    assert verdict(zone, "example.org") == ("fail", "none")
    assert verdict(zone, "there.example.org") == ("fail", "quarantine")
    assert verdict(zone, "nowhere.example.org") == ("fail", "reject")
    zone.txt("_dmarc.own.example.org", "v=DMARC1; p=none")
    assert verdict(zone, "own.example.org") == ("fail", "none")


def test_testing(zone, verdict):
    """t=y: one degree less than is said."""
    zone.txt("_dmarc.a.example", "v=DMARC1; p=reject; t=y")
    zone.txt("_dmarc.b.example", "v=DMARC1; p=quarantine; t=y")
    assert verdict(zone, "a.example") == ("fail", "quarantine")
    assert verdict(zone, "b.example") == ("fail", "none")


def test_public_suffix(zone, verdict):
    """Attack: two customers of one public suffix are not one organisation (psd=y)."""
    zone.txt("_dmarc.co.test", "v=DMARC1; p=reject; psd=y")
    assert verdict(zone, "bank.co.test", dkim("evil.co.test")) == ("fail", "reject")
    assert verdict(zone, "bank.co.test", dkim("co.test")) == ("fail", "reject")
    assert verdict(zone, "www.bank.co.test", dkim("bank.co.test")) == ("pass", "none")


def test_an_organisation_within_another(zone, verdict):
    """psd=n: what stands above is another organisation."""
    zone.txt("_dmarc.example.org", "v=DMARC1; p=none")
    zone.txt("_dmarc.branch.example.org", "v=DMARC1; p=reject; psd=n")
    assert verdict(zone, "x.branch.example.org", dkim("example.org")) == ("fail", "reject")
    assert verdict(zone, "x.branch.example.org", dkim("y.branch.example.org")) == ("pass", "none")


def test_a_long_name_costs_eight_questions(zone, verdict):
    """Attack: a name of a hundred labels (§4.10)."""
    name = ".".join(["a"] * 100) + ".example.org"
    zone.txt("_dmarc.example.org", "v=DMARC1; p=reject")
    assert verdict(zone, name) == ("fail", "reject")
    assert len(zone.asked) == 8
    assert zone.asked[1] == ("_dmarc.a.a.a.a.a.example.org", "TXT")


def test_temporary(zone, verdict, done):
    """What DNS does not tell is temporary: nobody fails for it."""
    zone.failing.add("_dmarc.example.org")
    with pytest.raises(DnsTemporary):
        done(dmarc.discover(zone, "example.org"))
    zone.failing.clear()
    zone.txt("_dmarc.example.org", "v=DMARC1; p=reject")
    late = spf("example.org", "temperror")
    assert verdict(zone, "example.org", late) == ("temperror", "none")
    assert verdict(zone, "example.org", late, dkim("example.org")) == ("pass", "none")
