"""Whether this process reaches anybody out there at all.

A host whose way out is broken, beside others whose way is not, would do harm: it claims what is
due like its fellows, uses up an attempt of each, and sends it back to wait.  So where a number of
different sites have been silent (no connection, no answer of the DNS) and nobody has answered all
the while that they were tried, this process takes itself for cut off.  It gives back what waits
for its turn, leaves fresh mail to whoever has room, and claims one or two now and then to see.
The first answer of anybody ends it.

A refused connection is an answer, and so is a refusal; what never leaves this host (a Maildir, a
socket, a route that discards) says nothing.  A process that has few sites never comes to
this: their windows and their deaths (``site_queue``) are enough.  Pure.

What it knowingly does not do: tell a host that is cut off from a night in which only dead domains
are left.  Then, too, what is due is tried so slowly, until somebody has answered; what is due first
goes first, fresh mail among it.
"""

from collections.abc import Iterable

from mta.mail.outcome import Outcome

SITES = 5  # different ones, silent
FOR_S = 10.0  # and for so long there was no answer of anybody
PROBE_S = 15.0
PROBE = 2  # recipients claimed for one: they lose the time of an attempt


class Outside:
    """What the last attempts have shown."""

    def __init__(self) -> None:
        """Begin as one that reaches everybody."""
        self.cut_off = False
        self.silent: set[str] = set()  # sites; emptied by an answer
        self._since_s = 0.0  # for how long nobody has answered, as far as it was tried
        self._answered_s = float("-inf")
        self._probe_s = 0.0  # when the next may be made

    def ended(self, site: str, outcomes: Iterable[Outcome], began_s: float, now_s: float) -> bool:
        """Learn from an attempt; tell whether ``cut_off`` is another now."""
        heard = [True if one.remote and _away(one) else one.reached for one in outcomes]
        if True in heard:
            return self.answered(now_s)
        if self.cut_off or not heard or None in heard:
            return False
        began_s = max(began_s, self._answered_s)
        self._since_s = min(self._since_s, began_s) if self.silent else began_s
        self.silent.add(site)
        if len(self.silent) < SITES or now_s - self._since_s < FOR_S:
            return False
        self.cut_off = True
        self._probe_s = now_s + PROBE_S
        return True

    def answered(self, now_s: float) -> bool:
        """Somebody has answered; tell whether that was news."""
        self.silent.clear()
        self._answered_s = now_s
        was, self.cut_off = self.cut_off, False
        return was

    def may_try(self, now_s: float) -> bool:
        """Tell whether to take something on; where we are cut off, now and then."""
        return not self.cut_off or now_s >= self._probe_s

    def tries(self, now_s: float) -> None:
        """Something is taken on."""
        if self.cut_off:
            self._probe_s = now_s + PROBE_S


def _away(outcome: Outcome) -> bool:
    return outcome.peer is not None and not outcome.peer.is_path
