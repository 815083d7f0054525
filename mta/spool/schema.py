"""The tables of the spool, and the indexes that the hot paths and the operators need.

Times are milliseconds since the epoch in UTC and are named ``_ms``.  A message is one
row; each of its recipients is one row with a state of its own; the octets stand apart in
``chunks``, so that they can go as soon as nobody waits for them, while the rows stay
for the retention time and can be traced.

Each index costs every message something, so there are few, and nearly all are partial: mail
that is delivered from memory passes only ``waiting``, ``claim`` and ``finished``, and the
two that ``trace`` searches (10 to 15 us each, for an answer at once from any history).
``chunks`` has no foreign key: chunks of a long message are written before its row is.
``arriving`` names those messages meanwhile, so that what a dead process leaves of them
is found without a search.  The tables of TLS are in ``tls_tables``.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    func,
    text,
)

from mta.spool import columns, policy_tables, share_tables, tls_tables
from mta.spool.columns import flag as _flag
from mta.spool.columns import ms as _ms
from mta.spool.columns import text_column as _text
from mta.spool.state import WAITING, State

metadata = columns.metadata
sts_policies = tls_tables.sts_policies
tls_sessions = tls_tables.tls_sessions
tls_reports = tls_tables.tls_reports
site_shares = share_tables.site_shares
site_paces = share_tables.site_paces
counters = policy_tables.counters
gauges = policy_tables.gauges
suppressions = policy_tables.suppressions
brakes = policy_tables.brakes

__all__ = ["WAITING", "State"]

messages = Table(
    "messages",
    metadata,
    Column("id", Text, primary_key=True),
    _text("sender"),
    Column("size", BigInteger, nullable=False),
    Column("eight_bit", Boolean, nullable=False),
    _text("kind"),
    Column("parent", Text),  # the message that this one, a report, is about
    _ms("created_ms"),
    _ms("expires_ms"),
    _ms("finished_ms", nullable=True),
    _text("message_id"),
    _text("listener"),
    _text("client_address"),
    _text("client_name"),
    _text("login"),
    _text("protocol"),
    _text("tls"),
    Column("chunks", Integer, nullable=False),
    # What the sender asked for with parameters of MAIL
    _text("ret", server_default=""),
    _text("envid", server_default=""),
    Column("priority", Integer, nullable=False, server_default="0"),
    _ms("release_ms", nullable=True),
    _ms("deadline_ms", nullable=True),
    _text("deadline_mode", server_default=""),  # "R", "N", "RT", "NT"
    _flag("binary"),
    _flag("utf8"),
    _flag("require_tls"),
    _flag("tls_not_required"),
    _text("hold", server_default=""),  # "for;60", "until;2030-12-31T08:00:00Z": as it was asked
    CheckConstraint("kind IN ('mail', 'dsn')", name="kind"),
    sqlite_with_rowid=False,
)

recipients = Table(
    "recipients",
    metadata,
    Column("message_id", ForeignKey(messages.c.id), primary_key=True),
    Column("number", Integer, primary_key=True),
    _text("address"),
    _text("domain"),
    _text("state"),
    Column("attempts", Integer, nullable=False),
    _ms("next_attempt_ms"),
    Column("claim", Text),  # token of the process run that has it in hand
    Column("warned", Boolean, nullable=False),
    Column("last_code", Integer, nullable=False),  # the last attempt, for the listings
    _text("last_enhanced"),
    _text("last_text"),
    _text("last_host"),
    _ms("last_ms", nullable=True),
    _ms("finished_ms", nullable=True),
    _text("notify", server_default=""),
    _text("orcpt", server_default=""),
    Column(
        "urgency", Integer, nullable=False, server_default="0"
    ),  # 1, 0, -1: claimed in this order
    _text("route", server_default=""),  # chosen by an operator; "": by the configuration
    _text("given", server_default=""),
    _text("sender", server_default=""),
    _text("role", server_default=""),
    _text("last_category", server_default=""),  # the last attempt's cause, see ``attempts``
    Column("restraint", BigInteger),  # what it waits for, undialled
    _ms("dotted_ms", nullable=True),  # when its final dot was about to be sent (``dotted``)
    Column("dotted_to", Text),  # to whom
    CheckConstraint(
        "state IN ('queued', 'held', 'delivered', 'bounced', 'expired', 'removed')", name="state"
    ),
    sqlite_with_rowid=False,
)

chunks = Table(
    "chunks",
    metadata,
    Column("message_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("data", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

kept = Table(  # finished messages whose octets stay for a while: not everybody got them
    "kept",
    metadata,
    Column("message_id", Text, primary_key=True),
    _ms("finished_ms", index=True),
    Column("octets", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

arriving = Table(  # messages whose first chunk is stored, until they are accepted or given up
    "arriving",
    metadata,
    Column("message_id", Text, primary_key=True),
    sqlite_with_rowid=False,
)

attempts = Table(
    "attempts",
    metadata,
    Column("message_id", ForeignKey(messages.c.id), primary_key=True),
    Column("recipient", Integer, primary_key=True),
    Column("attempt", Integer, primary_key=True),  # ``Recipient.attempts`` while it ran
    _text("node"),
    _ms("started_ms"),
    _ms("ended_ms"),
    _text("verdict"),
    _text("state"),  # what became of the recipient
    _ms("next_attempt_ms"),
    _text("cause"),  # our own reason for the state, where the verdict is not all of it
    _text("site", server_default=""),  # its name: whose hosts were to take the mail
    Column("code", Integer, nullable=False),
    _text("enhanced"),
    _text("text"),
    _text("command"),
    _text("blame"),
    Column("maybe_delivered", Boolean, nullable=False),
    Column("connect_s", Float, nullable=False),
    Column("transmit_s", Float, nullable=False),
    _text("host"),  # "" if there was no peer
    _text("address"),
    Column("port", Integer, nullable=False),
    Column("use", Integer, nullable=False),
    _text("tls_level"),
    _text("tls_version"),
    _text("tls_cipher"),
    _text("tls_why"),
    _text("tls_required", server_default=""),
    _text("tls_required_why", server_default=""),
    _text("tls_observed", server_default=""),  # why mail would have waited
    _text("sender", server_default=""),  # that the peer was told, where it was another
    _text("category", server_default=""),  # why it did not go through (``mta.mail.cause``)
    _text("source", server_default=""),  # our address of the connection
    sqlite_with_rowid=False,
)

events = Table(
    "events",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("message_id", ForeignKey(messages.c.id), nullable=False, index=True),
    Column("recipient", Integer),  # None: all of them
    _ms("at_ms"),
    _text("verb"),
    _text("who"),
    _text("text"),
)

transcripts = Table(  # what was said in an attempt, where it is kept: a row for all its recipients
    "transcripts",
    metadata,
    Column("message_id", ForeignKey(messages.c.id), primary_key=True),
    _ms("started_ms", primary_key=True),
    Column("first", Integer, primary_key=True),  # the lowest of the recipients' numbers
    _text("numbers"),  # all of them: "0-3,7"
    _text("node"),
    _ms("ended_ms", index=True),
    Column("data", LargeBinary, nullable=False),  # the text, deflated (zlib)
    sqlite_with_rowid=False,
)

accounts = Table(
    "accounts",
    metadata,
    Column("login", Text, primary_key=True),
    Column("salt", LargeBinary, nullable=False),
    Column("iterations", Integer, nullable=False),
    Column("stored_key", LargeBinary, nullable=False),
    Column("server_key", LargeBinary, nullable=False),
    Column("disabled", Boolean, nullable=False),
    _ms("created_ms"),
    Column("sha1_salt", LargeBinary),  # SCRAM-SHA-1's; None: the password is older than they are
    Column("sha1_iterations", Integer),
    Column("sha1_stored_key", LargeBinary),
    Column("sha1_server_key", LargeBinary),
)

account_certificates = Table(
    "account_certificates",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    Column("login", ForeignKey(accounts.c.login), nullable=False, index=True),
    _ms("created_ms"),
    CheckConstraint("kind IN ('fingerprint', 'name', 'subject')", name="kind"),
)

secrets = Table(  # of the installation; all its processes share them
    "secrets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

nodes = Table(
    "nodes",
    metadata,
    Column("name", Text, primary_key=True),
    Column("token", Text, nullable=False, unique=True),
    _ms("started_ms"),
    _ms("lease_until_ms"),
    _text("about"),  # JSON object: version, process id, host, ...
    _text("sites", server_default="[]"),  # JSON: ``mta.spool.site_states``
    _ms("sites_ms", nullable=True),  # when it was written
    _text("report", server_default=""),  # JSON object, while somebody looks (``watching``)
)

alarms = Table(
    "alarms",
    metadata,
    Column("node", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    _text("text"),
    _ms("since_ms"),
    sqlite_with_rowid=False,
)

settings_in_force = Table(  # of each process, without secrets: to compare a changed file with
    "settings_in_force",
    metadata,
    Column("node", Text, primary_key=True),
    _text("text"),  # JSON, as ``mta.config.show`` writes it
    _ms("since_ms"),
)

wakeups = Table(
    "wakeups",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # one row, id 1
    Column("counter", BigInteger, nullable=False),
    _ms("watched_until_ms", server_default="0"),
    Column("restraints", BigInteger, nullable=False, server_default="0"),  # the same for those
)

restraints = Table(  # who is sent nothing, or less, for a time
    "restraints",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    _text("verb"),  # "suspend", "slow"
    _text("scope"),  # "all", "route", "site", "domain", "login", "source"
    _text("name"),
    _text("site_key"),  # of what was decided by itself: this site alone
    _text("source"),  # and from this address of ours; "": the system's
    _text("cause"),  # "": an operator's word
    _text("rule"),
    _text("reason"),
    _text("samples"),  # replies, a JSON list
    Column("was", Integer, nullable=False),  # the level before, 0: none
    Column("level", Integer, nullable=False),
    _ms("step_ms"),  # how long a level lasts
    _ms("since_ms"),
    _ms("until_ms", nullable=True),  # NULL: until it is ended
    _ms("ended_ms", nullable=True),
    _text("ended_by"),
    _text("who"),
    Column("expires", Boolean, nullable=False),  # mail grows old meanwhile
)

samples = Table(  # replies that rules act upon, until they are enough or too old
    "samples",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    _text("site_key"),
    _text("source"),  # as in ``restraints``
    _text("rule"),
    _ms("at_ms"),
    _ms("keep_until_ms"),
    _text("said"),
)

schema_support = Table(  # one row
    "schema_support",
    metadata,
    Column("oldest", Text, primary_key=True),  # as ``OLDEST``
)


def _partial(name: str, *columns: Any, where: str) -> Index:
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


_partial("ix_messages_finished", messages.c.finished_ms, where="finished_ms IS NOT NULL")
_partial("ix_messages_parent", messages.c.parent, where="parent IS NOT NULL")
_partial("ix_messages_message_id", messages.c.message_id, where="message_id <> ''")
_partial(
    "ix_recipients_waiting",
    recipients.c.message_id,
    recipients.c.number,
    where="state IN ('queued', 'held')",
)
_partial(
    "ix_recipients_turn",
    recipients.c.urgency,
    recipients.c.next_attempt_ms,
    recipients.c.domain,
    recipients.c.message_id,
    recipients.c.number,
    recipients.c.state,  # these three, so that what is new can be counted by the index alone
    recipients.c.claim,
    recipients.c.last_ms,
    where="state = 'queued' AND claim IS NULL",
)
_partial(  # not what is delivered at its first attempt, which is nearly all
    "ix_recipients_stuck",
    recipients.c.domain,
    recipients.c.message_id,
    recipients.c.number,
    recipients.c.state,  # these, so that counting needs nothing but the index
    recipients.c.last_ms,
    recipients.c.next_attempt_ms,
    where="state IN ('queued', 'held') AND (last_ms IS NOT NULL OR state = 'held')",
)
_partial("ix_recipients_claim", recipients.c.claim, where="claim IS NOT NULL")
_partial("ix_recipients_restraint", recipients.c.restraint, where="restraint IS NOT NULL")
_partial("ix_restraints_open", restraints.c.id, where="ended_ms IS NULL")
Index("ix_samples_key", samples.c.site_key, samples.c.source, samples.c.rule)
Index("ix_recipients_address", func.lower(recipients.c.address))
_partial("ix_attempts_unknown", attempts.c.ended_ms, where="maybe_delivered")
_partial("ix_recipients_given", func.lower(recipients.c.given), where="given <> ''")

REVISION = "0027"
"""The revision of the migrations that leads to these tables."""

OLDEST = "0026"
"""The ``REVISION`` of the oldest program that can work on these tables.

A revision that only expands leaves it as it is; one that contracts, or that needs older programs to
be gone, sets it to its own.
"""
