"""Sessions counted in memory, and written into the spool from time to time.

On the road of mail a session costs a look into a dictionary.  What can be told apart is bounded,
for one domain and in all: beyond that sessions are counted without what tells them apart, and
beyond that too as nobody's, so that neither a domain with thousands of hosts nor a peer with a
new name at every connection fills our memory.

A crash loses what was counted since the last writing.  While the spool is away, counting goes on.
"""

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from mta.mail.events import Emit, Note
from mta.mail.tls_session import AppliedPolicy, PolicyType, TlsSession
from mta.spool import tls_sessions
from mta.spool.tls_sessions import DAY_MS, Counted

EVERY_S = 10.0
MOST = 10_000  # different ones in memory
MOST_OF_DOMAIN = 100  # told apart of one domain

NOBODYS = TlsSession("", AppliedPolicy(PolicyType.NONE, ""), coarse=True)
"""Where sessions go that there is no room for at all."""


class Store(Protocol):
    """What is needed of ``mta.spool.database.Database``."""

    def write(self, fn: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """Run ``fn(conn, *args)``; fires after its commit."""


class Tally:
    """What was counted and is not written yet."""

    def __init__(
        self, clock: IReactorTime, store: Store, emit: Emit, now_ms: Callable[[], int]
    ) -> None:
        """``now_ms`` is the clock on the wall: it says which day (UTC) it is."""
        self._store = store
        self._emit = emit
        self._now_ms = now_ms
        self._counts: dict[tuple[int, TlsSession], int] = {}
        self._of_domain: dict[tuple[int, str], int] = {}
        self._failing = False
        self._loop = LoopingCall(self.flush)
        self._loop.clock = clock

    def __len__(self) -> int:
        """Return how many different ones are in memory."""
        return len(self._counts)

    def count(self, session: TlsSession) -> None:
        """Count one session."""
        self._add(self._now_ms() // DAY_MS, session, 1)

    def start(self) -> None:
        """Begin to write; no harm if it has begun."""
        if not self._loop.running:
            self._loop.start(EVERY_S, now=False)

    def pause(self) -> None:
        """Write what there is, and no more."""
        if self._loop.running:
            self._loop.stop()
        self.flush()

    async def stop(self) -> None:
        """Write what is left."""
        if self._loop.running:
            self._loop.stop()
        await self.flush()

    def flush(self) -> Deferred[None]:
        """Write what there is; never fails."""
        return Deferred.fromCoroutine(self._flush())

    def _add(self, day: int, session: TlsSession, number: int) -> None:
        key = (day, session)
        before = self._counts.get(key)
        if before is None:
            key = self._bounded(day, session)
            before = self._counts.get(key, 0)
        self._counts[key] = before + number

    def _bounded(self, day: int, session: TlsSession) -> tuple[int, TlsSession]:
        """Return what a session that is new here is counted as."""
        of_domain = (day, session.domain)
        known = self._of_domain.get(of_domain, 0)
        if known >= MOST_OF_DOMAIN:
            session = session.coarsened()
        if (day, session) in self._counts:
            return (day, session)
        if len(self._counts) >= MOST:
            return (day, NOBODYS)
        self._of_domain[of_domain] = known + 1
        return (day, session)

    async def _flush(self) -> None:
        if not self._counts:
            return
        taken, self._counts, self._of_domain = self._counts, {}, {}
        rows = [Counted(day, session, number) for (day, session), number in taken.items()]
        try:
            await self._store.write(tls_sessions.add, rows)
        except CancelledError:
            self._back(rows)
            raise
        except Exception as error:
            self._back(rows)
            if not self._failing:
                self._failing = True
                text = f"TLS sessions are counted in memory alone: {error}"
                self._emit(Note("warning", "tlsrpt", text))
            return
        if self._failing:
            self._failing = False
            self._emit(Note("info", "tlsrpt", "TLS sessions are counted in the spool again"))

    def _back(self, rows: list[Counted]) -> None:
        for one in rows:
            self._add(one.day, one.session, one.count)
