"""What the budgets of smarthosts have left, by the code and the counters that delivery goes by.

Knows the configuration as it is written and what processes have counted up to a second ago; not
which hosts a running process leaves alone.
"""

from typing import Any

from mta.delivery.routes import Routes, Smarthosts
from mta.delivery.smarthosts import PREFIX, Budget, Failover, Wait
from mta.gate.counts import Counts
from mta.spool import counters


class Budgets:
    """Those of all routes, at one moment."""

    def __init__(self, routes: Routes, conn: Any, now_ms: int) -> None:
        """Read what was counted."""
        counts = Counts()
        counts.known(counters.load(conn, now_ms, PREFIX))
        self._failover = Failover(lambda: 0.0, lambda: now_ms)
        self._failover.counts = counts
        self._targets = {
            f"{PREFIX}{one.route}": one for one in routes.targets if isinstance(one, Smarthosts)
        }

    def wait(self, destination: str) -> Wait | None:
        """Return until when mail there has to wait, and why; None: it has not."""
        target = self._targets.get(destination)
        return None if target is None else self._failover.wait(target)

    def of(self, destination: str) -> list[Budget]:
        """Return those of one destination."""
        target = self._targets.get(destination)
        return [] if target is None else self._failover.budgets(target)

    def all(self) -> dict[str, list[Budget]]:
        """Return those of every destination that has any."""
        found = {destination: self.of(destination) for destination in self._targets}
        return {destination: some for destination, some in found.items() if some}
