"""What must not be dialled now although its site could be: the place where suspensions act.

Somebody who suspends a login, a domain, a site or a route gives the scheduler a ``Blocked``.
It is asked twice about each entry: before it lines up, and again when its turn has come, so that
what is decided meanwhile holds at once.  A blocked entry goes back to the spool until the
block ends, its attempt not counted, under the same rules as mail of a dead site: its sender is
warned of the delay, and it expires with the reason.

The question is asked on the main road, so it has to be answered from memory, and at once.  An
entry knows its ``site``, ``destination``, domain (``job.recipients[0].domain``), ``owner`` and
login (``job.envelope.origin.login``); for the route ask ``Routes.choose(sender, domain)``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from mta.queue.entry import Entry


@dataclass(frozen=True, slots=True)
class Block:
    """Why an entry is not dialled, and until when (wall clock)."""

    until_ms: int
    reason: str  # for the history, the report and the operator; never empty


Blocked: TypeAlias = Callable[[Entry], Block | None]
