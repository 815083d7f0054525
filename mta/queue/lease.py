"""This process's claim on what it holds: one token, one lease, renewed for all at once.

The token is made anew for each run.  The lease is believed by our own monotonic clock
as well: once it has run out unrenewed, somebody else may have taken our mail, so nothing is
begun until the spool has confirmed it.  Two processes under one node name would
take each other's mail over and over; the note says so, and nothing here prevents it.
"""

import os
import socket
from collections.abc import Callable, Mapping
from secrets import token_hex
from types import MappingProxyType

from twisted.internet.interfaces import IReactorTime

import mta
from mta.mail.events import Emit, Note
from mta.spool import leases
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
        """``node`` is a name that no other running process has; ``more`` is said of it."""
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
        about = {
            "version": mta.__version__,
            "pid": str(os.getpid()),
            "host": socket.gethostname(),
            **self._more,
        }
        back: int = await self._database.write(
            leases.register_node, self.node, token, self._now_ms(), int(lease_s * 1000), about
        )
        self.token = token
        self._until_s = asked_s + lease_s
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
