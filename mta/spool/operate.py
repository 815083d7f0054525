"""What operators do to the queue: hold, release, retry, remove, reroute, bounce.

Each verb works on the recipients that a filter means, at most ``limit`` in one
transaction; the caller repeats it until it returns 0, so that the service is never shut out
for long.  It writes a row of history for each recipient, and wakes the schedulers.

A verb does not wait for an attempt under way: it changes the state and leaves the claim,
so the attempt's outcome can still be recorded.  What ``outcomes`` says of the
two meeting holds: a deferral leaves the operator's state, a delivery overrides it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, text

from mta.mail.queue_id import QueueId
from mta.spool import bulk, intake, operated
from mta.spool.filters import Filter
from mta.spool.intake import Intake
from mta.spool.outcomes import Recorded, finish, lock_messages
from mta.spool.schema import recipients

STEP = 500  # recipients in one transaction

_WAITS = "recipients.state IN ('queued', 'held')"
_DUE_NOW = "next_attempt_ms = CASE WHEN claim IS NULL THEN v.column3 ELSE next_attempt_ms END"
_DUE_AGAIN = (  # not before the release that the sender has asked for (RFC 4865)
    "next_attempt_ms = CASE WHEN claim IS NOT NULL OR EXISTS (SELECT 1 FROM messages"
    " WHERE messages.id = recipients.message_id AND messages.release_ms > v.column3)"
    " THEN next_attempt_ms ELSE v.column3 END"
)
_BOUNCE = (
    "state = 'bounced', finished_ms = v.column3, last_code = 0, last_enhanced = v.column4,"
    " last_text = v.column5, last_host = '', last_ms = v.column3"
)


@dataclass(frozen=True, slots=True)
class Ruling:
    """An operator's decision that recipients of one message will not get it.

    The words are what the report to the sender says; ``reports`` are taken in with it.
    """

    message_id: QueueId
    recipients: tuple[int, ...]
    enhanced: str
    text: str
    reports: tuple[Intake, ...] = ()


def hold(conn: Connection, wanted: Filter, now_ms: int, who: str, limit: int = STEP) -> int:
    """Keep queued recipients until they are released; return how many."""
    keys = operated.pick(conn, wanted, now_ms, limit, "recipients.state = 'queued'")
    _change(conn, "state = 'held'", [(*key, now_ms) for key in keys])
    return operated.done(conn, keys, now_ms, "hold", who)


def release(conn: Connection, wanted: Filter, now_ms: int, who: str, limit: int = STEP) -> int:
    """Queue held recipients again, due now, or when their sender wanted; return how many."""
    keys = operated.pick(conn, wanted, now_ms, limit, "recipients.state = 'held'")
    _change(conn, f"state = 'queued', {_DUE_AGAIN}", [(*key, now_ms) for key in keys])
    return operated.done(conn, keys, now_ms, "release", who)


def retry(conn: Connection, wanted: Filter, now_ms: int, who: str, limit: int = STEP) -> int:
    """Make queued recipients that nobody has in hand due now; return how many.

    Not those that their sender wants to be held (RFC 4865).
    """
    later = (
        "recipients.state = 'queued' AND recipients.claim IS NULL"
        f" AND (messages.release_ms IS NULL OR messages.release_ms <= {now_ms:d})"
    )
    keys = operated.pick(
        conn, wanted, now_ms, limit, f"{later} AND recipients.next_attempt_ms > {now_ms:d}"
    )
    _change(conn, _DUE_NOW, [(*key, now_ms) for key in keys])
    return operated.done(conn, keys, now_ms, "retry", who)


def reroute(
    conn: Connection, wanted: Filter, now_ms: int, who: str, limit: int = STEP, *, route: str
) -> int:
    """Send waiting recipients by the route named ``route``, "" for what the configuration says.

    They are due now, or when their sender wanted.  Return how many it were.
    """
    keys = operated.pick(conn, wanted, now_ms, limit, _WAITS, recipients.c.route != route)
    _change(
        conn,
        f"route = v.column4, {_DUE_AGAIN}",
        [(*key, now_ms, route) for key in keys],
    )
    said = f"to route {route}" if route else "to the configured route"
    return operated.done(conn, keys, now_ms, "reroute", who, [said] * len(keys))


def remove(conn: Connection, wanted: Filter, now_ms: int, who: str, limit: int = STEP) -> int:
    """Drop waiting recipients, without a report to anybody; return how many."""
    keys = operated.pick(conn, wanted, now_ms, limit, _WAITS)
    _change(conn, "state = 'removed', finished_ms = v.column3", [(*key, now_ms) for key in keys])
    finish(conn, [message_id for message_id, _ in keys], now_ms)
    return operated.done(conn, keys, now_ms, "remove", who)


def bounce(conn: Connection, items: Sequence[Ruling], now_ms: int, who: str) -> list[Recorded]:
    """Carry out rulings made from a ``listing.page``, each wholly or, if any of its
    recipients no longer waits (``lost``), not at all.
    """
    lock_messages(conn, [item.message_id for item in items])
    lost = [_not_waiting(conn, item) for item in items]
    done = [item for item, missing in zip(items, lost, strict=True) if not missing]
    keys = [(item.message_id, number) for item in done for number in item.recipients]
    words = [(item.enhanced, item.text) for item in done for _ in item.recipients]
    values = [(*key, now_ms, *said) for key, said in zip(keys, words, strict=True)]
    _change(conn, _BOUNCE, values)
    intake.insert(conn, [(report, item.message_id) for item in done for report in item.reports])
    finished = finish(conn, [item.message_id for item in items], now_ms)
    operated.done(conn, keys, now_ms, "bounce", who, [text for _, text in words])
    return [
        Recorded(missing, item.message_id in finished)
        for item, missing in zip(items, lost, strict=True)
    ]


def _change(conn: Connection, what: str, values: Sequence[tuple[Any, ...]]) -> None:
    """Update rows given as (message, number, now, ...)."""
    bulk.update(
        conn,
        f"UPDATE recipients SET {what} FROM",  # noqa: S608 - words of this file
        "AS v WHERE recipients.message_id = v.column1 AND recipients.number = v.column2",
        values,
    )


def _not_waiting(conn: Connection, item: Ruling) -> tuple[int, ...]:
    query = select(recipients.c.number).where(
        recipients.c.message_id == item.message_id, text(_WAITS)
    )
    waiting = set(conn.execute(query).scalars())
    return tuple(number for number in item.recipients if number not in waiting)
