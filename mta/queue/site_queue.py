"""One site: its queue, its window and its health.  Pure.

* **Slow start.**  A site begins with a window of ``initial`` deliveries at the same time; each
  success adds one up to ``concurrency``, each fault *of the site* halves it.
* **Dead.**  After ``dead_after`` faults with no success between them a site is dead, at first for
  ``dead_min_s``, doubling up to ``dead_max_s``.  After that one delivery goes first (the probe),
  and a success revives the site while another fault kills it for longer.  A site that is gathered
  from the hosts of many customers is dead only when mail to two of them has failed: what
  is wrong with one customer says little about the provider.
* **Shape.**  What somebody has said about the site (``mta.shaping``) bounds its window and pace.
* **Part.**  Where processes share a spool, what was said holds for all together (``quota``).
* **Slowness.**  Each level of it halves both: at the first one delivery is begun a second.
"""

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Generic

from mta.mail.site import Site
from mta.queue.backlog import Backlog
from mta.queue.health import Health
from mta.queue.limits import Limits
from mta.queue.pace import Pace
from mta.queue.quota import Quota, SharedPace
from mta.queue.ready import L, Ready

_PROBE_SHARE = 100  # recipients in memory while a site is dead or on probation
_PACED_S = 900.0  # a paced site has no more in memory than may be begun in so long
_GUEST_SHARE = 50  # whoever has less than this part of the share is a guest


@dataclass(slots=True, eq=False)
class SiteQueue(Generic[L]):
    """What is known of one site, and what waits for it."""

    site: Site
    window: int
    ready: Ready[L] = field(default_factory=Ready)
    running: int = 0
    backlog: Backlog = field(default_factory=Backlog)
    answered: bool = False  # it has shown good health since we know it
    faults: int = 0  # since its last success
    deaths: int = 0  # since its last success
    dead_until_s: float = 0.0
    why: str = ""  # its last fault, in words
    used_s: float = 0.0
    silent: set[L] = field(default_factory=set)  # deliveries that last, at a stranger
    ended_count: int = 0  # deliveries
    slowness: int = 0  # a level (``mta.mail.restraint``), 0: as fast as it may be
    pace: Pace | None = None
    quota: Quota | None = None  # our part of the connections; None: all are ours
    paced: bool = False  # it waits for its pace, and not in a line
    line: "OrderedDict[SiteQueue[L], None] | None" = None  # where it waits for its turn
    _owners: Counter[str] = field(default_factory=Counter)  # recipients in memory
    _failed: set[str] = field(default_factory=set)  # destinations, since its last success

    @property
    def load(self) -> int:
        """How many recipients are in memory, ready or running."""
        return self.backlog.load

    @property
    def suspect(self) -> bool:
        """Whether it has shown faults and nothing else."""
        return self.faults > 0 and not self.answered

    def reshape(self, site: Site, limits: Limits) -> None:
        """Take over what is known of the site now; a pace goes on where its rates are the same."""
        self.site = site
        rates = site.shape.rates
        if self.slowness:
            rates = (*rates, (1, float(2 ** (self.slowness - 1))))
        kind = SharedPace if limits.shared else Pace
        if rates != (() if self.pace is None else self.pace.rates) or (
            self.pace is not None and type(self.pace) is not kind
        ):
            self.pace = kind(rates) if rates else None
        if not limits.shared or site.shape.connections is None:
            self.quota = None
        elif self.quota is None:
            self.quota = Quota()
        self.window = min(self.window, self.most(limits))

    def most(self, limits: Limits) -> int:
        """How many deliveries it may have at the same time."""
        said = self.site.shape.connections
        most = limits.concurrency if said is None else said
        return max(1, most >> self.slowness) if self.slowness else most

    @property
    def shared(self) -> bool:
        """Whether other processes have a part in what it may."""
        return self.quota is not None or isinstance(self.pace, SharedPace)

    @property
    def holds(self) -> bool:
        """Whether others believe that something of it is ours, or something is to be given back."""
        pace, quota = self.pace, self.quota
        if quota is not None and (quota.connections or quota.held):
            return True
        return isinstance(pace, SharedPace) and pace.holds

    @property
    def mute(self) -> bool:
        """Whether it has been asked, and has never answered anybody: one question is enough."""
        return bool(self.silent) and not self.answered

    def dead(self, now_s: float) -> bool:
        """Whether nothing is to be dialled now."""
        return now_s < self.dead_until_s

    def share(self, item: L, limits: Limits, free: int | None) -> int:
        """How many recipients it may have in memory if ``item`` is let in.

        ``free`` is for how many others there is room in memory.  Urgent mail, and owners who have
        next to nothing here, get a quarter more: nobody's bulk keeps them out.
        """
        share = min(limits.share, _PROBE_SHARE) if self.deaths else limits.share
        if self.pace is not None:
            share = min(share, self.pace.within(_PACED_S))
        owner = item.owner
        if owner and self._owners[owner] * _GUEST_SHARE < share:
            return share + share // 4
        if item.urgency > 0:
            share += share // 4
        return share if free is None else min(share, free)

    def append(self, item: L) -> None:
        """Let ``item`` wait."""
        weight = item.weight
        self.backlog.load += weight
        self._owners[item.owner] += weight
        self.ready.append(item)

    def take(self) -> L:
        """Begin what is next."""
        self.running += 1
        return self.ready.popleft()

    def let_go(self, item: L) -> int | None:
        """``item`` is not in memory any more; see ``Backlog.lighten``."""
        owner, weight = item.owner, item.weight
        self._owners[owner] -= weight
        if not self._owners[owner]:
            del self._owners[owner]
        return self.backlog.lighten(weight)

    def ended(self, item: L, state: Health, now_s: float, why: str, limits: Limits) -> None:
        """Learn from how a delivery has ended."""
        self.running -= 1
        self.ended_count += 1
        self.silent.discard(item)
        self.used_s = now_s
        self.backlog.done += item.weight
        if state is Health.GOOD:
            self.answered = True
            self.faults = self.deaths = 0
            self.dead_until_s = 0.0
            self.why = ""
            self._failed.clear()
            self.window = min(self.window + 1, self.most(limits))
        elif state is Health.BAD and not self.dead(now_s):
            self.why = why
            self._fault(item, now_s, limits)

    def _fault(self, item: L, now_s: float, limits: Limits) -> None:
        self.faults += 1
        self.window = max(1, self.window // 2)
        if self.site.gathered and len(self._failed) < 2:
            self._failed.add(item.destination)
        alone = self.site.gathered and len(self._failed) < 2
        if self.faults >= limits.dead_after and not alone:
            wait_s = min(limits.dead_min_s * 2**self.deaths, limits.dead_max_s)
            self.deaths = min(self.deaths + 1, 30)
            self.window = 1
            self.dead_until_s = now_s + wait_s

    def rest(self, limits: Limits) -> None:
        """It had nothing to do for a while: begin slowly again."""
        if not self.faults:
            self.window = min(self.window, limits.initial, self.most(limits))
