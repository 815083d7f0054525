"""Key derivations off the reactor's thread, bounded in number, each made once.

A pool of our own: Twisted's default pool also serves ``getaddrinfo``, and a storm of guessed
passwords must not stop name look-ups.  What waits is bounded, because each waiting guess is a
connection that somebody else cannot have.  Clients that show the same credentials at the same
moment (a hundred workers of one application starting) share one derivation.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from mta.auth.failures import AuthenticationUnavailable
from mta.auth.passwords import Keys, verify


class Clock(Protocol):
    """What is needed of a reactor here."""

    def seconds(self) -> float:
        """Time in seconds."""

    def callFromThread(self, callable: Callable[..., Any], *args: object, **kwargs: object) -> None:
        """Run ``callable`` in the reactor's thread."""


class Pool(Protocol):
    """What is needed of ``ThreadPool``."""

    def start(self) -> None:
        """Start threads."""

    def stop(self) -> None:
        """Finish what was begun, end the threads."""

    def callInThreadWithCallback(
        self, onResult: Callable[[bool, Any], object] | None, func: Callable[..., Any], *args: Any
    ) -> None:
        """Run ``func`` in a thread, then ``onResult(success, result or Failure)`` there."""


class Derivations:
    """Answers, in time, whether a password made the keys.

    ``threads`` bounds the processors that guessers can keep busy, ``waiting`` the queue.
    """

    def __init__(
        self,
        reactor: Clock,
        *,
        pool: Pool | None = None,
        threads: int = 2,
        waiting: int = 500,
    ) -> None:
        self._reactor = reactor
        self._pool: Pool = pool or ThreadPool(0, threads, name="mta-auth")
        self._waiting = waiting
        self._running: dict[bytes, list[Deferred[bool]]] = {}
        self._stopped = False

    def start(self) -> None:
        """Start the pool; it makes threads when there is work."""
        self._pool.start()

    def stop(self) -> None:
        """End the pool.  Blocks for the derivations that have begun: tens of milliseconds."""
        self._stopped = True
        self._pool.stop()

    def matches(self, fingerprint: bytes, password: str, keys: Keys) -> Deferred[bool]:
        """Tell whether ``password`` made ``keys``; ``fingerprint`` stands for this question.

        Fails with ``AuthenticationUnavailable`` when too many wait already.
        """
        answer: Deferred[bool] = Deferred(partial(self._leave, fingerprint))
        if fingerprint in self._running:
            self._running[fingerprint].append(answer)
        elif self._stopped or len(self._running) >= self._waiting:
            answer.errback(AuthenticationUnavailable("too many log-ins are waiting"))
        else:
            self._running[fingerprint] = [answer]
            self._pool.callInThreadWithCallback(
                partial(self._derived, fingerprint), self._derive, password, keys
            )
        return answer

    def _derive(self, password: str, keys: Keys) -> bool:
        if self._stopped:
            raise AuthenticationUnavailable("the service is stopping")
        return verify(password, keys)

    def _derived(self, fingerprint: bytes, success: bool, result: bool | Failure) -> None:
        self._reactor.callFromThread(self._answer, fingerprint, result)

    def _answer(self, fingerprint: bytes, result: bool | Failure) -> None:
        for answer in self._running.pop(fingerprint):
            if answer.called:  # cancelled by the one before it
                continue
            if isinstance(result, Failure):
                answer.errback(result)
            else:
                answer.callback(result)

    def _leave(self, fingerprint: bytes, answer: Deferred[bool]) -> None:
        """The client has gone; the derivation, which cannot be stopped, answers the others."""
        waiting = self._running.get(fingerprint, [])
        if answer in waiting:
            waiting.remove(answer)
