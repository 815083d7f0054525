"""Who may be dialled now: ready queues by site, and which site is next.

Pure: the clock comes in as seconds of a monotonic clock, and nothing here does I/O.

* **Turns.**  Sites take turns, in three lines: those that have answered, those of which nothing is
  known, and, behind both, those that have shown nothing but faults and further deliveries to
  those that have not answered yet.  The first two alternate.  The third gets places while
  strangers have less than a quarter of them, and a stranger that has been silent for longer than
  deliveries last gets nothing more until that has ended: ten thousand domains that are silent
  for ever hold up nobody who answers.
* **Fairness.**  Of ``total`` places a site may only have as many as are still free (dynamic
  threshold): ten slow sites cannot use up all of them, and one that has nothing running
  always finds a place as long as there is one.  ``places`` says who gives its place away.
* **Share.**  A site has at most ``share`` recipients in memory, and no more than would still
  find room: four slow sites with a quarter each would be the whole set.  What comes beyond goes
  back to the spool (``backlog``), and so does all that is for a dead site.  Where a site is several
  because our addresses are told apart, a full one does not keep mail for another from being read.
* **Pace.**  A site with a rate (``pace``) that is used up waits beside the lines until it may go
  on; ``wake_s`` says when somebody has to call ``next`` for it.
* **Urgency** (RFC 6710).  A site with urgent mail is next in turn.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush
from typing import Generic, TypeAlias

from mta.mail.site import Site
from mta.queue.backlog import PUT_OFF_MIN_S
from mta.queue.health import Health
from mta.queue.limits import Limits
from mta.queue.pace import Pace
from mta.queue.places import Places
from mta.queue.ready import L
from mta.queue.site_queue import SiteQueue

_MOST_DOMAINS = 500  # named to the spool as not wanted
_SCAN = 32  # sites looked at for one place, so that a turn is cheap with thousands waiting
_IDLE_S = 60.0  # a healthy site begins slowly again after so long
_FORGET_S = 900.0  # and is forgotten after so long
_REMEMBERED = 20_000  # sites with nothing to do that are remembered

Line: TypeAlias = OrderedDict[SiteQueue[L], None]


@dataclass(frozen=True, slots=True)
class PutOff:
    """Why a delivery cannot wait in memory, and for how long it should not come back."""

    wait_s: float
    why: str  # the last fault of a dead site; "" for a full one


class Sites(Generic[L]):
    """All sites that have something to do, or that we remember."""

    def __init__(self, limits: Limits) -> None:
        """Start with nothing known."""
        self._limits = limits
        self.relieved = False  # set when a full site has room again; for the owner to reset
        self._named = 0  # domains that full sites remember
        self._known: dict[str, SiteQueue[L]] = {}
        self._answering: Line[L] = OrderedDict()
        self._new: Line[L] = OrderedDict()
        self._patient: Line[L] = OrderedDict()
        self._paced: list[tuple[float, int, SiteQueue[L]]] = []  # a heap: until when
        self._levels: dict[str, int] = {}  # of those that are slowed down
        self._apart: set[str] = set()  # keys of sites that are several, by our addresses
        self._new_first = False
        self._places: Places[L] = Places(limits.total)
        self._dead_until_s = 0.0  # from then on none is

    @property
    def limits(self) -> Limits:
        """How hard to work; may be replaced at any time."""
        return self._limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._limits = limits
        self._places.total = limits.total
        for here in self._known.values():
            here.window = min(here.window, here.most(limits))
            self._line_up(here)

    @property
    def running(self) -> int:
        """How many of the ``total`` places are taken."""
        return self._places.taken

    def __len__(self) -> int:
        """Count the sites known."""
        return len(self._known)

    def __iter__(self) -> Iterator[SiteQueue[L]]:
        """Go through the sites known."""
        return iter(self._known.values())

    def revive(self) -> None:
        """Let every dead site be probed at once: somebody has asked for it."""
        for here in self._known.values():
            here.dead_until_s = 0.0

    def slow_down(self, levels: Mapping[str, int]) -> None:
        """Let sites, by their keys, be slow; all others are as fast as they may be."""
        if not (levels or self._levels):
            return
        for key in levels.keys() | self._levels.keys():
            here = self._known.get(key)
            if here is not None and here.slowness != levels.get(key, 0):
                here.slowness = levels.get(key, 0)
                self._reshape(here, here.site)
        self._levels = dict(levels)

    def get(self, key: str) -> SiteQueue[L] | None:
        """Return what is known of the site ``key``."""
        return self._known.get(key)

    def dead_for_s(self, site: Site, now_s: float) -> float:
        """For how long nothing is dialled at ``site`` because it is dead; 0: it is not."""
        here = self._known.get(site.key)
        if here is None or not here.dead(now_s):
            return 0.0
        here.used_s = now_s
        return here.dead_until_s - now_s

    def some_dead(self, now_s: float) -> bool:
        """Whether any site may be dead; cheap."""
        return now_s < self._dead_until_s

    def admit(self, item: L, now_s: float, domain: str, free: int | None = None) -> PutOff | None:
        """Let ``item`` wait for its turn, or say why it must go back to the spool.

        ``domain`` is the recipients' domain: a full site remembers what it put off,
        so that ``saturated`` can name it to the claiming of further mail.  ``free`` is for how
        many recipients there is room in memory beside ``item``.
        """
        here = self._known.get(item.site.key)
        if here is None:
            window = min(self._limits.initial, self._limits.concurrency)
            here = self._known[item.site.key] = SiteQueue(item.site, window)
            here.slowness = self._levels.get(item.site.key, 0)
            here.reshape(item.site, self._limits)
            if item.site.sources:
                self._set_apart(item.site.base)
        elif here.site is not item.site and here.site != item.site:
            self._reshape(here, item.site)
        here.used_s = now_s
        if here.dead(now_s):
            return PutOff(here.dead_until_s - now_s, here.why)
        if here.load and here.load + item.weight > here.share(item, self._limits, free):
            put_off = self._full(here, item, now_s, domain)
            # Urgent mail is asked for again before the rest: not at once
            return replace(put_off, wait_s=PUT_OFF_MIN_S) if item.urgency > 0 else put_off
        here.append(item)
        self._line_up(here)
        if item.urgency > 0 and here.line is not None:
            here.line.move_to_end(here, last=False)
        return None

    def _reshape(self, here: SiteQueue[L], site: Site) -> None:
        """Something else is said of the site now: another pace does not wait for the old one."""
        here.reshape(site, self._limits)
        if here.paced:
            here.paced = False
            self._paced = [entry for entry in self._paced if entry[2] is not here]
            heapify(self._paced)
        self._line_up(here)

    def _set_apart(self, base: str) -> None:
        """A site is several now: a domain whose mail fills one is still wanted at the others."""
        self._apart.add(base)
        here = self._known.get(base)
        if here is not None and here.backlog.domains:
            self._named -= here.backlog.unname()
            self.relieved = True

    def _full(self, here: SiteQueue[L], item: L, now_s: float, domain: str) -> PutOff:
        backlog = here.backlog
        backlog.overflow(now_s, self._limits.share)
        if domain in backlog.domains:
            return PutOff(0.0, "")
        if self._named < _MOST_DOMAINS and here.site.base not in self._apart:
            self._named += 1
            backlog.domains.add(domain)
            return PutOff(0.0, "")
        return PutOff(backlog.postpone(now_s, item.weight), "")

    def _line_up(self, here: SiteQueue[L]) -> None:
        """Put ``here`` into the line where it belongs now, or into none."""
        line: Line[L] | None = None
        if here.ready and here.running < here.window and not (here.paced or here.mute):
            if here.answered:
                line = self._answering
            else:
                line = self._patient if here.suspect or here.running else self._new
        if here.line is line:
            return
        if here.line is not None:
            del here.line[here]
        here.line = line
        if line is not None:
            line[here] = None
            if here.ready.urgent or (here.answered and not here.running):
                line.move_to_end(here, last=False)

    def next(self, now_s: float) -> L | None:
        """Take what is to be dialled next; ``finished`` must follow."""
        places = self._places
        for slow in places.make_room(now_s):
            here = self._known[slow.site.key]
            here.silent.add(slow)
            self._line_up(here)
        while self._paced and self._paced[0][0] <= now_s:
            here = heappop(self._paced)[2]
            here.paced = False
            self._line_up(here)
        if places.free <= 0:
            return None
        item = self._of_first_lines(now_s)
        room = min(places.free_for_strangers, max(1, self._limits.total // 4) - places.strangers)
        if item is None and self._patient and room > 0:
            item = self._of_line(self._patient, now_s)
        return item

    def _of_first_lines(self, now_s: float) -> L | None:
        new = self._new if self._places.free_for_strangers > 0 else None
        first, second = (new, self._answering) if self._new_first else (self._answering, new)
        item = self._of_line(first, now_s) if first else None
        if item is None and second:
            item = self._of_line(second, now_s)
        if item is not None:
            self._new_first = self._known[item.site.key].answered
        return item

    def _of_line(self, line: Line[L], now_s: float) -> L | None:
        free = self._places.free
        for _ in range(min(len(line), _SCAN)):
            here = next(iter(line))
            if here.running >= max(1, free):
                line.move_to_end(here)
                continue
            del line[here]
            here.line = None
            if here.pace is not None and not self._keeps_pace(here, here.pace, now_s):
                continue
            item = here.take()
            self._places.take(item, now_s, stranger=not here.answered)
            self._line_up(here)
            return item
        return None

    def _keeps_pace(self, here: SiteQueue[L], pace: Pace, now_s: float) -> bool:
        """Count a delivery that begins, or let ``here`` wait until one may."""
        wait_s = pace.wait_s(now_s)
        if wait_s <= 0:
            pace.take(now_s)
            return True
        here.paced = True
        heappush(self._paced, (now_s + wait_s, id(here), here))
        return False

    @property
    def wake_s(self) -> float | None:
        """When a site's pace lets it go on; None: nobody waits for that."""
        return self._paced[0][0] if self._paced else None

    def finished(
        self, item: L, state: Health, now_s: float, why: str = ""
    ) -> tuple[list[L], PutOff | None]:
        """Note how a delivery has ended; return what must go back because the site is dead."""
        here = self._known[item.site.key]
        self._places.leave(item, now_s, good=state is Health.GOOD)
        here.ended(item, state, now_s, why, self._limits)
        self._let_go(here, [item])
        drained: list[L] = []
        put_off = None
        if here.dead(now_s):
            drained = here.ready.take_out(lambda _item: True)
            self._let_go(here, drained)
            self._dead_until_s = max(self._dead_until_s, here.dead_until_s)
            put_off = PutOff(here.dead_until_s - now_s, here.why)
        self._line_up(here)
        return drained, put_off

    def _let_go(self, here: SiteQueue[L], items: list[L]) -> None:
        for item in items:
            released = here.let_go(item)
            if released is not None:
                self._named -= released
                self.relieved = True

    def withdraw(self, wanted: Callable[[L], bool]) -> list[L]:
        """Take out what waits for its turn and is ``wanted``; nothing that is running."""
        taken: list[L] = []
        for here in self._known.values():
            out = here.ready.take_out(wanted)
            if out:
                self._let_go(here, out)
                self._line_up(here)
                taken += out
        return taken

    def saturated(self, *, urgent: bool = False) -> list[str]:
        """Name the domains whose mail, or urgent mail, is not to be read from the spool now."""
        share = self._limits.share
        least = share + share // 4 if urgent else 0
        return [
            domain
            for here in self._known.values()
            if here.backlog.full_since_s is not None and here.load >= least
            for domain in here.backlog.domains
        ]

    def tidy(self, now_s: float) -> None:
        """Forget sites that have nothing to do, the healthy ones first."""
        known = {}
        for key, here in self._known.items():
            idle_s = 0.0 if here.load or here.paced else now_s - here.used_s
            keep_s = max(_FORGET_S, 2 * self._limits.dead_max_s) if here.faults else _FORGET_S
            if idle_s < keep_s or (here.pace is not None and idle_s < here.pace.memory_s):
                known[key] = here
            if idle_s >= _IDLE_S:
                here.rest(self._limits)
        idle = sorted((h.used_s, key) for key, h in known.items() if not h.load)
        for _, key in idle[: max(0, len(idle) - _REMEMBERED)]:
            del known[key]
        self._known = known
        if self._apart:
            self._apart = {here.site.base for here in known.values() if here.site.sources}
