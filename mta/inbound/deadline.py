"""A time limit that moves often and costs little.

One delayed call for each connection; moving the limit sets a number, and the call, when
it comes too early, arms itself anew.
"""

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Deadline:
    """Calls ``expired`` once, when the time that was set last has passed."""

    def __init__(self, clock: IReactorTime, expired: Callable[[], None]) -> None:
        self._clock = clock
        self._expired = expired
        self._at: float | None = None
        self._call: IDelayedCall | None = None
        self._call_at = 0.0

    def within(self, seconds: float) -> None:
        """Set the limit to ``seconds`` from now, whatever it was."""
        self.at(self._clock.seconds() + seconds)

    def at(self, moment: float) -> None:
        """Set the limit to a moment of the clock."""
        self._at = moment
        if self._call is None or moment < self._call_at:
            self._arm(moment)

    def suspend(self) -> None:
        """There is no limit until one is set again."""
        self._at = None

    def stop(self) -> None:
        """The end; nothing is left in the reactor."""
        self._at = None
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _arm(self, moment: float) -> None:
        if self._call is not None:
            self._call.cancel()
        self._call_at = moment
        self._call = self._clock.callLater(max(0.0, moment - self._clock.seconds()), self._fire)

    def _fire(self) -> None:
        self._call = None
        if self._at is None:
            return
        if self._clock.seconds() < self._at:
            self._arm(self._at)
            return
        self._at = None
        self._expired()
