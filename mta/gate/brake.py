"""What logins usually send, asked of the spool once an hour for each."""

from collections.abc import Callable

from mta.gate.state import Store
from mta.policy import brake
from mta.policy.brake import BrakeSettings
from mta.policy.limits import HOUR_MS
from mta.spool import counters

_MOST = 50_000  # logins


class Learned:
    """The usual numbers, for the hour that runs."""

    def __init__(self, store: Store, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._now_ms = now_ms
        self._hour = -1
        self._usual: dict[str, float | None] = {}

    def known(self, login: str) -> bool:
        """Tell whether ``usual`` would answer without asking."""
        hour = self._now_ms() // HOUR_MS
        if hour != self._hour or len(self._usual) > _MOST:
            self._hour, self._usual = hour, {}
        return login in self._usual

    def cached(self, login: str) -> float | None:
        """Return the usual number of recipients an hour of a login that is ``known``."""
        return self._usual[login]

    async def usual(self, settings: BrakeSettings, login: str) -> float | None:
        """Ask the spool; None while it is being learned.  Fails with ``SpoolUnavailable``."""
        now_ms = self._now_ms()
        since_ms = now_ms - brake.HISTORY_MS
        history = await self._store.read(counters.history, brake.key(login), since_ms)
        self._usual[login] = found = brake.usual(settings, history, now_ms)
        return found
