"""Counts what rules act upon together with all other processes on the spool, and decides.

What this process hears is gathered and written once a second at most, or at once when it alone is
enough; then it is read what all have heard.  So processes that share a spool decide as one
would, about a second later.  While nothing is heard that a rule acts upon, nothing is done.

Bounded: of one site, source and rule no more is kept than the rule needs, and of ``_MOST_KEYS`` of
these at the same time.  What cannot be written is kept, as far as that goes, and written later; its
time counts from when it was heard.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from mta.mail.events import Emit, Note
from mta.spool import samples
from mta.spool.database import Database
from mta.spool.restraints import Wanted
from mta.spool.samples import Key, Sample, Wish, key_of

_EVERY_S = 1.0
_AGAIN_S = 5.0  # after the spool has refused
_MOST_KEYS = 10_000
_KEYS_AT_ONCE = 500  # in one write


class Samples:
    """Samples of this process that are not written yet, and what comes of all."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        now_ms: Callable[[], int],
        database: Database,
        emit: Emit,
        decided: Callable[[], Awaitable[None]],
    ) -> None:
        """``decided()`` is called when the spool has a decision of ours."""
        self._clock = clock
        self._now_ms = now_ms
        self._database = database
        self._emit = emit
        self._decided = decided
        self._heard: dict[Key, tuple[Wanted, Wish, list[Sample]]] = {}
        self._timer: IDelayedCall | None = None
        self._under_way = False
        self._failing = False
        self._stopped = False

    def add(self, wanted: Wanted, wish: Wish, said: str) -> None:
        """Count one reply, for which ``wanted`` is to be done if there are as many as ``wish``."""
        key = key_of(wanted)
        heard = self._heard.get(key)
        if heard is None:
            if len(self._heard) >= _MOST_KEYS:
                return
            heard = self._heard[key] = (wanted, wish, [])
        heard[2].append(Sample(key, self._now_ms(), wish.window_ms, said))
        del heard[2][: -wish.samples]
        if len(heard[2]) >= wish.samples and not self._failing:
            self._soon(0.0)
        else:
            self._soon(_EVERY_S)

    def stop(self) -> None:
        """Write no more: what was heard last is not worth waiting for."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _soon(self, wait_s: float) -> None:
        if self._under_way or self._stopped:
            return  # what is under way looks again when it has ended
        if self._timer is not None:
            if wait_s or self._timer.getTime() <= self._clock.seconds():
                return
            self._timer.cancel()
        self._timer = self._clock.callLater(wait_s, self._go)

    def _go(self) -> None:
        self._timer, self._under_way = None, True
        Deferred.fromCoroutine(self._write()).addErrback(
            lambda failure: self._log.failure("while counting samples", failure)
        )

    async def _write(self) -> None:
        keys = list(self._heard)[:_KEYS_AT_ONCE]
        heard = {key: self._heard.pop(key) for key in keys}
        wait_s = _EVERY_S
        try:
            await self._share(heard)
        except CancelledError:
            raise
        except Exception as error:
            self._keep(heard, error)
            wait_s = _AGAIN_S
        else:
            self._failing = False
        finally:
            self._under_way = False
            if self._heard:
                self._soon(wait_s)

    async def _share(self, heard: dict[Key, tuple[Wanted, Wish, list[Sample]]]) -> None:
        now_ms = self._now_ms()
        rows = [one for _, _, some in heard.values() for one in some]
        if rows:
            await self._database.write(samples.add, rows)
        asked = {key: wish for key, (_, wish, _) in heard.items()}
        for _, _, some in heard.values():
            some.clear()  # written: not to be written again if the rest fails
        ready = await self._database.read(samples.enough, asked, now_ms)
        for key, said in ready.items():
            wanted = replace(heard[key][0], samples=said)
            await self._database.write(samples.decide, wanted, now_ms)
        if ready:
            await self._decided()

    def _keep(self, heard: dict[Key, tuple[Wanted, Wish, list[Sample]]], error: Exception) -> None:
        """Have what could not be written before what was heard meanwhile."""
        for key, (wanted, wish, some) in heard.items():
            newer = self._heard.get(key, (wanted, wish, []))[2]
            self._heard[key] = (wanted, wish, (some + newer)[-wish.samples :])
        if not self._failing:
            self._failing = True
            text = f"replies are not counted, and what follows from them does not hold: {error}"
            self._emit(Note("warning", "queue", text))
