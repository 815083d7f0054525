"""The migrations lead to the schema that the program is written for."""

from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from mta.mail.envelope import NOTHING
from mta.spool import accounts, leases
from mta.spool.accounts import Account
from mta.spool.engine import create_engine, writing
from mta.spool.migrations import configuration
from mta.spool.schema import REVISION, metadata
from mta.spool.upgrade import upgrade


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request, tmp_path):
    """Give a database with nothing in it."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/empty.db"
    return request.getfixturevalue("empty_postgresql_url")


@pytest.mark.filterwarnings("ignore:autogenerate skipping.*expression-based index")
def test_no_difference(table):
    """Alembic sees no difference between the migrated tables and the program's."""
    with writing(table.engine) as conn:
        assert compare_metadata(MigrationContext.configure(conn), metadata) == []


def _described(conn):
    """Describe all tables, with the constraints and indexes that alembic does not compare."""
    if conn.dialect.name == "sqlite":
        sql = "SELECT name, sql FROM sqlite_master WHERE type <> 'view'"
        sql += " AND sql IS NOT NULL AND name NOT LIKE 'alem%'"
        return {
            name: set(" ".join(text.split()).split(", "))
            for name, text in conn.exec_driver_sql(sql)
        }
    checks = "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
    indexes = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
    found = {name: text for sql in (checks, indexes) for name, text in conn.exec_driver_sql(sql)}
    return {name: text for name, text in found.items() if not name.startswith("alembic")}


def test_same_as_the_metadata(table, empty_url):
    """Constraints and indexes too are the same as those that the metadata would make."""
    made = create_engine(empty_url)
    if empty_url.startswith("sqlite"):
        Path(empty_url.removeprefix("sqlite:///")).touch()
    if made.dialect.name != table.engine.dialect.name:
        pytest.skip("the other database")
    with writing(made) as conn:
        metadata.create_all(conn)
        expected = _described(conn)
    with writing(table.engine) as conn:
        assert _described(conn) == expected
    made.dispose()


def test_there_and_back(empty_url):
    """The way back leaves nothing, and the way there can be gone again."""
    upgrade(empty_url)
    engine = create_engine(empty_url)
    with writing(engine) as conn:
        command.downgrade(configuration(conn), "base")
        assert inspect(conn).get_table_names() == ["alembic_version"]
    upgrade(empty_url)
    engine.dispose()


def test_accounts_of_the_first_schema(empty_url):
    """An account from before there were SHA-1 keys keeps what it has, and has none of those."""
    upgrade(empty_url)
    engine = create_engine(empty_url)
    with writing(engine) as conn:
        command.downgrade(configuration(conn), "0001")
        conn.execute(
            text(
                "INSERT INTO accounts (login, salt, iterations, stored_key, server_key, disabled,"
                " created_ms) VALUES ('app7', :salt, 4096, :key, :key, false, 1)"
            ),
            {"salt": b"salt", "key": b"key"},
        )
    upgrade(empty_url)
    with writing(engine) as conn:
        account = accounts.get(conn, "app7")
    assert account == Account("app7", b"salt", 4096, b"key", b"key", False, 1)
    engine.dispose()


def test_failed_migration_leaves_nothing(empty_url, monkeypatch):
    """A migration that fails half way leaves an empty database, on SQLite as well."""
    from alembic.operations import Operations

    def fail(*_args, **_options):
        raise RuntimeError("no")

    monkeypatch.setattr(Operations, "execute", fail)
    with pytest.raises(RuntimeError):
        upgrade(empty_url)
    engine = create_engine(empty_url)
    with writing(engine) as conn:
        assert inspect(conn).get_table_names() == []
    engine.dispose()


def test_one_line_of_revisions():
    """The revisions are one line, and its end is the one that the program asks for."""
    script = ScriptDirectory.from_config(configuration())
    assert script.get_heads() == [REVISION]
    assert all(not revision.is_branch_point for revision in script.walk_revisions())


def test_mail_of_the_first_revision_is_kept(empty_url):
    """A message accepted before what senders ask for was known asks for nothing, and is due."""
    upgrade(empty_url)
    engine = create_engine(empty_url)
    with writing(engine) as conn:
        command.downgrade(configuration(conn), "0001")
        conn.exec_driver_sql(_OLD_MESSAGE)
        conn.exec_driver_sql(_OLD_RECIPIENT)
    upgrade(empty_url)
    with writing(engine) as conn:
        (claimed,) = leases.claim_due(conn, "token", 10, 20, 10)
    assert claimed.envelope.asked is NOTHING
    assert [(one.address, one.notify) for one in claimed.recipients] == [("b@example.com", "")]
    engine.dispose()


_OLD_MESSAGE = """
INSERT INTO messages (id, sender, size, eight_bit, kind, created_ms, expires_ms, message_id,
  listener, client_address, client_name, login, protocol, tls, chunks)
VALUES ('1JXQ0S4G00000000', 'a@example.org', 1, false, 'mail', 1, 99, '', '', '', '', '', '', '', 1)
"""
_OLD_RECIPIENT = """
INSERT INTO recipients (message_id, number, address, domain, state, attempts, next_attempt_ms,
  warned, last_code, last_enhanced, last_text, last_host)
VALUES ('1JXQ0S4G00000000', 0, 'b@example.com', 'example.com', 'queued', 0, 5, false, 0, '', '', '')
"""
