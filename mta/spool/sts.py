"""Policies of MTA-STS as they were fetched, shared by all processes (RFC 8461 §3.3).

One row for each domain that was found to have something: the policy that came last, and what
went wrong last.  A failure never touches the policy: it is in force until its time is over.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, select, text, update

from mta.spool.tls_tables import sts_policies

_KEEP = text(
    "INSERT INTO sts_policies (domain, id, lines, fetched_ms, expires_ms, used_ms, due_ms,"
    " failed_ms, result, failure)"
    " VALUES (:domain, :id, :lines, :fetched_ms, :expires_ms, :used_ms, :due_ms, 0, '', '')"
    " ON CONFLICT (domain) DO UPDATE SET id = excluded.id, lines = excluded.lines,"
    " fetched_ms = excluded.fetched_ms, expires_ms = excluded.expires_ms,"
    " used_ms = excluded.used_ms, due_ms = excluded.due_ms, failed_ms = 0, result = '',"
    " failure = ''"
)
_FAILED = text(
    "INSERT INTO sts_policies (domain, id, lines, fetched_ms, expires_ms, used_ms, due_ms,"
    " failed_ms, result, failure)"
    " VALUES (:domain, '', '', 0, 0, :now_ms, 0, :now_ms, :result, :failure)"
    " ON CONFLICT (domain) DO UPDATE SET failed_ms = excluded.failed_ms,"
    " result = excluded.result, failure = excluded.failure"
)


@dataclass(frozen=True, slots=True)
class Stored:
    """What is kept of one domain."""

    domain: str
    id: str = ""  # that the TXT record had when the policy was fetched
    lines: tuple[str, ...] = ()  # the policy; () if there never was one
    fetched_ms: int = 0
    expires_ms: int = 0  # the policy is in force before that
    used_ms: int = 0  # when mail went there last, within a day
    due_ms: int = 0  # when it is to be fetched anew although nothing says so
    failed_ms: int = 0  # 0: the last fetch has not failed
    result: str = ""  # what was wrong, in a word of TLS reports
    failure: str = ""  # and in words

    def in_force(self, now_ms: int) -> bool:
        """Tell whether the policy counts."""
        return bool(self.lines) and now_ms < self.expires_ms


_COLUMNS = tuple(sts_policies.c[name] for name in Stored.__dataclass_fields__)


def get(conn: Connection, domain: str) -> Stored | None:
    """Return what is kept of ``domain``."""
    row = conn.execute(select(*_COLUMNS).where(sts_policies.c.domain == domain)).first()
    return None if row is None else _stored(row)


def everything(conn: Connection) -> list[Stored]:
    """Return all that is kept, by domain."""
    query = select(*_COLUMNS).order_by(sts_policies.c.domain)
    return [_stored(row) for row in conn.execute(query)]


def keep(conn: Connection, fetched: Stored) -> None:
    """Put a policy into the place of what was there; what had failed is forgotten."""
    values = {name: getattr(fetched, name) for name in Stored.__dataclass_fields__}
    conn.execute(_KEEP, values | {"lines": "\n".join(fetched.lines)})


def failed(conn: Connection, domain: str, result: str, failure: str, now_ms: int) -> None:
    """Note that a fetch has failed; the policy that is there stays."""
    values = {"domain": domain, "result": result, "failure": failure, "now_ms": now_ms}
    conn.execute(_FAILED, values)


def used(conn: Connection, domain: str, now_ms: int) -> None:
    """Note that mail goes to ``domain``."""
    here = sts_policies.c.domain == domain
    conn.execute(update(sts_policies).where(here).values(used_ms=now_ms))


def claim_due(
    conn: Connection, now_ms: int, again_ms: int, used_since_ms: int, most: int
) -> list[Stored]:
    """Return policies in force that are to be fetched anew, for this process alone to do it.

    Nobody else is given them before ``again_ms``.
    """
    columns = sts_policies.c
    query = select(*_COLUMNS).where(
        columns.due_ms <= now_ms,
        columns.expires_ms > now_ms,
        columns.used_ms >= used_since_ms,
    )
    found = [_stored(row) for row in conn.execute(query.order_by(columns.due_ms).limit(most))]
    return [one for one in found if _claimed(conn, one, again_ms)]


def _claimed(conn: Connection, one: Stored, again_ms: int) -> bool:
    columns = sts_policies.c
    mine = (columns.domain == one.domain) & (columns.due_ms == one.due_ms)
    done = conn.execute(update(sts_policies).where(mine).values(due_ms=again_ms))
    return done.rowcount > 0


def purge(conn: Connection, before_ms: int) -> int:
    """Remove what was over before then, policy and failure; return how many."""
    columns = sts_policies.c
    over = (columns.expires_ms < before_ms) & (columns.failed_ms < before_ms)
    return conn.execute(delete(sts_policies).where(over)).rowcount


def _stored(row: object) -> Stored:
    values: dict[str, object] = row._asdict()  # type: ignore[attr-defined]
    lines = str(values["lines"])
    return Stored(**values | {"lines": tuple(lines.split("\n")) if lines else ()})  # type: ignore[arg-type]
