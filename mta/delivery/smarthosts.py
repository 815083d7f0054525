"""Several smarthosts of one route: whose turn it is, who is left alone, who has a budget left.

They are tried in the order of their preference, those of the same one by turns.  A host with
which no session could be had is left alone for a while, which doubles each time; when that is
over, one message probes it.  If all that could take more are left alone, they are tried all the
same: whether the whole route is left alone is the queue's decision.

A budget by the day slides over the last 24 hours and is counted where all processes of the spool
count (``Counts``), so it outlives a restart.  A message counts when its session has begun.  One
by the second only spreads messages over hosts: that the route as a whole is no faster is the
queue's pace.  Where nobody who could be tried has a budget left, ``wait`` says until when, and
the queue keeps the mail; if that turns out only in the middle of an attempt, a budget is
overdrawn by that message.

What other processes count is known a second or two later: they can overdraw by what they send in
that time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Protocol

from mta.delivery.opening import Site
from mta.delivery.outgoing import Way
from mta.delivery.routes import Smarthost, Smarthosts
from mta.delivery.token import OAuth
from mta.delivery.walk import Walk
from mta.dns.mx import MailHost
from mta.mail.value import value

DAY_MS = 86_400_000
_PROBE_S = 60.0  # for the one message that probes; others leave the host alone meanwhile
PREFIX = "smarthost:"  # begins the names of all counters of budgets
_STEPS = 20  # of the search for the moment when a budget has room again


class Counts(Protocol):
    """``mta.gate.counts.Counts``."""

    def used(self, key: str, window_ms: int, now_ms: int) -> float:
        """Return what was used in the last ``window_ms``."""

    def add(self, key: str, window_ms: int, amount: int, now_ms: int) -> None:
        """Count."""


@value
class Relay(MailHost):
    """A smarthost as one of the hosts of an attempt."""

    smarthost: Smarthost | None = None
    route: str = ""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nobody who could be tried may be sent more before ``until_ms`` (wall clock)."""

    until_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class Budget:
    """What one smarthost may be sent, in messages; 0: any number."""

    host: str
    port: int
    per_second: int
    per_day: int
    used: int  # in the last 24 hours, where there is a budget by the day
    free_ms: int  # when one more may be sent: the moment that is asked about, or later

    @property
    def left(self) -> int | None:
        """How many more it may be sent now; None: it has no budget by the day."""
        return max(0, self.per_day - self.used) if self.per_day else None


class _Health:
    """What is known of one host."""

    def __init__(self) -> None:
        self.faults = 0  # since its last session
        self.until_s = 0.0  # left alone
        self.second = 0  # a second of the monotonic clock
        self.begun = 0  # messages in it


class Failover:
    """What a process knows of its smarthosts."""

    def __init__(self, seconds: Callable[[], float], now_ms: Callable[[], int]) -> None:
        self._seconds = seconds
        self._now_ms = now_ms
        self._known: dict[str, _Health] = {}
        self._turn = 0
        self.counts: Counts | None = None  # set by who joins the parts; None: no budget by the day
        self.down_s = (60.0, 900.0)  # how long a host is left alone, at first and at most

    def order(self, target: Smarthosts) -> list[Relay]:
        """Return the hosts to try in this attempt, best first; never none."""
        now_s = self._seconds()
        self._turn += 1
        able = [one for one in target.hosts if not self._used_up(target, one)] or target.hosts
        alive = [one for one in able if self._of(target, one).until_s <= now_s] or able
        turns = {one: (number + self._turn) % len(alive) for number, one in enumerate(alive)}
        best = sorted(alive, key=lambda one: (self._hasty(target, one), one.preference, turns[one]))
        return [Relay(one.host, one.preference, smarthost=one, route=target.route) for one in best]

    async def along(self, walk: Walk, hosts: Sequence[MailHost], way: Way | None) -> None:
        """Try ``hosts``, which ``order`` has given, one after the other."""
        for relay in hosts:
            if walk.over:
                return
            assert isinstance(relay, Relay)
            assert relay.smarthost is not None
            await self._visit(walk, relay, Site(relay.name, relay.smarthost, way))

    async def _visit(self, walk: Walk, relay: Relay, site: Site) -> None:
        """Try one of them, and learn from it."""
        assert relay.smarthost is not None
        here = self._known[_key(relay.route, relay.smarthost)]
        self._begin(relay, here)
        talked, sessions = walk.talked, walk.sessions
        try:
            await walk.visit(site, relay, "")
        finally:
            if walk.sessions == sessions:
                self._count(relay, -1)
        if walk.talked > talked:
            here.faults, here.until_s = 0, 0.0
        elif not walk.half_closed:  # that it cannot be reached by one family proves nothing
            first, most = self.down_s
            here.until_s = self._seconds() + min(first * 2 ** min(here.faults, 30), most)
            here.faults += 1

    def wait(self, target: Smarthosts) -> Wait | None:
        """Return until when mail has to wait for a budget; None: somebody may be tried."""
        now_s, now_ms = self._seconds(), self._now_ms()
        until_ms, used_up = [], []
        for one in target.hosts:
            alone_ms = now_ms + int((self._of(target, one).until_s - now_s) * 1000)
            free_ms = self._free_ms(target, one, now_ms)
            if max(alone_ms, free_ms) <= now_ms:
                return None
            until_ms.append(max(alone_ms, free_ms))
            if free_ms > now_ms:
                used_up.append(f"{one.host} ({one.per_day} a day)")
        if not used_up:
            return None
        return Wait(min(until_ms), f"budget used up: {', '.join(used_up)}")

    def budgets(self, target: Smarthosts) -> list[Budget]:
        """Return what stands of the budget of each host that has one."""
        now_ms, found = self._now_ms(), []
        for one in target.hosts:
            if not (one.per_second or one.per_day):
                continue
            used = 0.0
            if one.per_day and self.counts is not None:
                used = self.counts.used(_key(target.route, one), DAY_MS, now_ms)
            free_ms = self._free_ms(target, one, now_ms)
            budget = Budget(one.host, one.port, one.per_second, one.per_day, ceil(used), free_ms)
            found.append(budget)
        return found

    def _of(self, target: Smarthosts, one: Smarthost) -> _Health:
        key = _key(target.route, one)
        here = self._known.get(key)
        if here is None:
            here = self._known[key] = _Health()
        return here

    def _hasty(self, target: Smarthosts, one: Smarthost) -> bool:
        """Whether the host has had all it may have in this second."""
        here = self._of(target, one)
        return bool(one.per_second) and (
            here.second == int(self._seconds()) and here.begun >= one.per_second
        )

    def _begin(self, relay: Relay, here: _Health) -> None:
        now_s = self._seconds()
        if here.second != int(now_s):
            here.second, here.begun = int(now_s), 0
        here.begun += 1
        if here.faults:
            here.until_s = now_s + _PROBE_S
        self._count(relay, 1)

    def _count(self, relay: Relay, amount: int) -> None:
        one = relay.smarthost
        if one is not None and one.per_day and self.counts is not None:
            self.counts.add(_key(relay.route, one), DAY_MS, amount, self._now_ms())

    def _used_up(self, target: Smarthosts, one: Smarthost, at_ms: int | None = None) -> bool:
        if not one.per_day or self.counts is None:
            return False
        now_ms = self._now_ms() if at_ms is None else at_ms
        return self.counts.used(_key(target.route, one), DAY_MS, now_ms) + 1 > one.per_day

    def _free_ms(self, target: Smarthosts, one: Smarthost, now_ms: int) -> int:
        """Return when the budget has room: now, or as the last day slides on."""
        if not self._used_up(target, one, now_ms):
            return now_ms
        low, high = now_ms, now_ms + 2 * DAY_MS
        for _ in range(_STEPS):
            middle = (low + high) // 2
            if self._used_up(target, one, middle):
                low = middle
            else:
                high = middle
        return high


def _key(route: str, one: Smarthost) -> str:
    return f"{PREFIX}{route}:{one.host}:{one.port}"


def budgeted(targets: Sequence[object]) -> dict[str, Smarthosts]:
    """Return those that have a budget by the day, by the key of their destination."""
    return {
        f"smarthost:{one.route}": one
        for one in targets
        if isinstance(one, Smarthosts) and any(host.per_day for host in one.hosts)
    }


def with_tokens(targets: Sequence[object]) -> set[OAuth]:
    """Return where tokens come from for all smarthosts that want some."""
    hosts = [
        host
        for one in targets
        for host in (one.hosts if isinstance(one, Smarthosts) else (one,))
        if isinstance(host, Smarthost)
    ]
    return {host.oauth for host in hosts if host.oauth is not None}
