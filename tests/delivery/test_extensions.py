"""What a peer offers, and what a message needs: passed on, kept to, or a clear failure."""

from dataclasses import replace

import pytest

from mta.delivery.routes import Mx, Route, Smarthost
from mta.delivery.session import insecure
from mta.mail.envelope import MemoryBody
from mta.mail.outcome import Tls, TlsLevel, Verdict
from mta.smtp.replies import Reply
from mta.smtp.steps import Extensions, Limits, parse_extensions

BASE = ("PIPELINING", "SIZE 10000000", "8BITMIME", "ENHANCEDSTATUSCODES")
UTF8_HOST = (*BASE, "SMTPUTF8")
BINARY_HOST = (*BASE, "CHUNKING", "BINARYMIME")


def told(outcomes):
    return [(one.verdict, one.enhanced) for one in outcomes]


def test_smtputf8_is_passed_on(world, job):
    """RFC 6531 §3.4: addresses go out as they came in, with the parameter."""
    host = world.host(keywords=UTF8_HOST)
    outcomes = world.deliver(job("b\u00fcb@there.test", sender="\u00e4nn@b\u00fccher.test"))
    assert told(outcomes) == [(Verdict.DELIVERED, "2.0.0")]
    sender, rcpts = host.transactions[0]
    assert sender.startswith("MAIL FROM:<\u00e4nn@b\u00fccher.test> SIZE=".encode())
    assert sender.endswith(b" SMTPUTF8")
    assert rcpts == ["RCPT TO:<b\u00fcb@there.test>".encode()]


@pytest.mark.parametrize(
    ("recipient", "sender"),
    [("b\u00fcb@there.test", "a@here.test"), ("b@there.test", "\u00e4nn@here.test")],
)
def test_next_hop_without_smtputf8_never_downgraded(world, job, recipient, sender):
    """RFC 6531 §3.5: the next MX is tried; then it is a failure, and nothing was sent."""
    world.mx["there.test"] = ["mx1.test", "mx2.test"]
    first = world.host("mx1.test", "192.0.2.1", keywords=BASE)
    second = world.host("mx2.test", "192.0.2.2", keywords=BASE)
    outcomes = world.deliver(job(recipient, sender=sender), within_s=1)
    assert told(outcomes) == [(Verdict.FAILED, "5.6.7")]
    assert "SMTPUTF8" in outcomes[0].text
    for host in (first, second):
        assert "MAIL" not in host.connections[0].commands


def test_next_mx_with_smtputf8_gets_it(world, job):
    """A worse exchanger that can take the message does."""
    world.mx["there.test"] = ["mx1.test", "mx2.test"]
    world.host("mx1.test", "192.0.2.1", keywords=BASE)
    second = world.host("mx2.test", "192.0.2.2", keywords=UTF8_HOST)
    outcomes = world.deliver(job("b\u00fcb@there.test"), within_s=1)
    assert told(outcomes) == [(Verdict.DELIVERED, "2.0.0")]
    assert len(second.messages) == 1


def test_only_who_needs_smtputf8_fails_without_it(world, job):
    """One recipient's address does not keep the message from the other."""
    host = world.host(keywords=BASE)
    outcomes = world.deliver(job("b\u00fcb@there.test", "c@there.test"), within_s=1)
    assert told(outcomes) == [(Verdict.FAILED, "5.6.7"), (Verdict.DELIVERED, "2.0.0")]
    sender, rcpts = host.transactions[0]
    assert b"SMTPUTF8" not in sender
    assert rcpts == [b"RCPT TO:<c@there.test>"]


def test_header_in_utf8_needs_smtputf8(world, job):
    """A message whose header alone is UTF-8 fails with 5.6.9 where it cannot go so."""
    world.host(keywords=BASE)
    assert told(world.deliver(job(utf8=True, eight_bit=True), within_s=1)) == [
        (Verdict.FAILED, "5.6.9")
    ]


def test_ascii_message_goes_without_smtputf8(world, job):
    """What came with SMTPUTF8 and needs none of it goes as any message; so does an IDN domain."""
    for keywords in (BASE, UTF8_HOST):
        world.a.clear()
        host = world.host(keywords=keywords)
        outcomes = world.deliver(job(sender="a@b\u00fccher.test"), within_s=60)
        assert told(outcomes) == [(Verdict.DELIVERED, "2.0.0")]
        assert host.transactions[0][0].startswith(b"MAIL FROM:<a@xn--bcher-kva.test> SIZE=")
        assert b"SMTPUTF8" not in host.transactions[0][0]
        world.reactor.advance(60)


BINARY = b"a: b\r\n\r\n\0\r\n.\n.\r\n.\r\n\xff\r"


def test_binarymime_goes_by_bdat(world, job):
    """RFC 3030: not an octet is changed, no dot stuffed, and no DATA said."""
    host = world.host(keywords=BINARY_HOST)
    body = MemoryBody((BINARY[:7], BINARY[7:]))
    outcomes = world.deliver(job(content=BINARY, body=body, binary=True, eight_bit=True))
    assert told(outcomes) == [(Verdict.DELIVERED, "2.0.0")]
    assert host.messages == [BINARY]
    assert host.transactions[0][0].endswith(b" BODY=BINARYMIME")
    assert host.connections[0].commands == [
        "EHLO", "MAIL", "RCPT", "BDAT", "BDAT", "end of data"
    ]  # fmt: skip


def test_binarymime_without_pipelining_and_empty(world, job):
    """One command at a time; a message of no octets is BDAT 0 LAST."""
    host = world.host(keywords=("CHUNKING", "BINARYMIME"))
    world.deliver(job(content=b"", body=MemoryBody(()), binary=True))
    assert host.messages == [b""]
    assert host.connections[0].writes[-1] == b"BDAT 0 LAST\r\n"


def test_refused_chunk_ends_the_message(world, job):
    """RFC 3030 §2: after a refusal no further chunk is sent, and RSET comes before the next."""
    host = world.host(keywords=BINARY_HOST, BDAT=[b"552 5.3.4 Too much\r\n"])
    body = MemoryBody((b"a: b\r\n", b"c: d\r\n"))
    outcomes = world.deliver(job(content=BINARY, body=body, binary=True))
    assert told(outcomes) == [(Verdict.FAILED, "5.3.4")]
    world.deliver(job())
    assert host.connections[0].commands[:5] == ["EHLO", "MAIL", "RCPT", "BDAT", "RSET"]
    assert len(host.messages) == 1


def test_no_recipient_taken_no_bdat(world, job):
    """Not an octet of the message goes out where nobody is to get it."""
    host = world.host(keywords=BINARY_HOST, RCPT=b"550 5.1.1 No\r\n")
    outcomes = world.deliver(job(content=BINARY, binary=True))
    assert told(outcomes) == [(Verdict.FAILED, "5.1.1")]
    assert "BDAT" not in host.connections[0].commands


@pytest.mark.parametrize("keywords", [BASE, (*BASE, "CHUNKING"), (*BASE, "BINARYMIME")])
def test_next_hop_without_binarymime_not_converted(world, job, keywords):
    """Nothing is sent, and nothing converted, where BINARYMIME or BDAT is missing."""
    host = world.host(keywords=keywords)
    outcomes = world.deliver(job(content=BINARY, binary=True, eight_bit=True), within_s=1)
    assert told(outcomes) == [(Verdict.FAILED, "5.6.3")]
    assert "MAIL" not in host.connections[0].commands


def test_rcptmax_is_respected(world, job):
    """RFC 9422: no more recipients in a transaction than the peer takes."""
    host = world.host(keywords=(*BASE, "LIMITS RCPTMAX=2"))
    outcomes = world.deliver(job(*(f"r{n}@there.test" for n in range(5))))
    assert {one.verdict for one in outcomes} == {Verdict.DELIVERED}
    assert [len(rcpts) for _, rcpts in host.transactions] == [2, 2, 1]
    assert len(host.connections) == 1


def test_mailmax_is_respected(world, job):
    """RFC 9422: who takes two transactions gets a new connection for the third."""
    host = world.host(keywords=(*BASE, "LIMITS MAILMAX=2 RCPTMAX=1"))
    outcomes = world.deliver(job(*(f"r{n}@there.test" for n in range(5))))
    assert {one.verdict for one in outcomes} == {Verdict.DELIVERED}
    assert [wire.commands.count("MAIL") for wire in host.connections] == [2, 2, 1]
    world.deliver(job())
    world.deliver(job())
    assert [wire.commands.count("MAIL") for wire in host.connections] == [2, 2, 2, 1]


def test_mailmax_and_a_host_that_goes_away(world, job):
    """Who could not be asked on the first connection is put off when there is no second."""
    host = world.host(keywords=(*BASE, "LIMITS MAILMAX=1 RCPTMAX=1"))

    def then_refuse(line):
        host.refuses = True
        return b"250 2.1.0 Ok\r\n"

    host.script["MAIL"] = then_refuse
    outcomes = world.deliver(job("a@there.test", "b@there.test"), within_s=5)
    assert told(outcomes) == [(Verdict.DELIVERED, "2.0.0"), (Verdict.DEFERRED, "4.4.1")]


def test_rcptdomainmax_is_respected(world, job):
    """RFC 9422: recipients of one domain at a time, where the peer takes no more."""
    host = world.host(keywords=(*BASE, "LIMITS RCPTDOMAINMAX=1"))
    world.use(Route("out", Smarthost("mx.test", 25, "none")))
    world.deliver(job("a@x.test", "b@y.test", "c@x.test"))
    assert [rcpts for _, rcpts in host.transactions] == [
        [b"RCPT TO:<a@x.test>", b"RCPT TO:<c@x.test>"],
        [b"RCPT TO:<b@y.test>"],
    ]


@pytest.mark.parametrize(
    ("line", "limits"),
    [
        ("LIMITS MAILMAX=3 RCPTMAX=4 RCPTDOMAINMAX=5", Limits(3, 4, 5)),
        ("LIMITS rcptmax=7 OTHER=x FOO", Limits(0, 7, 0)),
        ("LIMITS MAILMAX=0 RCPTMAX=-1 RCPTDOMAINMAX=", Limits()),
        ("LIMITS", Limits()),
    ],
)
def test_limits_are_read(line, limits):
    """What is no number above 0 is as if it had not been said."""
    assert parse_extensions(Reply(250, "", ("mx.test", line))).limits == limits


@pytest.mark.parametrize(
    ("line", "least_s"),
    [("DELIVERBY 240", 240), ("DELIVERBY 240,SOON", 240), ("DELIVERBY ,SOON", 0), ("DELIVERBY", 0)],
)
def test_the_shortest_time_to_return_by_is_read(line, least_s):
    """RFC 2852 §2: behind a comma may stand options of times to come."""
    assert parse_extensions(Reply(250, "", ("mx.test", line))).deliver_by_s == least_s


def test_requiretls_is_not_for_mail_exchangers(world, job):
    """RFC 8689 §4.2.1: no host is even dialled whose name nothing proves; the text says why."""
    host = world.host(keywords=(*BASE, "REQUIRETLS"))
    outcomes = world.deliver(job(require_tls=True))
    assert told(outcomes) == [(Verdict.FAILED, "5.7.30")]
    assert "neither DNSSEC nor MTA-STS" in outcomes[0].text
    assert host.connections == []


def test_requiretls_never_goes_in_the_clear(world, job):
    """A smarthost without TLS gets nothing of it."""
    host = world.host(keywords=(*BASE, "REQUIRETLS"))
    world.use(Route("out", Smarthost("mx.test", 25, "none")))
    assert told(world.deliver(job(require_tls=True), within_s=1)) == [(Verdict.FAILED, "5.7.10")]
    assert "MAIL" not in host.connections[0].commands


def test_a_report_with_requiretls_is_not_lost(world, job):
    """RFC 8689 §4.2.1, §5: a hop that cannot keep the promise gets it all the same, unpromised."""
    host = world.host(keywords=BASE)
    assert told(world.deliver(job(sender="", require_tls=True))) == [(Verdict.DELIVERED, "2.0.0")]
    assert b"REQUIRETLS" not in b"".join(host.connections[0].writes)


def test_what_requiretls_wants():
    """RFC 8689 §4.2.1: verified TLS (or 5.7.10), and a host that goes on so (or 5.7.30)."""
    offered = Extensions(frozenset({"REQUIRETLS"}))
    verified = Tls(TlsLevel.VERIFIED, "TLSv1.3")
    assert insecure(offered, verified) is None
    for extensions, tls, code in (
        (Extensions(), verified, "5.7.30"),
        (offered, replace(verified, level=TlsLevel.ENCRYPTED), "5.7.10"),
        (offered, Tls(), "5.7.10"),
    ):
        why = insecure(extensions, tls)
        assert why is not None
        assert why.enhanced == code


@pytest.mark.parametrize("tls", ["encrypt", "verify"])
def test_tls_required_no_where_the_route_allows_it(world, job, tls):
    """RFC 8689 §3: delivery goes on where policy would insist, if that may be waived."""
    world.host(keywords=BASE)
    world.use(Route("out", Mx(tls=tls, waivable=True)))
    assert told(world.deliver(job(), within_s=1)) == [(Verdict.DEFERRED, "4.7.5")]
    waived = world.deliver(job(tls_not_required=True), within_s=1)
    assert told(waived) == [(Verdict.DELIVERED, "2.0.0")]
    world.use(Route("out", Mx(tls=tls)))
    kept = world.deliver(job(tls_not_required=True), within_s=1)
    assert told(kept) == [(Verdict.DEFERRED, "4.7.5")]
