"""TLS sessions with mail exchangers, counted by day (UTC) and domain for reports (RFC 8460).

Several processes add to the same rows.  How many different ones a domain, and a day, can have is
bounded: what comes beyond that is added up without what tells it apart, and then as nobody's.
A commit whose answer is lost may be counted twice.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Row, delete, func, select

from mta.mail.security import Result
from mta.mail.tls_session import AppliedPolicy, PolicyType, TlsSession
from mta.spool import bulk
from mta.spool.schema import tls_sessions

DAY_MS = 86_400_000
MOST_OF_DOMAIN = 200  # rows of one domain and day that tell sessions apart
MOST_OF_DAY = 100_000
_TOGETHER = 64  # domains in one statement

_NOBODYS = TlsSession("", AppliedPolicy(PolicyType.NONE, ""), coarse=True)


@dataclass(frozen=True, slots=True)
class Counted:
    """So many sessions of a day that are the same."""

    day: int  # days since the epoch
    session: TlsSession
    count: int


def add(conn: Connection, counted: Sequence[Counted]) -> None:
    """Add to what was counted before."""
    rows: dict[tuple[int, str, str], list[Any]] = {}
    for day in sorted({one.day for one in counted}):
        for one, digest in _bounded(conn, day, [some for some in counted if some.day == day]):
            row = rows.setdefault((day, one.session.domain, digest), _row(one.session))
            row[-1] += one.count
    bulk.update(
        conn,
        "INSERT INTO tls_sessions (day, domain, digest, kind, policy, result, details, count)"
        " SELECT * FROM",
        "AS v WHERE true ON CONFLICT (day, domain, digest) DO UPDATE SET"
        " count = tls_sessions.count + excluded.count",
        [(*key, *row) for key, row in sorted(rows.items())],  # sorted: no deadlocks
    )


def of_domain(conn: Connection, day: int, domain: str) -> list[Counted]:
    """Return what was counted of a domain on a day."""
    query = select(tls_sessions).where(tls_sessions.c.day == day, tls_sessions.c.domain == domain)
    return [_counted(row) for row in conn.execute(query.order_by(tls_sessions.c.digest))]


@dataclass(frozen=True, slots=True)
class Sum:
    """How sessions of a domain ended on a day."""

    day: int
    domain: str  # "": those that there was no room for
    kind: PolicyType
    result: Result | None
    count: int


def sums(conn: Connection, day: int, domain: str | None = None) -> list[Sum]:
    """Return how sessions of ``day`` ended, by domain; of one domain, or of all."""
    columns = tls_sessions.c
    keys = (columns.domain, columns.kind, columns.result)
    query = select(*keys, func.sum(columns.count)).where(columns.day == day)
    if domain is not None:
        query = query.where(columns.domain == domain)
    return [
        Sum(day, of, PolicyType(kind), Result(result) if result else None, int(count))
        for of, kind, result, count in conn.execute(query.group_by(*keys).order_by(*keys))
    ]


def purge(conn: Connection, before_day: int, limit: int) -> int:
    """Forget up to ``limit`` rows of days before ``before_day``; return how many."""
    columns = tls_sessions.c
    query = select(columns.day, columns.domain).where(columns.day < before_day)
    found: Sequence[Any] = conn.execute(query.distinct().limit(limit)).all()
    for day, domain in found:
        conn.execute(delete(tls_sessions).where(columns.day == day, columns.domain == domain))
    return len(found)


def _bounded(
    conn: Connection, day: int, counted: Sequence[Counted]
) -> Iterable[tuple[Counted, str]]:
    """Give what is to be added and its digest, within what there is room for."""
    columns = tls_sessions.c
    domains = sorted({one.session.domain for one in counted})
    known: dict[str, set[str]] = {domain: set() for domain in domains}
    for start in range(0, len(domains), _TOGETHER):
        some = domains[start : start + _TOGETHER]
        query = select(columns.domain, columns.digest)
        for domain, digest in conn.execute(
            query.where(columns.day == day, columns.domain.in_(some))
        ):
            known[domain].add(digest)
    room: int | None = None
    for one in counted:
        of_domain, digest = known[one.session.domain], _digest(one.session)
        if digest not in of_domain and len(of_domain) >= MOST_OF_DOMAIN:
            one = Counted(day, one.session.coarsened(), one.count)  # noqa: PLW2901
            digest = _digest(one.session)
        if digest not in of_domain:
            room = _room(conn, day) if room is None else room
            if room <= 0:
                yield Counted(day, _NOBODYS, one.count), _digest(_NOBODYS)
                continue
            room -= 1
            of_domain.add(digest)
        yield one, digest


def _room(conn: Connection, day: int) -> int:
    query = select(func.count()).select_from(tls_sessions).where(tls_sessions.c.day == day)
    return MOST_OF_DAY - int(conn.execute(query).scalar_one())


def _row(session: TlsSession) -> list[Any]:
    """Return the columns behind the key; the count is to be added."""
    policy = session.policy
    details = [session.sending, session.host, session.address, session.helo, session.reason]
    return [
        policy.kind.value,
        _json([policy.domain, policy.lines, policy.mx]),
        "" if session.result is None else session.result.value,
        "" if session.coarse else _json(details),
        0,
    ]


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _digest(session: TlsSession) -> str:
    octets = "\0".join(map(str, _row(session)[:-1])).encode()
    return sha256(octets).hexdigest()[:32]


def _counted(row: Row[Any]) -> Counted:
    day, domain, _, kind, policy, result, details, count = tuple(row)
    base, lines, mx = json.loads(policy)
    applied = AppliedPolicy(PolicyType(kind), base, tuple(lines), tuple(mx))
    found = Result(result) if result else None
    if not details:
        return Counted(day, TlsSession(domain, applied, found, coarse=True), count)
    return Counted(day, TlsSession(domain, applied, found, *json.loads(details)), count)
