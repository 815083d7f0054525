"""What waits for its turn in one place: by class of urgency, and in each class by owner.

* **Urgency** (RFC 6710).  The higher class goes first, but of ten the lower ones get two as
  long as any of them waits.
* **Owners** take turns: one login's hundred thousand messages do not delay another's single
  one.  What one owner has waiting keeps its order.

An owner that has nothing waiting costs nothing.  Pure.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar

from mta.mail.site import Site

_LOWER, _LOWEST = 5, 10  # of so many deliveries one is of the lower, of the lowest class


class Load(Protocol):
    """What waits: anything that knows where it goes, whose it is and how many recipients it has."""

    @property
    def site(self) -> Site:
        """Where it goes."""

    @property
    def destination(self) -> str:
        """Key of the destination, one of those at the site."""

    @property
    def weight(self) -> int:
        """How many recipients it stands for."""

    @property
    def urgency(self) -> int:
        """Its class: 1, 0 or -1."""

    @property
    def owner(self) -> str:
        """Who sends it; "" for our own reports."""


L = TypeVar("L", bound=Load)


class _Class(Generic[L]):
    """One class: a queue for each owner, and the owners in turn."""

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[L]] = OrderedDict()  # in the order of their turns
        self.count = 0  # asked for several times a message, so no method

    def __iter__(self) -> Iterator[L]:
        for queue in self._queues.values():
            yield from queue

    def append(self, item: L) -> None:
        owner = item.owner
        queue = self._queues.get(owner)
        if queue is None:
            queue = self._queues[owner] = deque()
        queue.append(item)
        self.count += 1

    def popleft(self) -> L:
        owner, queue = next(iter(self._queues.items()))
        item = queue.popleft()
        self.count -= 1
        if not queue:
            del self._queues[owner]
        else:
            self._queues.move_to_end(owner)
        return item

    def fill(self, items: Iterable[L]) -> None:
        self._queues.clear()
        self.count = 0
        for item in items:
            self.append(item)


class Ready(Generic[L]):
    """What waits in one place."""

    def __init__(self) -> None:
        """Begin empty."""
        self._classes: tuple[_Class[L], ...] = (_Class(), _Class(), _Class())
        self._taken = 0

    def __len__(self) -> int:
        """Count what waits."""
        return sum(some.count for some in self._classes)

    def __bool__(self) -> bool:
        """Tell whether anything waits."""
        urgent, normal, patient = self._classes
        return bool(normal.count or urgent.count or patient.count)

    def __iter__(self) -> Iterator[L]:
        """Go through all, higher classes first."""
        for some in self._classes:
            yield from some

    @property
    def urgent(self) -> bool:
        """Whether urgent mail waits."""
        return self._classes[0].count > 0

    def append(self, item: L) -> None:
        """Let ``item`` wait behind its equals."""
        self._classes[1 - item.urgency].append(item)

    def popleft(self) -> L:
        """Take what is next."""
        urgent, normal, patient = self._classes
        if not (urgent.count or patient.count):
            return normal.popleft()
        waiting = [some for some in self._classes if some.count]
        if len(waiting) == 1:
            return waiting[0].popleft()
        self._taken += 1
        if self._taken % _LOWEST == 0:
            return waiting[-1].popleft()
        return waiting[1 if self._taken % _LOWER == 0 else 0].popleft()

    def take_out(self, wanted: Callable[[L], bool]) -> list[L]:
        """Take out all that is ``wanted``."""
        out: list[L] = []
        for some in self._classes:
            kept: list[L] = []
            for item in some:
                (out if wanted(item) else kept).append(item)
            if len(kept) < some.count:
                some.fill(kept)
        return out
