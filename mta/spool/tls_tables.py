"""The tables of what is known about other domains' TLS."""

from sqlalchemy import Column, Table, Text

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
