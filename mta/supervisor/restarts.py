"""When a worker that has died starts again: at once the first time, then with growing pauses.

Pure.  A worker that has been ready for ``STEADY_S`` has its past forgiven.
"""

STEADY_S = 60.0
LONGEST_S = 60.0
ALARMING = 3  # deaths in a row


class Restarts:
    """The deaths in a row of one worker."""

    def __init__(self) -> None:
        self.deaths = 0

    @property
    def alarming(self) -> bool:
        """Whether an operator should know."""
        return self.deaths >= ALARMING

    def died(self) -> float:
        """Count a death; return in how many seconds to start again."""
        self.deaths += 1
        return 0.0 if self.deaths == 1 else min(2.0 ** (min(self.deaths, 30) - 2), LONGEST_S)

    def steady(self) -> None:
        """It has been ready for long enough."""
        self.deaths = 0
