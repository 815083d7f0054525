"""Lists of clients: names that are asked for, answers that count (RFC 5782)."""

import ipaddress

import pytest

from mta.dnsbl.zone import Meaning, client, meaning, query_name

CODES = ((ipaddress.IPv4Address("127.0.0.2"), ipaddress.IPv4Address("127.0.0.4")),)


def test_names():
    """RFC 5782 §2.1 and §2.4: octets or nibbles backwards before the zone."""
    assert query_name(client("192.0.2.99"), "bl.example") == "99.2.0.192.bl.example"
    assert query_name(client("2001:db8:1:2:3:4:567:89ab"), "bl.example") == (
        "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.bl.example"
    )
    assert query_name(client("::ffff:192.0.2.99"), "bl.example") == "99.2.0.192.bl.example"
    assert client("") is None
    assert client("fe80::1%eth0") == ipaddress.ip_address("fe80::1")


@pytest.mark.parametrize(
    ("answers", "codes", "found"),
    [
        (["127.0.0.2"], None, Meaning.LISTED),
        (["127.0.0.9"], CODES, Meaning.NOT_LISTED),
        (["127.0.0.9", "127.0.0.3"], CODES, Meaning.LISTED),
        ([], None, Meaning.NOT_LISTED),
        (["127.255.255.254"], None, Meaning.UNUSABLE),
        (["127.0.0.2", "127.255.255.255"], None, Meaning.UNUSABLE),
        (["203.0.113.7"], None, Meaning.UNUSABLE),
        (["garbage"], None, Meaning.NOT_LISTED),
    ],
)
def test_answers(answers, codes, found):
    """Only 127/8 is an answer, only chosen ones count, and 127.255.255.x is an error."""
    assert (meaning(answers, codes) if codes else meaning(answers))[0] is found
