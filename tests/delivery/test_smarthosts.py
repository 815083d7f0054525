"""Several smarthosts: order, turns, failover, and budgets that are counted."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from mta.delivery.routes import Route, Smarthost, Smarthosts
from mta.delivery.smarthosts import DAY_MS
from mta.gate.counts import Counts
from mta.mail.envelope import Job
from mta.mail.outcome import Verdict

ONE, TWO = "192.0.2.1", "192.0.2.2"


def smarthosts(world: Any, **said: Any) -> list[Any]:
    """Put two smarthosts into the world, and a route to them; ``said`` is of both or by name."""
    hosts = [world.host("one.test", ONE), world.host("two.test", TWO)]
    both = {key: value for key, value in said.items() if key not in ("one", "two")}
    targets = [
        Smarthost(f"{name}.test", 25, "none", **{"preference": n, **both, **said.get(name, {})})
        for n, name in enumerate(("one", "two"))
    ]
    world.use(Route("out", Smarthosts("out", tuple(targets))))
    world.delivery.count_with(Counts())
    return hosts


def deliver(world: Any, job: Callable[..., Job], times: int = 1) -> list[str]:
    """Deliver messages, and return which addresses took them."""
    return [world.deliver(job())[0].peer.address for _ in range(times)]


def test_the_first_takes_all(world: Any, job: Callable[..., Job]) -> None:
    """The preferred one is used as long as it works; one destination for both."""
    smarthosts(world)
    assert deliver(world, job, 3) == [ONE] * 3
    assert world.delivery.destination("a@x.test", "y.test") == "smarthost:out"


def test_equals_share(world: Any, job: Callable[..., Job]) -> None:
    """Those with the same preference have the same number of messages."""
    smarthosts(world, preference=10)
    assert Counter(deliver(world, job, 6)) == {ONE: 3, TWO: 3}


def test_failover(world: Any, job: Callable[..., Job]) -> None:
    """One that is dead is passed over in the attempt, left alone, probed by one, and comes back."""
    first, _ = smarthosts(world)
    first.refuses = True
    assert deliver(world, job) == [TWO]
    dialled = [address for address, _ in world.reactor.dialled]
    assert dialled == [ONE, TWO]
    assert deliver(world, job, 2) == [TWO, TWO]
    assert [address for address, _ in world.reactor.dialled].count(ONE) == 1
    world.reactor.advance(61)
    assert deliver(world, job) == [TWO]
    assert [address for address, _ in world.reactor.dialled].count(ONE) == 2
    first.refuses = False
    world.reactor.advance(61)
    assert deliver(world, job) == [TWO]  # twice as long the second time
    world.reactor.advance(61)
    assert deliver(world, job, 2) == [ONE, ONE]


def test_all_are_dead(world: Any, job: Callable[..., Job]) -> None:
    """If nobody is left they are tried all the same: the queue decides about the route."""
    for host in smarthosts(world):
        host.refuses = True
    for _ in range(2):
        (outcome,) = world.deliver(job())
        assert outcome.verdict is Verdict.DEFERRED
    assert [address for address, _ in world.reactor.dialled] == [ONE, TWO] * 2


def test_a_host_that_cannot_take_a_message_is_not_dead(world: Any, job: Callable[..., Job]) -> None:
    """That a message does not fit is no fault of the host's."""
    smarthosts(world)
    world.reactor.hosts[ONE].ehlo = b"250-one.test\r\n250 SIZE 10\r\n"
    assert deliver(world, job) == [TWO]
    (outcome,) = world.deliver(job(content=b"A: b\r\n"))
    assert outcome.peer.address == ONE


def test_budget_of_a_day(world: Any, job: Callable[..., Job]) -> None:
    """When the first has had its day's messages, the next goes on; then mail waits, with reason."""
    smarthosts(world, one={"per_day": 2}, two={"per_day": 1})
    assert world.delivery.has_budgets
    assert world.delivery.wait("smarthost:out") is None
    assert deliver(world, job, 3) == [ONE, ONE, TWO]
    wait = world.delivery.wait("smarthost:out")
    assert wait.reason == "budget used up: one.test (2 a day), two.test (1 a day)"
    assert 0 < wait.until_ms <= 2 * DAY_MS
    world.wall_ms = wait.until_ms
    assert world.delivery.wait("smarthost:out") is None
    assert world.delivery.wait("smarthost:other") is None


def test_only_what_has_begun_counts(world: Any, job: Callable[..., Job]) -> None:
    """A host that was not reached keeps its budget."""
    first, _ = smarthosts(world, one={"per_day": 1})
    first.refuses = True
    assert deliver(world, job) == [TWO]
    first.refuses = False
    world.reactor.advance(61)
    assert deliver(world, job, 2) == [ONE, TWO]


def test_dead_and_used_up(world: Any, job: Callable[..., Job]) -> None:
    """One has no budget left and the other is dead: mail waits for whoever is first."""
    _, second = smarthosts(world, one={"per_day": 1})
    second.refuses = True
    assert deliver(world, job) == [ONE]
    world.deliver(job())  # finds the second dead
    wait = world.delivery.wait("smarthost:out")
    assert wait.until_ms == 60_000
    assert "one.test (1 a day)" in wait.reason


def test_budget_of_a_second(world: Any, job: Callable[..., Job]) -> None:
    """What is beyond a second's messages goes to the next host, and comes back with the second."""
    smarthosts(world, one={"per_second": 2})
    assert deliver(world, job, 3) == [ONE, ONE, TWO]
    world.reactor.advance(1)
    assert deliver(world, job) == [ONE]


def test_shared_counters(world: Any, job: Callable[..., Job]) -> None:
    """Budgets are counted under the route's and the host's name, where all processes count."""
    smarthosts(world, per_day=10)
    counts = Counts()
    world.delivery.count_with(counts)
    deliver(world, job, 2)
    (count,) = counts.take()
    assert (count.name, count.window_ms, count.amount) == (
        "smarthost:out:one.test:25",
        DAY_MS,
        2,
    )


@pytest.mark.parametrize("limit", [1, 2])
def test_bounds_of_an_attempt(world: Any, job: Callable[..., Job], limit: int) -> None:
    """How many hosts an attempt tries holds for smarthosts as well."""
    for host in smarthosts(world):
        host.refuses = True
    world.use(*world.settings.routes._routes, max_hosts=limit)
    world.deliver(job())
    assert len(world.reactor.dialled) == limit
