"""The resolver against servers in memory: answers, caching, failures, forgeries."""

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from twisted.internet.defer import CancelledError

from mta.dns.answers import Answer, DnsTemporary, Mx, NoSuchName
from mta.dns.resolver import Resolver
from mta.dns.responder import Manner

FIRST, SECOND = "192.0.2.53", "2001:db8::53"
BOTH = {"192.0.2.1", "192.0.2.2"}

ZONE = {
    "example.com": [("MX", "10 Mx1.Example.com."), ("MX", "20 mx2.example.com.")],
    "mx1.example.com": [("A", "192.0.2.1"), ("A", "192.0.2.2"), ("AAAA", "2001:db8::1")],
    "alias.example": [("CNAME", "second.example.")],
    "second.example": [("CNAME", "mx1.example.com.")],
    "dangling.example": [("CNAME", "nowhere.example.")],
    "outward.example": [("CNAME", "elsewhere.test.")],
    "loop1.example": [("CNAME", "loop2.example.")],
    "loop2.example": [("CNAME", "loop1.example.")],
    "null.example": [("MX", "0 .")],
    "deep.tree.example": [("TXT", '"hello" "world"')],
}


def test_records(net, resolver, outcome):
    """Addresses come as text, MX as values with plain lower-case names."""
    net.serve(ZONE)
    ask = resolver()
    found = outcome(ask.lookup("mx1.example.com", "AAAA"))
    assert found == Answer("mx1.example.com", ("2001:db8::1",), 60)
    found = outcome(ask.lookup("EXAMPLE.com.", "mx"))
    assert sorted(found.exchanges, key=lambda mx: mx.preference) == [
        Mx(10, "mx1.example.com"),
        Mx(20, "mx2.example.com"),
    ]
    assert outcome(ask.lookup("null.example", "MX")).exchanges == (Mx(0, ""),)
    assert outcome(ask.lookup("deep.tree.example", "TXT")).texts == ('"hello" "world"',)


@pytest.mark.parametrize(
    ("name", "rdtype", "expected"),
    [
        ("mx1.example.com", "MX", ()),
        ("tree.example", "A", ()),  # RFC 8020: exists, because something below it does
        ("nowhere.example", "A", NoSuchName),
        ("dangling.example", "A", NoSuchName),
        ("a..b", "A", NoSuchName),
        ("x" * 64 + ".example", "A", NoSuchName),
        ("bücher.example", "A", NoSuchName),
        ("", "A", NoSuchName),
        ("loop1.example", "A", DnsTemporary),
    ],
)
def test_nothing(net, resolver, outcome, name, rdtype, expected):
    """No record, no name, no such thing as this name: three different things."""
    net.serve(ZONE)
    found = outcome(resolver().lookup(name, rdtype))
    assert found.records == () if expected == () else type(found) is expected


def test_aliases_in_one_answer(net, resolver, outcome):
    """A chain of CNAMEs in one answer is followed; the canonical name is reported."""
    responder = net.serve(ZONE)
    found = outcome(resolver().lookup("alias.example", "AAAA"))
    assert (found.name, found.texts) == ("mx1.example.com", ("2001:db8::1",))
    assert len(responder.asked) == 1


def forwarding(net, replies):
    """Serve handmade answers: name -> list of rrset texts, no SOA, as some servers do."""

    def server(data, transport):
        query = dns.message.from_wire(data)
        reply = dns.message.make_response(query)
        for text in replies.get(query.question[0].name.to_text(), ()):
            name, ttl, kind, rdata = text.split(" ", 3)
            reply.answer.append(dns.rrset.from_text(name, int(ttl), "IN", kind, rdata))
        return [(reply.to_wire(), 0, (FIRST, 53))]

    net.servers[FIRST, 53] = server


def test_aliases_over_several_answers(net, resolver, outcome):
    """Where the answer ends in an alias its target is asked for; the least TTL rules."""
    forwarding(
        net,
        {
            "a.example.": ["a.example. 500 CNAME b.example."],
            "b.example.": ["b.example. 100 CNAME c.example."],
            "c.example.": ["c.example. 900 A 192.0.2.9"],
        },
    )
    assert outcome(resolver().lookup("a.example", "A")) == Answer("c.example", ("192.0.2.9",), 100)


def test_alias_loop_over_several_answers(net, resolver, outcome):
    """A loop of aliases ends, and is temporary: somebody may repair it."""
    forwarding(
        net,
        {
            "a.example.": ["a.example. 500 CNAME b.example."],
            "b.example.": ["b.example. 100 CNAME a.example."],
        },
    )
    found = outcome(resolver().lookup("a.example", "A"))
    assert type(found) is DnsTemporary
    assert "loop of aliases" in str(found)


def test_alias_chain_is_bounded(net, resolver, outcome):
    """Attack: an endless chain of aliases costs a bounded number of questions."""
    replies = {f"a{n}.example.": [f"a{n}.example. 9 CNAME a{n + 1}.example."] for n in range(99)}
    forwarding(net, replies)
    assert type(outcome(resolver().lookup("a0.example", "A"))) is DnsTemporary
    assert len(net.sent) == 11


def test_positive_cache_by_ttl(net, resolver, outcome):
    """An answer holds for its time to live, and tells what is left of it."""
    responder = net.serve(ZONE, ttl_s=60)
    ask = resolver()
    outcome(ask.lookup("mx1.example.com", "A"))
    net.advance(50)
    assert outcome(ask.lookup("MX1.example.com.", "A")).ttl == 10
    assert len(responder.asked) == 1
    net.advance(11)
    assert outcome(ask.lookup("mx1.example.com", "A")).ttl == 60
    assert len(responder.asked) == 2


@pytest.mark.parametrize(("name", "rdtype"), [("nowhere.example", "A"), ("example.com", "TXT")])
def test_negative_cache_by_soa(net, resolver, outcome, name, rdtype):
    """RFC 2308 §5: that there is nothing holds for the SOA's minimum."""
    responder = net.serve(ZONE, negative_ttl_s=30)
    ask = resolver()
    first = outcome(ask.lookup(name, rdtype))
    net.advance(29)
    assert type(outcome(ask.lookup(name, rdtype))) is type(first)
    assert len(responder.asked) == 1
    net.advance(2)
    outcome(ask.lookup(name, rdtype))
    assert len(responder.asked) == 2


def test_negative_cache_is_bounded_in_time(net, resolver, outcome):
    """An SOA of a week does not make a new domain unreachable for a week."""
    responder = net.serve(ZONE, negative_ttl_s=604_800)
    ask = resolver()
    outcome(ask.lookup("nowhere.example", "A"))
    net.advance(10_801)
    outcome(ask.lookup("nowhere.example", "A"))
    assert len(responder.asked) == 2


def test_nothing_without_soa_is_not_kept(net, resolver, outcome):
    """RFC 2308 §5: without an SOA nobody has said how long there will be nothing."""
    forwarding(net, {})
    ask = resolver()
    assert outcome(ask.lookup("a.example", "A")) == Answer("a.example", (), 0)
    outcome(ask.lookup("a.example", "A"))
    assert len(net.sent) == 2


def test_cache_is_bounded_in_size(net, resolver, outcome):
    """The least recently used entry goes when the cache is full."""
    zone = {f"a{n}.example": [("A", "192.0.2.1")] for n in range(4)}
    responder = net.serve(zone)
    ask = resolver(cache_size=3)
    for number in (0, 1, 2, 0, 3, 0, 1):
        outcome(ask.lookup(f"a{number}.example", "A"))
    assert [name for name, _, _ in responder.asked] == [f"a{n}.example" for n in (0, 1, 2, 3, 1)]


def test_lookups_in_flight_are_shared(net, resolver):
    """Who asks the same at the same time gets the same answer to one question."""
    responder = net.serve(ZONE, manners={"mx1.example.com": Manner(delay_s=1)})
    ask = resolver()
    found = []
    for _ in range(3):
        ask.lookup("mx1.example.com", "A").addCallback(
            lambda answer: found.append(set(answer.texts))
        )
    net.run(1)
    assert found == [BOTH] * 3
    assert len(responder.asked) == 1


def test_one_who_leaves_does_not_take_the_others_along(net, resolver, outcome):
    """Cancelling one of several lookups in flight leaves the others alone."""
    net.serve(ZONE, manners={"mx1.example.com": Manner(delay_s=1)})
    ask = resolver()
    leaving, staying = (ask.lookup("mx1.example.com", "A") for _ in range(2))
    leaving.cancel()
    assert type(outcome(leaving)) is CancelledError
    assert set(outcome(staying, 1).texts) == BOTH


def test_the_last_who_leaves_puts_out_the_light(net, resolver, outcome):
    """When nobody waits any more the question is given up and its socket closed."""
    net.serve(ZONE, manners={"mx1.example.com": Manner(delay_s=1)})
    ask = resolver()
    lookups = [ask.lookup("mx1.example.com", "A") for _ in range(2)]
    for lookup in lookups:
        lookup.cancel()
    assert [type(outcome(lookup)) for lookup in lookups] == [CancelledError] * 2
    assert net.open == set()
    assert outcome(ask.lookup("mx1.example.com", "AAAA"), 1).texts == ("2001:db8::1",)


def test_somebody_who_asks_again_in_the_callback(net, resolver, outcome):
    """A failure is over before it is told: asking again starts a new question."""
    net.taken = 48  # three attempts with eight ports each, twice
    ask = resolver()
    again = ask.lookup("example.com", "MX").addErrback(lambda _: ask.lookup("example.com", "MX"))
    assert type(outcome(again)) is DnsTemporary
    assert net.taken == 0


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "FORMERR", "NOTIMP"])
def test_next_server_on_a_failing_answer(net, resolver, outcome, rcode):
    """A server that fails is not the last word while there is another; IPv6 servers too."""
    net.serve(ZONE, manners={"example.com": Manner(rcode=rcode)})
    net.serve(ZONE, SECOND)
    found = outcome(resolver(FIRST, "2001:DB8:0::53").lookup("example.com", "MX"))
    assert len(found.exchanges) == 2


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED"])
def test_all_servers_failing_is_temporary(net, resolver, outcome, rcode):
    """Who failed and how is told in one line."""
    for address in (FIRST, SECOND):
        net.serve(ZONE, address, manners={"example.com": Manner(rcode=rcode)})
    found = outcome(resolver(FIRST, SECOND).lookup("example.com", "MX"))
    assert type(found) is DnsTemporary
    assert str(found) == f"example.com MX: {rcode} from {FIRST}, {rcode} from {SECOND}"
    assert net.open == set()


def test_time_out_then_next_server(net, resolver, outcome):
    """A silent server costs its time-out; then the next one is asked."""
    net.serve(ZONE, manners={"example.com": Manner(silent=True)})
    second = net.serve(ZONE, SECOND)
    lookup = resolver(FIRST, SECOND, timeout_s=5).lookup("example.com", "MX")
    assert outcome(lookup, 4.9) is None
    assert second.asked == []
    assert outcome(lookup, 0.2) is not None
    assert second.asked == [("example.com", "MX", "udp")]
    assert net.open == set()


def test_silence_everywhere(net, resolver, outcome):
    """Three attempts at one server that is not there, then a temporary failure."""
    lookup = resolver(timeout_s=5, attempts=3).lookup("example.com", "MX")
    for _ in range(2):
        assert outcome(lookup, 5) is None
    found = outcome(lookup, 5)
    assert str(found) == f"example.com MX: no answer in time from {FIRST}"
    assert len(net.sent) == 3
    assert net.open == set()


def test_every_attempt_has_its_own_id_and_port(net, resolver, outcome):
    """RFC 5452 §9.2: id and port are drawn anew for each question, retries included."""
    outcome(resolver(timeout_s=1, attempts=40).lookup("example.com", "MX"))
    for _ in range(40):
        net.run(1)
    ids = {data[:2] for _, data in net.sent}
    ports = {number for number, _ in net.sent}
    assert len(net.sent) == 40
    assert len(ids) > 35
    assert len(ports) > 35
    assert min(ports) >= 16_384


def test_a_silent_server_stands_back(net, resolver, outcome):
    """A dead first server costs its time-out once in half a minute, not every time."""
    net.serve(ZONE, SECOND)
    ask = resolver(FIRST, SECOND, timeout_s=5)
    outcome(ask.lookup("example.com", "MX"), 5)
    assert outcome(ask.lookup("mx1.example.com", "A")) is not None
    first = net.serve(ZONE)
    outcome(ask.lookup("mx1.example.com", "AAAA"))
    assert first.asked == []
    net.advance(30)
    outcome(ask.lookup("null.example", "MX"))
    assert first.asked == [("null.example", "MX", "udp")]


def test_refused_port_is_not_waited_for(net, resolver, outcome):
    """An ICMP refusal leads to the next server at once."""
    net.servers[FIRST, 53] = lambda data, transport: [(None, 0, None)]
    net.serve(ZONE, SECOND)
    assert outcome(resolver(FIRST, SECOND).lookup("example.com", "MX")).exchanges


def test_ports_taken(net, resolver, outcome):
    """A random port that is taken is no failure; having none at all is a temporary one."""
    net.serve(ZONE)
    net.taken = 3
    assert outcome(resolver().lookup("example.com", "MX")).exchanges
    net.taken = 1000
    found = outcome(resolver().lookup("example.com", "MX"))
    assert type(found) is DnsTemporary
    assert "no socket to ask with" in str(found)


def test_truncated_answers_come_by_tcp(net, resolver, outcome):
    """RFC 7766 §5: TC means asking the same server again over TCP."""
    responder = net.serve(ZONE, manners={"mx1.example.com": Manner(truncate=True)})
    found = outcome(resolver().lookup("mx1.example.com", "A"))
    assert set(found.texts) == BOTH
    assert [transport for _, _, transport in responder.asked] == ["udp", "tcp"]
    assert net.open == set()


def test_tcp_that_hangs_is_bounded(net, resolver, outcome):
    """A TCP connection without an answer ends with the time-out."""
    net.serve(ZONE, manners={"mx1.example.com": Manner(truncate=True)})
    whole = net.servers[FIRST, 53]
    net.servers[FIRST, 53] = lambda data, way: whole(data, way) if way == "udp" else []
    lookup = resolver(timeout_s=5, attempts=1).lookup("mx1.example.com", "A")
    assert outcome(lookup) is None
    assert type(outcome(lookup, 5)) is DnsTemporary
    assert net.open == set()


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(lambda query: query[:2] + b"\x81\x80" + b"\xff" * 40, id="after the header"),
        pytest.param(
            lambda query: (
                query[:2]
                + b"\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00"
                + query[12 : query.index(b"\x00\x00\x0f\x00\x01") + 5]
                + b"\xc0\xff\xff"
            ),
            id="in the answer",
        ),
    ],
)
def test_garbage(net, resolver, outcome, garbage):
    """Garbage with our id: the next server is asked; without one it is temporary."""
    net.servers[FIRST, 53] = lambda data, transport: [(garbage(data), 0, (FIRST, 53))]
    found = outcome(resolver().lookup("example.com", "MX"))
    assert type(found) is DnsTemporary
    assert f"from {FIRST}" in str(found)
    assert "garbage" in str(found)
    net.serve(ZONE, SECOND)
    assert outcome(resolver(FIRST, SECOND).lookup("example.com", "MX")).exchanges


def test_referral_is_not_an_answer(net, resolver, outcome):
    """A server that only refers us onwards must not make a domain look empty."""

    def server(data, transport):
        reply = dns.message.make_response(dns.message.from_wire(data))
        reply.authority.append(dns.rrset.from_text("com.", 60, "IN", "NS", "a.example."))
        return [(reply.to_wire(), 0, (FIRST, 53))]

    net.servers[FIRST, 53] = server
    found = outcome(resolver().lookup("example.com", "MX"))
    assert type(found) is DnsTemporary
    assert "a referral" in str(found)


def test_records_of_other_names_are_not_an_answer(net, resolver, outcome):
    """Records that nobody has asked for make no domain look empty, and lead no mail anywhere."""

    def server(data, transport):
        reply = dns.message.make_response(dns.message.from_wire(data))
        reply.answer.append(dns.rrset.from_text("else.test.", 60, "IN", "MX", "0 mx.evil.test."))
        reply.additional.append(dns.rrset.from_text("example.com.", 60, "IN", "A", "192.0.2.66"))
        return [(reply.to_wire(), 0, (FIRST, 53))]

    net.servers[FIRST, 53] = server
    found = outcome(resolver().lookup("example.com", "MX"))
    assert type(found) is DnsTemporary
    assert "records of other names" in str(found)


def test_server_without_edns(net, resolver, outcome):
    """RFC 6891 §7: a server that does not know EDNS0 is asked again without it."""
    responder = net.serve(ZONE)
    plain = net.servers[FIRST, 53]

    def server(data, transport):
        query = dns.message.from_wire(data)
        if query.edns < 0:
            return plain(data, transport)
        reply = dns.message.Message(query.id)
        reply.flags |= dns.flags.QR
        reply.set_rcode(dns.rcode.FORMERR)
        return [(reply.to_wire(), 0, (FIRST, 53))]

    net.servers[FIRST, 53] = server
    assert outcome(resolver().lookup("example.com", "MX")).exchanges
    assert len(responder.asked) == 1
    sizes = [dns.message.from_wire(data).payload for _, data in net.sent]
    assert sizes == [1232, 0]


class Forged:
    """A forger who sees no question but sends replies before the server does."""

    def __init__(self, net, forge):
        self.forge = forge
        self.responder = net.serve(ZONE)
        self.honest = net.servers[FIRST, 53]
        net.servers[FIRST, 53] = self

    def __call__(self, data, transport):
        query = dns.message.from_wire(data)
        reply = dns.message.make_response(query)
        reply.answer.append(
            dns.rrset.from_text(query.question[0].name, 60, "IN", "A", "203.0.113.66")
        )
        forged, source = self.forge(reply)
        return [(forged, 0, source), *self.honest(data, transport)]


def other_id(reply):
    reply.id ^= 1
    return reply.to_wire(), (FIRST, 53)


def other_name(reply):
    wrong = dns.message.make_response(dns.message.make_query("mx2.example.com", "A", id=reply.id))
    wrong.answer = reply.answer
    return wrong.to_wire(), (FIRST, 53)


def other_type(reply):
    wrong = dns.message.make_response(
        dns.message.make_query("mx1.example.com", "AAAA", id=reply.id)
    )
    wrong.answer = reply.answer
    return wrong.to_wire(), (FIRST, 53)


def no_question(reply):
    reply.question = []
    return reply.to_wire(), (FIRST, 53)


def other_source(reply):
    return reply.to_wire(), ("203.0.113.5", 53)


def other_port(reply):
    return reply.to_wire(), (FIRST, 54)


def not_a_reply(reply):
    wire = bytearray(reply.to_wire())
    wire[2] &= 0x7F
    return bytes(wire), (FIRST, 53)


def too_short(reply):
    return reply.to_wire()[:11], (FIRST, 53)


@pytest.mark.parametrize(
    "forge",
    [
        other_id,
        other_name,
        other_type,
        no_question,
        other_source,
        other_port,
        not_a_reply,
        too_short,
    ],
)
def test_attack_forged_replies_are_ignored(net, resolver, outcome, forge):
    """Attack (RFC 5452): a forged reply before the true one changes nothing."""
    Forged(net, forge)
    found = outcome(resolver().lookup("mx1.example.com", "A"))
    assert set(found.texts) == BOTH


def test_attack_records_for_other_names_are_not_believed(net, resolver, outcome):
    """Attack (cache poisoning): what an answer says about other names is left alone."""

    def server(data, transport):
        reply = dns.message.make_response(dns.message.from_wire(data))
        for name, address in (("a.example.", "192.0.2.1"), ("bank.example.", "203.0.113.66")):
            reply.answer.append(dns.rrset.from_text(name, 60, "IN", "A", address))
            reply.additional.append(dns.rrset.from_text(name, 60, "IN", "A", address))
        return [(reply.to_wire(), 0, (FIRST, 53))]

    net.servers[FIRST, 53] = server
    ask = resolver()
    assert outcome(ask.lookup("a.example", "A")).texts == ("192.0.2.1",)
    del net.servers[FIRST, 53]
    assert outcome(ask.lookup("bank.example", "A")) is None


@pytest.mark.parametrize("validating", [False, True])
def test_ad_is_believed_only_of_a_validating_resolver(net, resolver, outcome, validating):
    """Attack: any server can set AD; only the configuration makes it mean something."""
    net.serve(ZONE, authenticated=True)
    ask = resolver(validating=validating)
    assert outcome(ask.lookup("alias.example", "A")).authenticated is validating
    assert bool(net.sent[0][1][3] & 0x20) is validating


def test_no_servers(net):
    """A resolver without servers is a mistake in the configuration."""
    with pytest.raises(ValueError, match="no DNS server is given"):
        Resolver(net, [])
    with pytest.raises(ValueError, match=r"ns\.example"):
        Resolver(net, [("ns.example", 53)])


@pytest.mark.parametrize(("count", "look_ups"), [(100, 1), (101, 2)])
def test_huge_answers_are_used_and_not_kept(net, resolver, outcome, count, look_ups):
    """Attack: a zone with thousands of names, each with 64 KiB of records, to fill the cache."""
    name = "huge.example.com"
    responder = net.serve({name: [("A", f"10.0.{n // 256}.{n % 256}") for n in range(count)]})
    ask = resolver()
    for _ in range(2):
        assert len(outcome(ask.lookup(name, "A")).texts) == count
    assert len(responder.asked) == 2 * look_ups  # by UDP, and by TCP


def failing(net, resolver, outcome, manner, **options):
    """Return a resolver, and what asks it for what fails, and says how often a server was asked."""
    server = net.serve(ZONE, manners={"example.com": manner})
    ask = resolver(attempts=1, **options)

    def asked():
        before = len(server.asked)
        lookup = ask.lookup("example.com", "MX")
        found = outcome(lookup) or outcome(lookup, 5)
        return type(found), len(server.asked) - before

    return ask, server, asked


@pytest.mark.parametrize("manner", [Manner(rcode="SERVFAIL"), Manner(silent=True)])
def test_failures_are_kept(net, resolver, outcome, manner):
    """RFC 9520 §3.2: not asked again for a second, then for twice as long, five minutes at most."""
    _, server, asked = failing(net, resolver, outcome, manner, timeout_s=5)
    pauses = []
    assert asked() == (DnsTemporary, 1)
    while len(pauses) < 11:
        began_s = net.seconds()
        count = len(server.asked)
        while asked() == (DnsTemporary, 0):
            net.advance(0.25)
        assert len(server.asked) == count + 1
        pauses.append(net.seconds() - began_s)
    waited_s = 5 if manner.silent else 0  # for the failure itself
    rounds = [round(one - waited_s) for one in pauses]
    assert rounds == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_failure_is_told_again(net, resolver, outcome):
    """What is not asked says why, at once, to all who want it; other types are asked for."""
    ask, server, asked = failing(net, resolver, outcome, Manner(rcode="SERVFAIL"))
    assert asked() == (DnsTemporary, 1)
    sent = len(net.sent)
    found = [outcome(ask.lookup("EXAMPLE.com.", "mx")) for _ in range(1000)]
    assert {str(one) for one in found} == {f"example.com MX: SERVFAIL from {FIRST}"}
    assert len(net.sent) == sent
    outcome(ask.lookup("example.com", "A"))
    assert server.asked[-1] == ("example.com", "A", "udp")


def test_an_answer_ends_a_failure(net, resolver, outcome):
    """What has been answered begins with a second again; who asks anew is always let through."""
    ask, server, asked = failing(net, resolver, outcome, Manner(rcode="SERVFAIL"))
    for _ in range(3):
        assert asked() == (DnsTemporary, 1)
        net.advance(8)
    assert asked() == (DnsTemporary, 1)
    good = net.serve(ZONE)
    assert asked()[0] is DnsTemporary
    assert len(outcome(ask.lookup_anew("example.com", "MX")).exchanges) == 2
    assert len(outcome(ask.lookup("example.com", "MX")).exchanges) == 2
    assert len(good.asked) == 1
    net.advance(61)  # beyond its time to live
    _, server, _ = failing(net, resolver, outcome, Manner(rcode="SERVFAIL"))
    assert type(outcome(ask.lookup("example.com", "MX"))) is DnsTemporary
    net.advance(1.1)
    count = len(server.asked)
    outcome(ask.lookup("example.com", "MX"))
    assert len(server.asked) == count + 1


def test_our_own_fault_is_not_kept(net, resolver, outcome):
    """No socket here: the name is not to blame, and is asked about as soon as there is one."""
    net.serve(ZONE)
    ask = resolver()
    net.taken = 24  # three attempts with eight ports each
    assert type(outcome(ask.lookup("example.com", "MX"))) is DnsTemporary
    assert net.taken == 0
    assert len(outcome(ask.lookup("example.com", "MX")).exchanges) == 2


def test_who_leaves_is_no_failure(net, resolver, outcome):
    """A question that was given up says nothing about the name."""
    server = net.serve(ZONE, manners={"example.com": Manner(silent=True)})
    ask = resolver()
    for _ in range(2):
        lookup = ask.lookup("example.com", "MX").addErrback(lambda failure: None)
        net.run()
        lookup.cancel()
    assert len(server.asked) == 2


def test_attack_many_names_that_fail(net, resolver, outcome):
    """Memory is bounded, whatever names strangers make us ask about."""
    ask = resolver(attempts=1, cache_size=10)
    net.servers[FIRST, 53] = lambda data, transport: [(None, 0, None)]
    for number in range(50):
        assert type(outcome(ask.lookup(f"n{number}.example", "A"))) is DnsTemporary
    assert len(ask._failures._kept) == 10
