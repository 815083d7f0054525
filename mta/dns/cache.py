"""Findings kept for their time to live; bounded in number, least recently used go first."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Cache(Generic[T]):
    """A mapping whose entries end by themselves."""

    def __init__(self, clock: Callable[[], float], size: int) -> None:
        """``clock`` returns seconds; ``size`` is a number of entries."""
        self._clock = clock
        self._size = size
        self._entries: OrderedDict[Hashable, tuple[float, T]] = OrderedDict()

    def get(self, key: Hashable) -> tuple[T, float] | None:
        """Return what is kept and the seconds that it still holds, or None."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        until, value = entry
        left = until - self._clock()
        if left <= 0:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return value, left

    def put(self, key: Hashable, value: T, ttl: float) -> None:
        """Keep ``value`` for ``ttl`` seconds; not at all for 0."""
        if ttl <= 0 or self._size <= 0:
            return
        self._entries[key] = (self._clock() + ttl, value)
        self._entries.move_to_end(key)
        while len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def drop(self, key: Hashable) -> None:
        """Forget what is kept for ``key``, if anything is."""
        self._entries.pop(key, None)

    def __len__(self) -> int:
        return len(self._entries)
