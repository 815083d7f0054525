"""What the gate shares with other processes, kept up to date once a second.

The reading at the start is synchronous: no client is let in before what it used
yesterday is known.  While the spool is away counting goes on in memory.
"""

from collections.abc import Callable
from secrets import token_hex
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from mta.gate.counts import Counts
from mta.mail.events import Emit, Note
from mta.spool import counters, policy
from mta.spool.engine import create_engine, reading
from mta.spool.policy import Given, News

EVERY_S = 1.0
_GAUGE_MS = 60_000  # what is in use is believed so long
_GAUGE_AGAIN_MS = 20_000
_TIDY_TURNS = 60


class Store(Protocol):
    """What is needed of ``mta.spool.database.Database``."""

    def write(self, fn: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """Run ``fn(conn, *args)``; fires after its commit."""

    def read(self, fn: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """Run ``fn(conn, *args)``."""


class Shared:
    """The counters, and what operators and other processes have decided."""

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, store: Store, emit: Emit, now_ms: Callable[[], int]
    ) -> None:
        self.counts = Counts()
        self.braked: frozenset[str] = frozenset()
        self.excused: frozenset[str] = frozenset()
        self.suppressing = True  # until it is known that the list is empty
        self._store = store
        self._emit = emit
        self._now_ms = now_ms
        self._node = token_hex(8)
        self._since_ms = 0
        self._said: dict[str, int] = {}  # what we have in use, as the spool knows it
        self._said_ms = 0
        self._turns = 0
        self._failing = False
        self._loop = LoopingCall(self.exchange)
        self._loop.clock = clock

    def load(self, url: str) -> None:
        """Read what there is; ``SpoolUnavailable`` if that is not possible."""
        engine = create_engine(url, connections=1)
        try:
            with reading(engine) as conn:
                now_ms = self._now_ms()
                self.know(policy.first(conn, now_ms), now_ms)
        finally:
            engine.dispose()

    def start(self) -> None:
        """Begin to exchange."""
        self._loop.start(EVERY_S, now=False)

    async def stop(self) -> None:
        """Hand over what is left."""
        if self._loop.running:
            self._loop.stop()
        await self.exchange()
        if self._said:
            try:
                await self._store.write(counters.leave, self._node)
            except CancelledError:
                raise
            except Exception as error:  # it runs out by itself
                self._emit(Note("warning", "policy", f"sessions stay counted for a while: {error}"))

    def exchange(self) -> Deferred[None]:
        """Tell and be told; never fails."""
        return Deferred.fromCoroutine(self._exchange())

    async def _exchange(self) -> None:
        now_ms = self._now_ms()
        taken = self.counts.take()
        in_use = self._in_use(now_ms)
        try:
            if taken or in_use:
                given = Given(taken, in_use, _GAUGE_MS)
                news = await self._store.write(
                    policy.exchange, given, self._node, self._since_ms, now_ms
                )
            else:
                news = await self._store.read(policy.look, self._node, self._since_ms, now_ms)
        except CancelledError:
            self.counts.failed(taken)
            raise
        except Exception as error:
            self.counts.failed(taken)
            self._said_ms = 0
            self._fails(error)
            return
        self.counts.done(taken, news.changes.in_use)
        self.know(news, now_ms)
        self._works()

    def _in_use(self, now_ms: int) -> list[tuple[str, int]]:
        """Return what is to be said: what has changed, or all after a while."""
        mine = {name: number for name, number in self.counts.in_use.items() if number > 0}
        again = now_ms - self._said_ms >= _GAUGE_AGAIN_MS
        changed = [item for item in mine.items() if again or self._said.get(item[0]) != item[1]]
        changed += [(name, 0) for name, number in self._said.items() if number and name not in mine]
        if again:
            self._said_ms = now_ms
        self._said = mine | {name: 0 for name, number in changed if not number}
        return changed

    def know(self, news: News, now_ms: int) -> None:
        """Take over what the spool says."""
        self.counts.known(news.changes.counts)
        self.braked, self.excused = news.braked, news.excused
        self.suppressing = news.suppressing
        self._since_ms = now_ms
        self._turns += 1
        if self._turns % _TIDY_TURNS == 0:
            self.counts.tidy(now_ms)

    def _fails(self, error: Exception) -> None:
        if not self._failing:
            self._failing = True
            text = f"counters are not shared with other processes: {error}"
            self._emit(Note("warning", "policy", text))

    def _works(self) -> None:
        if self._failing:
            self._failing = False
            self._emit(Note("info", "policy", "counters are shared again"))
