"""What an operator should know about a running process, while it lasts.

Each alarm is a row of the process that raised it, by name; it is taken back when what it is
about is over.  ``mta status`` shows them beside the processes.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select

from mta.spool.schema import alarms

ROOM, DESCRIPTORS, OUTSIDE = "room", "descriptors", "outside"
OF_A_RUN = (ROOM, DESCRIPTORS, OUTSIDE)
"""What a process knows of itself alone: its next run finds out anew."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """One of a process's."""

    node: str
    name: str
    text: str
    since_ms: int


def put(conn: Connection, node: str, name: str, text: str, now_ms: int) -> None:
    """Raise an alarm, say it anew, or with an empty text take it back."""
    known = (alarms.c.node == node, alarms.c.name == name)
    since_ms = conn.execute(select(alarms.c.since_ms).where(*known)).scalar()
    conn.execute(delete(alarms).where(*known))
    if text:
        values = {"node": node, "name": name, "text": text, "since_ms": since_ms or now_ms}
        conn.execute(insert(alarms).values(**values))


def forget(conn: Connection, node: str, prefix: str) -> None:
    """Take back what ``node`` has said under names that begin with ``prefix``."""
    begins = alarms.c.name.startswith(prefix, autoescape=True)
    conn.execute(delete(alarms).where(alarms.c.node == node, begins))


def begin(conn: Connection, node: str) -> None:
    """Take back what an earlier run of ``node`` has said of itself."""
    conn.execute(delete(alarms).where(alarms.c.node == node, alarms.c.name.in_(OF_A_RUN)))


def everybodys(conn: Connection) -> list[Alarm]:
    """Return all alarms, by process and name."""
    query = select(alarms).order_by(alarms.c.node, alarms.c.name)
    return [Alarm(row.node, row.name, row.text, row.since_ms) for row in conn.execute(query)]
