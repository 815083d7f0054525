"""Tells others how the sites of this process are: a summary in the spool every ten seconds.

The sites that are held up come first, then those with the most to do.  A process with nothing to
tell writes nothing.
"""

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from mta.mail.events import Emit
from mta.queue.entry import Entry
from mta.queue.housekeeping import Periodic
from mta.queue.lease import Lease
from mta.queue.site_queue import SiteQueue
from mta.queue.sites import Sites
from mta.spool import site_states
from mta.spool.database import Database
from mta.spool.site_states import MOST, SiteState

_EVERY_S = 10.0
_UNITS = {1.0: "a second", 60.0: "a minute", 3600.0: "an hour"}


class Publishing:
    """Publishes the state of sites."""

    def __init__(
        self,
        clock: IReactorTime,
        now_ms: Callable[[], int],
        database: Database,
        lease: Lease,
        sites: Sites[Entry],
        emit: Emit,
    ) -> None:
        self._clock = clock
        self._now_ms = now_ms
        self._database = database
        self._lease = lease
        self._sites = sites
        self._counted: dict[str, int] = {}
        self._counted_s = clock.seconds()
        self._said = False
        duty = Periodic(clock, emit, "publishing sites", lambda: _EVERY_S, self._publish)
        self.start, self.stop = duty.start, duty.stop

    async def _publish(self) -> None:
        states = self.states()
        if not self._lease.token or not (states or self._said):
            return
        await self._database.write(site_states.publish, self._lease.token, self._now_ms(), states)
        self._said = bool(states)

    def states(self) -> list[SiteState]:
        """Return the sites that have something to do, or that something is held against."""
        now_s = self._clock.seconds()
        passed_s = max(now_s - self._counted_s, 0.001)
        before, self._counted, self._counted_s = self._counted, {}, now_s
        found = []
        for here in self._sites:
            if not (here.load or here.dead(now_s) or here.paced):
                continue
            key = here.site.key
            self._counted[key] = here.ended_count
            ended = here.ended_count - before.get(key, here.ended_count)
            per_minute = round(ended * 60 / passed_s, 1)
            found.append(state_of(here, now_s, self._now_ms(), per_minute))
        found.sort(key=lambda one: (one.until_ms is None, -one.waiting - one.running, one.key))
        return found[:MOST]


def state_of(
    here: SiteQueue[Entry], now_s: float, now_ms: int, per_minute: float = 0.0
) -> SiteState:
    """Say how a site is; ``now_s`` and ``now_ms`` are the same moment, by the two clocks."""
    until_s, reason = None, here.why
    if here.dead(now_s):
        until_s = here.dead_until_s
    elif here.paced and here.pace is not None:
        until_s = now_s + here.pace.wait_s(now_s)
        rates = (f"{count} {_per(seconds)}" for count, seconds in here.pace.rates)
        reason = f"rate: {', '.join(rates)}"
    return SiteState(
        here.site.key,
        here.site.name,
        here.window,
        here.running,
        sum(item.weight for item in here.ready),
        per_minute,
        None if until_s is None else now_ms + int((until_s - now_s) * 1000),
        reason,
        here.site.shape.names,
        here.site.sources,
    )


def _per(seconds: float) -> str:
    return _UNITS.get(seconds, f"in {seconds:g} seconds")
