"""One timer for whoever may have to go on at a moment that can come nearer."""

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Wake:
    """Calls once at the earliest of the moments that it was given since it last did."""

    def __init__(self, clock: IReactorTime, call: Callable[[], None]) -> None:
        self._clock = clock
        self._call = call
        self._timer: IDelayedCall | None = None

    def at(self, at_s: float | None) -> None:
        """Call at ``at_s`` of the clock, or sooner; None: nobody waits."""
        if at_s is None:
            return
        if self._timer is not None and self._timer.active():
            if self._timer.getTime() <= at_s:
                return
            self._timer.cancel()
        self._timer = self._clock.callLater(max(0.0, at_s - self._clock.seconds()), self._call)

    def stop(self) -> None:
        """Call no more."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
