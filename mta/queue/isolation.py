"""What follows when this process takes itself for cut off from the outside (``outside``).

What waits for its turn goes back to the spool, due at once, for whoever can; an alarm and a line
in the log say so.  When somebody has answered again, every site is probed at once.
"""

from collections.abc import Callable, Iterable

from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from mta.mail.events import Emit, Note
from mta.mail.outcome import Outcome
from mta.queue.active import ActiveSet
from mta.queue.entry import Entry
from mta.queue.outside import PROBE, Outside
from mta.spool import alarms
from mta.spool.database import Database


class Isolation:
    """Watches what attempts come to; says how much may be taken on."""

    def __init__(
        self,
        clock: IReactorTime,
        now_ms: Callable[[], int],
        database: Database,
        node: str,
        active: ActiveSet,
        emit: Emit,
    ) -> None:
        self._clock = clock
        self._now_ms = now_ms
        self._database = database
        self._node = node
        self._active = active
        self._emit = emit
        self.state = Outside()

    @property
    def cut_off(self) -> bool:
        """Whether nobody answers."""
        return self.state.cut_off

    def observe(self, entry: Entry, outcomes: Iterable[Outcome]) -> bool:
        """Learn from an attempt; tell whether we are not cut off any more."""
        state, now_s = self.state, self._clock.seconds()
        changed = state.ended(entry.site.key, outcomes, entry.began_s, now_s)
        if changed:
            self._changed()
        return changed and not state.cut_off

    def may_try(self) -> bool:
        """Tell whether anything may be claimed now."""
        return not self.state.cut_off or self.state.may_try(self._clock.seconds())

    def most(self, wanted: int) -> int:
        """How many recipients to claim, of so many; they count as tried."""
        if not self.state.cut_off:
            return wanted
        self.state.tries(self._clock.seconds())
        return min(wanted, PROBE)

    def _changed(self) -> None:
        text = ""
        if self.state.cut_off:
            self._active.give_back(lambda _entry: True)
            text = f"nobody answers ({len(self.state.silent)} sites in a row): cut off from the"
            text += " outside? mail is left to other processes, and tried a little at a time"
            self._emit(Note("error", "queue", text))
        else:
            self._active.sites.revive()
            self._emit(Note("info", "queue", "the outside answers again"))
        self._alarm(text)

    def _alarm(self, text: str) -> None:
        put = self._database.write(alarms.put, self._node, alarms.OUTSIDE, text, self._now_ms())
        put.addErrback(self._unsaid)

    def _unsaid(self, failure: Failure) -> None:
        self._emit(Note("warning", "queue", f"an alarm could not be written: {failure.value}"))
