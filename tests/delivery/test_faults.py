"""Every stage of a session, every way in which it can go wrong: what becomes of the message."""

from collections.abc import Callable
from typing import Any

import pytest

from mta.mail.envelope import Job
from mta.mail.outcome import Blame, Verdict

GARBAGE = b"\xff<html>\x1b[2J\r\n"
STAGES = ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "end of data"]
FAULTS: dict[str, Any] = {
    "4xx": b"451 4.3.2 Not now\r\n",
    "5xx": b"550 5.7.1 Not you\r\n",
    "5xx on many lines": b"".join([b"550-5.7.1 No\r\n"] * 3000) + b"550 5.7.1 Not you\r\n",
    "421": b"421 4.3.2 Closing\r\n",
    "garbage": GARBAGE,
    "close": "close",
    "stall": "stall",
}
MESSAGE = {"MAIL": Blame.MESSAGE, "DATA": Blame.MESSAGE, "end of data": Blame.MESSAGE}
LIMIT_S = {"DATA": 120, "end of data": 600}


def expected(stage: str, fault: str) -> tuple[Verdict, str, Blame, int, bool]:
    """What the decision table says: verdict, command, blame, code, may be delivered twice."""
    code = (
        int(fault[0] + "50") if fault.startswith("5xx") else {"4xx": 451, "421": 421}.get(fault, 0)
    )
    blame = MESSAGE.get(stage, Blame.RECIPIENT if stage == "RCPT" else Blame.SITE)
    verdict = Verdict.DEFERRED
    if fault.startswith("5xx") and stage not in ("greeting", "EHLO"):
        verdict = Verdict.FAILED
    if code in (0, 421):
        blame = Blame.SITE
    command = "HELO" if (stage, fault[0]) == ("EHLO", "5") else stage
    return verdict, command, blame, code, stage == "end of data" and code == 0


def spoil(world: Any, stage: str, fault: str, keywords: tuple[str, ...]) -> Any:
    host = world.host(keywords=keywords)
    host.script[stage] = FAULTS[fault]
    if stage == "EHLO" and fault.startswith("5xx"):
        host.script["HELO"] = FAULTS[fault]
    return host


@pytest.mark.parametrize("keywords", [("PIPELINING",), ()], ids=["pipelined", "one at a time"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("stage", STAGES)
def test_last_host(
    world: Any, job: Callable[..., Job], stage: str, fault: str, keywords: tuple[str, ...]
) -> None:
    """With no other host to try, the outcome is the one of the decision table."""
    host = spoil(world, stage, fault, keywords)
    within_s = LIMIT_S.get(stage, 300) + 1 if fault == "stall" else 0
    (outcome,) = world.deliver(job(), within_s=within_s)
    found = (
        outcome.verdict,
        outcome.command,
        outcome.blame,
        outcome.code,
        outcome.maybe_delivered,
    )
    assert found == expected(stage, fault)
    assert outcome.peer is not None
    assert (outcome.peer.host, outcome.peer.address) == ("mx.test", "192.0.2.1")
    assert outcome.enhanced[0] == ("5" if outcome.code >= 500 else "4")
    assert outcome.text.isprintable()
    assert len(outcome.text) < 2000
    if fault == "garbage":
        assert "<html>" in outcome.text
    assert host.messages == []


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("stage", STAGES)
def test_next_host(world: Any, job: Callable[..., Job], stage: str, fault: str) -> None:
    """With another host, what is neither final nor maybe delivered goes there at once."""
    spoil(world, stage, fault, ("PIPELINING",))
    other = world.host("mx2.test", "192.0.2.2")
    world.mx["there.test"] = ["mx.test", "mx2.test"]
    verdict, command, _, _, _ = expected(stage, fault)
    final = verdict is Verdict.FAILED or command == "end of data"
    (outcome,) = world.deliver(job(), within_s=700 if fault == "stall" else 0)
    assert outcome.verdict is (verdict if final else Verdict.DELIVERED)
    assert len(other.messages) == (0 if final else 1)


@pytest.mark.parametrize("stage", STAGES)
def test_slow_loris(world: Any, job: Callable[..., Job], stage: str) -> None:
    """Attack: a server that sends an octet now and then does not prolong its time-out."""
    host = world.host(keywords=())
    host.script[stage] = b"250-"
    results = world.start(job())
    limit_s = LIMIT_S.get(stage, 300)
    for _ in range(limit_s - 1):
        world.reactor.advance(1)
        host.connections[0].say(b"x")
        world.reactor.settle()
    assert not results
    world.reactor.advance(1)
    world.reactor.settle()
    ((outcome,),) = results
    assert (outcome.verdict, outcome.command) == (Verdict.DEFERRED, stage)
    assert "timed out" in outcome.text
    assert host.connections[0].closed == "aborted"


def test_endless_reply(world: Any, job: Callable[..., Job]) -> None:
    """Attack: a reply without an end is cut off by its size."""
    host = world.host(MAIL=b"250-x\r\n" * 100_000)
    (outcome,) = world.deliver(job())
    assert (outcome.verdict, outcome.command) == (Verdict.DEFERRED, "MAIL")
    assert "endless" in outcome.text
    assert host.connections[0].closed == "aborted"


def test_early_250_is_not_delivery(world: Any, job: Callable[..., Job]) -> None:
    """Attack or fault: a reply sent before the dot is no acceptance of the message."""
    world.host(DATA=b"354 Go on\r\n250 Taken\r\n")
    (outcome,) = world.deliver(job())
    assert (outcome.verdict, outcome.command) == (Verdict.DEFERRED, "DATA")
    assert not outcome.maybe_delivered


def test_connection_refused(world: Any, job: Callable[..., Job]) -> None:
    """Nobody listens: deferred, with the address that was tried."""
    world.host().refuses = True
    (outcome,) = world.deliver(job())
    assert (outcome.verdict, outcome.command, outcome.enhanced, outcome.blame) == (
        Verdict.DEFERRED,
        "connect",
        "4.4.1",
        Blame.SITE,
    )
    assert "192.0.2.1 port 25" in outcome.text


def test_connection_timed_out(world: Any, job: Callable[..., Job]) -> None:
    """Nobody answers at all: deferred after the time-out of connecting."""
    world.host().silent = True
    (outcome,) = world.deliver(job(), within_s=31)
    assert (outcome.verdict, outcome.command) == (Verdict.DEFERRED, "connect")
    assert outcome.timing.connect == pytest.approx(30, abs=1)


def test_host_that_never_takes_mail(world: Any, job: Callable[..., Job]) -> None:
    """521 in the greeting is permanent (RFC 7504), if no host said anything better."""
    world.host(greeting=b"521 5.3.2 No mail here\r\n")
    (outcome,) = world.deliver(job())
    assert (outcome.verdict, outcome.code) == (Verdict.FAILED, 521)
    world.host("mx2.test", "192.0.2.2").refuses = True
    world.mx["there.test"] = ["mx.test", "mx2.test"]
    (outcome,) = world.deliver(job())
    assert (outcome.verdict, outcome.command) == (Verdict.DEFERRED, "connect")


def test_a_reply_outranks_silence(world: Any, job: Callable[..., Job]) -> None:
    """Of two temporary failures the one in the peer's words is told."""
    world.host(RCPT=b"450 4.7.1 Greylisted\r\n")
    world.host("mx2.test", "192.0.2.2").refuses = True
    world.mx["there.test"] = ["mx.test", "mx2.test"]
    (outcome,) = world.deliver(job())
    assert (outcome.code, outcome.blame) == (450, Blame.RECIPIENT)


def test_the_whole_session_is_bounded(world: Any, job: Callable[..., Job]) -> None:
    """Attack: a server just quick enough at every one of many steps is left in the end."""
    host = world.host(keywords=())
    host.script["RCPT"] = "stall"
    addresses = [f"r{n}@there.test" for n in range(20)]
    results = world.start(job(*addresses))
    for _ in range(14):
        world.reactor.pump([1] * 290)
        if not results:
            host.connections[0].say(b"250 2.1.5 Ok\r\n")
            world.reactor.settle()
    (outcomes,) = results
    assert {outcome.verdict for outcome in outcomes} == {Verdict.DEFERRED}
    assert world.reactor.seconds() <= 4060
