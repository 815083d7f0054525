"""What must not be dialled now although its site could be: the place where suspensions act.

Who suspends (``restraints``) gives the scheduler a ``Blocked``.  It is asked twice about each
entry: before it lines up, and again when its turn has come, so that what is decided meanwhile
holds at once.  A blocked entry goes back to the spool, its attempt not counted, until the block
ends; its sender is warned of the delay.

The question is asked on the main road, so it has to be answered from memory, and at once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from mta.mail.envelope import Recipient
from mta.queue.entry import Entry


@dataclass(frozen=True, slots=True)
class Block:
    """Why an entry is not dialled, and until when (wall clock)."""

    until_ms: int
    reason: str  # for the history, the report and the operator; never empty
    restraint: int  # the id of what blocks it
    expires: bool = False  # whether it may run out of time meanwhile
    free: tuple[Recipient, ...] = ()  # those of its recipients whom it is not about


Blocked: TypeAlias = Callable[[Entry], Block | None]


class SourceBlocks(Protocol):
    """What is suspended for an address of ours (``mta.queue.suspensions``)."""

    def sources(self, entry: Entry) -> frozenset[str]:
        """Return the addresses that ``entry``, which is not blocked, must not go out from."""

    def waiting(self, entry: Entry) -> Block | None:
        """Say what ``entry`` waits for, whose hosts are reached by a suspended address only."""
