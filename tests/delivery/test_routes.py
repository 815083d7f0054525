"""Routes: the first that matches, and what the queue calls where it leads."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mta.delivery.routes import Discard, Mx, Refuse, Route, Routes, Smarthost
from mta.mail.envelope import Job
from mta.mail.outcome import Verdict

SMART = Smarthost("smart.test", 465, login="relay-account", password="hunter2-secret")

CASES = [
    ((), (), "a@x.test", "y.test", True),
    (("y.test",), (), "a@x.test", "y.test", True),
    (("Y.Test",), (), "a@x.test", "y.test", True),
    (("y.test",), (), "a@x.test", "sub.y.test", False),
    ((".y.test",), (), "a@x.test", "sub.y.test", True),
    ((".y.test",), (), "a@x.test", "y.test", False),
    (("*.y.test",), (), "a@x.test", "a.b.y.test", True),
    (("*.y.test",), (), "a@x.test", "noty.test", False),
    (("*",), (), "a@x.test", "y.test", True),
    (("z.test", "y.test"), (), "a@x.test", "y.test", True),
    ((), ("x.test",), "a@X.test", "y.test", True),
    ((), ("x.test",), "a@z.test", "y.test", False),
    ((), ("x.test",), "", "y.test", False),
    ((), ("<>",), "", "y.test", True),
    ((), ("<>",), "a@x.test", "y.test", False),
    (("y.test",), ("x.test",), "a@x.test", "z.test", False),
]


@pytest.mark.parametrize(("recipients", "senders", "sender", "domain", "matches"), CASES)
def test_matching(
    recipients: tuple[str, ...],
    senders: tuple[str, ...],
    sender: str,
    domain: str,
    matches: bool,
) -> None:
    """Patterns of both sides must match; none given is any."""
    route = Route("r", Discard(), recipients, senders)
    chosen = Routes((route,)).choose(sender, domain)
    assert (chosen is route) is matches
    if not matches:
        assert chosen.target == Mx()


def test_first_match_wins() -> None:
    """Order decides, not how narrow a pattern is."""
    first, second = Route("a", Discard()), Route("b", Refuse(), ("y.test",))
    assert Routes((first, second)).choose("", "y.test") is first


def test_destinations() -> None:
    """One key for what one connection can serve."""
    routes = Routes(
        (
            Route("s", SMART, ("s.test",)),
            Route("d", Discard(), ("d.test",)),
            Route("r", Refuse(), ("r.test",)),
        )
    )
    domains = ["s.test", "d.test", "r.test", "m.test"]
    assert [routes.destination("a@x.test", domain) for domain in domains] == [
        "smarthost:s",
        "discard:d",
        "refuse:r",
        "mx:m.test",
    ]


def test_credentials_are_not_shown() -> None:
    """Attack: no representation of a route tells its login or password."""
    shown = repr(Route("s", SMART)) + str(SMART)
    assert "relay-account" not in shown
    assert "hunter2-secret" not in shown


def test_no_credentials_in_the_clear() -> None:
    """Attack: a listener on the wire; login without TLS is refused from the start."""
    with pytest.raises(ValueError, match="without TLS"):
        Smarthost("smart.test", 25, "none", "me", "pw")


def test_discard(world: Any, job: Callable[..., Job]) -> None:
    """Mail to nowhere counts as delivered, and says by which route."""
    world.use(Route("hole", Discard()))
    (outcome,) = world.deliver(job())
    assert (outcome.verdict, outcome.text) == (Verdict.DELIVERED, "discarded by route hole")


def test_refuse(world: Any, job: Callable[..., Job]) -> None:
    """Mail that is not wanted fails with the route's own words."""
    world.use(Route("no", Refuse(553, "5.1.8", "Not this way")))
    (outcome,) = world.deliver(job())
    assert (outcome.verdict, outcome.reply) == (Verdict.FAILED, "553 5.1.8 Not this way")


def test_routes_changed_since_the_job_was_made(world: Any, job: Callable[..., Job]) -> None:
    """Routes are read at every attempt: recipients of one job may go different ways now."""
    host = world.host()
    world.use(
        Route("hole", Discard(), ("gone.test",)),
        Route("smart", Smarthost("mx.test", 25, "none"), ("s.test", "t.test")),
    )
    outcomes = world.deliver(
        job("b@there.test", "b@gone.test", "b@s.test", "b@t.test", "c@there.test")
    )
    assert {outcome.verdict for outcome in outcomes} == {Verdict.DELIVERED}
    assert outcomes[1].text == "discarded by route hole"
    assert sorted(len(rcpts) for _, rcpts in host.transactions) == [2, 2]
    assert world.delivery.destination("a@x.test", "gone.test") == "discard:hole"


def test_a_route_chosen_by_an_operator(world: Any, job: Callable[..., Job]) -> None:
    """The operator's choice comes before the patterns, for that recipient alone."""
    host = world.host()
    world.use(
        Route("drop", Discard(), recipient_domains=("there.test",)),
        Route("other", Mx(port=2526), recipient_domains=("nowhere.test",)),
    )
    made = job("a@there.test", "b@there.test")
    one, two = made.recipients
    made = replace(made, recipients=(one, replace(two, route="other")))
    first, second = world.deliver(made)
    assert (first.text, second.verdict) == ("discarded by route drop", Verdict.DELIVERED)
    assert [port for _, port in world.reactor.dialled] == [2526]
    assert host.transactions[0][1] == [b"RCPT TO:<b@there.test>"]
    routes = world.settings.routes
    assert routes.destination("a@x.test", "there.test") == "discard:drop"
    assert routes.destination("a@x.test", "there.test", "other") == "mx:there.test:2526"
    assert routes.destination("a@x.test", "there.test", "default") == "mx:there.test"


def test_a_chosen_route_that_is_gone(world: Any, job: Callable[..., Job]) -> None:
    """Mail is never sent another way than the operator wanted: it waits, and says for what."""
    world.host()
    made = job("a@there.test")
    made = replace(made, recipients=(replace(made.recipients[0], route="gone"),))
    (outcome,) = world.deliver(made)
    assert (outcome.verdict, outcome.enhanced, outcome.command) == (
        Verdict.DEFERRED, "4.3.5", "route",
    )  # fmt: skip
    assert outcome.text == "route gone, which an operator chose, is not in the configuration"
    assert world.reactor.dialled == []
    assert world.settings.routes.destination("a@x.test", "there.test", "gone") == "missing:gone"
