"""How fast a verb goes through a long queue beside a service that has mail to move.

A step is as long as takes ``_SHORT_S`` to ``_LONG_S``, whatever the machine and the verb; for so
long at most a service's commit waits on SQLite, which has one writer.  On PostgreSQL nobody waits
for it, and a longer step, of which the same has less to do beside its changes, is better.  After it
the verb rests for as long as the step took, and several times as long where others want to write:
on SQLite that is seen from having had to wait for them, on PostgreSQL, where nothing tells, it is
taken for granted while a service runs.

Does not know who the others are: two verbs at the same time slow each other down.
"""

_SHORT_S = 0.012
_LONG_S = 0.030
_LONGER = 4  # times as long, where only processors and disk are shared
_LEAST, _MOST = 20, 5_000  # recipients looked through in one step
_CROWDED = 8  # times as long as the step, where others are at work
_MOST_REST_S = 1.0
_WAITED_S = 0.001  # to be let in: SQLite asks again after a millisecond at the earliest
_ALONE = 20  # steps without waiting, until nobody else is thought to be there


class Pace:
    """The pace of one run."""

    def __init__(self, *, one_writer: bool, served: bool) -> None:
        """``one_writer``: whoever writes waits for all others.  ``served``: a service runs."""
        self.size = 200  # recipients that the next step is to look through
        self._one_writer = one_writer
        self._longer = 1 if one_writer else _LONGER
        self._alone = _ALONE if one_writer or not served else 0

    def rest_s(self, waited_s: float, worked_s: float) -> float:
        """Learn from a step; return how long to leave the spool alone."""
        if worked_s > _LONG_S * self._longer:
            self.size = max(_LEAST, self.size // 2)
        elif worked_s < _SHORT_S * self._longer:
            self.size = min(_MOST, self.size + self.size // 2)
        if self._one_writer:
            self._alone = 0 if waited_s > _WAITED_S else self._alone + 1
        times = 1 if self._alone >= _ALONE else _CROWDED
        return min(worked_s * times, _MOST_REST_S)
