"""The final dot, written down before it is sent.

Where a route does not want a message to be tried again of which nobody knows whether it has arrived
(``on_unknown``), that has to be known after a crash as well: so those whom the peer has accepted
are marked, and the mark is committed, before the last octets leave.  What is claimed with a mark
was in the hands of a process that has ended since (``leases.Claimed.dotted``).

The mark is fenced like an outcome, which takes it away.  Knowingly: a process that ends after the
commit and before the octets have left leaves the same mark.  A program of an earlier release knows
nothing of it; a mark that is older than the last outcome does not count, so one that such a program
has passed over does no harm.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row

from mta.mail.queue_id import QueueId
from mta.mail.value import value
from mta.spool import bulk
from mta.spool.driver import run
from mta.spool.schema import recipients

COLUMNS = [recipients.c.dotted_ms, recipients.c.dotted_to, recipients.c.last_ms]
"""Columns that ``found`` reads, besides the recipient's number."""


@value
class Dotted:
    """Some recipients of a message claimed with ``token``, whose final dot is about to be sent."""

    message_id: QueueId
    token: str
    keys: tuple[tuple[int, int], ...]  # number and attempts of each
    at_ms: int  # 0: the mark is taken away, for the peer is known not to have the message
    to: str  # who gets it, in words that are kept as they are


_HEAD = """UPDATE recipients
SET dotted_ms = NULLIF(v.column5, 0), dotted_to = NULLIF(v.column6, '') FROM"""
_TAIL = """AS v WHERE recipients.message_id = v.column1 AND recipients.number = v.column2
  AND recipients.claim = v.column3 AND recipients.attempts = v.column4"""


def mark(conn: Connection, items: Sequence[Dotted]) -> list[bool]:
    """Mark each of ``items`` wholly or, if a claim has been lost, not at all; tell which were.

    For ``Database.write_together``.
    """
    if _marked(conn, items):
        return [True] * len(items)
    return [_marked(conn, [item]) for item in items]


def _marked(conn: Connection, items: Sequence[Dotted]) -> bool:
    values = [
        (item.message_id, number, item.token, attempts, item.at_ms, bulk.storable(item.to))
        for item in items
        for number, attempts in item.keys
    ]
    run(conn, "SAVEPOINT dotted")
    if bulk.update(conn, _HEAD, _TAIL, values) == len(values):
        return True
    run(conn, "ROLLBACK TO SAVEPOINT dotted")
    return False


def found(rows: Sequence[Row[Any]]) -> Mapping[int, str] | None:
    """Return who of a message's claimed rows is marked, by number, and for whom; None: nobody."""
    for row in rows:
        if row.dotted_ms is not None:
            return {one.number: one.dotted_to or "" for one in rows if in_doubt(one)} or None
    return None


def in_doubt(row: Row[Any]) -> bool:
    """Tell whether the mark in a row with ``COLUMNS`` is there, and counts."""
    marked_ms, last_ms = row.dotted_ms, row.last_ms
    return marked_ms is not None and (last_ms is None or last_ms <= marked_ms)
