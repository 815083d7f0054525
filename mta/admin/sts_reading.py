"""The spool as ``mta.sts.policies`` wants it, for who only looks on: nothing is written."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed

from mta.admin.exits import Failure
from mta.admin.invocation import Invocation
from mta.spool.errors import SpoolUnavailable, SpoolUnusable


class Looking:
    """Reads at once, in this thread; a spool that is not there yet has nothing in it."""

    def __init__(self, invocation: Invocation) -> None:
        self._invocation = invocation

    def read(self, fn: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Return what ``fn(conn, ...)`` finds."""
        try:
            with self._invocation.reading() as conn:
                return succeed(fn(conn, *arguments))
        except Failure:
            return succeed(None)
        except (SpoolUnavailable, SpoolUnusable) as error:
            return fail(SpoolUnavailable(str(error)))

    def write(self, fn: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Leave it: what was fetched counts for this once."""
        return succeed(None)
