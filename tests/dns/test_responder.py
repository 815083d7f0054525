"""The test bed's name server: what it says on the wire."""

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from mta.dns.responder import Manner, Responder

ZONE = {
    "a.example": [("A", "192.0.2.1"), ("MX", "10 mx"), ("TXT", '"x"')],
    "below.empty.example.": [("AAAA", "2001:db8::1")],
    "alias.example": [("CNAME", "a.example")],
}


def ask(name, rdtype, transport="udp", **options):
    responder = Responder(ZONE, **options)
    query = dns.message.make_query(name, rdtype)
    answered = responder.answer(query.to_wire(), transport)
    return None if answered is None else (dns.message.from_wire(answered[0]), answered[1])


@pytest.mark.parametrize(
    ("name", "rdtype", "rcode", "answers", "soa"),
    [
        ("a.example", "A", "NOERROR", ["a.example. 60 IN A 192.0.2.1"], False),
        ("A.EXAMPLE", "MX", "NOERROR", ["a.example. 60 IN MX 10 mx."], False),
        ("a.example", "AAAA", "NOERROR", [], True),
        ("empty.example", "A", "NOERROR", [], True),
        ("none.example", "A", "NXDOMAIN", [], True),
        (
            "alias.example",
            "A",
            "NOERROR",
            ["alias.example. 60 IN CNAME a.example.", "a.example. 60 IN A 192.0.2.1"],
            False,
        ),
    ],
)
def test_answers(name, rdtype, rcode, answers, soa):
    """No such name and no such record are told apart, both with an SOA."""
    reply, delay_s = ask(name, rdtype)
    assert dns.rcode.to_text(reply.rcode()) == rcode
    assert [str(rrset).lower() for rrset in reply.answer] == [text.lower() for text in answers]
    assert [rrset.rdtype for rrset in reply.authority] == [dns.rdatatype.SOA] * soa
    assert reply.flags & dns.flags.AA
    assert delay_s == 0


def test_manners():
    """Late, failing, silent, truncating: as the test asks for."""
    manners = {
        "late.example": Manner(delay_s=2.5),
        "failing.example.": Manner(rcode="SERVFAIL"),
        "silent.example": Manner(silent=True),
        "a.example": Manner(truncate=True),
    }
    assert ask("late.example", "A", manners=manners)[1] == 2.5
    assert ask("failing.example", "A", manners=manners)[0].rcode() == dns.rcode.SERVFAIL
    assert ask("silent.example", "A", manners=manners) is None
    assert ask("a.example", "A", manners=manners)[0].flags & dns.flags.TC
    assert not ask("a.example", "A", "tcp", manners=manners)[0].flags & dns.flags.TC


def test_garbage_is_left_alone():
    """What is no DNS message gets no reply."""
    assert Responder(ZONE).answer(b"garbage", "udp") is None


def test_bad_record():
    """A mistake in the zone is told at once."""
    with pytest.raises(ValueError, match=r"^A 300\.1\.1\.1: "):
        Responder({"a.example": [("A", "300.1.1.1")]})


def test_use_another_zone():
    """The data may change while the server runs."""
    responder = Responder(ZONE)
    responder.use({"b.example": [("A", "192.0.2.9")]})
    query = dns.message.make_query("b.example", "A")
    reply = dns.message.from_wire(responder.answer(query.to_wire(), "udp")[0])
    assert str(reply.answer[0]) == "b.example. 60 IN A 192.0.2.9"
    assert responder.asked == [("b.example", "A", "udp")]
