"""The settings that running processes work by, and what waits in the queue, by where it goes.

For ``mta config diff``: the text is the configuration's own, without any secret; here it is only
kept.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, Text, func, literal_column, select, text

from mta.mail.queue_id import QueueId
from mta.spool.bulk import storable
from mta.spool.schema import messages, nodes, recipients, settings_in_force

MOST = 100_000  # different kinds of mail

# What is behind the last "@", in the words that both databases know
_SENDER_DOMAIN = literal_column(
    "lower(replace(messages.sender,"
    " rtrim(messages.sender, replace(messages.sender, '@', '')), ''))",
    Text,
)
_WAITS = text("recipients.state IN ('queued', 'held')")


@dataclass(frozen=True, slots=True)
class InForce:
    """What one running process works by."""

    node: str
    text: str
    since_ms: int


@dataclass(frozen=True, slots=True)
class Kind:
    """Recipients that wait, and that settings cannot tell apart."""

    sender_domain: str  # "" of the null sender
    domain: str
    route: str  # chosen by an operator; ""
    host: str  # of the last attempt; "" if there was none
    recipients: int
    sample: QueueId


def put(conn: Connection, node: str, settings: str, now_ms: int) -> None:
    """Remember what ``node`` works by from now on."""
    conn.execute(settings_in_force.delete().where(settings_in_force.c.node == node))
    values = {"node": node, "text": storable(settings), "since_ms": now_ms}
    conn.execute(settings_in_force.insert().values(**values))


def everybodys(conn: Connection, now_ms: int) -> list[InForce]:
    """Return what the processes that have a lease work by, by their names."""
    columns = settings_in_force.c
    query = (
        select(columns.node, columns.text, columns.since_ms)
        .join_from(settings_in_force, nodes, nodes.c.name == columns.node)
        .where(nodes.c.lease_until_ms > now_ms)
        .order_by(columns.node)
    )
    return [InForce(row.node, row.text, row.since_ms) for row in conn.execute(query)]


def waiting(conn: Connection, limit: int = MOST) -> list[Kind]:
    """Return what waits, counted; the most frequent first, so many at most."""
    sender = _SENDER_DOMAIN.label("sender_domain")
    keys = (sender, recipients.c.domain, recipients.c.route, recipients.c.last_host)
    number = func.count().label("number")
    query = (
        select(*keys, number, func.min(recipients.c.message_id).label("sample"))
        .join_from(recipients, messages)
        .where(_WAITS)
        .group_by(*keys)
        .order_by(number.desc(), recipients.c.domain)
        .limit(limit)
    )
    return [
        Kind(r.sender_domain, r.domain, r.route, r.last_host, r.number, QueueId(r.sample))
        for r in conn.execute(query)
    ]
