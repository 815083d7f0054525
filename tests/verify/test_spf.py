"""SPF: the examples of RFC 7208, its limits, and what DNS does to it."""

import pytest
from twisted.internet.defer import maybeDeferred

from mta.verify import spf

# RFC 7208 appendix A
ZONE = {
    "example.com": [
        ("MX", "10 mail-a.example.com."), ("MX", "20 mail-b.example.com."),
        ("A", "192.0.2.10"), ("A", "192.0.2.11"),
    ],
    "amy.example.com": [("A", "192.0.2.65")],
    "bob.example.com": [("A", "192.0.2.66")],
    "mail-a.example.com": [("A", "192.0.2.129")],
    "mail-b.example.com": [("A", "192.0.2.130")],
    "www.example.com": [("A", "192.0.2.10")],
    "example.org": [("MX", "10 mail-c.example.org.")],
    "mail-c.example.org": [("A", "192.0.2.140")],
    "10.2.0.192.in-addr.arpa": [("PTR", "example.com.")],
    "65.2.0.192.in-addr.arpa": [("PTR", "amy.example.com.")],
    "140.2.0.192.in-addr.arpa": [("PTR", "mail-c.example.org.")],
    "4.0.0.10.in-addr.arpa": [("PTR", "bob.example.com.")],
    "mary.mobile-users._spf.example.com": [("A", "127.0.0.2")],
    "15.15.168.192.joel.remote-users._spf.example.com": [("A", "127.0.0.2")],
}  # fmt: skip


async def _at_once(fn, *args):
    return await maybeDeferred(fn, *args)


@pytest.fixture
def check(zones, done):
    """Check a client against a record of example.com, or against a zone."""

    def do(record, address, sender="u@example.com", helo="h.example.net", zone=None):
        if zone is None:
            zone = zones({name: list(found) for name, found in ZONE.items()})
        if record:
            zone.txt("example.com", record)
        return done(spf.check(_at_once, zone, address, sender, helo))

    return do


@pytest.mark.parametrize(
    ("record", "address", "value"),
    [
        ("v=spf1 +all", "198.51.100.1", "pass"),
        ("v=spf1 a -all", "192.0.2.10", "pass"),
        ("v=spf1 a -all", "192.0.2.12", "fail"),
        ("v=spf1 a:example.org -all", "192.0.2.10", "fail"),
        ("v=spf1 mx -all", "192.0.2.129", "pass"),
        ("v=spf1 mx:example.org -all", "192.0.2.140", "pass"),
        ("v=spf1 mx mx:example.org -all", "192.0.2.130", "pass"),
        ("v=spf1 mx/30 mx:example.org/30 -all", "192.0.2.131", "pass"),
        ("v=spf1 ptr -all", "192.0.2.65", "pass"),
        ("v=spf1 ptr -all", "192.0.2.140", "fail"),
        ("v=spf1 ptr -all", "10.0.0.4", "fail"),
        ("v=spf1 ip4:192.0.2.128/28 -all", "192.0.2.65", "fail"),
        ("v=spf1 ip4:192.0.2.128/28 -all", "192.0.2.129", "pass"),
        ("v=spf1 ip4:192.0.2.0/24 ~all", "203.0.113.1", "softfail"),
        ("v=spf1 ?all", "203.0.113.1", "neutral"),
        ("v=spf1 ip6:2001:db8::/32 -all", "2001:db8::1", "pass"),
        ("v=spf1 ip4:192.0.2.1 -all", "::ffff:192.0.2.1", "pass"),
        ("v=spf1 nonsense -all", "192.0.2.1", "permerror"),
        ("v=spf10 -all", "192.0.2.1", "none"),
    ],
)
def test_rfc_7208_appendix_a(check, record, address, value):
    """The records of RFC 7208 A.1, and some more, say what they say there."""
    assert check(record, address).value == value


def test_exists_with_macros(check):
    """RFC 7208 A.4: a user's own name decides."""
    record = "v=spf1 mx exists:%{ir}.%{l1r+-}.remote-users._spf.%{d} -all"
    assert check(record, "192.168.15.15", "joel-x@example.com").value == "pass"
    assert check(record, "192.168.15.16", "joel-x@example.com").value == "fail"


def test_null_sender_is_helo(check, zones):
    """RFC 7208 §2.4: without a sender the name in HELO is looked at, and named."""
    zone = zones({"h.example.net": [("TXT", '"v=spf1 ip4:192.0.2.1 -all"')]})
    result = check("", "192.0.2.1", "", "h.example.net", zone)
    assert (result.value, result.properties) == ("pass", (("smtp.helo", "h.example.net"),))


@pytest.mark.parametrize("helo", ["[192.0.2.1]", "localhost", "a b", "x..example", "-", "é"])
def test_what_is_no_domain(check, zones, helo):
    """A literal, or a name that cannot be in DNS, has the result none without a question."""
    zone = zones()
    assert check("", "192.0.2.1", "", helo, zone).value == "none"
    assert zone.asked == []


def test_temporary(check, zones):
    """DNS that fails is temperror, wherever it does; for PTR it is no match (§5.5)."""
    zone = zones()
    zone.failing.add("example.com")
    assert check("", "192.0.2.1", zone=zone).value == "temperror"
    zone = zones({"example.com": [("TXT", '"v=spf1 a:mail.example.com -all"')]})
    zone.failing.add("mail.example.com")
    assert check("", "192.0.2.1", zone=zone).value == "temperror"
    zone = zones({"example.com": [("TXT", '"v=spf1 ptr -all"')]})
    zone.failing.add("1.2.0.192.in-addr.arpa")
    assert check("", "192.0.2.1", zone=zone).value == "fail"


def test_ten_terms(check, zones):
    """Attack: a record that makes us ask on and on ends after ten terms (§4.6.4)."""
    chain = {
        f"s{number}.example.com": [("TXT", f'"v=spf1 include:s{number + 1}.example.com -all"')]
        for number in range(200)
    }
    zone = zones(chain)
    assert check("v=spf1 include:s0.example.com -all", "192.0.2.1", zone=zone).value == "permerror"
    assert len(zone.asked) <= 12
    loop = zones({"example.com": [("TXT", '"v=spf1 include:example.com -all"')]})
    assert check("", "192.0.2.1", zone=loop).value == "permerror"


def test_two_void_look_ups(check, zones):
    """Attack: names that do not exist, asked for by the thousand: two, and it is an error."""
    zone = zones()
    record = "v=spf1 " + " ".join(f"a:x{number}.example.com" for number in range(9)) + " -all"
    assert check(record, "192.0.2.1", zone=zone).value == "permerror"
    assert len(zone.asked) <= 4


def test_a_huge_record(check):
    """Attack: a record of many KiB is not evaluated."""
    assert check("v=spf1 " + "ip4:198.51.100.1 " * 1000 + "+all", "192.0.2.1").value == "none"


def test_explanations_are_not_asked_for(check, zones):
    """A stranger's text (exp=) costs no question."""
    zone = zones()
    assert check("v=spf1 -all exp=why.example.com", "192.0.2.1", zone=zone).value == "fail"
    assert zone.asked == [("example.com", "TXT")]


@pytest.mark.parametrize(
    ("address", "value"), [("", "temperror"), ("unix", "temperror"), ("fe80::1%eth0", "fail")]
)
def test_a_client_without_a_usual_address(check, address, value):
    """A proxy may not know the client, which then has neither passed nor failed; zones are ours."""
    assert check("v=spf1 +all" if value != "fail" else "v=spf1 -all", address).value == value
