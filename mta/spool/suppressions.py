"""The suppression list: whom no mail goes to, for one login or for all.

An entry is an address, in lower case, or ``@domain``.  It concerns mail that comes in from
now on; what is queued already is for ``mta queue``.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, select

from mta.mail.address import ascii_domain, plainly
from mta.spool.schema import suppressions

EVERYBODY = ""
"""The login of entries that hold for all."""


@dataclass(frozen=True, slots=True)
class Suppression:
    """One entry."""

    address: str
    login: str  # EVERYBODY, or whose mail it is about
    reason: str
    who: str
    created_ms: int


def prepared(address: str) -> str:
    """Return an address, or ``@domain``, as it is kept and looked for.

    Without capitals, and without quotes that it does not need; ``ValueError`` if it is neither.
    """
    local, _, domain = address.rpartition("@") if "@" in address else ("", "", "")
    if not domain:
        raise ValueError(f"{address!r} is neither an address nor @domain")
    return f"{plainly(local.lower())}@{ascii_domain(domain)}"


def add(conn: Connection, entry: Suppression) -> bool:
    """Add an entry; False if there is one for that address and login, which stays."""
    same = (suppressions.c.address == entry.address) & (suppressions.c.login == entry.login)
    if conn.execute(select(suppressions.c.address).where(same)).first() is not None:
        return False
    conn.execute(
        suppressions.insert().values(
            address=entry.address,
            login=entry.login,
            reason=entry.reason,
            who=entry.who,
            created_ms=entry.created_ms,
        )
    )
    return True


def remove(conn: Connection, address: str, login: str) -> bool:
    """Remove an entry; False if there is none."""
    same = (suppressions.c.address == address) & (suppressions.c.login == login)
    return conn.execute(delete(suppressions).where(same)).rowcount > 0


def everything(conn: Connection, address: str = "", login: str | None = None) -> list[Suppression]:
    """Return the entries by address; of one ``address``, of one ``login``, or all."""
    columns = suppressions.c
    query = select(
        columns.address, columns.login, columns.reason, columns.who, columns.created_ms
    ).order_by(columns.address, columns.login)
    if address:
        query = query.where(columns.address == address)
    if login is not None:
        query = query.where(columns.login == login)
    return [Suppression(*row) for row in conn.execute(query)]


def any_at_all(conn: Connection) -> bool:
    """Tell whether the list has entries."""
    return conn.execute(select(suppressions.c.login).limit(1)).first() is not None


def concerning(conn: Connection, address: str, login: str) -> Suppression | None:
    """Return the entry that keeps ``login`` from sending to ``address``, which is prepared."""
    columns = suppressions.c
    domain = "@" + address.rpartition("@")[2]
    query = select(
        columns.address, columns.login, columns.reason, columns.who, columns.created_ms
    ).where(columns.address.in_({address, domain}), columns.login.in_({EVERYBODY, login}))
    row = conn.execute(query.order_by(columns.login).limit(1)).first()
    return None if row is None else Suppression(*row)
