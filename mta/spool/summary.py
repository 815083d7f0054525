"""How much waits, by domain and state: at once, however long the queue is.

What waits is counted by three indexes that hold all that is asked of them: what is stuck, what
is new and due some day, what is new and in hand.  How many messages and octets that is stands in
no index; of a long queue it is estimated.
"""

from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, case, func, select, text

from mta.mail.queue_id import time_of
from mta.spool.schema import State, messages, recipients

COUNTED = 100_000
"""Recipients up to which messages and octets of a summary are counted, not estimated."""

_UNCLAIMED = text("state = 'queued' AND claim IS NULL")


@dataclass(frozen=True, slots=True)
class DomainSummary:
    """What waits for one domain in one state."""

    domain: str
    state: State
    recipients: int
    oldest_ms: int  # arrival
    next_attempt_ms: int  # the earliest

    def plus(self, other: "DomainSummary") -> "DomainSummary":
        """Return both as one; domain and state are the same."""
        return replace(
            self,
            recipients=self.recipients + other.recipients,
            oldest_ms=min(self.oldest_ms, other.oldest_ms),
            next_attempt_ms=min(self.next_attempt_ms, other.next_attempt_ms),
        )


@dataclass(frozen=True, slots=True)
class Summary:
    """The queue at one moment, longest lists first."""

    messages: int
    octets: int
    domains: tuple[DomainSummary, ...]
    estimated: bool = False  # messages and octets are: the queue is too long to count them

    @property
    def recipients(self) -> int:
        """How many recipients wait."""
        return sum(domain.recipients for domain in self.domains)

    @property
    def oldest_ms(self) -> int | None:
        """When the longest waiting message arrived."""
        return min((domain.oldest_ms for domain in self.domains), default=None)

    def count(self, state: State) -> int:
        """Return how many recipients are in ``state``."""
        return sum(domain.recipients for domain in self.domains if domain.state is state)


def due(conn: Connection, now_ms: int) -> int:
    """Return how many recipients that nobody has in hand are due."""
    query = select(func.count()).select_from(recipients).where(_UNCLAIMED)
    query = query.where(text("urgency IN (1, 0, -1)"), recipients.c.next_attempt_ms <= now_ms)
    return conn.execute(query).scalar_one()


def summary(conn: Connection, counted: int = COUNTED) -> Summary:
    """Return what waits, by domain and state; reads nothing but indexes.

    Of more than ``counted`` recipients, messages and octets are estimated.
    """
    found: dict[tuple[str, State], DomainSummary] = {}
    for query in _PARTS:
        for domain, *values in conn.execute(query):
            for state, (number, oldest, due_ms) in (
                (State.QUEUED, values[:3]),
                (State.HELD, values[3:]),
            ):
                if number:
                    one = DomainSummary(domain, state, number, time_of(oldest), due_ms)
                    key = domain, state
                    found[key] = one.plus(found[key]) if key in found else one
    domains = sorted(found.values(), key=lambda one: (-one.recipients, one.domain, one.state))
    number = sum(one.recipients for one in domains)
    if number <= counted:
        messages_left, octets = conn.execute(_sizes(_waiting_ids())).one()
        return Summary(messages_left, int(octets), tuple(domains))
    return _estimated(conn, tuple(domains), number, counted)


def _estimated(
    conn: Connection, domains: tuple[DomainSummary, ...], number: int, counted: int
) -> Summary:
    """Judge by the oldest and the newest how many messages and octets it is."""
    looked, some, octets = 0, 0, 0
    for ascending in (True, False):
        order = recipients.c.message_id if ascending else recipients.c.message_id.desc()
        rows_ = _waiting_ids().order_by(order).limit(max(counted // 10, 1)).subquery()
        count_ = select(func.count()).select_from(rows_)
        looked += conn.execute(count_).scalar_one()
        of_these = conn.execute(_sizes(select(rows_.c.message_id))).one()
        some, octets = some + of_these[0], octets + int(of_these[1])
    share = number / max(looked, 1)
    return Summary(round(some * share), round(octets * share), domains, estimated=True)


def _waiting_ids() -> Select[Any]:
    return select(recipients.c.message_id).where(text("recipients.state IN ('queued', 'held')"))


def _sizes(ids: Select[Any]) -> Select[Any]:
    """Return the statement for how many messages these are, and of how many octets."""
    once = ids.distinct().subquery()
    total = select(func.count(), func.coalesce(func.sum(messages.c.size), 0))
    return total.select_from(once.join(messages, messages.c.id == once.c.message_id))


def _part(*condition: Any) -> Select[Any]:
    """Group by domain alone, which is the order of an index: by state it would take a sort."""
    columns = recipients.c
    found: list[ColumnElement[Any]] = []
    for state in (State.QUEUED, State.HELD):
        this = text(f"state = '{state.value}'")
        for column in (columns.message_id, columns.message_id, columns.next_attempt_ms):
            found.append(case((and_(this), column)))
    number, oldest, due_, held, oldest_held, due_held = found
    return (
        select(
            columns.domain,
            *(func.count(number), func.min(oldest), func.min(due_)),
            *(func.count(held), func.min(oldest_held), func.min(due_held)),
        )
        .where(*condition)
        .group_by(columns.domain)
    )


_PARTS = (  # each recipient that waits is in one of them, and each has an index
    _part(text("state IN ('queued', 'held') AND (last_ms IS NOT NULL OR state = 'held')")),
    _part(_UNCLAIMED, text("last_ms IS NULL")),
    _part(text("claim IS NOT NULL AND state = 'queued' AND last_ms IS NULL")),
)
