"""How mail stands, by domain, address or group: for ``why`` and the grouped listing.

All of it is bounded, whatever the length of the queue.  What waits in spite of an attempt has
an index by domain, which mail that is delivered at its first attempt never enters; what is
new or finished is looked for among the newest only, and the answers say how far that went.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Join,
    Row,
    Select,
    and_,
    case,
    func,
    or_,
    select,
    text,
)

from mta.mail.queue_id import QueueId
from mta.spool.filters import Filter, conditions
from mta.spool.schema import State, attempts, messages, recipients

SAMPLE = 10_000  # recipients that wait at one domain whose replies are read
NEWEST = 20_000  # recipients, or messages, that are looked through for what has no index
MOST_GROUPS = 20_000

_STUCK = text("state IN ('queued', 'held') AND (last_ms IS NOT NULL OR state = 'held')")
_WAITS = text("state IN ('queued', 'held')")


@dataclass(frozen=True, slots=True)
class Cause:
    """What so many recipients were told at their last attempt; no reply: none has ended."""

    state: State
    code: int
    enhanced: str
    text: str
    host: str
    recipients: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What waits for one domain.

    ``stuck`` counts what was tried, or is held; the causes and the next attempt are those of
    the oldest ``SAMPLE`` of them.  ``fresh`` counts what is new among the ``NEWEST`` that wait.
    """

    domain: str
    stuck: int
    fresh: int
    oldest: QueueId | None
    in_hand: int
    next_attempt_ms: int | None  # of what is queued and in nobody's hands
    causes: tuple[Cause, ...]  # most frequent first


@dataclass(frozen=True, slots=True)
class Finished:
    """What has become of the newest recipients of one domain."""

    states: dict[State, int]
    newest: QueueId | None


def of_domain(conn: Connection, domain: str) -> Standing:
    """Return what waits for ``domain`` (lower case, A-labels)."""
    columns = recipients.c
    stuck, oldest = conn.execute(
        select(func.count(), func.min(columns.message_id)).where(columns.domain == domain, _STUCK)
    ).one()
    sample = (
        select(
            columns.state,
            columns.claim,
            columns.next_attempt_ms,
            columns.last_code,
            columns.last_enhanced,
            columns.last_text,
            columns.last_host,
            columns.last_ms,
        )
        .where(columns.domain == domain, _STUCK)
        .order_by(columns.message_id, columns.number)
        .limit(SAMPLE)
    )
    found = conn.execute(sample).all()
    new = _newest(_WAITS).subquery()
    fresh = conn.execute(
        select(
            func.count(),
            func.min(new.c.message_id),
            func.count(new.c.claim),
            func.min(case((new.c.claim.is_(None), new.c.next_attempt_ms))),
        ).where(new.c.domain == domain, new.c.state == "queued", new.c.last_ms.is_(None))
    ).one()
    dues = [row.next_attempt_ms for row in found if row.state == "queued" and row.claim is None]
    if fresh[3] is not None:
        dues.append(fresh[3])
    return Standing(
        domain,
        stuck,
        fresh[0],
        min((QueueId(one) for one in (oldest, fresh[1]) if one is not None), default=None),
        sum(row.claim is not None for row in found) + fresh[2],
        min(dues, default=None),
        tuple(_causes(found)),
    )


def _causes(found: Iterable[Any]) -> list[Cause]:
    counted: dict[Cause, int] = {}
    for row in found:
        said: tuple[int, str, str, str] = (0, "", "", "")
        if row.last_ms is not None:
            said = (row.last_code, row.last_enhanced, row.last_text, row.last_host)
        cause = Cause(State(row.state), *said, recipients=1)
        counted[cause] = counted.get(cause, 0) + 1
    causes = [replace(cause, recipients=number) for cause, number in counted.items()]
    return sorted(causes, key=lambda one: -one.recipients)


def finished_of_domain(conn: Connection, domain: str) -> Finished:
    """Return what has become of recipients at ``domain`` among the newest of the spool."""
    new = _newest(None).subquery()
    query = select(new.c.state, func.count(), func.max(new.c.message_id))
    rows = conn.execute(query.where(new.c.domain == domain).group_by(new.c.state)).all()
    return Finished(
        {State(state): number for state, number, _ in rows},
        max((QueueId(newest) for _, _, newest in rows), default=None),
    )


def _newest(condition: ColumnElement[bool] | Any) -> Select[Any]:
    columns = recipients.c
    query = select(
        columns.message_id,
        columns.domain,
        columns.state,
        columns.claim,
        columns.next_attempt_ms,
        columns.last_ms,
    ).order_by(columns.message_id.desc(), columns.number.desc())
    return (query if condition is None else query.where(condition)).limit(NEWEST)


def to_address(conn: Connection, address: str, limit: int) -> list[QueueId]:
    """Return the newest messages to ``address``, newest first; it may be an alias."""
    columns = recipients.c
    given = and_(text("given <> ''"), func.lower(columns.given) == func.lower(address))
    meant = or_(func.lower(columns.address) == func.lower(address), given)
    query = select(columns.message_id).where(meant)
    query = query.distinct().order_by(columns.message_id.desc()).limit(limit)
    return [QueueId(one) for one in conn.execute(query).scalars()]


def from_address(conn: Connection, address: str, limit: int) -> list[QueueId]:
    """Return the newest messages from ``address`` among the ``NEWEST`` of the spool."""
    columns = messages.c
    new = select(columns.id, columns.sender).order_by(columns.id.desc()).limit(NEWEST).subquery()
    query = select(new.c.id).where(func.lower(new.c.sender) == func.lower(address))
    query = query.order_by(new.c.id.desc()).limit(limit)
    return [QueueId(one) for one in conn.execute(query).scalars()]


@dataclass(frozen=True, slots=True)
class AtSite:
    """What waits for one domain since an attempt at a site."""

    domain: str
    recipients: int
    oldest: QueueId
    next_attempt_ms: int


def at_site(conn: Connection, site: str, limit: int) -> list[AtSite]:
    """Return for which domains mail waits since its last attempt at ``site`` (its name).

    Of the ``NEWEST`` first that are stuck, in the order of the domains' names.
    """
    columns = recipients.c
    some = (
        select(
            columns.domain,
            columns.message_id,
            columns.number,
            columns.attempts,
            columns.next_attempt_ms,
        )
        .where(_STUCK)
        .order_by(columns.domain, columns.message_id, columns.number)
        .limit(NEWEST)
        .subquery()
    )
    last = and_(
        attempts.c.message_id == some.c.message_id,
        attempts.c.recipient == some.c.number,
        attempts.c.attempt == some.c.attempts,
    )
    number = func.count()
    query = (
        select(some.c.domain, number, func.min(some.c.message_id), func.min(some.c.next_attempt_ms))
        .join_from(some, attempts, last)
        .where(attempts.c.site == site)
        .group_by(some.c.domain)
        .order_by(number.desc(), some.c.domain)
    )
    found: Any = conn.execute(query.limit(limit))
    return [AtSite(*row) for row in found]


@dataclass(frozen=True, slots=True)
class Lately:
    """What became of the newest attempts at a site."""

    verdicts: dict[str, int]  # "delivered", "deferred", "failed"
    last: QueueId | None  # the newest message among them
    last_ms: int | None


def lately_at_site(conn: Connection, site: str) -> Lately:
    """Return what became of attempts at ``site`` among the ``NEWEST`` of the spool."""
    columns = attempts.c
    some = (
        select(columns.message_id, columns.site, columns.verdict, columns.ended_ms)
        .order_by(columns.message_id.desc(), columns.recipient.desc(), columns.attempt.desc())
        .limit(NEWEST)
        .subquery()
    )
    query = select(
        some.c.verdict, func.count(), func.max(some.c.message_id), func.max(some.c.ended_ms)
    )
    rows = conn.execute(query.where(some.c.site == site).group_by(some.c.verdict)).all()
    return Lately(
        {verdict: number for verdict, number, _, _ in rows},
        max((QueueId(newest) for _, _, newest, _ in rows), default=None),
        max((last_ms for _, _, _, last_ms in rows), default=None),
    )


KEYS: dict[str, tuple[ColumnElement[Any], ...]] = {
    "domain": (recipients.c.domain,),
    "cause": (
        recipients.c.state,
        recipients.c.last_code,
        recipients.c.last_enhanced,
        recipients.c.last_text,
        recipients.c.last_ms.is_not(None).label("tried"),
    ),
    "category": (recipients.c.last_category,),
    "code": (recipients.c.last_code,),
    "sender": (messages.c.sender,),
    "login": (messages.c.login,),
    "state": (recipients.c.state,),
    "site": (func.coalesce(attempts.c.site, "").label("site"),),  # of the last attempt
}
"""What a listing can be grouped by, and the columns that it takes."""


def _with_site() -> Join:
    last = and_(
        attempts.c.message_id == recipients.c.message_id,
        attempts.c.recipient == recipients.c.number,
        attempts.c.attempt == recipients.c.attempts,
    )
    return messages.join(recipients).outerjoin(attempts, last)


def groups(conn: Connection, wanted: Filter, now_ms: int, by: Sequence[str]) -> list[Row[Any]]:
    """Return the largest groups of what ``wanted`` means: the columns of ``by``, and beside them
    ``recipients`` (how many), ``oldest`` (queue id) and ``next_ms`` (earliest attempt).
    """
    return list(conn.execute(groups_query(wanted, now_ms, by)))


def groups_query(wanted: Filter, now_ms: int, by: Sequence[str]) -> Select[Any]:
    """Return the statement behind ``groups``."""
    columns: dict[str, ColumnElement[Any]] = {}
    for key in by:
        columns.update((column.name, column) for column in KEYS[key])
    number = func.count().label("recipients")
    query = (
        select(
            *columns.values(),
            number,
            func.min(recipients.c.message_id).label("oldest"),
            func.min(recipients.c.next_attempt_ms).label("next_ms"),
        )
        .select_from(_with_site() if "site" in by else messages.join(recipients))
        .where(and_(*conditions(wanted, now_ms)))
        .group_by(*columns.values())
    )
    return query.order_by(number.desc()).limit(MOST_GROUPS)
