"""The time of day, which may jump, held against the clock that does not.

Set back: what was put off by the clock as it was would wait until it has caught up.  It is found in
the spool and keeps the rest of its interval (``mta.spool.ahead``).  That is looked for at the
start as well, since the clock may have been set while no process ran.

Set forward: mail is due at once, which does no harm.  But it has also grown old at once, and all
that fails then would be returned, though perhaps only the clock is wrong, and soon right again.  So
a jump of more than ``TRIFLE_S`` is not believed for ``DOUBT_S``: meanwhile mail is tried, by its
schedule, and nothing expires, nobody is warned, and nothing is purged because of the jump.  After
that the clock is believed, for it stays as it is only where it is right (a machine that has slept).

Trusts the monotonic clock.  Knowingly: a jump while no process ran cannot be told from a long
rest; what has expired meanwhile is tried once more before it is given up, as ever.
"""

from collections.abc import Callable
from dataclasses import replace

from twisted.internet.interfaces import IReactorTime

from mta.mail.events import Emit, Note
from mta.queue.housekeeping import Periodic, wait
from mta.spool import ahead
from mta.spool.database import Database
from mta.spool.outcomes import Settled
from mta.spool.state import WAITING

TRIFLE_S = 3600.0
DOUBT_S = 3600.0
_BACK_S = 60.0  # what a clock is set back by without anybody noticing
_LOOK_S = 5.0
_PAUSE_S = 0.05  # between two steps


class Wall:
    """The wall clock of the queue."""

    def __init__(
        self,
        clock: IReactorTime,
        now_ms: Callable[[], int],
        database: Database,
        emit: Emit,
        lease_s: Callable[[], float],
        found: Callable[[], None],
    ) -> None:
        """``found()`` is called when something has become due."""
        self.now_ms = now_ms
        self._lease_s = lease_s
        self._clock = clock
        self._database = database
        self._emit = emit
        self._found = found
        self._offset_ms = self._measured()
        self._doubt_ms = 0
        self._doubted_until_s = 0.0
        self._set_back_ms: int | None = 0  # None: there is nothing to look for
        self._looking = Periodic(clock, emit, "looking at the clock", lambda: _LOOK_S, self._look)

    def start(self) -> None:
        """Look at it from now on; first of all for what an earlier run has written."""
        self._looking.start()

    def stop(self) -> None:
        """End, at the latest with the step under way."""
        self._looking.stop()
        self._set_back_ms = None

    def doubt_ms(self) -> int:
        """Return by how much the clock is not believed at the moment; 0 nearly always."""
        self._compare()
        if self._doubt_ms and self._clock.seconds() >= self._doubted_until_s:
            self._doubt_ms = 0
            self._emit(Note("info", "queue", "the clock is believed from now on"))
        return self._doubt_ms

    def aged_ms(self) -> int:
        """Return the time by which things have grown old."""
        return self.now_ms() - self.doubt_ms()

    def told(self, settled: tuple[Settled, ...]) -> tuple[Settled, ...]:
        """Say by the clock when to try again, where that was settled by ``aged_ms``."""
        by_ms = self._doubt_ms
        if not by_ms:
            return settled
        return tuple(
            replace(one, next_attempt_ms=one.next_attempt_ms + by_ms)
            if one.state in WAITING
            else one
            for one in settled
        )

    def _measured(self) -> int:
        return self.now_ms() - int(self._clock.seconds() * 1000)

    def _compare(self) -> None:
        """Notice a jump since the last time."""
        offset_ms = self._measured()
        jump_ms, self._offset_ms = offset_ms - self._offset_ms, offset_ms
        if jump_ms > TRIFLE_S * 1000:
            self._doubt_ms += jump_ms
            self._doubted_until_s = self._clock.seconds() + DOUBT_S
            text = (
                f"the clock has jumped forward by {round(jump_ms / 1000)} s: for {DOUBT_S / 60:.0f}"
                " minutes nothing grows old by that"
            )
            self._emit(Note("warning", "queue", text))
        elif jump_ms < -_BACK_S * 1000:
            self._doubt_ms = max(0, self._doubt_ms + jump_ms)
            self._set_back_ms = (self._set_back_ms or 0) - jump_ms
            text = f"the clock was set back by {round(-jump_ms / 1000)} s"
            self._emit(Note("warning", "queue", text))

    async def _look(self) -> None:
        self.doubt_ms()
        if self._set_back_ms is None:
            return
        lease_ms = int(self._lease_s() * 1000)
        await self._database.write(ahead.shorten_leases, self.now_ms(), lease_ms)
        count, after = 0, ""
        set_back_ms = self._set_back_ms
        while self._set_back_ms is not None:
            found = await self._database.read(ahead.find, after, self.now_ms())
            if found.those:
                count += await self._database.write(ahead.bring_back, found.those)
            if not (after := found.after):
                break
            await wait(self._clock, _PAUSE_S)
        if self._set_back_ms == set_back_ms:  # else it was set back once more meanwhile
            self._set_back_ms = None
        if count:
            text = f"{count} recipients were put off by a clock that was ahead; that is made good"
            self._emit(Note("info", "queue", text))
            self._found()
