"""The MX rules, case by case, over a resolver that answers from a table."""

from random import Random

import pytest
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.python.failure import Failure

from mta.dns.answers import Answer, DnsTemporary, Mx, NoSuchName
from mta.dns.mx import (
    MailExchangers,
    MailHost,
    MailLoop,
    NoSuchDomain,
    NoUsableHost,
    NullMx,
)

OWN = frozenset({"relay.example.org", "Relay2.Example.org."})


class Table:
    """Answers from a mapping; an exception is raised, what is missing does not exist."""

    def __init__(self, records):
        self.records = records
        self.asked = []

    def lookup(self, name, rdtype):
        self.asked.append((name, rdtype))
        found = self.records.get((name, rdtype))
        if found is None:
            exists = any(known == name for known, _ in self.records)
            return succeed(Answer(name, (), 60)) if exists else fail(NoSuchName(name))
        if isinstance(found, Exception):
            return fail(found)
        if isinstance(found, Deferred):
            return found
        return succeed(Answer(name, tuple(found), 60))


def result_of(deferred):
    """Return the result or the exception, whichever there is by now."""
    box = []
    deferred.addBoth(box.append)
    assert box, "there is no result yet"
    return box[0].value if isinstance(box[0], Failure) else box[0]


def exchangers(records, random=None):
    return MailExchangers(Table(records), OWN, random or Random(1))


def mx(*pairs):
    return [Mx(preference, name) for preference, name in pairs]


D = "example.com"


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        pytest.param(
            {(D, "MX"): mx((20, "b.example"), (10, "a.example"), (30, "c.example"))},
            ["a.example", "b.example", "c.example"],
            id="by preference",
        ),
        pytest.param(
            {(D, "MX"): mx((10, "a.example")), (D, "A"): ["192.0.2.1"]},
            ["a.example"],
            id="MX rules out the domain's own address",
        ),
        pytest.param({(D, "A"): ["192.0.2.1"]}, [D], id="implicit MX by A"),
        pytest.param({(D, "AAAA"): ["2001:db8::1"]}, [D], id="implicit MX by AAAA"),
        pytest.param(
            {(D, "A"): ["192.0.2.1"], (D, "AAAA"): DnsTemporary("x")},
            [D],
            id="implicit MX although one family can't be looked up",
        ),
        pytest.param({}, NoSuchDomain, id="NXDOMAIN"),
        pytest.param({(D, "TXT"): ["x"]}, NoUsableHost, id="neither MX nor address"),
        pytest.param(
            {(D, "A"): DnsTemporary("x")}, DnsTemporary, id="implicit MX, address unknown for now"
        ),
        pytest.param({(D, "MX"): DnsTemporary("x")}, DnsTemporary, id="MX can't be looked up"),
        pytest.param(
            {(D, "MX"): DnsTemporary("x"), (D, "A"): ["192.0.2.1"]},
            DnsTemporary,
            id="MX can't be looked up: no fall-back to A",
        ),
        pytest.param({(D, "MX"): mx((0, ""))}, NullMx, id="null MX"),
        pytest.param({(D, "MX"): mx((10, ""))}, NullMx, id="null MX with another preference"),
        pytest.param(
            {(D, "MX"): mx((0, "")), (D, "A"): ["192.0.2.1"]},
            NullMx,
            id="null MX does not fall back to A",
        ),
        pytest.param(
            {(D, "MX"): mx((0, ""), (10, "a.example"))},
            ["a.example"],
            id="null MX beside a real one is void (RFC 7505 3)",
        ),
        pytest.param(
            {
                (D, "MX"): mx(
                    (10, "a.example"),
                    (20, "relay.example.org"),
                    (20, "b.example"),
                    (30, "c.example"),
                )
            },
            ["a.example"],
            id="we cut ourselves, equals and worse",
        ),
        pytest.param(
            {(D, "MX"): mx((10, "a.example"), (20, "relay2.example.org"))},
            ["a.example"],
            id="own names are compared without case and final dot",
        ),
        pytest.param(
            {(D, "MX"): mx((10, "relay.example.org"), (20, "a.example"))},
            MailLoop,
            id="we are the best",
        ),
        pytest.param(
            {(D, "MX"): mx((10, "relay.example.org"), (10, "a.example"))},
            MailLoop,
            id="we are among the best",
        ),
        pytest.param(
            {
                (D, "MX"): mx(
                    (30, "relay.example.org"), (20, "relay2.example.org"), (25, "a.example")
                )
            },
            MailLoop,
            id="our best name counts",
        ),
        pytest.param(
            {(D, "MX"): mx((20, "a.example"), (10, "a.example"), (15, "b.example"))},
            ["a.example", "b.example"],
            id="a host named twice counts once, at its best",
        ),
    ],
)
def test_hosts(records, expected):
    """Which hosts, in which order, or why none."""
    found = result_of(exchangers(records).hosts("Example.COM."))
    if isinstance(expected, list):
        assert [host.name for host in found] == expected
    else:
        assert type(found) is expected


def test_own_name_as_a_domain_is_a_loop():
    """Mail for our own name, which nothing here delivers, would come back to us."""
    records = {("relay.example.org", "A"): ["192.0.2.1"]}
    assert type(result_of(exchangers(records).hosts("relay.example.org"))) is MailLoop


def test_preference_is_kept():
    """The hosts say their preference."""
    found = result_of(exchangers({(D, "MX"): mx((10, "a.example"), (20, "b.example"))}).hosts(D))
    assert found == (MailHost("a.example", 10), MailHost("b.example", 20))


def test_equals_share_the_load():
    """RFC 5321 §5.1: hosts of the same preference are tried in random order."""
    names = [f"mx{number}.example" for number in range(3)]
    records = {(D, "MX"): mx(*((10, name) for name in names), (20, "last.example"))}
    finder = exchangers(records, Random(7))
    orders = [[host.name for host in result_of(finder.hosts(D))] for _ in range(200)]
    assert {order[0] for order in orders} == set(names)
    assert {order[-1] for order in orders} == {"last.example"}
    assert len({tuple(order) for order in orders}) == 6


H = "mx.example"


@pytest.mark.parametrize(
    ("records", "families", "expected"),
    [
        pytest.param(
            {(H, "A"): ["192.0.2.1", "192.0.2.2"], (H, "AAAA"): ["2001:db8::1"]},
            ("AAAA", "A"),
            ("2001:db8::1", "192.0.2.1", "192.0.2.2"),
            id="families by turns",
        ),
        pytest.param(
            {(H, "A"): ["192.0.2.1"], (H, "AAAA"): ["2001:db8::1", "2001:db8::2"]},
            ("A", "AAAA"),
            ("192.0.2.1", "2001:db8::1", "2001:db8::2"),
            id="the first family is configured",
        ),
        pytest.param(
            {(H, "A"): ["192.0.2.1"], (H, "AAAA"): ["2001:db8::1"]},
            ("A",),
            ("192.0.2.1",),
            id="one family only",
        ),
        pytest.param(
            {(H, "A"): ["192.0.2.1"], (H, "AAAA"): DnsTemporary("x")},
            ("AAAA", "A"),
            ("192.0.2.1",),
            id="a failure does not hide the other family",
        ),
        pytest.param(
            {(H, "A"): DnsTemporary("x")},
            ("AAAA", "A"),
            DnsTemporary,
            id="unknown for one family, nothing for the other",
        ),
        pytest.param({}, ("AAAA", "A"), NoUsableHost, id="no such host"),
        pytest.param({(H, "TXT"): ["x"]}, ("AAAA", "A"), NoUsableHost, id="no address"),
        pytest.param({(H, "A"): ["192.0.2.1"]}, ("AAAA",), NoUsableHost, id="not in this family"),
    ],
)
def test_addresses(records, families, expected):
    """Which addresses, in which order, or why none."""
    found = result_of(exchangers(records).addresses("MX.Example.", families))
    assert found == expected or type(found) is expected


def test_families_are_asked_together():
    """Both questions go out at once: a slow AAAA costs no second round."""
    slow = Deferred()
    finder = exchangers({(H, "AAAA"): slow, (H, "A"): ["192.0.2.1"]})
    waiting = finder.addresses(H)
    assert finder._resolver.asked == [(H, "AAAA"), (H, "A")]
    slow.callback(Answer(H, ("2001:db8::1",), 60))
    assert result_of(waiting) == ("2001:db8::1", "192.0.2.1")


def test_cancelled():
    """Somebody who stops waiting hears of it, and so does the lookup."""
    cancelled = []
    finder = exchangers({(D, "MX"): Deferred(cancelled.append)})
    waiting = finder.hosts(D)
    waiting.cancel()
    assert type(result_of(waiting)) is CancelledError
    assert len(cancelled) == 1


def test_unknown_errors_are_not_hidden():
    """A fault of the program's own is neither an answer nor its absence."""
    finder = exchangers({(H, "A"): ZeroDivisionError("x")})
    assert type(result_of(finder.addresses(H))) is ZeroDivisionError
