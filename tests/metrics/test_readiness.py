"""Ready, and not: the spool answers, is silent, cannot be written; the service stops."""

from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from mta.metrics.readiness import FRESH_S, PATIENCE_S, Readiness
from mta.spool.errors import SpoolUnavailable


class Spool:
    """Answers as it is told, and counts the questions."""

    troubled = False
    room = SimpleNamespace(short=False)

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def read(self, _fn: Any) -> Any:
        return self.answers.pop(0)


def asked(readiness: Readiness) -> list[str]:
    """Ask; the list has the answer when it is there."""
    said: list[str] = []
    Deferred.fromCoroutine(readiness.why_not()).addCallback(said.append)
    return said


def made(*answers: Any, closing: bool = False) -> tuple[Readiness, Clock, Spool]:
    clock, spool = Clock(), Spool(*answers)
    database: Any = spool
    return Readiness(clock, database, lambda: closing), clock, spool


def test_ready_is_remembered_for_a_second() -> None:
    """However many ask, the spool is asked once a second."""
    readiness, clock, spool = made(succeed(True), fail(SpoolUnavailable("gone")))
    assert asked(readiness) == asked(readiness) == [""]
    assert len(spool.answers) == 1
    clock.advance(FRESH_S)
    assert asked(readiness) == ["the spool does not answer"]


def test_a_silent_spool_is_not_waited_for_long() -> None:
    """All who ask meanwhile get one answer, after three seconds."""
    readiness, clock, spool = made(Deferred())
    first, second = asked(readiness), asked(readiness)
    assert first == second == []
    clock.advance(PATIENCE_S)
    assert first == second == ["the spool does not answer"]
    assert spool.answers == []


def test_writes_that_fail_and_the_end() -> None:
    """What can be read alone takes no mail; who stops takes none."""
    readiness, _, spool = made(succeed(True))
    spool.troubled = True
    assert asked(readiness) == ["the spool cannot be written"]
    readiness, _, _ = made(succeed(True), closing=True)
    assert asked(readiness) == ["stopping"]
