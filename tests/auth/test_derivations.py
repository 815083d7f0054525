"""The derivation pool: shared questions, a bound, cancellation, and stopping."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mta.auth.derivations import AuthenticationUnavailable, Derivations
from mta.auth.passwords import new_keys

KEYS = new_keys("pencil", iterations=10)


class Reactor(Clock):
    """A clock whose reactor thread is this one."""

    def callFromThread(self, callable: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        callable(*args, **kwargs)


class PumpedPool:
    """A pool whose work is done when the test says so."""

    def __init__(self) -> None:
        self.work: list[tuple[Any, ...]] = []

    def start(self) -> None:
        pass

    def stop(self) -> None:
        self.pump()

    def callInThreadWithCallback(self, onResult: Any, func: Any, *args: Any) -> None:
        self.work.append((onResult, func, *args))

    def pump(self) -> None:
        while self.work:
            done, func, *args = self.work.pop(0)
            try:
                done(True, func(*args))
            except Exception:
                done(False, Failure())


class DerivationsTests(SynchronousTestCase):
    """One pool, pumped by hand."""

    def setUp(self) -> None:
        self.pool = PumpedPool()
        self.derivations = Derivations(Reactor(), pool=self.pool, waiting=2)

    def test_answers(self) -> None:
        """Right and wrong are told apart."""
        right = self.derivations.matches(b"1", "pencil", KEYS)
        wrong = self.derivations.matches(b"2", "pen", KEYS)
        self.pool.pump()

        self.assertIs(self.successResultOf(right), True)
        self.assertIs(self.successResultOf(wrong), False)

    def test_the_same_question_is_derived_once(self) -> None:
        """A hundred workers that log in at once cost one derivation."""
        answers = [self.derivations.matches(b"1", "pencil", KEYS) for _ in range(100)]
        self.assertEqual(len(self.pool.work), 1)
        self.pool.pump()

        self.assertEqual([self.successResultOf(answer) for answer in answers], [True] * 100)

    def test_a_storm_of_guesses_is_refused_as_temporary(self) -> None:
        """Attack: guesses faster than they can be derived must not pile up."""
        self.derivations.matches(b"1", "a", KEYS)
        self.derivations.matches(b"2", "b", KEYS)
        third = self.derivations.matches(b"3", "c", KEYS)

        self.failureResultOf(third, AuthenticationUnavailable)
        self.pool.pump()
        fourth = self.derivations.matches(b"4", "pencil", KEYS)
        self.pool.pump()
        self.assertIs(self.successResultOf(fourth), True)

    def test_a_client_that_leaves_takes_nobody_with_it(self) -> None:
        """Cancelling one question leaves the other that shares its derivation, even midway."""
        leaving, staying, late = (self.derivations.matches(b"1", "pencil", KEYS) for _ in range(3))
        leaving.cancel()
        staying.addCallback(lambda result: late.cancel() or result)
        self.pool.pump()

        self.failureResultOf(leaving, CancelledError)
        self.failureResultOf(late, CancelledError)
        self.assertIs(self.successResultOf(staying), True)

    def test_stopping_derives_no_more(self) -> None:
        """What waits when the service stops is answered as temporary, quickly."""
        waiting = self.derivations.matches(b"1", "pencil", KEYS)
        self.derivations.stop()

        self.failureResultOf(waiting, AuthenticationUnavailable)
        self.failureResultOf(
            self.derivations.matches(b"2", "pencil", KEYS), AuthenticationUnavailable
        )
