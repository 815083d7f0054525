"""Asks for our part of sites' limits, and says what of it we use (``quota``, ``mta.spool.shares``).

Half a second before each full second, as long as a site with limits has anything to do, and at
once where something could begin and nothing is allowed.  Where the spool does not
answer for some seconds, our parts are gone: others may have them.
"""

from collections.abc import Callable
from dataclasses import replace

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mta.queue.entry import Entry
from mta.queue.lease import Lease
from mta.queue.quota import SharedPace
from mta.queue.site_queue import SiteQueue
from mta.queue.sites import Sites
from mta.spool import shares
from mta.spool.database import Database
from mta.spool.errors import SpoolUnavailable

_PHASE_MS = 500  # in each second, when the next one is asked for
_EARLY_MS = 10  # by which a timer may be early
_SOON_S = 0.02  # between two questions
_GONE_S = 8.0  # below the time for which others believe that we have our part


class Sharing:
    """Keeps our parts up to date."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        now_ms: Callable[[], int],
        database: Database,
        lease: Lease,
        sites: Sites[Entry],
        soon: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._now_ms = now_ms
        self._database = database
        self._lease = lease
        self._sites = sites
        self._soon = soon
        self._timer: IDelayedCall | None = None
        self._asked_s = float("-inf")
        self._answered_s = clock.seconds()
        self._second = 0  # of the spool's clock, in which we last asked for the next one
        self._under_way = False
        self._stopped = False

    def look(self) -> None:
        """See whether something is to be asked; cheap, called in every turn."""
        if not self._sites.shared or self._under_way or self._stopped:
            return
        now_s, now_ms = self._clock.seconds(), self._now_ms()
        second = max(now_ms // 1000, self._second + 1)
        at_s = now_s + (second * 1000 + _PHASE_MS - now_ms) / 1000
        if self._sites.lacking:
            at_s = now_s
        self._at(max(at_s, self._asked_s + _SOON_S), now_s)

    def stop(self) -> None:
        """Ask no more; what we hold is given back with the lease."""
        self._stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _at(self, at_s: float, now_s: float) -> None:
        timer = self._timer
        if timer is not None and timer.active():
            if timer.getTime() <= at_s + 0.001:
                return
            timer.cancel()
        self._timer = self._clock.callLater(max(0.0, at_s - now_s), self._ask)

    def _ask(self) -> None:
        now_s, now_ms = self._clock.seconds(), self._now_ms()
        second, ms = divmod(now_ms, 1000)
        ahead = second > self._second and ms >= _PHASE_MS - _EARLY_MS and not self._sites.lacking
        if ahead:
            self._second = second
        self._sites.lacking = False
        busy = [here for here in self._sites.shared if here.load or here.holds]
        if not busy or not self._lease.token:
            return
        self._asked_s = now_s
        asks = [self._of(here, now_s, ahead) for here in busy]
        self._under_way = True
        asked: Deferred[dict[str, shares.Share] | None] = self._database.write(
            shares.exchange, self._lease.token, asks, now_ms
        )
        asked.addCallbacks(
            self._answer, self._unanswered, callbackArgs=(busy, asks, second + ahead)
        ).addErrback(self._fault).addBoth(self._ended)

    def _of(self, here: SiteQueue[Entry], now_s: float, ahead: bool) -> shares.Ask:
        ready, pace, quota = len(here.ready), here.pace, here.quota
        ask = shares.Ask(here.site.key, ahead)
        if isinstance(pace, SharedPace):
            begins = min(pace.wants(ready), max(count for count, _ in pace.limits))
            ask = replace(ask, rates=pace.limits, begins=begins, unused=pace.unused(now_s))
        if quota is None:
            return ask
        limit, wanted = here.most(self._sites.limits), here.running + ready
        held = max(here.running, quota.connections)
        return replace(ask, limit=limit, held=held, running=here.running, wanted=min(wanted, limit))

    def _answer(
        self,
        found: dict[str, shares.Share] | None,
        busy: list[SiteQueue[Entry]],
        asks: list[shares.Ask],
        second: int,
    ) -> None:
        now_s = self._clock.seconds()
        if found is None:  # another process is at it
            for here, ask in zip(busy, asks, strict=True):
                if isinstance(here.pace, SharedPace):
                    here.pace.unheard(ask.unused)
            if asks[0].ahead:
                self._second -= 1
            else:
                self._sites.lacking = True
            return
        self._answered_s = now_s
        from_s = now_s + (second * 1000 - self._now_ms()) / 1000
        for here, ask in zip(busy, asks, strict=True):
            self._take(here, ask, found[ask.site], second, from_s)

    def _take(
        self,
        here: SiteQueue[Entry],
        ask: shares.Ask,
        share: shares.Share,
        second: int,
        from_s: float,
    ) -> None:
        if here.quota is not None:
            here.quota.connections, here.quota.held = share.connections, share.held
            here.quota.denied = share.connections < ask.wanted
        pace = here.pace
        if isinstance(pace, SharedPace):
            begins_s, until_s = max(from_s, self._clock.seconds()), from_s + 1.0
            pace.allow(second, begins_s, until_s, share.begins)
            if share.begins < ask.begins:
                pace.quiet_until_s = until_s
        self._sites.allowed(here)

    def _unanswered(self, failure: Failure) -> None:
        failure.trap(SpoolUnavailable)
        if self._clock.seconds() - self._answered_s > _GONE_S:
            for here in self._sites.shared:
                if here.quota is not None:
                    here.quota.connections = 0

    def _fault(self, failure: Failure) -> None:
        self._log.failure("while sharing sites' limits", failure)

    def _ended(self, _ignored: object) -> None:
        self._under_way = False
        self._soon()
