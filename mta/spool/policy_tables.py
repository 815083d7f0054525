"""The tables of the policy: what was used, by whom; to whom nothing goes; who is braked."""

from sqlalchemy import BigInteger, Column, Table, Text

from mta.spool.columns import metadata, ms, text_column

counters = Table(  # of the policy: how much was used of what, in windows of time
    "counters",
    metadata,
    Column("name", Text, primary_key=True),
    Column("start_ms", BigInteger, primary_key=True),
    Column("window_ms", BigInteger, nullable=False),
    Column("count", BigInteger, nullable=False),
    ms("keep_until_ms", index=True),
    ms("updated_ms", index=True),
    sqlite_with_rowid=False,
)

gauges = Table(  # what each process has in use, and until when that is believed
    "gauges",
    metadata,
    Column("node", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("in_use", BigInteger, nullable=False),
    ms("until_ms"),
    sqlite_with_rowid=False,
)

suppressions = Table(
    "suppressions",
    metadata,
    Column("address", Text, primary_key=True),  # lower case; or "@domain"
    Column("login", Text, primary_key=True),  # whose mail; "": everybody's
    text_column("reason"),
    text_column("who"),
    ms("created_ms"),
    sqlite_with_rowid=False,
)

brakes = Table(
    "brakes",
    metadata,
    Column("login", Text, primary_key=True),
    ms("tripped_ms"),
    text_column("reason"),
    ms("released_ms", nullable=True),  # NULL: what the login sends is held
    sqlite_with_rowid=False,
)
