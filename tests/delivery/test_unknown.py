"""The line is lost after the final dot: what the route makes of not knowing (RFC 1047)."""

from collections.abc import Callable
from typing import Any

import pytest

from mta.delivery.routes import Lmtp, Mx, OnUnknown, Route
from mta.mail.envelope import Job
from mta.mail.outcome import Blame, Outcome, Verdict
from mta.queue.health import Health, health

POLICIES: list[tuple[OnUnknown, Verdict, str, bool, str]] = [
    ("retry", Verdict.DEFERRED, "4.4.2", False, "the message may be delivered twice"),
    ("hold", Verdict.DEFERRED, "4.4.2", True, "it may have been delivered, and is held"),
    ("delivered", Verdict.DELIVERED, "2.0.0", False, "it counts as delivered"),
]


def facts(outcome: Outcome) -> tuple[Verdict, str, bool]:
    assert outcome.maybe_delivered
    assert (outcome.code, outcome.command, outcome.blame) == (0, "end of data", Blame.SITE)
    return outcome.verdict, outcome.enhanced, outcome.hold


@pytest.mark.parametrize(("policy", "verdict", "enhanced", "hold", "words"), POLICIES)
def test_lost_after_the_dot(
    world: Any,
    job: Callable[..., Job],
    policy: OnUnknown,
    verdict: Verdict,
    enhanced: str,
    hold: bool,
    words: str,
) -> None:
    """SMTP: each policy has its verdict and its words, and no other host is tried."""
    world.host(end_of_data="close")
    world.mx["there.test"] = ["mx.test", "mx2.test"]
    world.host("mx2.test", "192.0.2.2")
    world.use(Route("r", Mx(), on_unknown=policy))
    (outcome,) = world.deliver(job())
    assert facts(outcome) == (verdict, enhanced, hold)
    assert outcome.text == f"the peer closed the connection; lost after the final dot: {words}"
    assert world.reactor.dialled == [("192.0.2.1", 25)]


def test_lmtp(world: Any, job: Callable[..., Job]) -> None:
    """LMTP: only those who have no answer are in doubt."""
    host = world.host("lmtp.test", end_of_data=[b"250 kept\r\n", "close"])
    host.lmtp = True
    world.use(Route("r", Lmtp("lmtp.test", 24), on_unknown="hold"))
    first, second = world.deliver(job("a@l.test", "b@l.test"))
    assert (first.verdict, first.maybe_delivered, first.hold) == (Verdict.DELIVERED, False, False)
    assert facts(second) == (Verdict.DEFERRED, "4.4.2", True)


def test_lost_before_the_dot(world: Any, job: Callable[..., Job]) -> None:
    """Before the dot there is no doubt: it is tried again, whatever the policy."""
    world.host(DATA="close")
    world.use(Route("r", Mx(), on_unknown="delivered"))
    (outcome,) = world.deliver(job())
    assert (outcome.verdict, outcome.maybe_delivered) == (Verdict.DEFERRED, False)


def test_silence_is_a_fault_of_the_site(world: Any, job: Callable[..., Job]) -> None:
    """That it counts as delivered is no sign of the site's health."""
    world.host(end_of_data="stall")
    world.use(Route("r", Mx(), on_unknown="delivered"))
    outcomes = world.deliver(job(), within_s=700)
    assert outcomes[0].verdict is Verdict.DELIVERED
    assert health(outcomes) is Health.BAD
