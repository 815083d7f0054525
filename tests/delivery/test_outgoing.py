"""As whom mail goes out: source addresses, names, families; and refusals for our address."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from mta.delivery.outgoing import USUAL, Outgoing, Way
from mta.delivery.reading import about_our_address
from mta.delivery.routes import Mx, Route, Smarthost, Smarthosts
from mta.dns.answers import DnsTemporary
from mta.dns.mx import NullMx
from mta.mail.envelope import Job
from mta.mail.outcome import Blame, Verdict
from mta.smtp.replies import Reply
from mta.smtp.steps import Stage

SIX, FOUR = "2001:db8::1", "192.0.2.1"
NO_NAME = b"550 5.7.25 Your address has no name\r\n"


def test_one_source_for_each_message() -> None:
    """A message keeps its address at every attempt, and all addresses have their share."""
    outgoing = Outgoing(ipv4=("192.0.2.5", "192.0.2.6", "192.0.2.7"))
    ids = [f"1M3V8Y0A{n:08d}" for n in range(600)]
    chosen = [outgoing.way(one) for one in ids]
    assert chosen == [outgoing.way(one) for one in ids]
    counts = Counter(way.ipv4 for way in chosen if way is not None)
    assert sorted(counts) == ["192.0.2.5", "192.0.2.6", "192.0.2.7"]
    assert min(counts.values()) > 150


def test_nothing_said() -> None:
    """Without sources and a name there is nothing to choose, and addresses stay as they are."""
    assert USUAL.way("1M3V8Y0A00000001") is None
    assert Outgoing(prefer="ipv4").way("1M3V8Y0A00000001") is None
    addresses = (FOUR, SIX)
    assert USUAL.arrange(addresses, "1M3V8Y0A00000001") is addresses


ORDERS = [
    ({"prefer": "ipv4"}, ["4a", ":6a", "4b", ":6b", ":6c"]),
    ({"prefer": "ipv6"}, [":6a", "4a", ":6b", "4b", ":6c"]),
    ({"families": frozenset({"ipv4"})}, ["4a", "4b"]),
    ({"families": frozenset({"ipv6"})}, [":6a", ":6b", ":6c"]),
]


@pytest.mark.parametrize(("said", "expected"), ORDERS)
def test_order_of_addresses(said: dict[str, Any], expected: Sequence[str]) -> None:
    """The preferred family is first, and the other has its turn however many there are."""
    outgoing = Outgoing(ehlo="out.test", **said)
    assert list(outgoing.arrange((":6a", ":6b", ":6c", "4a", "4b"), "x")) == expected


def test_any_family() -> None:
    """With "any" about half of the messages try each family first."""
    outgoing = Outgoing(prefer="any")
    first = [outgoing.arrange((SIX, FOUR), f"1M3V8Y0A{n:08d}")[0] for n in range(400)]
    assert 120 < first.count(FOUR) < 280


def test_source_and_name_of_a_route(world: Any, job: Callable[..., Job]) -> None:
    """The route's address is dialled from, and its name said, after STARTTLS or not."""
    host = world.host()
    world.use(Route("out", Mx(), outgoing=Outgoing(("192.0.2.5",), (), "out1.here.test")))
    (outcome,) = world.deliver(job())
    assert outcome.verdict is Verdict.DELIVERED
    assert world.reactor.bound == ["192.0.2.5"]
    assert host.connections[0].writes[0] == b"EHLO out1.here.test\r\n"


def test_default_source(world: Any, job: Callable[..., Job]) -> None:
    """What is said for all routes holds for those that say nothing; each family has its own."""
    world.host(address=SIX)
    outgoing = Outgoing(("192.0.2.5",), ("2001:db8::5",))
    world.use(Route("out", Mx()), outgoing=outgoing)
    world.deliver(job())
    assert world.reactor.bound == ["2001:db8::5"]


def test_connections_of_different_sources(world: Any, job: Callable[..., Job]) -> None:
    """A connection that waits is used again only for mail that goes out from its address."""
    host = world.host()
    routes = [
        Route(name, Mx(), sender_domains=(f"{name}.test",), outgoing=Outgoing((address,)))
        for name, address in (("a", "192.0.2.5"), ("b", "192.0.2.6"))
    ]
    world.use(*routes)
    for sender in ("x@a.test", "x@b.test", "x@a.test"):
        world.deliver(job(sender=sender))
    assert world.reactor.bound == ["192.0.2.5", "192.0.2.6"]
    assert len(host.connections) == 2


def test_source_that_is_not_ours(world: Any, job: Callable[..., Job]) -> None:
    """A source address that the host has lost is our fault, not the site's; mail waits."""
    world.host()
    world.reactor.missing = {"192.0.2.5"}
    world.use(Route("out", Mx(), outgoing=Outgoing(("192.0.2.5",))))
    (outcome,) = world.deliver(job())
    assert (outcome.verdict, outcome.blame, outcome.enhanced) == (
        Verdict.DEFERRED,
        Blame.NONE,
        "4.3.5",
    )
    assert outcome.text == (
        "no connection can be made from 192.0.2.5: Cannot assign requested address"
    )
    assert outcome.peer.source == "192.0.2.5"


def test_lost_source_of_one_family(world: Any, job: Callable[..., Job]) -> None:
    """The other family goes on."""
    world.a["mx.test"] = [SIX]
    world.host(address=FOUR)
    world.reactor.missing = {"2001:db8::5"}
    world.use(Route("out", Mx(), outgoing=Outgoing(("192.0.2.5",), ("2001:db8::5",))))
    (outcome,) = world.deliver(job())
    assert outcome.verdict is Verdict.DELIVERED


def test_no_address_of_the_family(world: Any, job: Callable[..., Job]) -> None:
    """A host that has only addresses of a family that we do not use is no bounce."""
    world.host(address=SIX)
    world.use(outgoing=Outgoing(families=frozenset({"ipv4"})))
    (outcome,) = world.deliver(job())
    assert (outcome.verdict, outcome.command) == (Verdict.DEFERRED, "DNS")
    assert outcome.text == "mx.test has no address of ipv4, which is all that is used"
    assert world.reactor.dialled == []


def test_family_of_a_literal(world: Any, job: Callable[..., Job]) -> None:
    """An address literal is no way round."""
    world.use(outgoing=Outgoing(families=frozenset({"ipv6"})))
    (outcome,) = world.deliver(job("b@[192.0.2.1]"))
    assert outcome.verdict is Verdict.DEFERRED
    assert world.reactor.dialled == []


REPLIES = [
    (Stage.MAIL, 550, "", True),
    (Stage.MAIL, 554, "5.0.0", True),
    (Stage.MAIL, 550, "5.7.1", True),
    (Stage.MAIL, 553, "5.7.25", True),
    (Stage.MAIL, 550, "5.1.8", False),
    (Stage.MAIL, 552, "5.3.4", False),
    (Stage.MAIL, 501, "", False),
    (Stage.MAIL, 450, "4.7.25", False),
    (Stage.RCPT, 550, "5.7.25", True),
    (Stage.RCPT, 550, "5.7.1", False),
    (Stage.RCPT, 550, "", False),
    (Stage.END_OF_DATA, 550, "5.7.25", True),
    (Stage.END_OF_DATA, 550, "5.7.1", False),
]


@pytest.mark.parametrize(("stage", "code", "enhanced", "expected"), REPLIES)
def test_what_is_about_our_address(stage: Stage, code: int, enhanced: str, expected: bool) -> None:
    """Which refusals may be for the address that we came from."""
    assert about_our_address(Reply(code, enhanced, ("no",)), stage) is expected


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "end_of_data"])
def test_refused_on_one_family(world: Any, job: Callable[..., Job], stage: str) -> None:
    """What IPv6 is refused for, IPv4 may be let in with: no bounce, one delivery."""
    world.host(address=SIX, **{stage: NO_NAME})
    other = world.host(address=FOUR)
    (outcome,) = world.deliver(job())
    assert (outcome.verdict, outcome.peer.address) == (Verdict.DELIVERED, FOUR)
    assert len(other.messages) == 1


def test_greeting_refused_on_one_family(world: Any, job: Callable[..., Job]) -> None:
    """A refusal in the greeting leads to the other family, too."""
    world.host(address=SIX, greeting=b"554 5.7.25 Go away\r\n")
    world.host(address=FOUR)
    (outcome,) = world.deliver(job())
    assert outcome.peer.address == FOUR


def test_refused_on_both(world: Any, job: Callable[..., Job]) -> None:
    """Both families refuse: failed, with the last word, and nobody is asked a third time."""
    world.host(address=SIX, MAIL=b"550 Not you\r\n")
    world.host(address=FOUR, MAIL=b"550 Nor you\r\n")
    (outcome,) = world.deliver(job())
    assert (outcome.verdict, outcome.text) == (Verdict.FAILED, "Nor you")
    assert world.reactor.dialled == [(SIX, 25), (FOUR, 25)]


def test_refused_and_silent(world: Any, job: Callable[..., Job]) -> None:
    """The other family cannot be reached: the refusal stands, for mail must not wait for that."""
    world.host(address=SIX, MAIL=b"550 Not you\r\n")
    world.host(address=FOUR).refuses = True
    (outcome,) = world.deliver(job())
    assert (outcome.verdict, outcome.text) == (Verdict.FAILED, "Not you")


def test_refused_and_deferred(world: Any, job: Callable[..., Job]) -> None:
    """The other family says "later": that counts."""
    world.host(address=SIX, MAIL=NO_NAME)
    world.host(address=FOUR, MAIL=b"450 4.7.1 Greylisted\r\n")
    (outcome,) = world.deliver(job())
    assert (outcome.verdict, outcome.text) == (Verdict.DEFERRED, "Greylisted")


def test_refused_without_another_family(world: Any, job: Callable[..., Job]) -> None:
    """Other addresses of the same family are not asked."""
    world.a["mx.test"] = [FOUR, "192.0.2.2"]
    world.host(address=FOUR, MAIL=b"550 Not you\r\n")
    world.host(address="192.0.2.2")
    (outcome,) = world.deliver(job())
    assert (outcome.verdict, outcome.text) == (Verdict.FAILED, "Not you")
    assert world.reactor.dialled == [(FOUR, 25)]


def test_refused_where_one_family_is_used(world: Any, job: Callable[..., Job]) -> None:
    """With one family alone a refusal is one."""
    world.host(address=SIX)
    world.host(address=FOUR, MAIL=b"550 Not you\r\n")
    world.use(outgoing=Outgoing(families=frozenset({"ipv4"})))
    (outcome,) = world.deliver(job())
    assert outcome.verdict is Verdict.FAILED
    assert world.reactor.dialled == [(FOUR, 25)]


def test_refused_on_a_used_connection(world: Any, job: Callable[..., Job]) -> None:
    """Also a connection that has served before is followed by the other family."""
    world.host(address=SIX, MAIL=[b"250 Ok\r\n", NO_NAME])
    world.host(address=FOUR)
    world.deliver(job())
    (outcome,) = world.deliver(job())
    assert (outcome.verdict, outcome.peer.address) == (Verdict.DELIVERED, FOUR)


def test_some_recipients_refused_for_our_address(world: Any, job: Callable[..., Job]) -> None:
    """Who has been delivered to is left alone; only the others go by the other family."""
    there = world.host(address=SIX, RCPT=lambda line: NO_NAME if b"c@" in line else b"250 Ok\r\n")
    other = world.host(address=FOUR)
    outcomes = world.deliver(job("b@there.test", "c@there.test"))
    assert [one.peer.address for one in outcomes] == [SIX, FOUR]
    assert [len(one[1]) for one in (*there.transactions, *other.transactions)] == [1, 1]


def test_way_of_a_smarthost(world: Any, job: Callable[..., Job]) -> None:
    """A route to a smarthost has a source address as well."""
    world.host("smart.test", FOUR)
    target = Smarthost("smart.test", 25, "none")
    world.use(Route("out", target, outgoing=Outgoing(("192.0.2.9",))))
    world.deliver(job())
    assert world.reactor.bound == ["192.0.2.9"]


def test_a_way_by_family() -> None:
    """An address is dialled from one of its own family."""
    way = Way("192.0.2.5", "", "x.test")
    assert [way.source(FOUR), way.source(SIX)] == ["192.0.2.5", ""]


OURS_FOUR, OURS_SIX = "192.0.2.5", "2001:db8::5"
BOTH = Outgoing((OURS_FOUR,), (OURS_SIX,))


def suspended(job: Job, *sources: str) -> Job:
    """Return ``job`` as the queue gives it out while addresses of ours are suspended."""
    return replace(job, suspended=frozenset(sources))


def test_one_address_of_ours_is_suspended(world: Any, job: Callable[..., Job]) -> None:
    """Mail goes by the family that is left, also past an idle connection."""
    four = world.host(address=FOUR)
    world.host(address=SIX)
    world.use(outgoing=replace(BOTH, prefer="ipv4"))
    world.deliver(job())
    (outcome,) = world.deliver(suspended(job(), OURS_FOUR))
    assert (outcome.verdict, outcome.peer.address) == (Verdict.DELIVERED, SIX)
    assert world.reactor.bound == [OURS_FOUR, OURS_SIX]
    (outcome,) = world.deliver(job())
    assert (outcome.peer.address, outcome.peer.use) == (FOUR, 2)
    assert len(four.messages) == 2


def test_a_host_that_only_a_suspended_address_reaches(world: Any, job: Callable[..., Job]) -> None:
    """Nobody is dialled, and it is said that this was no attempt."""
    world.host(address=FOUR)
    world.use(outgoing=BOTH)
    (outcome,) = world.deliver(suspended(job(), OURS_FOUR))
    assert (outcome.barred, outcome.verdict, outcome.blame) == (
        True, Verdict.DEFERRED, Blame.NONE,
    )  # fmt: skip
    assert outcome.text == "mx.test is not dialled by ipv4, whose source address is suspended"
    assert world.reactor.dialled == []


def test_a_reply_makes_it_an_attempt(world: Any, job: Callable[..., Job]) -> None:
    """One host can only be reached by the suspended address; what the other one says counts."""
    world.mx["there.test"] = ["mx.test", "mx2.test"]
    world.host(address=FOUR)
    world.host("mx2.test", SIX, MAIL=b"450 4.7.1 Later\r\n")
    world.use(outgoing=BOTH)
    (outcome,) = world.deliver(suspended(job(), OURS_FOUR))
    assert (outcome.barred, outcome.text) == (False, "Later")


def test_refused_while_the_other_family_is_closed(world: Any, job: Callable[..., Job]) -> None:
    """A refusal that may be for our address is no bounce while the other one cannot be used."""
    world.host(address=SIX, MAIL=NO_NAME)
    world.host(address=FOUR)
    world.use(outgoing=BOTH)
    (outcome,) = world.deliver(suspended(job(), OURS_FOUR))
    assert (outcome.verdict, outcome.code, outcome.barred) == (Verdict.DEFERRED, 550, False)
    assert world.reactor.dialled == [(SIX, 25)]
    world.a["mx.test"] = [SIX]
    (outcome,) = world.deliver(suspended(job(), OURS_FOUR))
    assert outcome.verdict is Verdict.FAILED  # there is no other way to that host


def test_the_only_open_family_does_not_work(world: Any, job: Callable[..., Job]) -> None:
    """That is no fault of the site's, which others reach by the other family."""
    world.host(address=SIX).refuses = True
    world.host(address=FOUR)
    world.use(outgoing=BOTH)
    (outcome,) = world.deliver(suspended(job(), OURS_FOUR))
    assert (outcome.verdict, outcome.blame, outcome.barred) == (
        Verdict.DEFERRED, Blame.NONE, False,
    )  # fmt: skip


def test_a_smarthost_that_only_a_suspended_address_reaches(
    world: Any, job: Callable[..., Job]
) -> None:
    """It is not taken for dead: the next message of another address goes there."""
    world.host("one.test", FOUR)
    world.host("two.test", "192.0.2.2")
    targets = tuple(
        Smarthost(f"{name}.test", 25, "none", preference=n) for n, name in enumerate(("one", "two"))
    )
    world.use(Route("out", Smarthosts("out", targets)), outgoing=BOTH)
    (outcome,) = world.deliver(suspended(job(), OURS_FOUR))
    assert outcome.barred
    (outcome,) = world.deliver(job())
    assert outcome.peer.host == "one.test"


def test_whether_anybody_was_there(world: Any, job: Callable[..., Job]) -> None:
    """A connection that is refused is an answer, a time-out and a DNS that fails are none."""
    host = world.host()
    host.refuses = True
    assert world.deliver(job())[0].reached is True
    host.refuses, host.silent = False, True
    assert world.deliver(job(), within_s=100)[0].reached is False
    world.a["mx.test"] = DnsTemporary("no answer")
    assert world.deliver(job())[0].reached is False
    world.mx["there.test"] = DnsTemporary("connection refused")
    assert world.deliver(job())[0].reached is False
    world.mx["there.test"] = NullMx("there.test takes no mail")
    assert world.deliver(job())[0].reached is None


def test_a_family_that_is_not_used_says_nothing_of_the_outside(
    world: Any, job: Callable[..., Job]
) -> None:
    """That is the configuration's, not silence."""
    world.host(address=SIX)
    world.use(outgoing=Outgoing(families=frozenset({"ipv4"})))
    assert world.deliver(job())[0].reached is None
