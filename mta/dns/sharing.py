"""Many who ask for the same thing at the same moment, one who goes and looks."""

from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


class Sharing(Generic[T]):
    """Work in progress, by key; its result goes to everybody who waits for it.

    Somebody who cancels only leaves; the work itself is cancelled when nobody is left.
    """

    def __init__(self) -> None:
        self._going: dict[Hashable, _Errand[T]] = {}

    def join(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> Deferred[T]:
        """Return the result of the work going on under ``key``, starting it if need be."""
        errand = self._going.get(key)
        if errand is not None:
            return errand.wait()
        errand = self._going[key] = _Errand(lambda: self._going.pop(key, None))
        waiting = errand.wait()
        errand.start(work())
        return waiting

    def __len__(self) -> int:
        return len(self._going)


class _Errand(Generic[T]):
    def __init__(self, over: Callable[[], object]) -> None:
        self._over = over
        self._waiting: list[Deferred[T]] = []
        self._work: Deferred[T] | None = None

    def start(self, work: Coroutine[Any, Any, T]) -> None:
        self._work = Deferred.fromCoroutine(work)
        self._work.addBoth(self._finished)

    def wait(self) -> Deferred[T]:
        waiting: Deferred[T] = Deferred(self._leave)
        self._waiting.append(waiting)
        return waiting

    def _leave(self, waiting: Deferred[T]) -> None:
        self._waiting.remove(waiting)
        if not self._waiting and self._work is not None:
            self._over()
            self._work.cancel()

    def _finished(self, result: T | Failure) -> None:
        self._over()
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(result)  # a Failure here is an errback
