"""The tables of what processes share of a site's limits (``mta.spool.shares``)."""

from sqlalchemy import BigInteger, Column, Integer, Table, Text

from mta.spool.columns import metadata, ms

site_shares = Table(  # how many connections each process may have to a site, and would like
    "site_shares",
    metadata,
    Column("site", Text, primary_key=True),
    Column("token", Text, primary_key=True),  # of the process's run
    Column("connections", Integer, nullable=False),
    Column("wanted", Integer, nullable=False),
    Column("begins", Integer, nullable=False),  # deliveries that it would like to begin in a second
    Column("second", BigInteger, nullable=False),  # for which it was last allowed any
    Column("allowed", Integer, nullable=False),  # and how many
    ms("seen_ms", index=True),
    sqlite_with_rowid=False,
)

site_paces = Table(  # how many deliveries all processes together were allowed to begin
    "site_paces",
    metadata,
    Column("site", Text, primary_key=True),
    Column("seconds", Integer, primary_key=True),  # of the rate: in so many
    Column("slot", BigInteger, primary_key=True),  # of them, counted from the epoch
    Column("count", Integer, nullable=False),
    ms("keep_until_ms", index=True),
    sqlite_with_rowid=False,
)
