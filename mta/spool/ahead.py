"""Mail whose due time was written by a clock that was ahead: found, and due as it should be.

After the clock was set back, the last attempt lies in the future, or the arrival of what has not
been attempted.  What is due then keeps its interval, counted from now; a moment that a sender has
named (FUTURERELEASE) stays, and so does what waits for a restraint, whose end is a time of day.

Read in steps, by the message's id, so that a queue of a million holds up nobody.  Knowingly: up to
``SLACK_MS`` nothing is done, for the clocks of hosts that share a spool differ a little.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from mta.mail.queue_id import new_queue_id
from mta.spool import bulk
from mta.spool.engine import is_sqlite
from mta.spool.schema import nodes

SLACK_MS = 300_000
STEP = 5000  # waiting recipients looked at in one transaction
_LAST = "~"  # after every queue id

_BOUNDARY = text(
    "SELECT message_id FROM recipients WHERE state IN ('queued', 'held') AND message_id > :after"
    " ORDER BY message_id, number LIMIT 1 OFFSET :step"
)
_AHEAD = text(
    "SELECT r.message_id, r.number, r.next_attempt_ms, r.last_ms, m.release_ms"
    " FROM recipients r JOIN messages m ON m.id = r.message_id"
    " WHERE r.state IN ('queued', 'held') AND r.message_id > :after AND r.message_id <= :until"
    " AND r.state = 'queued' AND r.claim IS NULL AND r.restraint IS NULL"
    " AND r.next_attempt_ms > :now_ms"
    " AND (r.last_ms > :latest_ms OR (r.last_ms IS NULL AND r.message_id > :latest_id))"
)


@dataclass(frozen=True, slots=True)
class Ahead:
    """One recipient, when it is due and when it should be."""

    message_id: str
    number: int
    due_ms: int
    should_ms: int


@dataclass(frozen=True, slots=True)
class Found:
    """What a step has found, and where the next one begins: "" if that was the last."""

    those: tuple[Ahead, ...]
    after: str


def find(conn: Connection, after: str, now_ms: int) -> Found:
    """Look through the next ``STEP`` waiting recipients after the message ``after``."""
    until = conn.execute(_BOUNDARY, {"after": after, "step": STEP}).scalar()
    latest_ms = now_ms + SLACK_MS
    wanted = {
        "after": after,
        "until": until or _LAST,
        "now_ms": now_ms,
        "latest_ms": latest_ms,
        "latest_id": new_queue_id(latest_ms, lambda _: 0),
    }
    rows = conn.execute(_AHEAD, wanted).all()
    those = (
        Ahead(row[0], row[1], row[2], _should_ms(now_ms, row[2], row[3], row[4])) for row in rows
    )
    return Found(tuple(one for one in those if one.should_ms < one.due_ms), until or "")


def _should_ms(now_ms: int, due_ms: int, last_ms: int | None, release_ms: int | None) -> int:
    interval_ms = 0 if last_ms is None else max(0, due_ms - last_ms)
    return max(min(due_ms, now_ms + interval_ms), release_ms or 0)


def bring_back(conn: Connection, those: Sequence[Ahead]) -> int:
    """Let ``those`` be due when they should be, unless something has happened to them meanwhile."""
    return bulk.update(
        conn,
        "UPDATE recipients SET next_attempt_ms = v.column4 FROM",
        "AS v WHERE recipients.message_id = v.column1 AND recipients.number = v.column2"
        " AND recipients.next_attempt_ms = v.column3"
        " AND recipients.state = 'queued' AND recipients.claim IS NULL",
        [(one.message_id, one.number, one.due_ms, one.should_ms) for one in those],
    )


def shorten_leases(conn: Connection, now_ms: int, lease_ms: int) -> None:
    """Let no lease last longer than one that begins now, by the clock as it is.

    On one host only: where others have clocks of their own, ours may be the one that is wrong.
    """
    if is_sqlite(conn):
        longest = nodes.c.lease_until_ms > now_ms + lease_ms + SLACK_MS
        conn.execute(nodes.update().where(longest).values(lease_until_ms=now_ms + lease_ms))
