"""Who may be dialled now: a queue, a window and a state of health for each destination.

Pure: the clock comes in as seconds of a monotonic clock, and nothing here does I/O.

* **Slow start.**  A destination begins with a window of ``initial`` deliveries at the
  same time; each success adds one up to ``concurrency``, each fault *of the site* halves
  it.  What a site says about a message or a recipient is a sign of health.
* **Dead.**  After ``dead_after`` site faults with no success between them a destination
  is dead, at first for ``dead_min_s``, doubling up to ``dead_max_s``.  Its mail goes back to the
  spool undialled until then; after that one delivery goes first (the probe), and a
  success revives the destination while another fault kills it for longer.
* **Share.**  A destination has at most ``share`` recipients in memory, and no more than would
  still find room: four slow sites with a quarter each would be the whole set.  What comes beyond
  it goes back to the spool, and its domain is named as ``saturated`` (not wanted from the spool)
  until half of it is gone.  At most ``_DOMAINS`` are remembered (a smarthost may have
  thousands); mail of further ones goes back for about the time that the destination needs
  for half of its share, so that a huge backlog is not read over and over.
* **Urgency** (RFC 6710).  At a destination the higher class goes first, but of ten deliveries
  the lower ones get two as long as any of them waits.  A destination with urgent mail is next
  in turn, and takes a quarter more of it than its share.
* **Fairness.**  Destinations take turns.  Of ``total`` deliveries a destination may only
  have as many as are still free (dynamic threshold): ten slow destinations cannot use up all
  of them, and one that has nothing running always finds a place as long as there is one.
  A delivery that has lasted for ``_SLOW_S`` gives its place away and goes on beside them (at
  most ``_SLOW_FACTOR`` times ``total`` do): a peer may take minutes for each step (RFC 5321
  §4.5.3.2), and hundreds of peers that do must not stop the mail to everybody else.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Generic, Protocol, TypeVar

from mta.mail.outcome import Blame, Outcome, Verdict

PUT_OFF_MIN_S = 1.0
PUT_OFF_MAX_S = 900.0
_DOMAINS = 500
_SCAN = 32  # destinations looked at for one place, so that a turn is cheap with thousands waiting
_LOWER, _LOWEST = 5, 10  # of so many deliveries one is of the lower, of the lowest class
_IDLE_S = 60.0  # a healthy destination is forgotten after so long
_SLOW_S = 10.0  # nearly every delivery takes less
_SLOW_FACTOR = 4
_REMEMBERED = 20_000  # destinations with nothing to do that are remembered ill of


@dataclass(frozen=True, slots=True)
class Limits:
    """How hard to work.  Counts of deliveries at the same time; ``share`` in recipients."""

    initial: int = 5
    concurrency: int = 20  # per destination
    total: int = 200
    share: int = 5_000
    dead_after: int = 5
    dead_min_s: float = 60.0
    dead_max_s: float = 900.0


class Load(Protocol):
    """What waits here: anything that knows where it goes and how many recipients it has."""

    @property
    def destination(self) -> str:
        """Key of the destination."""

    @property
    def weight(self) -> int:
        """How many recipients it stands for."""

    @property
    def urgency(self) -> int:
        """Its class: 1, 0 or -1."""


L = TypeVar("L", bound=Load)


class Health(Enum):
    """What an attempt has shown about the site."""

    GOOD = "good"
    BAD = "bad"
    UNKNOWN = "unknown"


def health(outcomes: list[Outcome]) -> Health:
    """Judge the site by the outcomes of one attempt.

    A site that refuses for good (a 554 greeting) is not slowed down: each of its
    messages is settled by one attempt, and waiting would only delay the report.
    """
    bad = spoke = False
    for outcome in outcomes:
        if outcome.verdict is Verdict.DELIVERED:
            return Health.GOOD
        bad = bad or (outcome.blame is Blame.SITE and outcome.verdict is Verdict.DEFERRED)
        spoke = spoke or outcome.blame in (Blame.MESSAGE, Blame.RECIPIENT)
    if bad:
        return Health.BAD
    return Health.GOOD if spoke else Health.UNKNOWN


class Ready(Generic[L]):
    """What waits at one destination, by class."""

    def __init__(self) -> None:
        """Begin empty."""
        self._classes: tuple[deque[L], ...] = (deque(), deque(), deque())
        self._taken = 0

    def __bool__(self) -> bool:
        """Tell whether anything waits."""
        return bool(self._classes[1] or self._classes[0] or self._classes[2])

    def __len__(self) -> int:
        """Count what waits."""
        return sum(map(len, self._classes))

    def __iter__(self) -> Iterator[L]:
        """Go through all, higher classes first."""
        for some in self._classes:
            yield from some

    @property
    def urgent(self) -> bool:
        """Whether urgent mail waits."""
        return bool(self._classes[0])

    def append(self, item: L) -> None:
        """Let ``item`` wait behind its equals."""
        self._classes[1 - item.urgency].append(item)

    def popleft(self) -> L:
        """Take what is next."""
        urgent, normal, patient = self._classes
        if not urgent and not patient:
            return normal.popleft()
        waiting = [some for some in self._classes if some]
        if len(waiting) == 1:
            return waiting[0].popleft()
        self._taken += 1
        if self._taken % _LOWEST == 0:
            return waiting[-1].popleft()
        return waiting[1 if self._taken % _LOWER == 0 else 0].popleft()

    def take_out(self, wanted: Callable[[L], bool]) -> list[L]:
        """Take out all that is ``wanted``."""
        out = [item for item in self if wanted(item)]
        if out:
            self._classes = tuple(
                deque(item for item in some if not wanted(item)) for some in self._classes
            )
        return out


@dataclass(slots=True, eq=False)
class Destination(Generic[L]):
    """One destination: its queue, its window and its health."""

    key: str
    window: int
    ready: Ready[L] = field(default_factory=Ready)
    running: int = 0
    load: int = 0  # recipients ready and running
    faults: int = 0  # of the site, since its last success
    deaths: int = 0  # since its last success
    dead_until_s: float = 0.0
    full_since_s: float | None = None
    full_at: int = 0  # its load when it became full
    done: int = 0  # recipients settled since then
    used_s: float = 0.0
    in_turn: bool = False
    domains: set[str] = field(default_factory=set)  # that were put off while it was full
    why: str = ""  # its last fault, in words

    def dead(self, now_s: float) -> bool:
        """Whether nothing is to be dialled now."""
        return now_s < self.dead_until_s


@dataclass(frozen=True, slots=True)
class PutOff:
    """Why a delivery cannot wait in memory, and for how long it should not come back."""

    wait_s: float
    why: str  # the last fault of a dead site; "" for a full one


class Destinations(Generic[L]):
    """All destinations that have something to do, or that we remember ill of."""

    def __init__(self, limits: Limits) -> None:
        """Start with nothing known."""
        self.limits = limits
        self.relieved = False  # set when a full destination has room again; for the owner to reset
        self._remembered = 0
        self._known: dict[str, Destination[L]] = {}
        self._turn: deque[Destination[L]] = deque()
        self._placed: OrderedDict[L, float] = OrderedDict()  # since when; the oldest first
        self._slow: set[L] = set()

    @property
    def running(self) -> int:
        """How many of the ``total`` places are taken."""
        return len(self._placed)

    def __len__(self) -> int:
        """Count the destinations known."""
        return len(self._known)

    def revive(self) -> None:
        """Let every dead destination be probed at once: somebody has asked for it."""
        for here in self._known.values():
            here.dead_until_s = 0.0

    def get(self, key: str) -> Destination[L] | None:
        """Return what is known of ``key``."""
        return self._known.get(key)

    def admit(self, item: L, now_s: float, domain: str, free: int | None = None) -> PutOff | None:
        """Let ``item`` wait for its turn, or say why it must go back to the spool.

        ``domain`` is the recipients' domain: a full destination remembers what it put off,
        so that ``saturated`` can name it to the claiming of further mail.  ``free`` is for how
        many recipients there is room in memory beside ``item``.
        """
        here = self._known.get(item.destination)
        if here is None:
            window = min(self.limits.initial, self.limits.concurrency)
            here = Destination(item.destination, window)
            self._known[here.key] = here
        here.used_s = now_s
        if here.dead(now_s):
            return PutOff(here.dead_until_s - now_s, here.why)
        share = self._urgent_share if item.urgency > 0 else self.limits.share
        if here.load and here.load + item.weight > (share if free is None else min(share, free)):
            put_off = self._full(here, now_s, domain)
            # Urgent mail is asked for again before the rest: not at once
            return replace(put_off, wait_s=PUT_OFF_MIN_S) if item.urgency > 0 else put_off
        here.load += item.weight
        here.ready.append(item)
        if item.urgency > 0:
            self._hurry(here)
        self._line_up(here)
        return None

    @property
    def _urgent_share(self) -> int:
        return self.limits.share + self.limits.share // 4

    def _hurry(self, here: Destination[L]) -> None:
        """Let ``here`` be next in turn."""
        if here.in_turn:
            self._turn.remove(here)
            self._turn.appendleft(here)

    def _full(self, here: Destination[L], now_s: float, domain: str) -> PutOff:
        if here.full_since_s is None:
            here.full_since_s = now_s
            here.full_at = min(here.load, self.limits.share)
            here.done = 0
        if domain in here.domains:
            return PutOff(0.0, "")
        if self._remembered < _DOMAINS:
            self._remembered += 1
            here.domains.add(domain)
            return PutOff(0.0, "")
        full_s = now_s - here.full_since_s
        wait_s = here.load / 2 * full_s / here.done if here.done else max(full_s, 30.0)
        return PutOff(min(max(wait_s, PUT_OFF_MIN_S), PUT_OFF_MAX_S), "")

    def _line_up(self, here: Destination[L]) -> None:
        if not here.in_turn and here.ready and here.running < here.window:
            here.in_turn = True
            if here.running and not here.ready.urgent:
                self._turn.append(here)
            else:
                self._turn.appendleft(here)

    def next(self, now_s: float) -> L | None:
        """Take what is to be dialled next; ``finished`` must follow."""
        self._make_room(now_s)
        turn = self._turn
        free = self.limits.total - self.running
        if free <= 0:
            return None
        for _ in range(min(len(turn), _SCAN)):
            here = turn.popleft()
            here.in_turn = False
            if not here.ready or here.running >= here.window:
                continue
            if here.running >= max(1, free):
                here.in_turn = True
                turn.append(here)
                continue
            item = here.ready.popleft()
            here.running += 1
            self._placed[item] = now_s
            self._line_up(here)
            return item
        return None

    def _make_room(self, now_s: float) -> None:
        """Take their places from the deliveries that last long."""
        while self._placed and len(self._slow) < _SLOW_FACTOR * self.limits.total:
            item, since_s = next(iter(self._placed.items()))
            if now_s - since_s < _SLOW_S:
                return
            del self._placed[item]
            self._slow.add(item)

    def finished(
        self, item: L, state: Health, now_s: float, why: str = ""
    ) -> tuple[list[L], PutOff | None]:
        """Note how a delivery has ended; return what must go back because the site is dead."""
        here = self._known[item.destination]
        here.running -= 1
        if self._placed.pop(item, None) is None:
            self._slow.discard(item)
        here.used_s = now_s
        here.done += item.weight
        self._lighten(here, item.weight)
        if state is Health.GOOD:
            here.faults = here.deaths = 0
            here.dead_until_s = 0.0
            here.why = ""
            here.window = min(here.window + 1, self.limits.concurrency)
        elif state is Health.BAD and not here.dead(now_s):
            here.why = why
            self._fault(here, now_s)
        if here.dead(now_s):
            return self._drain(here), PutOff(here.dead_until_s - now_s, here.why)
        self._line_up(here)
        return [], None

    def _fault(self, here: Destination[L], now_s: float) -> None:
        here.faults += 1
        here.window = max(1, here.window // 2)
        if here.faults >= self.limits.dead_after:
            wait = min(self.limits.dead_min_s * 2**here.deaths, self.limits.dead_max_s)
            here.deaths = min(here.deaths + 1, 30)
            here.window = 1
            here.dead_until_s = now_s + wait

    def _drain(self, here: Destination[L]) -> list[L]:
        items = here.ready.take_out(lambda _item: True)
        self._lighten(here, sum(item.weight for item in items))
        return items

    def _lighten(self, here: Destination[L], weight: int) -> None:
        here.load -= weight
        if here.full_since_s is not None and here.load * 2 <= here.full_at:
            here.full_since_s = None
            self._remembered -= len(here.domains)
            here.domains.clear()
            self.relieved = True

    def withdraw(self, wanted: Callable[[L], bool]) -> list[L]:
        """Take out what waits for its turn and is ``wanted``; nothing that is running."""
        taken: list[L] = []
        for here in self._known.values():
            out = here.ready.take_out(wanted)
            if out:
                self._lighten(here, sum(item.weight for item in out))
                taken += out
        return taken

    def saturated(self, *, urgent: bool = False) -> list[str]:
        """Name the domains whose mail, or urgent mail, is not to be read from the spool now."""
        least = self._urgent_share if urgent else 0
        return [
            domain
            for here in self._known.values()
            if here.full_since_s is not None and here.load >= least
            for domain in here.domains
        ]

    def tidy(self, now_s: float) -> None:
        """Forget destinations that have nothing to do and nothing held against them."""
        keep_s = max(_IDLE_S, 2 * self.limits.dead_max_s)
        self._known = {
            key: here
            for key, here in self._known.items()
            if here.load or now_s - here.used_s < (keep_s if here.faults else _IDLE_S)
        }
        idle = sorted((h.used_s, key) for key, h in self._known.items() if not h.load)
        for _, key in idle[: max(0, len(idle) - _REMEMBERED)]:
            del self._known[key]
