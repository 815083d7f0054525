"""Who comes after whom: a name that may still be in use, and what a dead process leaves behind.

Whether a process is there the caller must say, who can look; here it is only acted upon, in the
transaction that writes.
"""

from collections.abc import Callable, Mapping
from itertools import count

from sqlalchemy import Connection

from mta.spool.leases import Node, everyone, register_node, release_all
from mta.spool.listening import tell


def register_beside(
    conn: Connection,
    name: str,
    token: str,
    now_ms: int,
    lease_ms: int,
    about: Mapping[str, str],
    runs: Callable[[Node], bool],
) -> tuple[str, int, Node | None]:
    """Begin a lease as ``register_node`` does, but never in the place of a run that is there.

    Where the lease of the name has not run out and ``runs`` says of its run that it may be there,
    the name is ``name~2``, or the first such that is free.  Returns the name, how many claims came
    back, and who has ``name`` itself if it is not we.
    """
    held = {one.name: one for one in everyone(conn) if one.lease_until_ms >= now_ms and runs(one)}
    names = (name if number == 1 else f"{name}~{number}" for number in count(1))
    free = next(one for one in names if one not in held)
    back = register_node(conn, free, token, now_ms, lease_ms, about)
    return free, back, held.get(name)


def bury(
    conn: Connection, pid: int, died_ms: int, here: Callable[[Mapping[str, str]], bool]
) -> int:
    """Give back all that the process ``pid`` had, which has died; return how many it were.

    ``here`` says whether a run's number is one of ours.  A run that has begun since, under the same
    name or even under the same number, is left alone.
    """
    dead = [
        node
        for node in everyone(conn)
        if node.about.get("pid") == str(pid) and node.started_ms <= died_ms and here(node.about)
    ]
    number = sum(release_all(conn, node.token, died_ms) for node in dead)
    if number:
        tell(conn)
    return number
