"""Delivery by LMTP: each recipient has an answer of its own."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mta.delivery.routes import Lmtp, Route
from mta.delivery.securing import of_smarthost
from mta.mail import dsn
from mta.mail.envelope import Asked, DeliverBy, Job
from mta.mail.outcome import Blame, Verdict
from mta.mail.report import Notice, Report
from mta.queue.settling import arrival
from mta.spool.outcomes import Settled
from mta.spool.schema import State

SOCKET = "/run/dovecot/lmtp"
DSN = ("PIPELINING", "8BITMIME", "DSN", "ENHANCEDSTATUSCODES")


def lmtp_host(world: Any, target: Lmtp | None = None, **options: Any) -> Any:
    """Put an LMTP server behind the route of all mail."""
    target = target or Lmtp(SOCKET, 0)
    host = world.host("lmtp.test", target.host if target.port == 0 else "192.0.2.1", **options)
    host.lmtp = True
    host.script.setdefault("EHLO", b"500 5.5.1 LMTP here\r\n")
    world.use(Route("local", target))
    return host


def ending(**codes: bytes) -> Callable[[bytes], bytes]:
    """Answer the end of data by the recipient's local part; 250 for all others."""
    return lambda line: codes.get(
        line.partition(b"<")[2].partition(b"@")[0].decode(), b"250 ok\r\n"
    )


def verdicts(outcomes: list[Any]) -> list[tuple[str, int, str]]:
    return [(one.verdict.value, one.code, one.text) for one in outcomes]


@pytest.mark.parametrize("keywords", [("PIPELINING", "8BITMIME"), ()])
def test_each_recipient_has_its_answer(
    world: Any, job: Callable[..., Job], keywords: tuple[str, ...]
) -> None:
    """One is delivered, one unknown at RCPT, one full after the dot, one refused after it."""
    host = lmtp_host(
        world,
        keywords=keywords,
        RCPT=lambda line: b"550 5.1.1 unknown\r\n" if b"nobody" in line else b"250 ok\r\n",
        end_of_data=ending(full=b"452 4.2.2 full\r\n", closed=b"552 5.2.2 closed\r\n"),
    )
    names = ("anna@l.test", "nobody@l.test", "full@l.test", "closed@other.test")
    outcomes = world.deliver(job(*names))
    assert verdicts(outcomes) == [
        ("delivered", 250, "ok"),
        ("failed", 550, "unknown"),
        ("deferred", 452, "full"),
        ("failed", 552, "closed"),
    ]
    assert [one.blame for one in outcomes] == [Blame.NONE, *[Blame.RECIPIENT] * 3]
    assert [one.enhanced for one in outcomes] == ["2.0.0", "5.1.1", "4.2.2", "5.2.2"]
    assert outcomes[2].command == "end of data"
    assert host.connections[0].commands[0] == "LHLO"
    assert world.reactor.dialled == [(SOCKET, 0)]


def test_tcp(world: Any, job: Callable[..., Job]) -> None:
    """A host and a port serve as well, and the outcome names them."""
    lmtp_host(world, Lmtp("lmtp.test", 24))
    (outcome,) = world.deliver(job())
    assert (outcome.peer.host, outcome.peer.port, outcome.peer.final) == ("lmtp.test", 24, True)
    assert world.reactor.dialled == [("192.0.2.1", 24)]


def test_lost_after_some_answers(world: Any, job: Callable[..., Job]) -> None:
    """Who was answered is done; the others may have it or not, and the outcome says so."""
    lmtp_host(world, end_of_data=[b"250 kept\r\n", b"550 5.7.1 no\r\n", "close"])
    outcomes = world.deliver(job("a@l.test", "b@l.test", "c@l.test"))
    assert [one.verdict for one in outcomes] == [
        Verdict.DELIVERED,
        Verdict.FAILED,
        Verdict.DEFERRED,
    ]
    assert [one.maybe_delivered for one in outcomes] == [False, False, True]


def test_silence_after_some_answers(world: Any, job: Callable[..., Job]) -> None:
    """The same of a server that falls silent, when the time is over."""
    lmtp_host(world, end_of_data=[b"250 kept\r\n", "stall"])
    outcomes = world.deliver(job("a@l.test", "b@l.test"), within_s=700)
    assert [one.maybe_delivered for one in outcomes] == [False, True]


def test_connection_is_used_again(world: Any, job: Callable[..., Job]) -> None:
    """A second message follows on the same connection, also after answers that differ."""
    host = lmtp_host(world, end_of_data=ending(full=b"452 4.2.2 full\r\n"))
    world.deliver(job("a@l.test", "full@l.test"))
    (outcome,) = world.deliver(job())
    assert len(host.connections) == 1
    assert outcome.peer.use == 2


def test_recipients_are_split(world: Any, job: Callable[..., Job]) -> None:
    """A transaction has as many recipients as are allowed; every one gets its own answer."""
    host = lmtp_host(world, end_of_data=ending(r3=b"450 4.2.1 later\r\n"))
    world.use(Route("local", Lmtp(SOCKET, 0)), recipients_per_transaction=2)
    outcomes = world.deliver(job(*[f"r{n}@l.test" for n in range(5)]))
    assert [len(rcpts) for _, rcpts in host.transactions] == [2, 2, 1]
    assert [one.code for one in outcomes] == [250, 250, 250, 450, 250]


@pytest.mark.parametrize(
    ("answer", "verdict", "transactions"),
    [
        (b"552 5.2.2 mailbox full\r\n", Verdict.FAILED, 1),
        (b"452 4.2.2 mailbox full\r\n", Verdict.DEFERRED, 1),
        (b"452 4.5.3 too many\r\n", Verdict.DELIVERED, 2),
    ],
)
def test_full_at_rcpt_is_taken_as_said(
    world: Any, job: Callable[..., Job], answer: bytes, verdict: Verdict, transactions: int
) -> None:
    """552 and 452 are about the mailbox, unless they say that there are too many recipients."""
    said = {b"second": [answer]}
    lmtp_host(
        world,
        RCPT=lambda line: (
            said[b"second"].pop() if b"second" in line and said[b"second"] else b"250 ok\r\n"
        ),
    )
    outcomes = world.deliver(job("first@l.test", "second@l.test"))
    assert outcomes[1].verdict is verdict
    wire = world.reactor.hosts[SOCKET].connections[0]
    assert wire.commands.count("MAIL") == transactions


def test_no_helo(world: Any, job: Callable[..., Job]) -> None:
    """A server that does not know LHLO is no LMTP server: deferred, and not spoken to in SMTP."""
    host = lmtp_host(world, LHLO=b"500 5.5.1 What?\r\n")
    (outcome,) = world.deliver(job())
    assert (outcome.verdict, outcome.command) == (Verdict.DEFERRED, "LHLO")
    assert "HELO" not in host.connections[0].commands
    assert "EHLO" not in host.connections[0].commands


def test_socket_away(world: Any, job: Callable[..., Job]) -> None:
    """A socket nobody listens at is a temporary fault of the site, and is named."""
    lmtp_host(world).refuses = True
    (outcome,) = world.deliver(job())
    assert (outcome.verdict, outcome.blame, outcome.enhanced) == (
        Verdict.DEFERRED,
        Blame.SITE,
        "4.4.1",
    )
    assert SOCKET in outcome.text


def reported(job: Job, outcome: Any, **asked: str) -> str:
    """Return what a sender hears who asked for that."""
    recipient = replace(job.recipients[0], **asked)
    return arrival(job.envelope, Settled(recipient, outcome, State.DELIVERED, 0))


def test_dsn_is_passed_on(world: Any, job: Callable[..., Job]) -> None:
    """A server with DSN gets NOTIFY and ORCPT, and reports itself (RFC 3461 §5.2.1)."""
    host = lmtp_host(world, keywords=DSN)
    plain = job("b@l.test")
    asked = replace(plain.recipients[0], notify="SUCCESS", orcpt="rfc822;b@l.test")
    (outcome,) = world.deliver(replace(plain, recipients=(asked,)))
    (_, (line,)) = host.transactions[0]
    assert b" NOTIFY=SUCCESS ORCPT=rfc822;b@l.test" in line
    assert reported(plain, outcome, notify="SUCCESS") == ""


def test_success_is_delivered(world: Any, job: Callable[..., Job]) -> None:
    """Where the server reports nothing, the sender hears "delivered", for it is no relay."""
    lmtp_host(world)
    sent = job("b@l.test")
    (outcome,) = world.deliver(sent)
    assert reported(sent, outcome, notify="SUCCESS") == "delivered"
    assert reported(sent, outcome, notify="FAILURE") == ""
    assert reported(sent, outcome) == ""


def test_requiretls(world: Any, job: Callable[..., Job]) -> None:
    """REQUIRETLS is kept on a unix socket, and not by TCP in the clear (RFC 8689 §4.4)."""
    lmtp_host(world)
    (outcome,) = world.deliver(job(require_tls=True))
    assert outcome.verdict is Verdict.DELIVERED
    lmtp_host(world, Lmtp("lmtp.test", 24))
    (outcome,) = world.deliver(job(require_tls=True))
    assert (outcome.verdict, outcome.enhanced) == (Verdict.FAILED, "5.7.10")


def test_deliver_by(world: Any, job: Callable[..., Job]) -> None:
    """A deadline that is still ahead needs no DELIVERBY of the last hop (RFC 2852 §4.1.4)."""
    lmtp_host(world)
    world.wall_ms = 1_000
    ahead = Asked(deliver_by=DeliverBy(61_000, "R"))
    (outcome,) = world.deliver(job(asked=ahead))
    assert outcome.verdict is Verdict.DELIVERED
    world.wall_ms = 61_000
    (outcome,) = world.deliver(job(asked=ahead))
    assert (outcome.verdict, outcome.enhanced) == (Verdict.FAILED, "5.4.7")


def test_binarymime(world: Any, job: Callable[..., Job]) -> None:
    """BDAT LAST is answered once for each recipient too."""
    host = lmtp_host(
        world,
        keywords=("PIPELINING", "CHUNKING", "BINARYMIME", "8BITMIME"),
        end_of_data=ending(full=b"552 5.2.2 full\r\n"),
    )
    content = b"Subject: hi\r\n\r\n\0\n\r.\n"
    outcomes = world.deliver(job("a@l.test", "full@l.test", content=content, binary=True))
    assert [one.code for one in outcomes] == [250, 552]
    assert host.messages == [content]


def test_report_names_no_path(world: Any, job: Callable[..., Job]) -> None:
    """What a server behind a socket said is reported to the sender; where the socket is, is not."""
    lmtp_host(world, end_of_data=b"552 5.2.2 full\r\n")
    sent = job("b@l.test")
    (outcome,) = world.deliver(sent)
    assert outcome.peer.where == SOCKET
    notice = Notice(sent.recipients[0], outcome)
    envelope = sent.envelope
    text = dsn.compose(Report(envelope.id, "a@x.test", "relay.test", 1, envelope, (notice,)))
    assert b"Diagnostic-Code: smtp; 552 5.2.2 full\r\n" in text
    assert b"Remote-MTA" not in text
    assert SOCKET.encode() not in text


def test_requirement_of_a_socket() -> None:
    """TLS is demanded by TCP where the route says so, and of a socket nothing is said."""
    assert of_smarthost(Lmtp("lmtp.test", 24, "starttls")).why == "the route to the mailboxes"
    assert of_smarthost(Lmtp(SOCKET, 0)).why == ""
