"""The tables of what is known about other domains' TLS, and of what they are told about it."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    text,
)

from mta.spool.columns import metadata, ms, text_column

sts_policies = Table(
    "sts_policies",
    metadata,
    Column("domain", Text, primary_key=True),
    text_column("id"),
    text_column("lines"),
    ms("fetched_ms"),
    ms("expires_ms"),
    ms("used_ms"),
    ms("due_ms", index=True),
    ms("failed_ms"),
    text_column("result"),
    text_column("failure"),
    sqlite_with_rowid=False,
)

tls_sessions = Table(  # how sessions with mail exchangers went, by day, for reports
    "tls_sessions",
    metadata,
    Column("day", Integer, primary_key=True),  # since the epoch, in UTC
    Column("domain", Text, primary_key=True),
    Column("digest", Text, primary_key=True),  # of what follows, but the count
    text_column("kind"),
    text_column("policy"),  # JSON
    text_column("result"),  # "": as the policy wants it
    text_column("details"),  # JSON; "": they are not told apart
    Column("count", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

tls_reports = Table(  # to whom what was told about a day; the domain "": all of it is planned
    "tls_reports",
    metadata,
    Column("day", Integer, primary_key=True),
    Column("domain", Text, primary_key=True),
    text_column("report_id"),
    text_column("state"),
    ms("next_ms"),
    ms("until_ms"),  # nothing is tried after
    Column("tries", Integer, nullable=False),
    ms("ended_ms", nullable=True),
    text_column("ways"),  # JSON: where to, and what came of each
    text_column("text"),  # the last failure
    text_column("queue_id"),  # of the message, where it went by mail
    Column("body", LargeBinary),  # as it is posted, while it is to be tried again
    Column("claim", Text),
    ms("claim_until_ms"),
    CheckConstraint("state IN ('due', 'sent', 'none', 'failed', 'planned')", name="state"),
    sqlite_with_rowid=False,
)

_DUE = text("state = 'due'")
Index("ix_tls_reports_due", tls_reports.c.next_ms, sqlite_where=_DUE, postgresql_where=_DUE)
