"""What is due, by classes of urgency; and what is due beyond a backlog that nobody wants now.

A site that is dead for days may have hundreds of thousands of recipients that are due.  They are
passed over entry by entry, which takes a while; so that is done by a reader, in an index that
holds all that is asked, while the writer goes on with new mail.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, Select, select, text

from mta.spool.schema import recipients

# The predicate is a text with constants: a planner cannot tell that a partial index serves
# a condition on a parameter.
DUE = text("recipients.state = 'queued' AND recipients.claim IS NULL")
ORDER = (
    recipients.c.next_attempt_ms,
    recipients.c.domain,
    recipients.c.message_id,
    recipients.c.number,
)
# Higher classes first; constants, so that each is one range of the index
CLASSES = tuple(text(f"recipients.urgency = {urgency}") for urgency in (1, 0, -1))
_SHARE = 10  # each class that has mail due gets a tenth of a claim at least

T = TypeVar("T")


class PassedOver(NamedTuple):
    """Domains whose mail is not wanted now, and those of them that get no urgent mail either."""

    domains: Sequence[str]
    urgent: Sequence[str]


def beyond(conn: Connection, now_ms: int, limit: int, over: PassedOver) -> list[str]:
    """Return the messages of up to ``limit`` due recipients that are at none of these domains.

    In the order in which they are to be claimed.  Nothing is locked: whoever claims looks again.
    """
    query = select(recipients.c.message_id).where(DUE, recipients.c.next_attempt_ms <= now_ms)
    queries = by_class(query.order_by(*ORDER).limit(limit), over)
    found = [conn.execute(one).scalars().all() for one in queries]
    return list(dict.fromkeys(id_ for part in shared(found, limit) for id_ in part))


def by_class(query: Select[Any], over: PassedOver) -> Iterator[Select[Any]]:
    """Yield ``query`` for each class, without what is passed over in it."""
    for urgency, some in zip(CLASSES, (over.urgent, over.domains, over.domains), strict=True):
        one = query.where(urgency)
        yield one.where(recipients.c.domain.not_in(some)) if some else one


def shared(classes: Sequence[Sequence[T]], limit: int) -> Iterator[Sequence[T]]:
    """Yield what is taken of each class, the higher before the lower, ``limit`` in all."""
    least = max(limit // _SHARE, 1 if limit > len(classes) else 0)
    left = limit
    for number, rows_ in enumerate(classes):
        kept = sum(min(len(lower), least) for lower in classes[number + 1 :])
        part = rows_[: max(left - kept, 0)]
        left -= len(part)
        yield part
