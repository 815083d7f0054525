"""What is written down before the final dot leaves, and what it means that it was."""

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from mta.delivery.doubt import Marker, note, process_ended
from mta.delivery.routes import Discard, Lmtp, Mx, OnUnknown, Route, Smarthost
from mta.mail.envelope import Job, Recipient
from mta.mail.outcome import Blame, Outcome, Peer, Tls, TlsLevel, Verdict
from mta.spool.dotted import Dotted
from mta.spool.errors import SpoolUnavailable

DOT = b"\r\n.\r\n"
WHERE = "mx.test[192.0.2.1]:25"


class Spool:
    """Takes marks; the test says when they are on disk."""

    def __init__(self, world: Any) -> None:
        self.asked: list[Dotted] = []
        self.answer: Callable[[], Deferred[bool]] = lambda: succeed(True)
        world.delivery.mark_with(lambda job: Marker(self.write, lambda: 77, job))

    def write(self, item: Dotted) -> Deferred[bool]:
        self.asked.append(item)
        return self.answer()

    @property
    def said(self) -> list[tuple[list[int], int, str]]:
        """Return the numbers, the time and the peer of each write."""
        return [([number for number, _ in one.keys], one.at_ms, one.to) for one in self.asked]


@pytest.fixture
def spool(world: Any) -> Spool:
    return Spool(world)


class Stored:
    """A body that is streamed."""

    memory = None
    count = 2

    async def chunk(self, number: int) -> bytes:
        return (b"Subject: long\r\n\r\n" + b"x" * 70 + b"\r\n", b"the end\r\n")[number]


def bodies() -> list[Any]:
    return [
        pytest.param({}, DOT, id="at once"),
        pytest.param({"body": Stored()}, DOT, id="streamed"),
        pytest.param({"binary": True}, b" LAST\r\n", id="BDAT"),
        pytest.param({"binary": True, "body": Stored()}, b" LAST\r\n", id="BDAT of many"),
    ]


@pytest.mark.parametrize(("how", "end"), bodies())
def test_committed_before_the_end(
    world: Any, spool: Spool, job: Callable[..., Job], how: dict[str, Any], end: bytes
) -> None:
    """Attack of a crash: nothing that ends the message leaves before the mark is on disk."""
    host = world.host(keywords=("PIPELINING", "8BITMIME", "CHUNKING", "BINARYMIME"))
    world.use(Route("r", Mx(), on_unknown="hold"))
    committed: Deferred[bool] = Deferred()
    spool.answer = lambda: committed
    results = world.start(job("b@there.test", **how))
    assert spool.said == [([0], 77, WHERE)]
    (wire,) = host.connections
    assert end not in b"".join(wire.writes)
    assert not results
    committed.callback(True)
    world.reactor.settle()
    assert end in b"".join(wire.writes)
    assert [one.verdict for one in results[0]] == [Verdict.DELIVERED]
    assert len(spool.asked) == 1


def test_whom_it_names(world: Any, spool: Spool, job: Callable[..., Job]) -> None:
    """Only those whom the peer has accepted, with their claim; who was refused is not in doubt."""
    answers = [b"250 Ok\r\n", b"550 5.1.1 No\r\n", b"450 4.2.1 Busy\r\n", b"250 Ok\r\n"]
    world.host(RCPT=answers)
    world.use(Route("r", Mx(), on_unknown="delivered"))
    made = job(*(f"{n}@there.test" for n in range(4)))
    world.deliver(made)
    assert spool.said == [([0, 3], 77, WHERE)]
    assert spool.asked[0].message_id == made.envelope.id
    assert spool.asked[0].keys == ((0, 1), (3, 1))


@pytest.mark.parametrize("target", [Mx(), Smarthost("mx.test", 25)])
def test_retry_pays_nothing(world: Any, spool: Spool, job: Callable[..., Job], target: Any) -> None:
    """A route that would only try again writes nothing, whatever comes."""
    world.host(end_of_data=[b"250 Ok\r\n", b"450 4.3.0 Later\r\n", "close"])
    world.use(Route("r", target))
    for _ in range(3):
        world.deliver(job())
    assert spool.asked == []


FAILURES: list[tuple[Callable[[], Deferred[bool]], str]] = [
    (lambda: fail(SpoolUnavailable("disk full")), "that could not be written down: disk full"),
    (lambda: fail(RuntimeError()), "that could not be written down: RuntimeError"),
    (lambda: succeed(False), "this process has lost its claim on the message"),
]


@pytest.mark.parametrize(("answer", "why"), FAILURES)
@pytest.mark.parametrize(("how", "end"), bodies())
def test_no_mark_no_dot(
    world: Any,
    spool: Spool,
    job: Callable[..., Job],
    answer: Callable[[], Deferred[bool]],
    why: str,
    how: dict[str, Any],
    end: bytes,
) -> None:
    """The connection is cut, nobody there is to blame, and no other host hears of the message."""
    host = world.host(keywords=("PIPELINING", "8BITMIME", "CHUNKING", "BINARYMIME"))
    world.mx["there.test"] = ["mx.test", "mx2.test"]
    world.host("mx2.test", "192.0.2.2")
    world.use(Route("r", Mx(), on_unknown="delivered"))
    spool.answer = answer
    (outcome,) = world.deliver(job("b@there.test", **how))
    assert (outcome.verdict, outcome.enhanced) == (Verdict.DEFERRED, "4.3.0")
    assert (outcome.blame, outcome.maybe_delivered) == (Blame.NONE, False)
    assert outcome.text == f"the final dot was not sent: {why}"
    assert outcome.text in outcome.transcript
    (wire,) = host.connections
    assert end not in b"".join(wire.writes)
    assert wire.closed == "aborted"
    assert host.messages == []
    assert world.reactor.dialled == [("192.0.2.1", 25)]
    assert len(spool.asked) == 1


def test_refused_after_all(world: Any, spool: Spool, job: Callable[..., Job]) -> None:
    """The peer says no to the dot: that is known, whatever this process still has to do."""
    world.host(end_of_data=b"450 4.3.0 Later\r\n")
    world.use(Route("r", Mx(), on_unknown="hold"))
    (outcome,) = world.deliver(job())
    assert (outcome.verdict, outcome.maybe_delivered) == (Verdict.DEFERRED, False)
    assert spool.said == [([0], 77, WHERE), ([0], 0, "")]


def test_refused_and_the_spool_is_gone(world: Any, spool: Spool, job: Callable[..., Job]) -> None:
    """The answer counts, though the mark cannot be taken back at once."""
    world.host(end_of_data=b"550 5.6.0 No\r\n")
    world.use(Route("r", Mx(), on_unknown="hold"))
    answers = [succeed(True), fail(SpoolUnavailable("gone"))]
    spool.answer = lambda: answers.pop(0)
    (outcome,) = world.deliver(job())
    assert outcome.verdict is Verdict.FAILED


def test_the_peer_goes_while_we_write(world: Any, spool: Spool, job: Callable[..., Job]) -> None:
    """Its dot has not been sent: the mark is taken back before the next host gets the message."""
    host = world.host()
    world.mx["there.test"] = ["mx.test", "mx2.test"]
    world.host("mx2.test", "192.0.2.2")
    world.use(Route("r", Mx(), on_unknown="hold"))
    first: Deferred[bool] = Deferred()
    answers = [first, succeed(True), succeed(True)]
    spool.answer = lambda: answers.pop(0)
    results = world.start(job())
    host.connections[0].hang_up()
    world.reactor.settle()
    first.callback(True)
    world.reactor.settle()
    assert [one.verdict for one in results[0]] == [Verdict.DELIVERED]
    assert spool.said == [([0], 77, WHERE), ([0], 0, ""), ([0], 77, "mx2.test[192.0.2.2]:25")]
    assert DOT not in b"".join(host.connections[0].writes)


def test_lost_after_the_dot(world: Any, spool: Spool, job: Callable[..., Job]) -> None:
    """What is in doubt stays marked until the outcome is recorded."""
    world.host(end_of_data="close")
    world.use(Route("r", Mx(), on_unknown="hold"))
    (outcome,) = world.deliver(job())
    assert outcome.maybe_delivered
    assert spool.said == [([0], 77, WHERE)]


def test_lmtp(world: Any, spool: Spool, job: Callable[..., Job]) -> None:
    """An answer for each: only who was refused is out of doubt."""
    answers = [b"250 kept\r\n", b"452 4.2.2 Full\r\n", "close"]
    host = world.host("lmtp.test", end_of_data=answers)
    host.lmtp = True
    world.use(Route("r", Lmtp("lmtp.test", 24), on_unknown="hold"))
    outcomes = world.deliver(job("a@l.test", "b@l.test", "c@l.test"))
    assert [one.maybe_delivered for one in outcomes] == [False, False, True]
    where = "lmtp.test[192.0.2.1]:24"
    assert spool.said == [([0, 1, 2], 77, where), ([1], 0, "")]


def test_one_transaction_after_the_other(world: Any, spool: Spool, job: Callable[..., Job]) -> None:
    """Each has a mark of its own, and that of the first stays while the second goes on."""
    world.host(end_of_data=[b"250 Ok\r\n", b"450 4.3.0 Later\r\n"])
    world.use(Route("r", Mx(), on_unknown="hold"), recipients_per_transaction=1)
    world.deliver(job("a@there.test", "b@there.test"))
    assert spool.said == [([0], 77, WHERE), ([1], 77, WHERE), ([1], 0, "")]


def test_cut_off_while_it_is_written(world: Any, spool: Spool, job: Callable[..., Job]) -> None:
    """Cancelled before the dot: it was not sent, and nothing is in doubt."""
    host = world.host()
    world.use(Route("r", Mx(), on_unknown="delivered"))
    spool.answer = Deferred
    results = world.start(job())
    world.cancel()
    ((outcome,),) = results
    assert (outcome.verdict, outcome.maybe_delivered) == (Verdict.DEFERRED, False)
    assert host.connections[0].closed == "aborted"
    assert host.messages == []


ENDED = "the process that sent it ended before the answer was recorded; lost after the final dot: "


def facts(outcome: Outcome | None) -> tuple[Verdict, str, bool, str]:
    assert outcome is not None
    assert outcome.maybe_delivered
    assert (outcome.code, outcome.command, outcome.blame) == (0, "end of data", Blame.NONE)
    assert outcome.text.startswith(ENDED)
    words = outcome.text.removeprefix(ENDED)
    return outcome.verdict, outcome.enhanced, outcome.hold, words


POLICIES: list[tuple[OnUnknown, tuple[Verdict, str, bool, str]]] = [
    ("hold", (Verdict.DEFERRED, "4.3.2", True, "it may have been delivered, and is held")),
    ("delivered", (Verdict.DELIVERED, "2.0.0", False, "it counts as delivered")),
]


@pytest.mark.parametrize(("policy", "expected"), POLICIES)
def test_process_ended(
    world: Any, policy: OnUnknown, expected: tuple[Verdict, str, bool, str]
) -> None:
    """The route that applies now decides, also one that an operator has chosen meanwhile."""
    one, other = Route("r", Mx(), on_unknown=policy), Route("again", Mx())
    world.use(one, other, Route("nowhere", Discard()))
    recipient = Recipient(3, "b@there.test", "there.test", 2)
    outcome = world.delivery.in_doubt("a@here.test", recipient, WHERE)
    assert facts(outcome) == expected
    assert outcome.recipient == 3
    assert outcome.peer.where == WHERE
    for chosen in ("again", "nowhere", "is not there"):
        rerouted = Recipient(3, "b@there.test", "there.test", 2, route=chosen)
        assert world.delivery.in_doubt("a@here.test", rerouted, WHERE) is None


PEERS = [
    Peer("mx.test", "2001:db8::1", 587),
    Peer("mx.test", "192.0.2.1", 25, Tls(TlsLevel.DANE, "TLSv1.3", "TLS_AES_256_GCM_SHA384")),
    Peer("[192.0.2.1]", "192.0.2.1", 25, Tls(TlsLevel.ENCRYPTED, "TLSv1.2")),
    Peer("/run/lmtp.sock", "", 25),
    Peer("/run/a [b]:1 (c d e)", "", 25),
]


@pytest.mark.parametrize("peer", PEERS)
def test_who_has_it(peer: Peer) -> None:
    """The peer is told as it was written down, and how private the session was."""
    outcome = process_ended("hold", 0, note(peer))
    assert outcome is not None
    assert outcome.peer == peer


def test_names_of_strangers() -> None:
    """Attack: a name in MX that reads as another note changes no more than the name."""
    peer = Peer("mx.test[192.0.2.66]:25 (dane a b)", "192.0.2.1", 25)
    outcome = process_ended("hold", 0, note(peer))
    assert outcome is not None
    assert outcome.peer == peer
