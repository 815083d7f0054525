"""Reports on TLS: which are due, who makes which, and what came of them (RFC 8460).

Each domain that mail went to on a day (UTC) has a row, with the id that its report bears whatever
happens.  A process that works on one claims it for a while; a claim whose process died runs out.
A report by mail enters the queue in the transaction that says so, so there is never a second one.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, Row, delete, select, text

from mta.spool import intake
from mta.spool.engine import repeated
from mta.spool.intake import Intake
from mta.spool.schema import recipients, tls_reports, tls_sessions
from mta.spool.tls_sessions import DAY_MS

DUE, SENT, NONE, FAILED = "due", "sent", "none", "failed"
_PLANNED = "planned"
DAYS = 7  # for which reports are still made, when nothing ran for a while


@dataclass(frozen=True, slots=True)
class Way:
    """One place that a report goes to."""

    uri: str
    state: str = DUE  # "sent", "failed"
    text: str = ""  # what was answered, or went wrong


@dataclass(frozen=True, slots=True)
class Planned:
    """A report, made or to be made."""

    day: int
    domain: str
    report_id: str  # without a domain
    state: str = DUE
    next_ms: int = 0
    until_ms: int = 0
    tries: int = 0
    ended_ms: int | None = None
    ways: tuple[Way, ...] = ()
    text: str = ""
    queue_id: str = ""
    body: bytes | None = field(default=None, repr=False)


def plan(
    conn: Connection,
    now_ms: int,
    late_ms: int,
    named: Sequence[str],
    after_ms: Sequence[int],
) -> int:
    """Plan reports on days that have been over for ``late_ms``; return how many.

    ``named`` are ids for them, ``after_ms`` how long after the day's end, or after now if that is
    long ago, each is due; as many are planned at most.
    """
    today = (now_ms - late_ms) // DAY_MS
    columns = tls_reports.c
    marks = select(columns.day).where(columns.domain == "", columns.day >= today - DAYS)
    done = set(conn.execute(marks).scalars())
    for day in range(today - DAYS, today):
        if day in done:
            continue
        domains = _unplanned(conn, day, len(named))
        if not domains:
            _insert(conn, Planned(day, "", "", _PLANNED))
            continue
        begins_ms = (day + 1) * DAY_MS
        if now_ms - begins_ms > DAY_MS // 2:
            begins_ms = now_ms
        for domain, report_id, delay_ms in zip(domains, named, after_ms, strict=False):
            due_ms = begins_ms + delay_ms
            _insert(conn, Planned(day, domain, report_id, next_ms=due_ms))
        return len(domains)
    return 0


def claim(conn: Connection, token: str, now_ms: int, until_ms: int, limit: int) -> list[Planned]:
    """Take up to ``limit`` reports that are due, until ``until_ms`` at most."""
    columns = tls_reports.c
    query = select(tls_reports).where(
        columns.state == DUE, columns.next_ms <= now_ms, columns.claim_until_ms <= now_ms
    )
    query = query.order_by(columns.next_ms).limit(limit).with_for_update(skip_locked=True)
    found = [_planned(row) for row in conn.execute(query)]
    for one in found:
        conn.execute(_row(one).values(claim=token, claim_until_ms=until_ms))
    return found


def settle(conn: Connection, one: Planned, token: str, mail: Intake | None = None) -> bool:
    """Write what came of a report and give it back, with the mail that it is sent in.

    False, and nothing is written, if the claim ``token`` has run out and another process has it.
    """
    row = conn.execute(select(tls_reports).where(*_key(one))).first()
    if row is None:
        return False
    if repeated(conn) and one.queue_id and row.queue_id == one.queue_id:
        return True
    if row.claim != token:
        return False
    conn.execute(
        _row(one).values(
            state=one.state,
            next_ms=one.next_ms,
            until_ms=one.until_ms,
            tries=one.tries,
            ended_ms=one.ended_ms,
            ways=_json(one.ways),
            text=one.text,
            queue_id=one.queue_id,
            body=one.body,
            claim=None,
            claim_until_ms=0,
        )
    )
    if mail is not None:
        intake.insert(conn, [(mail, None)])
    return True


def again(conn: Connection, day: int, domain: str, now_ms: int) -> int:
    """Have reports on a day tried now that were not sent: of one domain, or ("") of all."""
    columns = tls_reports.c
    statement = tls_reports.update().where(
        columns.day == day, columns.domain != "", columns.state.in_((DUE, NONE, FAILED))
    )
    if domain:
        statement = statement.where(columns.domain == domain)
    values = {"state": DUE, "next_ms": now_ms, "until_ms": 0, "tries": 0, "ended_ms": None}
    return conn.execute(statement.values(**values, ways="[]", body=None)).rowcount


@dataclass(frozen=True, slots=True)
class Fate:
    """A report, and where its mail stands: states of recipients, none without mail."""

    report: Planned
    mail: tuple[str, ...] = ()


def of_day(conn: Connection, day: int, domain: str = "") -> list[Fate]:
    """Return the reports on a day, by domain."""
    columns = tls_reports.c
    query = select(tls_reports).where(columns.day == day, columns.domain != "")
    if domain:
        query = query.where(columns.domain == domain)
    found = [_planned(row) for row in conn.execute(query.order_by(columns.domain))]
    return [Fate(one, _states(conn, one.queue_id)) for one in found]


def purge(conn: Connection, before_day: int) -> int:
    """Forget reports on days before ``before_day``; return how many."""
    statement = delete(tls_reports).where(tls_reports.c.day < before_day)
    return conn.execute(statement).rowcount


def _unplanned(conn: Connection, day: int, limit: int) -> list[str]:
    sessions, reports = tls_sessions.c, tls_reports.c
    there = select(reports.domain).where(
        reports.day == sessions.day, reports.domain == sessions.domain
    )
    query = select(sessions.domain).where(
        sessions.day == day, sessions.domain != "", ~there.exists()
    )
    return list(conn.execute(query.distinct().order_by(sessions.domain).limit(limit)).scalars())


def _insert(conn: Connection, one: Planned) -> None:
    """Write a new row, unless another process has."""
    conn.execute(
        text(
            "INSERT INTO tls_reports (day, domain, report_id, state, next_ms, until_ms, tries,"
            " ways, text, queue_id, claim_until_ms)"
            " VALUES (:day, :domain, :report_id, :state, :next_ms, 0, 0, '[]', '', '', 0)"
            " ON CONFLICT (day, domain) DO NOTHING"
        ),
        {
            "day": one.day,
            "domain": one.domain,
            "report_id": one.report_id,
            "state": one.state,
            "next_ms": one.next_ms,
        },
    )


def _key(one: Planned) -> tuple[Any, ...]:
    return (tls_reports.c.day == one.day, tls_reports.c.domain == one.domain)


def _row(one: Planned) -> Any:
    return tls_reports.update().where(*_key(one))


def _states(conn: Connection, queue_id: str) -> tuple[str, ...]:
    if not queue_id:
        return ()
    query = select(recipients.c.state).where(recipients.c.message_id == queue_id)
    return tuple(conn.execute(query.order_by(recipients.c.number)).scalars())


def _json(ways: Sequence[Way]) -> str:
    return json.dumps([[one.uri, one.state, one.text] for one in ways], separators=(",", ":"))


def _planned(row: Row[Any]) -> Planned:
    ways = tuple(Way(*one) for one in json.loads(row.ways))
    known = {name: getattr(row, name) for name in Planned.__slots__ if name not in ("ways", "body")}
    body = None if row.body is None else bytes(row.body)
    return replace(Planned(**known), ways=ways, body=body)
