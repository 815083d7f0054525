"""What the queue is doing now, for an operator who looks at it (``mta top``).

It costs nothing while nobody looks.  ``mta top`` says in the spool until when it wants to see
more; the poll that is made anyway reads that.  Until then what comes of attempts is counted by
site, and once a second that is written into this run's row among the nodes, with what
``publishing`` would say of each site at that moment.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from twisted.internet.interfaces import IReactorTime

from mta.mail.outcome import Outcome, Verdict
from mta.mail.site import Site
from mta.queue.entry import Entry
from mta.queue.lease import Lease
from mta.queue.publishing import state_of
from mta.queue.sites import Sites
from mta.spool import watching
from mta.spool.database import Database

MOST_SITES = 100  # in a report: the busiest
MOST_COUNTED = 10_000  # sites that are counted; what comes of others is in the sums

_NONE = (0, 0, 0)


class Watch:
    """Counts and reports while it is ``wanted``."""

    def __init__(
        self,
        clock: IReactorTime,
        now_ms: Callable[[], int],
        database: Database,
        lease: Lease,
        sites: Sites[Entry],
    ) -> None:
        self._clock = clock
        self._now_ms = now_ms
        self._database = database
        self._lease = lease
        self._sites = sites
        self._since_ms = 0
        # by the site's key: delivered, deferred, failed; None while nobody looks
        self._counts: dict[str, tuple[int, int, int]] | None = None

    @property
    def wanted(self) -> bool:
        """Whether somebody looks."""
        return self._counts is not None

    def until(self, until_ms: int) -> None:
        """Somebody looks until then, or has looked until then."""
        if until_ms <= self._now_ms():
            self._counts = None
        elif self._counts is None:
            self._counts, self._since_ms = {}, self._now_ms()

    def ended(self, site: Site, outcomes: Iterable[Outcome]) -> None:
        """Count what came of an attempt at ``site``."""
        counts = self._counts
        if counts is None:
            return
        key = site.key if site.key in counts or len(counts) < MOST_COUNTED else ""
        delivered, deferred, failed = counts.get(key, _NONE)
        for one in outcomes:
            delivered += one.verdict is Verdict.DELIVERED
            deferred += one.verdict is Verdict.DEFERRED
            failed += one.verdict is Verdict.FAILED
        counts[key] = (delivered, deferred, failed)

    async def write(self) -> None:
        """Write the summary of this moment."""
        report = json.dumps(self._report(), ensure_ascii=True, separators=(",", ":"))
        await self._database.write(watching.report, self._lease.token, report)

    def _report(self) -> dict[str, Any]:
        counts, now_s, now_ms = self._counts or {}, self._clock.seconds(), self._now_ms()
        known = sorted(self._sites, key=lambda here: -here.load)[:MOST_SITES]
        sites = [
            {
                **asdict(state_of(here, now_s, now_ms)),
                "in_memory": here.load,
                "failing": here.faults > 0,
                "counts": list(counts.get(here.site.key, _NONE)),
            }
            for here in known
        ]
        return {
            "at_ms": now_ms,
            "since_ms": self._since_ms,
            "running": self._sites.running,
            "sites": sites,
            "sums": [sum(column) for column in zip(*counts.values(), strict=True)] or list(_NONE),
        }
