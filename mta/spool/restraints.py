"""Restraints: suspensions and throttles, what waits for them, and how it comes back.

A recipient that is put back because of one bears its id, so that it comes back at once when the
restraint is ended, however far its next attempt was set.  Being put back uses up no attempt.

Time for which mail is kept from being tried by a restraint does not count towards its age, unless
the operator has said so: its expiry moves by as much.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, func, select, text

from mta.mail.restraint import BY_RULE, MOST_LEVEL, Restraint
from mta.spool import bulk
from mta.spool.leases import Key
from mta.spool.listening import tell
from mta.spool.schema import recipients, restraints, wakeups

_LONGEST_MS = 86_400_000  # that what nobody has looked at may suspend
_TOGETHER_MS = 60_000  # processes that see the same at about the same time decide once
_MOST = 1000  # in a listing
_PAGE = 5000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a process wants to do about one site, as seen from one source address."""

    verb: str
    site_key: str
    site: str  # its name
    source: str
    cause: str
    rule: str
    samples: tuple[str, ...]
    for_ms: int


def impose(conn: Connection, wanted: Wanted, now_ms: int) -> Restraint | None:
    """Begin what a rule asks for, one level above what there was; None: that is so already.

    Slowness is doubled while it lasts, and wears off by a level at a time.  A suspension that
    follows another one soon lasts twice as long.
    """
    _touch(conn)  # two processes do not decide at the same time
    last = _last(conn, wanted)
    was = 0
    if last is not None:
        if now_ms - last.since_ms < _TOGETHER_MS or (
            wanted.verb == "suspend" and last.holds(now_ms)
        ):
            return None
        if wanted.verb == "slow":
            was = last.level_at(now_ms)
        elif last.until_ms is not None and last.ended_ms is None:
            was = last.level if now_ms - last.until_ms < last.until_ms - last.since_ms else 0
        if last.holds(now_ms):
            _end(conn, [last.id], BY_RULE, now_ms)
    level = min(was + 1, MOST_LEVEL)
    length_ms = wanted.for_ms * level
    if wanted.verb == "suspend":
        length_ms = max(min(wanted.for_ms << was, _LONGEST_MS), wanted.for_ms)
    made = Restraint(
        0,
        wanted.verb,
        "site",
        wanted.site,
        f"{wanted.cause}: {wanted.samples[-1] if wanted.samples else ''}",
        now_ms,
        now_ms + length_ms,
        wanted.site_key,
        wanted.source,
        wanted.cause,
        wanted.rule,
        wanted.samples,
        was,
        level,
        wanted.for_ms if wanted.verb == "slow" else 0,
        BY_RULE,
    )
    return _insert(conn, made)


def suspend(conn: Connection, wanted: Restraint) -> Restraint:
    """Begin what an operator asks for; return it with its id."""
    _touch(conn)
    return _insert(conn, wanted)


def _insert(conn: Connection, made: Restraint) -> Restraint:
    values = {name: getattr(made, name) for name in Restraint.__slots__ if name != "id"}
    values["samples"] = json.dumps(made.samples)
    values["reason"] = bulk.storable(made.reason)
    result = conn.execute(restraints.insert().values(**values))
    key = result.inserted_primary_key
    assert key is not None
    return replace(made, id=key[0])


def end(conn: Connection, ids: Iterable[int], who: str, now_ms: int) -> int:
    """End restraints; what waits for them is due at once.  Return how many recipients that is.

    So is what waits for another suspension of an address of ours: it may go out from this one.
    """
    _touch(conn)
    ended = named(conn, ids).values()
    count = sum(_end(conn, [one.id], who, now_ms) for one in ended)
    if any(one.by_source and one.verb == "suspend" for one in ended):
        others = (one for one in holding(conn, now_ms) if one.by_source and one.verb == "suspend")
        count += sum(_due_again(conn, one.id, now_ms) for one in others)
    return count


def _end(conn: Connection, ids: Sequence[int], who: str, now_ms: int) -> int:
    marks = restraints.c.id.in_(ids) & restraints.c.ended_ms.is_(None)
    conn.execute(restraints.update().where(marks).values(ended_ms=now_ms, ended_by=who))
    return sum(_due_again(conn, one, now_ms) for one in ids)


def _due_again(conn: Connection, id_: int, now_ms: int) -> int:
    """Bring back what waits for ``id_``; the part of the wait that was not needed counts again."""
    given = {"id": id_, "now": now_ms}
    conn.execute(
        text(
            "UPDATE messages SET expires_ms = expires_ms - (SELECT max(w.next_attempt_ms) - :now"
            "  FROM recipients w WHERE w.message_id = messages.id AND w.restraint = :id)"
            " WHERE id IN (SELECT message_id FROM recipients WHERE restraint = :id"
            "  AND next_attempt_ms > :now)"
            " AND EXISTS (SELECT 1 FROM restraints r WHERE r.id = :id AND NOT r.expires)"
        ),
        given,
    )
    return conn.execute(
        text(
            "UPDATE recipients SET restraint = NULL,"
            " next_attempt_ms = CASE WHEN next_attempt_ms > :now THEN :now ELSE next_attempt_ms END"
            " WHERE restraint = :id AND claim IS NULL"
        ),
        given,
    ).rowcount


def put_back(
    conn: Connection, token: str, keys: Sequence[Key], at_ms: int, id_: int, now_ms: int
) -> int:
    """Give back claims whose attempt must not begin, uncounted; return how many it were.

    If the restraint has been ended meanwhile, they are due at once.
    """
    query = select(restraints.c.ended_ms, restraints.c.expires).where(restraints.c.id == id_)
    row = conn.execute(query.with_for_update(read=True)).first()
    holds = row is not None and row.ended_ms is None
    at_ms = at_ms if holds else now_ms
    if holds and row is not None and not row.expires:
        _grow_no_older(conn, {key[0] for key in keys}, at_ms, now_ms)
    return bulk.update(
        conn,
        "UPDATE recipients SET claim = NULL, attempts = attempts - 1,"
        " next_attempt_ms = v.column5, restraint = v.column6 FROM",
        "AS v WHERE recipients.message_id = v.column1 AND recipients.number = v.column2"
        " AND recipients.claim = v.column3 AND recipients.attempts = v.column4",
        [(key[0], key[1], token, key[2], at_ms, id_ if holds else 0) for key in keys],
    )


def _grow_no_older(conn: Connection, ids: set[str], at_ms: int, now_ms: int) -> None:
    """Move the expiry by the wait; a wait that another recipient of the message has already
    been given counts once."""
    conn.execute(
        text(
            "UPDATE messages SET expires_ms = expires_ms + :wait"
            " - (SELECT coalesce(max(CASE WHEN w.next_attempt_ms > :at THEN :at"
            "    ELSE w.next_attempt_ms END), :now) - :now FROM recipients w"
            "    WHERE w.message_id = messages.id AND w.restraint > 0 AND w.next_attempt_ms > :now)"
            " WHERE id = :id"
        ),
        [{"id": one, "at": at_ms, "now": now_ms, "wait": at_ms - now_ms} for one in sorted(ids)],
    )


def holding(conn: Connection, now_ms: int) -> list[Restraint]:
    """Return those in force, the oldest first."""
    query = restraints.select().where(restraints.c.ended_ms.is_(None)).order_by(restraints.c.id)
    found = map(_restraint, conn.execute(query))
    return [one for one in found if one.holds(now_ms)]


def latest(conn: Connection, *, by_rule: bool) -> list[Restraint]:
    """Return the newest of all times, the newest first."""
    rule = restraints.c.cause != "" if by_rule else restraints.c.cause == ""
    query = restraints.select().where(rule).order_by(restraints.c.id.desc()).limit(_MOST)
    return list(map(_restraint, conn.execute(query)))


def named(conn: Connection, ids: Iterable[int]) -> dict[int, Restraint]:
    """Return restraints by their ids."""
    query = restraints.select().where(restraints.c.id.in_(set(ids)))
    return {row.id: _restraint(row) for row in conn.execute(query)}


FOR_WHAT = (
    restraints.c.id.label("restraint_id"),
    restraints.c.scope,
    restraints.c.name.label("whom"),
    restraints.c.source,
    restraints.c.verb,
    restraints.c.reason,
    restraints.c.cause.label("restraint_cause"),
)
"""Columns for ``for_what``, where a listing is joined with the restraints."""


def for_what(row: Any) -> Restraint | None:
    """Return what the recipient in a row waits for, as far as listings need it."""
    if row.restraint_id is None:
        return None
    return Restraint(
        row.restraint_id,
        row.verb,
        row.scope,
        row.whom,
        row.reason,
        0,
        source=row.source,
        cause=row.restraint_cause,
    )


def waiting(conn: Connection) -> dict[int, int]:
    """Return how many recipients wait for which restraint."""
    query = select(recipients.c.restraint, func.count()).where(text("restraint IS NOT NULL"))
    rows = conn.execute(query.group_by(recipients.c.restraint))
    return {id_: number for id_, number in rows if id_}


def purge(conn: Connection, before_ms: int) -> int:
    """Forget what ended before; return how much."""
    over = (restraints.c.ended_ms < before_ms) | (restraints.c.until_ms < before_ms)
    return conn.execute(restraints.delete().where(over)).rowcount


def _last(conn: Connection, wanted: Wanted) -> Restraint | None:
    query = restraints.select().where(
        restraints.c.verb == wanted.verb,
        restraints.c.site_key == wanted.site_key,
        restraints.c.source == wanted.source,
        restraints.c.cause != "",
    )
    row = conn.execute(query.order_by(restraints.c.id.desc()).limit(1)).first()
    return None if row is None else _restraint(row)


def _touch(conn: Connection) -> None:
    """Tell the schedulers; the one row is locked until the commit."""
    conn.execute(wakeups.update().values(restraints=wakeups.c.restraints + 1))
    tell(conn)


def _restraint(row: Row[tuple[object, ...]]) -> Restraint:
    values = {name: getattr(row, name) for name in Restraint.__slots__}
    values["samples"] = tuple(json.loads(row.samples))
    values["expires"] = bool(row.expires)
    return Restraint(**values)
