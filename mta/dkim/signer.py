"""The door through which the service has mail signed: off the reactor's thread.

An RSA signature of 2048 bits takes most of a millisecond.  A thread of our own makes them;
OpenSSL works without Python's lock, so the reactor goes on meanwhile (measured:
``docs/decisions/0005-dkim-thread.rst``).  All messages that wait at the same moment go over
together, and come back with one call.
"""

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from mta.dkim.rules import Rules
from mta.dkim.sign import Signing

_TOGETHER = 16  # messages that go over at the same time


class SigningStopped(Exception):
    """The service is stopping: nothing is signed any more."""


class Threads(Protocol):
    """What is needed of a reactor here."""

    def callFromThread(self, callable: Callable[..., Any], *args: object, **kwargs: object) -> None:
        """Run ``callable`` in the reactor's thread."""


class Pool(Protocol):
    """What is needed of ``ThreadPool``."""

    def start(self) -> None:
        """Start threads."""

    def stop(self) -> None:
        """Finish what was begun, end the threads."""

    def callInThread(self, func: Callable[..., object], *args: object, **kw: object) -> None:
        """Run ``func`` in a thread."""


class Signer:
    """Made once; ``rules`` is replaced by a reload."""

    def __init__(self, reactor: Threads, rules: Rules, pool: Pool | None = None) -> None:
        self.rules = rules
        self._reactor = reactor
        self._pool: Pool = pool or ThreadPool(0, 1, name="mta-dkim")
        self._waiting: list[tuple[Signing, Deferred[bytes]]] = []
        self._busy = False
        self._stopped = False

    def start(self) -> None:
        """Start the pool; it makes its thread when there is work."""
        self._pool.start()

    def stop(self) -> None:
        """End the thread.  Blocks for the signatures that it is making: milliseconds."""
        self._stopped = True
        self._pool.stop()
        waiting, self._waiting = self._waiting, []
        for _, signed in waiting:
            if not signed.called:
                signed.errback(SigningStopped("the service is stopping"))

    def sign(self, signing: Signing) -> Deferred[bytes]:
        """Return the fields to put on top; fails with ``SigningStopped``."""
        signed: Deferred[bytes] = Deferred()
        if self._stopped:
            signed.errback(SigningStopped("the service is stopping"))
            return signed
        self._waiting.append((signing, signed))
        if not self._busy:
            self._send()
        return signed

    def _send(self) -> None:
        some, self._waiting = self._waiting[:_TOGETHER], self._waiting[_TOGETHER:]
        self._busy = True
        self._pool.callInThread(self._work, some)

    def _work(self, some: list[tuple[Signing, "Deferred[bytes]"]]) -> None:
        results = [(signed, _result(signing)) for signing, signed in some]
        self._reactor.callFromThread(self._answer, results)

    def _answer(self, results: list[tuple["Deferred[bytes]", bytes | Failure]]) -> None:
        self._busy = False
        if self._waiting:
            self._send()
        for signed, result in results:
            if signed.called:  # cancelled by whoever waited
                continue
            if isinstance(result, Failure):
                signed.errback(result)
            else:
                signed.callback(result)


def _result(signing: Signing) -> bytes | Failure:
    try:
        return signing.finish()
    except Exception:
        return Failure()
