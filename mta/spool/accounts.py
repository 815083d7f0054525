"""The embedded accounts: SCRAM keys, from which no password can be read (RFC 5802 §3).

Logins are kept and compared as they are given; whoever wants them prepared (RFC 8265)
does it before.  The salt and the iterations belong to the keys and change with them.
"""

from dataclasses import asdict, dataclass

from sqlalchemy import Connection, select

from mta.spool.schema import account_certificates, accounts


@dataclass(frozen=True, slots=True)
class Account:
    """One account that may submit mail; keys without a prefix are SCRAM-SHA-256's."""

    login: str
    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes
    disabled: bool
    created_ms: int
    sha1_salt: bytes | None = None
    sha1_iterations: int | None = None
    sha1_stored_key: bytes | None = None
    sha1_server_key: bytes | None = None


def add(conn: Connection, account: Account) -> bool:
    """Add an account; False if there is one of that login already, which stays as it is."""
    if get(conn, account.login) is not None:
        return False
    conn.execute(accounts.insert().values(**asdict(account)))
    return True


def replace_keys(conn: Connection, account: Account) -> bool:
    """Give the account of that login new keys, the salt and iterations with them.

    It stays disabled, or not, and as old as it is.  False: there is none.
    """
    statement = accounts.update().where(accounts.c.login == account.login)
    keys = asdict(account)
    for kept in ("login", "disabled", "created_ms"):
        del keys[kept]
    changed = conn.execute(statement.values(**keys))
    return changed.rowcount == 1


def get(conn: Connection, login: str) -> Account | None:
    """Return the account, disabled or not; None if there is none."""
    row = conn.execute(select(accounts).where(accounts.c.login == login)).first()
    return None if row is None else Account(*row)


def everyone(conn: Connection) -> list[Account]:
    """Return all accounts, by login."""
    return [Account(*row) for row in conn.execute(select(accounts).order_by(accounts.c.login))]


def disable(conn: Connection, login: str) -> bool:
    """Let the account submit no more; False if there is none."""
    return _set_disabled(conn, login, True)


def enable(conn: Connection, login: str) -> bool:
    """Let the account submit again; False if there is none."""
    return _set_disabled(conn, login, False)


def remove(conn: Connection, login: str) -> bool:
    """Forget the account, and which certificates stand for it; False if there is none."""
    conn.execute(account_certificates.delete().where(account_certificates.c.login == login))
    return conn.execute(accounts.delete().where(accounts.c.login == login)).rowcount == 1


def _set_disabled(conn: Connection, login: str, disabled: bool) -> bool:
    statement = accounts.update().where(accounts.c.login == login)
    return conn.execute(statement.values(disabled=disabled)).rowcount == 1
