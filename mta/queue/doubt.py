"""What a process that has ended since has perhaps delivered: who of what was claimed.  Pure.

It had sent the final dot, or was about to, and has recorded no outcome (``mta.spool.dotted``).
Such recipients do not wait for a turn: nobody is dialled for them, and no site is at fault.
"""

from collections.abc import Callable
from typing import TypeAlias

from mta.mail.envelope import Recipient
from mta.mail.outcome import Outcome
from mta.spool.leases import Claimed

InDoubt: TypeAlias = Callable[[str, Recipient, str], Outcome | None]
"""``(sender, recipient, to whom it was sent)``: what that comes to; None: it is sent again."""


def divide(claimed: Claimed, in_doubt: InDoubt) -> tuple[tuple[Recipient, ...], dict[int, Outcome]]:
    """Return who of ``claimed`` is to be sent to, and by number what becomes of the others."""
    found: dict[int, Outcome] = {}
    for one in claimed.recipients:
        to = None if claimed.dotted is None else claimed.dotted.get(one.number)
        if to is not None:
            outcome = in_doubt(claimed.envelope.sender, one, to)
            if outcome is not None:
                found[one.number] = outcome
    return tuple(one for one in claimed.recipients if one.number not in found), found
