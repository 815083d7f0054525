"""Which client certificates stand for which accounts, and the secrets of the installation.

A certificate is known by its fingerprint, by a name in it, or by its subject; how these are
written is ``mta.tls.clients``'s business, here they are texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, select, text, tuple_

from mta.spool.schema import account_certificates, accounts, secrets


@dataclass(frozen=True, slots=True)
class Mapping:
    """One mark of a certificate, and the account that it stands for."""

    kind: str  # "fingerprint", "name", "subject"
    value: str
    login: str
    created_ms: int


@dataclass(frozen=True, slots=True)
class Owner:
    """An account that a certificate stands for."""

    login: str
    disabled: bool


def add(conn: Connection, mapping: Mapping) -> str:
    """Add a mapping; return the login that has it now: another one's stays as it is."""
    owner = select(account_certificates.c.login).where(_is(mapping.kind, mapping.value))
    there = conn.scalar(owner)
    if there is not None:
        return str(there)
    conn.execute(
        account_certificates.insert().values(
            kind=mapping.kind,
            value=mapping.value,
            login=mapping.login,
            created_ms=mapping.created_ms,
        )
    )
    return mapping.login


def remove(conn: Connection, login: str, kind: str, value: str) -> bool:
    """Remove a mapping of ``login``'s; False if there is none."""
    statement = account_certificates.delete().where(
        _is(kind, value), account_certificates.c.login == login
    )
    return conn.execute(statement).rowcount == 1


def everything(conn: Connection, login: str | None = None) -> list[Mapping]:
    """Return all mappings, or those of one account."""
    columns = account_certificates.c
    statement = select(columns.kind, columns.value, columns.login, columns.created_ms)
    if login is not None:
        statement = statement.where(columns.login == login)
    ordered = statement.order_by(columns.login, columns.kind, columns.value)
    return [Mapping(*row) for row in conn.execute(ordered)]


def owners(conn: Connection, marks: Sequence[tuple[str, str]]) -> list[Owner]:
    """Return the accounts that a certificate with these (kind, value) stands for."""
    columns = account_certificates.c
    statement = (
        select(accounts.c.login, accounts.c.disabled)
        .join(account_certificates, accounts.c.login == columns.login)
        .where(tuple_(columns.kind, columns.value).in_(marks))
        .distinct()
    )
    return [Owner(*row) for row in conn.execute(statement)]


def secret(conn: Connection, name: str, fresh: bytes) -> bytes:
    """Return the installation's secret of that name; ``fresh`` becomes it if there is none."""
    conn.execute(
        text(
            "INSERT INTO secrets (name, value) VALUES (:name, :value) ON CONFLICT (name) DO NOTHING"
        ),
        {"name": name, "value": fresh},
    )
    return bytes(conn.scalars(select(secrets.c.value).where(secrets.c.name == name)).one())


def known_secret(conn: Connection, name: str) -> bytes | None:
    """Return the installation's secret of that name, None before its first use."""
    return conn.scalar(select(secrets.c.value).where(secrets.c.name == name))


def _is(kind: str, value: str) -> ColumnElement[bool]:
    columns = account_certificates.c
    return and_(columns.kind == kind, columns.value == value)
