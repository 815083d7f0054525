"""From a domain to hosts and addresses, and from one to the next."""

from collections.abc import Callable
from typing import Any

import pytest

from mta.delivery.routes import Mx, Route, Smarthost
from mta.dns.answers import DnsTemporary
from mta.dns.mx import MailLoop, NoSuchDomain, NoUsableHost, NullMx
from mta.mail.envelope import Job
from mta.mail.outcome import Verdict

DNS = [
    (NullMx("there.test takes no mail"), Verdict.FAILED, 556, "5.1.10"),
    (NoSuchDomain("there.test: no such domain"), Verdict.FAILED, 0, "5.1.2"),
    (NoUsableHost("there.test has no host"), Verdict.FAILED, 0, "5.4.4"),
    (MailLoop("there.test is this host"), Verdict.FAILED, 0, "5.4.6"),
    (DnsTemporary("there.test MX: timed out"), Verdict.DEFERRED, 0, "4.4.3"),
]


@pytest.mark.parametrize(("error", "verdict", "code", "enhanced"), DNS)
def test_no_hosts(
    world: Any,
    job: Callable[..., Job],
    error: Exception,
    verdict: Verdict,
    code: int,
    enhanced: str,
) -> None:
    """What the DNS says about the domain decides; nobody is connected to."""
    world.mx["there.test"] = error
    outcomes = world.deliver(job("b@there.test", "c@there.test"))
    for outcome in outcomes:
        assert (outcome.verdict, outcome.code, outcome.enhanced) == (verdict, code, enhanced)
        assert (outcome.command, outcome.text) == ("DNS", str(error))
    assert world.reactor.dialled == []


def test_host_without_address(world: Any, job: Callable[..., Job]) -> None:
    """A host whose name leads nowhere is passed over; with none left it is permanent."""
    (outcome,) = world.deliver(job())
    assert (outcome.verdict, outcome.enhanced) == (Verdict.FAILED, "5.4.4")
    other = world.host("mx2.test", "192.0.2.2")
    world.mx["there.test"] = ["mx.test", "mx2.test"]
    (outcome,) = world.deliver(job())
    assert outcome.verdict is Verdict.DELIVERED
    assert other.messages


def test_host_that_cannot_be_looked_up(world: Any, job: Callable[..., Job]) -> None:
    """A time-out of the DNS about one host defers, if no other host takes the message."""
    world.a["mx.test"] = DnsTemporary("mx.test A: timed out")
    (outcome,) = world.deliver(job())
    assert (outcome.verdict, outcome.enhanced) == (Verdict.DEFERRED, "4.4.3")


def test_misspelt_smarthost(world: Any, job: Callable[..., Job]) -> None:
    """A smarthost that does not exist is our configuration's fault: never a bounce."""
    world.use(Route("out", Smarthost("smart.tset", 25, "none")))
    (outcome,) = world.deliver(job())
    assert (outcome.verdict, outcome.enhanced) == (Verdict.DEFERRED, "4.4.3")


def test_every_address_of_a_host(world: Any, job: Callable[..., Job]) -> None:
    """The addresses of a host are tried in their order, up to the limit."""
    world.a["mx.test"] = [f"2001:db8::{n}" for n in range(1, 10)]
    (outcome,) = world.deliver(job())
    assert outcome.verdict is Verdict.DEFERRED
    assert world.reactor.dialled == [(f"2001:db8::{n}", 25) for n in range(1, 5)]


def test_next_address(world: Any, job: Callable[..., Job]) -> None:
    """One dead address does not keep mail from the other."""
    world.host().refuses = True
    alive = world.host("mx.test", "192.0.2.2")
    (outcome,) = world.deliver(job())
    assert outcome.verdict is Verdict.DELIVERED
    assert outcome.peer.address == "192.0.2.2"
    assert alive.messages


def test_at_most_five_hosts(world: Any, job: Callable[..., Job]) -> None:
    """Attack: a domain with very many dead hosts does not hold up an attempt."""
    world.mx["there.test"] = [f"mx{n}.test" for n in range(50)]
    for n in range(50):
        world.host(f"mx{n}.test", f"192.0.2.{n}").refuses = True
    (outcome,) = world.deliver(job())
    assert outcome.verdict is Verdict.DEFERRED
    assert len(world.reactor.dialled) == 5


def test_two_hosts_at_most_hear_about_the_message(world: Any, job: Callable[..., Job]) -> None:
    """Greylisting at the first two hosts is not answered by asking all the others."""
    world.mx["there.test"] = [f"mx{n}.test" for n in range(5)]
    for n in range(5):
        world.host(f"mx{n}.test", f"192.0.2.{n}", RCPT=b"450 4.7.1 Greylisted\r\n")
    (outcome,) = world.deliver(job())
    assert (outcome.verdict, outcome.code) == (Verdict.DEFERRED, 450)
    assert len(world.reactor.dialled) == 2


def test_only_who_is_left_goes_to_the_next_host(world: Any, job: Callable[..., Job]) -> None:
    """Nobody who has been delivered or refused is sent to another host."""

    def answer(line: bytes) -> bytes:
        return b"450 4.2.0 Later\r\n" if b"<later@" in line else b"250 2.1.5 Ok\r\n"

    world.host(RCPT=answer)
    other = world.host("mx2.test", "192.0.2.2")
    world.mx["there.test"] = ["mx.test", "mx2.test"]
    outcomes = world.deliver(job("b@there.test", "later@there.test"))
    assert [(o.verdict, o.peer.host) for o in outcomes] == [
        (Verdict.DELIVERED, "mx.test"),
        (Verdict.DELIVERED, "mx2.test"),
    ]
    assert other.transactions[0][1] == [b"RCPT TO:<later@there.test>"]


@pytest.mark.parametrize(
    ("domain", "address"),
    [("[192.0.2.7]", "192.0.2.7"), ("[ipv6:2001:db8::7]", "2001:db8::7")],
)
def test_address_literal(world: Any, job: Callable[..., Job], domain: str, address: str) -> None:
    """An address literal is delivered to without asking the DNS."""
    world.mx[domain] = DnsTemporary("must not be asked")
    host = world.host("unused.test", address)
    (outcome,) = world.deliver(job(f"b@{domain}"))
    assert outcome.verdict is Verdict.DELIVERED
    assert host.messages


@pytest.mark.parametrize("domain", ["[localhost]", "[]", "[192.0.2]", "[192.0.2.1 ]", "[::1]x"])
def test_bad_address_literal(world: Any, job: Callable[..., Job], domain: str) -> None:
    """Attack: nothing but an address is taken for one."""
    (outcome,) = world.deliver(job(f"b@{domain}"))
    assert (outcome.verdict, world.reactor.dialled) == (Verdict.FAILED, [])


def test_port_of_the_route(world: Any, job: Callable[..., Job]) -> None:
    """Test beds have their mail exchangers on another port."""
    world.host()
    world.use(Route("bed", Mx(port=2525)))
    (outcome,) = world.deliver(job())
    assert outcome.peer.port == 2525
    assert world.reactor.dialled == [("192.0.2.1", 2525)]


def test_unforeseen_error_is_ours_and_temporary(world: Any, job: Callable[..., Job]) -> None:
    """A fault of the program itself never bounces mail; it is told to the operator."""
    world.mx["there.test"] = ZeroDivisionError("oh")
    (outcome,) = world.deliver(job())
    assert (outcome.verdict, outcome.enhanced, outcome.code) == (Verdict.DEFERRED, "4.3.0", 0)
    assert "ZeroDivisionError" in outcome.text
    (note,) = world.events
    assert (note.level, note.part) == ("error", "delivery")


def test_search_for_a_host_is_bounded(world: Any, job: Callable[..., Job]) -> None:
    """Attack: many addresses that stall at the greeting hold up a job for an hour, not longer."""
    world.mx["there.test"] = [f"mx{n}.test" for n in range(5)]
    for n in range(5):
        for m in range(4):
            world.host(f"mx{n}.test", f"192.0.{n}.{m}", greeting="stall")
    (outcome,) = world.deliver(job(), within_s=3900)
    assert (outcome.verdict, outcome.command) == (Verdict.DEFERRED, "greeting")
    assert len(world.reactor.dialled) == 13
