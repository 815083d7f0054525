"""Which logins the compromise brake has stopped, and what each has sent.

A login is braked until an operator releases it; after a release it is left alone
for an hour, in which what it sent before is still in its counters.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from mta.mail.queue_id import new_queue_id
from mta.spool.engine import repeated
from mta.spool.schema import State, brakes, messages, recipients

EXCUSED_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Brake:
    """One login that was stopped."""

    login: str
    tripped_ms: int
    reason: str
    released_ms: int | None  # None: still braked


@dataclass(frozen=True, slots=True)
class Sent:
    """What one login has sent to one domain: recipients in one state."""

    domain: str
    state: State
    recipients: int
    first_ms: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class Reached:
    """One recipient of a message that a login has sent, and what became of it."""

    id: str
    created_ms: int
    sender: str
    recipient: str
    state: State


def trip(conn: Connection, login: str, reason: str, now_ms: int) -> bool:
    """Brake a login.  True for the one caller, of all processes, that is to raise the alarm."""
    row = conn.execute(brakes.select().where(brakes.c.login == login).with_for_update()).first()
    if row is None:
        conn.execute(
            brakes.insert().values(login=login, tripped_ms=now_ms, reason=reason, released_ms=None)
        )
        return True
    if row.released_ms is None:
        return repeated(conn) and row.tripped_ms == now_ms
    if row.released_ms + EXCUSED_MS > now_ms:
        return False
    conn.execute(
        brakes.update()
        .where(brakes.c.login == login)
        .values(tripped_ms=now_ms, reason=reason, released_ms=None)
    )
    return True


def release(conn: Connection, login: str, now_ms: int) -> bool:
    """Let a login send again; False if it is not braked."""
    statement = brakes.update().where(brakes.c.login == login, brakes.c.released_ms.is_(None))
    return conn.execute(statement.values(released_ms=now_ms)).rowcount == 1


def everything(conn: Connection) -> list[Brake]:
    """Return all that ever tripped, by login."""
    columns = brakes.c
    query = select(columns.login, columns.tripped_ms, columns.reason, columns.released_ms)
    return [Brake(*row) for row in conn.execute(query.order_by(columns.login))]


def states(conn: Connection, now_ms: int) -> tuple[frozenset[str], frozenset[str]]:
    """Return the logins that are braked, and those that are excused for now."""
    braked, excused = set(), set()
    for one in everything(conn):
        if one.released_ms is None:
            braked.add(one.login)
        elif one.released_ms + EXCUSED_MS > now_ms:
            excused.add(one.login)
    return frozenset(braked), frozenset(excused)


def sent(conn: Connection, login: str, since_ms: int) -> list[Sent]:
    """Return what ``login`` has sent since, by domain and state, the most first."""
    number = func.count()
    first = new_queue_id(since_ms, lambda _bits: 0)  # ids sort by time: no search of the history
    query = (
        select(
            recipients.c.domain,
            recipients.c.state,
            number,
            func.min(messages.c.created_ms),
            func.max(messages.c.created_ms),
        )
        .select_from(messages.join(recipients))
        .where(messages.c.login == login, messages.c.id >= first)
        .group_by(recipients.c.domain, recipients.c.state)
        .order_by(number.desc(), recipients.c.domain, recipients.c.state)
    )
    return [
        Sent(domain, State(state), count, first, last)
        for domain, state, count, first, last in conn.execute(query)
    ]


def reached(conn: Connection, login: str, since_ms: int) -> list[Reached]:
    """Return to whom ``login`` has sent since, recipient by recipient, in the order of time."""
    first = new_queue_id(since_ms, lambda _bits: 0)
    query = (
        select(
            messages.c.id,
            messages.c.created_ms,
            messages.c.sender,
            recipients.c.address,
            recipients.c.state,
        )
        .select_from(messages.join(recipients))
        .where(messages.c.login == login, messages.c.id >= first)
        .order_by(messages.c.id, recipients.c.number)
    )
    return [
        Reached(id, created_ms, sender, address, State(state))
        for id, created_ms, sender, address, state in conn.execute(query)
    ]
