"""One message to one host: what goes over the wire, and what each recipient is told."""

from collections.abc import Callable
from typing import Any

import pytest

from mta.mail.envelope import Job
from mta.mail.outcome import Blame, Outcome, Tls, Verdict


def test_plain_message(world: Any, job: Callable[..., Job]) -> None:
    """A small message to a pipelining host: three writes, the last two for the message itself."""
    host = world.host()
    (outcome,) = world.deliver(job())
    (wire,) = host.connections
    assert wire.writes == [
        b"EHLO relay.test\r\n",
        b"MAIL FROM:<a@here.test> SIZE=39\r\nRCPT TO:<b@there.test>\r\nDATA\r\n",
        b"Subject: hi\r\n\r\n..dots\r\n...and dots\r\nend\r\n.\r\n",
    ]
    assert host.messages == [b"Subject: hi\r\n\r\n.dots\r\n..and dots\r\nend\r\n"]
    assert outcome == Outcome(
        0,
        Verdict.DELIVERED,
        250,
        "2.0.0",
        "Taken",
        "end of data",
        Blame.NONE,
        outcome.peer,
        outcome.timing,
    )
    assert (outcome.peer.host, outcome.peer.address, outcome.peer.port) == (
        "mx.test",
        "192.0.2.1",
        25,
    )
    assert outcome.peer.tls == Tls(why="STARTTLS is not offered", required="may")
    assert outcome.peer.use == 1


def test_without_pipelining(world: Any, job: Callable[..., Job]) -> None:
    """A host that does not announce PIPELINING is sent one command at a time."""
    host = world.host(keywords=())
    (outcome,) = world.deliver(job())
    assert outcome.verdict is Verdict.DELIVERED
    assert host.connections[0].writes[1:4] == [
        b"MAIL FROM:<a@here.test>\r\n",
        b"RCPT TO:<b@there.test>\r\n",
        b"DATA\r\n",
    ]


def test_helo(world: Any, job: Callable[..., Job]) -> None:
    """A host that does not know EHLO is spoken to in plain SMTP, without any parameter."""
    host = world.host(EHLO=b"502 What?\r\n")
    (outcome,) = world.deliver(job())
    assert outcome.verdict is Verdict.DELIVERED
    assert host.connections[0].writes[1:3] == [
        b"HELO relay.test\r\n",
        b"MAIL FROM:<a@here.test>\r\n",
    ]


def test_null_sender(world: Any, job: Callable[..., Job]) -> None:
    """A report goes out with an empty path."""
    host = world.host()
    world.deliver(job(sender=""))
    assert host.transactions[0][0] == b"MAIL FROM:<> SIZE=39"


def by_address(answers: dict[bytes, bytes]) -> Callable[[bytes], bytes]:
    def answer(line: bytes) -> bytes:
        return next((a for key, a in answers.items() if key in line), b"250 2.1.5 Ok\r\n")

    return answer


@pytest.mark.parametrize("keywords", [("PIPELINING",), ()], ids=["pipelined", "one at a time"])
def test_mixed_recipients(world: Any, job: Callable[..., Job], keywords: tuple[str, ...]) -> None:
    """In one transaction every recipient gets the verdict that was given for it."""
    answers = {b"<full@": b"450 4.2.1 Later\r\n", b"<none@": b"550-5.1.1 Nobody\r\n550 here\r\n"}
    host = world.host(keywords=keywords, RCPT=by_address(answers))
    outcomes = world.deliver(job("b@there.test", "full@there.test", "none@there.test"))
    assert [
        (outcome.verdict, outcome.command, outcome.code, outcome.enhanced, outcome.blame)
        for outcome in outcomes
    ] == [
        (Verdict.DELIVERED, "end of data", 250, "2.0.0", Blame.NONE),
        (Verdict.DEFERRED, "RCPT", 450, "4.2.1", Blame.RECIPIENT),
        (Verdict.FAILED, "RCPT", 550, "5.1.1", Blame.RECIPIENT),
    ]
    assert outcomes[2].text == "Nobody here"
    assert len(host.messages) == 1


def test_all_refused_but_354(world: Any, job: Callable[..., Job]) -> None:
    """Attack or fault: no octet of a message goes to a host that took nobody (RFC 2920 §3.1)."""
    host = world.host(RCPT=b"550 5.1.1 Nobody\r\n")
    host.strict = False
    (outcome,) = world.deliver(job())
    assert outcome.verdict is Verdict.FAILED
    assert host.messages == [b""]
    assert host.connections[0].writes[2:] == [b".\r\n"]


def test_too_many_recipients(world: Any, job: Callable[..., Job]) -> None:
    """Those answered 452 or 552 follow in another transaction (RFC 5321 §4.5.3.1.10)."""
    taken: list[int] = []

    def two_at_most(line: bytes) -> bytes:
        taken.append(1)
        if len(taken) % 3 == 0:
            return [b"452 4.5.3 Too many\r\n", b"552 5.5.3 Too many\r\n"][len(taken) % 2]
        return b"250 2.1.5 Ok\r\n"

    host = world.host(RCPT=two_at_most)
    outcomes = world.deliver(job(*[f"r{n}@there.test" for n in range(7)]))
    assert {outcome.verdict for outcome in outcomes} == {Verdict.DELIVERED}
    assert len(host.connections) == 1
    recipients = [line for _, rcpts in host.transactions for line in rcpts]
    assert len(recipients) == len(set(recipients)) == 7


@pytest.mark.parametrize("code", [b"452 4.2.2", b"552 5.2.2"])
def test_full_mailbox(world: Any, job: Callable[..., Job], code: bytes) -> None:
    """Without progress 452, and 552 to RCPT, defer: no endless round of transactions."""
    host = world.host(RCPT=code + b" Mailbox full\r\n")
    (outcome,) = world.deliver(job())
    assert (outcome.verdict, outcome.command) == (Verdict.DEFERRED, "RCPT")
    assert len(host.connections[0].writes) == 2


def test_many_recipients_go_in_several_transactions(world: Any, job: Callable[..., Job]) -> None:
    """No more than 100 at a time, which every server must take (RFC 5321 §4.5.3.1.8)."""
    host = world.host()
    outcomes = world.deliver(job(*[f"r{n}@there.test" for n in range(250)]))
    assert {outcome.verdict for outcome in outcomes} == {Verdict.DELIVERED}
    assert [len(rcpts) for _, rcpts in host.transactions] == [100, 100, 50]
    assert len(host.connections) == 1


def test_lost_in_the_second_transaction(world: Any, job: Callable[..., Job]) -> None:
    """Those delivered stay delivered; all others are deferred, none is without an outcome."""
    host = world.host(MAIL=[b"250 2.1.0 Ok\r\n", "close"])
    world.use(max_sessions=1)
    host.script["greeting"] = [b"220 hi\r\n", "close"]
    outcomes = world.deliver(job(*[f"r{n}@there.test" for n in range(250)]))
    verdicts = [outcome.verdict for outcome in outcomes]
    assert verdicts == [Verdict.DELIVERED] * 100 + [Verdict.DEFERRED] * 150


def test_partly_delivered_then_lost(world: Any, job: Callable[..., Job]) -> None:
    """Lost after the dot: refused ones stay refused, accepted ones may arrive twice."""
    host = world.host(
        RCPT=by_address({b"<none@": b"550 5.1.1 Nobody\r\n"}), **{"end_of_data": "close"}
    )
    other = world.host("mx2.test", "192.0.2.2")
    world.mx["there.test"] = ["mx.test", "mx2.test"]
    outcomes = world.deliver(job("b@there.test", "none@there.test"))
    assert [(o.verdict, o.maybe_delivered) for o in outcomes] == [
        (Verdict.DEFERRED, True),
        (Verdict.FAILED, False),
    ]
    assert "twice" in outcomes[0].text
    assert outcomes[0].command == "end of data"
    assert host.connections
    assert not other.connections


def test_early_refusal_in_the_middle_of_the_message(world: Any, job: Callable[..., Job]) -> None:
    """A 552 that comes out of turn, before the dot, is still a clear answer."""
    world.host(DATA=b"354 Go on\r\n552 5.3.4 Too big\r\n")
    (outcome,) = world.deliver(job())
    assert (outcome.verdict, outcome.command, outcome.code) == (Verdict.FAILED, "DATA", 552)


def test_size(world: Any, job: Callable[..., Job]) -> None:
    """A message larger than the host takes is not sent; the next host may take more."""
    small = world.host(keywords=("SIZE 38",))
    (outcome,) = world.deliver(job())
    assert (outcome.verdict, outcome.enhanced, outcome.code, outcome.blame) == (
        Verdict.FAILED,
        "5.3.4",
        0,
        Blame.MESSAGE,
    )
    assert "MAIL" not in small.connections[0].commands
    large = world.host("mx2.test", "192.0.2.2", keywords=("SIZE 39",))
    world.mx["there.test"] = ["mx.test", "mx2.test"]
    (outcome,) = world.deliver(job())
    assert outcome.verdict is Verdict.DELIVERED
    assert large.messages


def test_size_and_a_dead_host(world: Any, job: Callable[..., Job]) -> None:
    """While another host is only unreachable, too small a host does not bounce the message."""
    world.host(keywords=("SIZE 38",))
    world.host("mx2.test", "192.0.2.2").refuses = True
    world.mx["there.test"] = ["mx.test", "mx2.test"]
    (outcome,) = world.deliver(job())
    assert outcome.verdict is Verdict.DEFERRED


def test_eight_bit(world: Any, job: Callable[..., Job]) -> None:
    """8-bit content is announced to a host with 8BITMIME and never sent to one without."""
    content = "Subject: hi\r\n\r\nüñ\r\n".encode()
    seven = world.host(keywords=("PIPELINING",))
    (outcome,) = world.deliver(job(content=content, eight_bit=True))
    assert (outcome.verdict, outcome.enhanced) == (Verdict.FAILED, "5.6.3")
    assert "DATA" not in seven.connections[0].commands
    eight = world.host("mx2.test", "192.0.2.2")
    world.mx["there.test"] = ["mx.test", "mx2.test"]
    (outcome,) = world.deliver(job(content=content, eight_bit=True))
    assert outcome.verdict is Verdict.DELIVERED
    assert eight.transactions[0][0].endswith(b" BODY=8BITMIME")
    assert eight.messages == [content]


def test_unsafe_addresses(world: Any, job: Callable[..., Job]) -> None:
    """Attack: an address with a command in it fails by itself; the others go out."""
    host = world.host()
    outcomes = world.deliver(job("b@there.test", "x@there.test>\r\nRSET"))
    assert [(o.verdict, o.enhanced) for o in outcomes] == [
        (Verdict.DELIVERED, "2.0.0"),
        (Verdict.FAILED, "5.1.3"),
    ]
    assert "RSET" not in host.connections[0].commands
    outcomes = world.deliver(job(sender="a@here.test\r\nRSET"))
    assert [(o.verdict, o.enhanced) for o in outcomes] == [(Verdict.FAILED, "5.1.7")]


def test_international_domain(world: Any, job: Callable[..., Job]) -> None:
    """A domain in Unicode travels as A-labels."""
    host = world.host()
    work = job("b@bücher.test", sender="a@bücher.test")
    recipient = work.recipients[0]
    object.__setattr__(recipient, "domain", "xn--bcher-kva.test")
    (outcome,) = world.deliver(work)
    assert outcome.verdict is Verdict.DELIVERED
    assert host.transactions == [
        (b"MAIL FROM:<a@xn--bcher-kva.test> SIZE=39", [b"RCPT TO:<b@xn--bcher-kva.test>"])
    ]


def test_timing(world: Any, job: Callable[..., Job]) -> None:
    """The time to a usable session and the time of the transaction are told apart."""
    host = world.host(EHLO="stall", MAIL="stall")
    results = world.start(job())
    world.reactor.advance(7)
    host.connections[0]._stalled = False
    host.connections[0].say(b"250 mx.test\r\n")
    world.reactor.settle()
    world.reactor.advance(11)
    host.connections[0].say(b"550 no\r\n")
    world.reactor.settle()
    ((outcome,),) = results
    assert (outcome.timing.connect, outcome.timing.transmit) == (7, 11)
