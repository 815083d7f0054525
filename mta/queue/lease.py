"""This process's claim on what it holds: one token, one lease, renewed for all at once.

The token is made anew for each run.  The lease is believed by our own monotonic clock
as well: once it has run out unrenewed, somebody else may have taken our mail, so nothing is
begun until the spool has confirmed it.  Two processes under one node name would take each other's
mail over and over and deliver it twice: who finds its name in use takes another, and says so.
"""

from collections.abc import Callable, Mapping
from secrets import token_hex
from types import MappingProxyType

from twisted.internet.interfaces import IReactorTime

import mta
from mta import identity
from mta.mail.events import Emit, Note
from mta.spool import leases, succession
from mta.spool.clock import SpoolClock
from mta.spool.database import Database
from mta.spool.errors import SpoolUnavailable


class Lease:
    """The lease of one process run."""

    def __init__(
        self,
        clock: IReactorTime,
        database: Database,
        node: str,
        now_ms: Callable[[], int],
        emit: Emit,
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """``node`` is the name of this process; ``more`` is said of it."""
        self._clock = clock
        self._database = database
        self._now_ms = now_ms
        self._emit = emit
        self._more = more
        self._until_s = 0.0
        self.node = node
        self.token = ""
        self.spool_clock: SpoolClock | None = None  # asked before each write of a time; None: ours

    @property
    def alive(self) -> bool:
        """Whether mail is surely ours."""
        return self._clock.seconds() < self._until_s

    async def register(self, lease_s: float) -> int:
        """Begin under a new token; return how many recipients of an earlier run came back."""
        if self.spool_clock is not None:
            await self.spool_clock.ask(self._database)
        asked_s, token = self._clock.seconds(), token_hex(16)
        about = {"version": mta.__version__, **identity.oneself(), **self._more}
        name, back, other = await self._database.write(
            succession.register_beside,
            self.node,
            token,
            self._now_ms(),
            int(lease_s * 1000),
            about,
            _may_run,
        )
        self.token = token
        self._until_s = asked_s + lease_s
        if other is not None:
            who = f"process {other.about.get('pid', '?')} on {other.about.get('host', '?')}"
            text = (
                f"node {self.node} is in use by {who}, or was until a moment ago: this process is"
                f" {name} until its next start; each needs a queue.node of its own"
            )
            self._emit(Note("warning", "queue", text))
        if back:
            text = f"{back} recipients were in the hands of an earlier run of node {self.node}"
            self._emit(Note("info", "queue", text))
        return back

    async def renew(self, lease_s: float) -> bool:
        """Prolong the lease; False: it was taken away, and all that was under it with it."""
        if self.spool_clock is not None:
            await self.spool_clock.ask(self._database)
        asked_s = self._clock.seconds()
        kept: bool = await self._database.write(
            leases.renew, self.token, self._now_ms(), int(lease_s * 1000)
        )
        self._until_s = asked_s + lease_s if kept else 0.0
        return kept

    async def give_up(self) -> None:
        """Give back all at an orderly stop; after this the token is worth nothing."""
        token, self._until_s = self.token, 0.0
        if not token:
            return
        try:
            await self._database.write(leases.release_all, token, self._now_ms())
        except SpoolUnavailable as error:
            self._emit(Note("warning", "queue", f"claims are left to the next start: {error}"))


def _may_run(node: leases.Node) -> bool:
    """Tell whether another process may be at work under the lease of ``node``."""
    return identity.there(node.about) is not False and not identity.is_oneself(node.about)
