"""Who has which recipients in hand: nodes, their leases, and claims.

A *claim* on a recipient is the random token of one run of one process; the *lease* is the
one row of that run in ``nodes``, renewed for all its claims at once.  When it runs out,
any other node takes the claims back (``reap``); a node that starts again under the same
name takes back at once what its last run held, if that is known to have ended: of one that may
still run the name is left alone (``succession``).  The fence on each later write is (message,
number, token, attempts): the attempt counter goes up with each claim, so that even the same
process cannot write the outcome of a claim it has given up.

SQLite has no ``FOR UPDATE SKIP LOCKED`` and SQLAlchemy drops it there without a word.
The claims are right on SQLite all the same, because a writing transaction begins with
``BEGIN IMMEDIATE`` and is thus the only one (``engine``).

Trusts that the times it is given are of one clock for all nodes (``clock``).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, or_, select, text

from mta.mail.envelope import Envelope, Recipient
from mta.mail.queue_id import QueueId
from mta.spool import bulk, due, rows, shares
from mta.spool.engine import repeated
from mta.spool.listening import tell
from mta.spool.schema import messages, nodes, recipients, wakeups

ROLE, SUPERVISOR, DOWN = "role", "supervisor", "down"  # what a supervisor says about itself

Key = tuple[QueueId, int, int]
"""Message, recipient number and attempts: what names one claim of a token."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """Recipients of one message that are ours now; the attempt about to begin is counted."""

    envelope: Envelope
    recipients: tuple[Recipient, ...]
    chunks: int


@dataclass(frozen=True, slots=True)
class Poll:
    """What a scheduler asks once a second."""

    wake: int  # goes up whenever an operator has changed something
    next_due_ms: int | None  # when the next unclaimed recipient is due; None: there is none
    watched_until_ms: int = 0  # until when somebody looks at what processes do
    restraints: int = 0  # goes up whenever a restraint begins or is ended


@dataclass(frozen=True, slots=True)
class Node:
    """One running process, as its lease says."""

    name: str
    token: str
    started_ms: int
    lease_until_ms: int
    about: Mapping[str, str]

    @property
    def supervises(self) -> bool:
        """Whether this is a supervisor: it has no mail in hand, its workers do."""
        return self.about.get(ROLE) == SUPERVISOR

    @property
    def down(self) -> Sequence[str]:
        """The workers of a supervisor that are not there."""
        return self.about.get(DOWN, "").split()


_DUE_ROWS = (
    select(*rows.ENVELOPE, *rows.RECIPIENT)
    .join_from(recipients, messages)
    .where(due.DUE, recipients.c.next_attempt_ms <= bindparam("now_ms"))
    .order_by(*due.ORDER)
    .with_for_update(skip_locked=True, of=recipients)
)
_FIRST_DUE = ", ".join(
    "(SELECT next_attempt_ms FROM recipients WHERE state = 'queued' AND claim IS NULL"  # noqa: S608
    f" AND {urgency.text} ORDER BY next_attempt_ms LIMIT 1)"
    for urgency in due.CLASSES
)
_POLL = text(f"SELECT counter, watched_until_ms, restraints, {_FIRST_DUE} FROM wakeups")  # noqa: S608 - words of this file
_NEXT_TOKEN = text(
    "SELECT claim FROM recipients WHERE claim IS NOT NULL AND claim > :after ORDER BY claim LIMIT 1"
)


def register_node(
    conn: Connection, name: str, token: str, now_ms: int, lease_ms: int, about: Mapping[str, str]
) -> int:
    """Begin a lease for a new run of the process ``name``; return how many claims came back.

    What an earlier run under this name still held is due at once.  If that run is alive
    after all, its next ``renew`` tells it that it has lost everything.
    """
    former = conn.execute(select(nodes.c.token).where(nodes.c.name == name)).scalar()
    count = 0
    if former is not None:
        count = _take_back(conn, former, now_ms)
        conn.execute(nodes.delete().where(nodes.c.name == name))
    conn.execute(
        nodes.insert().values(
            name=name,
            token=token,
            started_ms=now_ms,
            lease_until_ms=now_ms + lease_ms,
            about=json.dumps(dict(about), sort_keys=True),
        )
    )
    return count


def renew(conn: Connection, token: str, now_ms: int, lease_ms: int) -> bool:
    """Prolong the lease.  False: it was taken away, and with it all that this run had claimed."""
    statement = nodes.update().where(nodes.c.token == token)
    return conn.execute(statement.values(lease_until_ms=now_ms + lease_ms)).rowcount == 1


def everyone(conn: Connection) -> list[Node]:
    """Return all nodes by name, those whose lease has run out included."""
    return [
        Node(row.name, row.token, row.started_ms, row.lease_until_ms, json.loads(row.about))
        for row in conn.execute(nodes.select().order_by(nodes.c.name))
    ]


def claim_due(
    conn: Connection,
    token: str,
    now_ms: int,
    next_attempt_ms: int,
    limit: int,
) -> list[Claimed]:
    """Claim up to ``limit`` due recipients, urgent ones and then longest due first.

    Of each class that is due some, so that no flood of urgent mail lets the others starve
    (RFC 6710 §5).
    ``next_attempt_ms`` is when they are due again if this process dies.  All that is due
    of the last message comes along, though it may exceed the limit, so that
    recipients of a message at one destination are not torn apart.
    """
    classes = [
        conn.execute(query.limit(limit), {"now_ms": now_ms}).all()
        for query in due.by_class(_DUE_ROWS, due.PassedOver((), ()))
    ]
    taken: list[Row[Any]] = []
    for part in due.shared(classes, limit):
        taken += part
        if len(part) > 0 and sum(map(len, classes)) >= limit:
            taken += _rest_of(conn, now_ms, part)
    return _claim(conn, token, next_attempt_ms, taken)


def claim_these(
    conn: Connection,
    token: str,
    now_ms: int,
    next_attempt_ms: int,
    limit: int,
    ids: Sequence[str],
    over: due.PassedOver,
) -> list[Claimed]:
    """As ``claim_due``, of messages that ``due.beyond`` has found, in their order, each wholly."""
    urgent = text("recipients.urgency = 1")
    query = _DUE_ROWS.where(recipients.c.message_id.in_(ids)).order_by(None)
    query = query.where(or_(urgent, recipients.c.domain.not_in(over.domains)))
    query = query.where(recipients.c.domain.not_in(over.urgent))
    by_id: dict[str, list[Row[Any]]] = {}
    for row in conn.execute(query, {"now_ms": now_ms}):
        by_id.setdefault(row.id, []).append(row)
    taken: list[Row[Any]] = []
    for id_ in ids:
        if len(taken) < limit:
            taken += by_id.get(id_, [])
    return _claim(conn, token, next_attempt_ms, taken)


def _claim(
    conn: Connection, token: str, next_attempt_ms: int, taken: Sequence[Row[Any]]
) -> list[Claimed]:
    found = list(_already_claimed(conn, token, next_attempt_ms)) if repeated(conn) else []
    bulk.update(
        conn,
        "UPDATE recipients SET claim = v.column3, attempts = attempts + 1,"
        " next_attempt_ms = v.column4, restraint = NULL FROM",
        "AS v WHERE recipients.message_id = v.column1 AND recipients.number = v.column2",
        [(row.id, row.number, token, next_attempt_ms) for row in taken],
    )
    return _grouped([*found, *taken])


def release(conn: Connection, token: str, keys: Sequence[Key], next_attempt_ms: int) -> int:
    """Give back claims whose attempt has not begun, and uncount it; return how many it were."""
    return bulk.update(
        conn,
        "UPDATE recipients SET claim = NULL, attempts = attempts - 1,"
        " next_attempt_ms = v.column5 FROM",
        "AS v WHERE recipients.message_id = v.column1 AND recipients.number = v.column2"
        " AND recipients.claim = v.column3 AND recipients.attempts = v.column4",
        [(key[0], key[1], token, key[2], next_attempt_ms) for key in keys],
    )


def release_all(conn: Connection, token: str, now_ms: int) -> int:
    """Give back everything and end the lease: the orderly stop."""
    count = _take_back(conn, token, now_ms)
    conn.execute(nodes.delete().where(nodes.c.token == token))
    return count


def say(conn: Connection, token: str, key: str, words: str) -> None:
    """Change what the run ``token`` says about itself, if it is still there."""
    found = conn.execute(select(nodes.c.about).where(nodes.c.token == token)).scalar()
    if found is not None:
        about = json.dumps(json.loads(found) | {key: words}, sort_keys=True)
        conn.execute(nodes.update().where(nodes.c.token == token).values(about=about))


def reap(conn: Connection, now_ms: int) -> int:
    """Take back the claims of every run whose lease has run out, or that has none."""
    held = list(_tokens(conn))  # before the nodes: whoever claims has registered before
    conn.execute(nodes.delete().where(nodes.c.lease_until_ms < now_ms))
    alive = set(conn.execute(select(nodes.c.token)).scalars())
    return sum(_take_back(conn, token, now_ms) for token in held if token not in alive)


def withdrawn(conn: Connection, token: str) -> list[Key]:
    """Return the claims of this run that an operator has held, removed or bounced meanwhile.

    A scheduler asks after a wake-up, so as not to begin attempts that nobody wants.
    """
    query = select(recipients.c.message_id, recipients.c.number, recipients.c.attempts)
    found = conn.execute(query.where(recipients.c.claim == token, text("state <> 'queued'")))
    return sorted((QueueId(row[0]), row[1], row[2]) for row in found)


def rerouted(conn: Connection, token: str) -> dict[Key, str]:
    """Return the claims of this run for which an operator has chosen a route, and which."""
    query = select(
        recipients.c.message_id, recipients.c.number, recipients.c.attempts, recipients.c.route
    )
    found = conn.execute(query.where(recipients.c.claim == token, recipients.c.route != ""))
    return {(QueueId(row[0]), row[1], row[2]): row[3] for row in found}


def overdue(conn: Connection, token: str, now_ms: int) -> list[Key]:
    """Return the claims of this run that would be due again by now, had it died.

    Most of them wait for their turn.  One that the scheduler does not know was claimed by a
    commit whose answer never came, or by one whose client did not wait for it.
    """
    query = select(recipients.c.message_id, recipients.c.number, recipients.c.attempts)
    found = conn.execute(
        query.where(
            recipients.c.claim == token,
            recipients.c.next_attempt_ms < now_ms,
            text("state = 'queued'"),
        )
    )
    return sorted((QueueId(row[0]), row[1], row[2]) for row in found)


def poll(conn: Connection, now_ms: int) -> Poll:
    """Return what has happened and when there is something to do; cheap."""
    wake, watched_ms, changes, *due = conn.execute(_POLL).one()
    first = min((one for one in due if one is not None), default=None)
    return Poll(wake, first, watched_ms, changes)


def wake(conn: Connection) -> None:
    """Tell the schedulers that an operator has changed something."""
    conn.execute(wakeups.update().values(counter=wakeups.c.counter + 1))
    tell(conn)


def _take_back(conn: Connection, token: str, now_ms: int) -> int:
    shares.leave(conn, token)
    statement = recipients.update().where(recipients.c.claim == token)
    return conn.execute(statement.values(claim=None, next_attempt_ms=now_ms)).rowcount


def _tokens(conn: Connection) -> Iterator[str]:
    """Yield each token that holds a claim: one step in the index for each, not for each claim."""
    token: str | None = ""
    while (token := conn.execute(_NEXT_TOKEN, {"after": token}).scalar()) is not None:
        yield token


def _rest_of(conn: Connection, now_ms: int, those: Sequence[Row[Any]]) -> list[Row[Any]]:
    last = those[-1].id
    have = {row.number for row in those if row.id == last}
    rest = conn.execute(_DUE_ROWS.where(recipients.c.message_id == last), {"now_ms": now_ms})
    return [row for row in rest if row.number not in have]


def _already_claimed(conn: Connection, token: str, next_attempt_ms: int) -> Iterator[Row[Any]]:
    """Find what the lost commit has claimed; the attempts count from before the claim."""
    columns = [
        (recipients.c.attempts - 1).label("attempts") if column.name == "attempts" else column
        for column in rows.RECIPIENT
    ]
    query = select(*rows.ENVELOPE, *columns).join_from(recipients, messages)
    yield from conn.execute(
        query.where(
            recipients.c.claim == token,
            recipients.c.next_attempt_ms == next_attempt_ms,
            text("recipients.state = 'queued'"),
        )
    )


def _grouped(found: Sequence[Row[Any]]) -> list[Claimed]:
    """One ``Claimed`` for each message, in the order in which they became due."""
    by_message: dict[str, list[Row[Any]]] = {}
    for row in found:
        by_message.setdefault(row.id, []).append(row)
    return [
        Claimed(
            rows.envelope(of_message[0]),
            tuple(rows.recipient(row, 1) for row in sorted(of_message, key=lambda r: r.number)),
            of_message[0].chunks,
        )
        for of_message in by_message.values()
    ]
