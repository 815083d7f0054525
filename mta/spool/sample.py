"""What a monitor wants to know of the spool, in few figures, each counted in an index.

It costs what counting the waiting recipients costs, so it is not for every scrape: ``mta.metrics``
asks now and then, while somebody scrapes at all.
"""

from collections import Counter
from dataclasses import dataclass

from sqlalchemy import Connection, case, func, select, text

from mta.mail.queue_id import QueueId
from mta.spool import alarms, restraints
from mta.spool.schema import brakes, nodes, recipients

_WAITING = text("state IN ('queued', 'held')")  # as the indexes have it
_STUCK = text("state IN ('queued', 'held') AND (last_ms IS NOT NULL OR state = 'held')")
_IDLE = text("state = 'queued' AND claim IS NULL")
_UNTRIED = text("last_ms IS NULL")
# Conditions and columns are those of an index; a look at each row would take ten times as long
_TRIED = select(
    func.count(case((text("state = 'held'"), 1))),
    func.count(case((text("state = 'queued'"), 1))),
).where(_STUCK, recipients.c.domain >= "")
_NEW = (
    select(func.count()).select_from(recipients).where(_IDLE, _UNTRIED),
    select(func.count())
    .select_from(recipients)
    .where(text("claim IS NOT NULL AND state = 'queued'"), _UNTRIED),
)


@dataclass(frozen=True, slots=True)
class Sample:
    """The spool at one moment; of all its processes together."""

    new: int  # recipients that wait and were never tried
    deferred: int  # that were
    held: int
    claimed: int
    due: int  # and claimed by nobody
    oldest: QueueId | None  # of the messages that wait
    restraints: dict[str, int]  # in force, by verb
    brakes: int
    alarms: int  # of processes whose lease holds


def sample(conn: Connection, now_ms: int) -> Sample:
    """Take it."""
    columns, number = recipients.c, func.count()
    oldest = conn.execute(select(func.min(columns.message_id)).where(_WAITING)).scalar()
    held, deferred = conn.execute(_TRIED).one()
    claimed = select(number).select_from(recipients).where(text("claim IS NOT NULL"))
    due = select(number).select_from(recipients).where(_IDLE, columns.next_attempt_ms <= now_ms)
    braked = select(number).select_from(brakes).where(brakes.c.released_ms.is_(None))
    names = select(nodes.c.name).where(nodes.c.lease_until_ms > now_ms)
    there = set(conn.execute(names).scalars())
    return Sample(
        sum(conn.execute(query).scalar_one() for query in _NEW),
        deferred,
        held,
        conn.execute(claimed).scalar_one(),
        conn.execute(due).scalar_one(),
        None if oldest is None else QueueId(oldest),
        dict(Counter(one.verb for one in restraints.holding(conn, now_ms))),
        conn.execute(braked).scalar_one(),
        sum(one.node in there for one in alarms.everybodys(conn)),
    )


def reachable(conn: Connection) -> bool:
    """Ask the spool for next to nothing; raises where it does not answer."""
    return conn.execute(select(nodes.c.name).limit(1)).first() is not None
