"""Every refusal of the inbound side counted, by listener, stage, reply and reason.

Stands between the sessions and the log.  ``totals`` are since the start of the process and only
grow, as a monitor wants them; ``share`` hands each on to who keeps them for all processes.

Bounded: beyond ``MOST`` kinds the reason is no longer told apart.
"""

from collections import Counter
from collections.abc import Callable

from mta.mail.events import Emit, Event
from mta.mail.refusal import OTHER, Refusal, refusal

MOST = 500
KEEP_MS = 2 * 24 * 3_600_000
"""How long the counts of an hour are kept."""


class Refusals:
    """An ``Emit`` that counts."""

    def __init__(self, emit: Emit, share: Callable[[str], None]) -> None:
        self.totals: Counter[Refusal] = Counter()
        self._emit = emit
        self._share = share

    def __call__(self, event: Event) -> None:
        """Pass on an event, and count it if it is a refusal."""
        self._emit(event)
        kind = refusal(event)
        if kind is None:
            return
        if kind not in self.totals and len(self.totals) >= MOST:
            kind = kind._replace(reason=OTHER)
        self.totals[kind] += 1
        self._share(kind.counter)
