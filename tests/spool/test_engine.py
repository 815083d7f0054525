"""Connections, and what must hold before the service may use a spool."""

import os
import re
import sqlite3
import stat
from pathlib import Path

import pytest

from mta.spool import leases
from mta.spool.engine import create_engine, parse, prepare, reading, writing
from mta.spool.errors import SpoolUnavailable, SpoolUnusable
from mta.spool.schema import REVISION
from mta.spool.upgrade import status, upgrade


def test_new_sqlite_spool(tmp_path):
    """A new SQLite spool is made by itself, and nobody else may read it."""
    url = f"sqlite:///{tmp_path}/spool.db"
    prepare(url)
    prepare(url)
    assert stat.S_IMODE((tmp_path / "spool.db").stat().st_mode) == 0o600
    with reading(create_engine(url)) as conn:
        assert leases.poll(conn, 0) == leases.Poll(0, None)


def test_empty_file_is_a_new_spool(tmp_path):
    """A creation that was interrupted left an empty file: it is begun again."""
    (tmp_path / "spool.db").touch()
    prepare(f"sqlite:///{tmp_path}/spool.db")
    assert status(f"sqlite:///{tmp_path}/spool.db") == (REVISION, REVISION)


def test_relative_path(tmp_path, monkeypatch):
    """A relative path means the directory of the start, though the daemon goes to another."""
    monkeypatch.chdir(tmp_path)
    prepare("sqlite:///spool.db")
    engine = create_engine("sqlite:///spool.db")
    monkeypatch.chdir("/")
    with reading(engine) as conn:
        assert leases.poll(conn, 0).wake == 0


def test_pragmas(sqlite_url):
    """Commits are durable: WAL with FULL, which survives a power failure; keys are enforced."""
    with reading(create_engine(sqlite_url)) as conn:
        found = {
            name: conn.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_postgresql_commits_wait(postgresql_url):
    """A server set to answer commits early is told otherwise, for our connections only."""
    with writing(create_engine(postgresql_url)) as conn:
        conn.exec_driver_sql("ALTER ROLE postgres SET synchronous_commit = off")
    try:
        with reading(create_engine(postgresql_url)) as conn:
            assert conn.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
    finally:
        with writing(create_engine(postgresql_url)) as conn:
            conn.exec_driver_sql("ALTER ROLE postgres RESET synchronous_commit")


def test_postgresql_plans_for_a_disk_without_heads(postgresql_url):
    """The cost of a random page is ours, unless somebody has set it: a new spool is not scanned."""
    query = "SHOW random_page_cost"
    with reading(create_engine(postgresql_url)) as conn:
        assert conn.exec_driver_sql(query).scalar() == "1.1"
    chosen = f"{postgresql_url}&options=-crandom_page_cost%3D2"
    with reading(create_engine(chosen)) as conn:
        assert conn.exec_driver_sql(query).scalar() == "2"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://localhost/mail", "mysql"),
        ("nonsense", "cannot be read"),
        ("sqlite://", "needs a file"),
        ("sqlite:////nonexistent/spool.db", "directory /nonexistent does not exist"),
        ("postgresql://user:secret@127.0.0.1:1/mail", "127.0.0.1"),
    ],
)
def test_unusable_url(url, words):
    """What cannot be a spool is refused in one line, which does not tell the password."""
    with pytest.raises(SpoolUnusable, match=words) as refused:
        prepare(url)
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)


def test_not_a_database(tmp_path):
    """A file that is something else is refused and left alone."""
    path = tmp_path / "spool.db"
    path.write_bytes(b"Dear diary, " * 1000)
    with pytest.raises(SpoolUnusable, match="not a database"):
        prepare(f"sqlite:///{path}")
    assert path.read_bytes() == b"Dear diary, " * 1000


def test_somebody_elses_database(tmp_path):
    """A database of another program is not taken for an old spool, nor for a new one."""
    path = tmp_path / "spool.db"
    with sqlite3.connect(path) as conn:
        conn.execute("CREATE TABLE messages (id)")
    for migrate in (False, True):
        with pytest.raises(SpoolUnusable, match="not of this program"):
            prepare(f"sqlite:///{path}", migrate=migrate)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_directory(tmp_path):
    """A directory that cannot be written is named."""
    tmp_path.chmod(0o500)
    with pytest.raises(SpoolUnusable, match="not writable"):
        prepare(f"sqlite:///{tmp_path}/spool.db")


def test_spool_is_a_directory(tmp_path):
    """A path that is a directory is refused."""
    with pytest.raises(SpoolUnusable, match="directory"):
        prepare(f"sqlite:///{tmp_path}")


def test_empty_postgresql(empty_postgresql_url):
    """An empty PostgreSQL database is only filled by hand."""
    with pytest.raises(SpoolUnusable, match="empty: run `mta db upgrade"):
        prepare(empty_postgresql_url)
    assert status(empty_postgresql_url) == (None, REVISION)
    upgrade(empty_postgresql_url)
    prepare(empty_postgresql_url)


@pytest.mark.parametrize(
    ("revision", "words"),
    [
        ("0000", f"schema 0000 is older than {REVISION}.*mta db upgrade"),
        ("9999", f"schema 9999 is not known.*{REVISION}"),
    ],
)
def test_wrong_schema(sqlite_url, revision, words):
    """An unknown schema stops the start; both revisions are named, and what to run."""
    with writing(create_engine(sqlite_url)) as conn:
        conn.exec_driver_sql("UPDATE alembic_version SET version_num = ?", (revision,))
        conn.exec_driver_sql("UPDATE schema_support SET oldest = ?", (revision,))
    with pytest.raises(SpoolUnusable, match=words):
        prepare(sqlite_url)


def test_a_newer_schema_is_used_where_it_says_that_it_can_be(sqlite_url):
    """Its own word counts; without the table (it is gone, or was never there) it is refused."""
    with writing(create_engine(sqlite_url)) as conn:
        conn.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    assert "schema 9999 is newer" in prepare(sqlite_url)
    assert prepare(sqlite_url, migrate=True)
    with writing(create_engine(sqlite_url)) as conn:
        conn.exec_driver_sql("DROP TABLE schema_support")
    with pytest.raises(SpoolUnusable, match="schema 9999 is not known"):
        prepare(sqlite_url)


def test_unknown_schema_is_not_upgraded(sqlite_url):
    """A schema from the future is not touched by an upgrade either, and that is one clear line."""
    with writing(create_engine(sqlite_url)) as conn:
        conn.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        conn.exec_driver_sql("UPDATE schema_support SET oldest = '9999'")
    with pytest.raises(SpoolUnusable, match="schema 9999 is not known"):
        upgrade(sqlite_url)


def test_status_makes_nothing(tmp_path):
    """Asking for the state of a spool that is not there does not make one."""
    with pytest.raises(SpoolUnusable, match="does not exist"):
        status(f"sqlite:///{tmp_path}/spool.db")
    assert list(tmp_path.iterdir()) == []


def test_connecting_makes_nothing(tmp_path):
    """A spool whose file has gone is away, not empty."""
    with pytest.raises(SpoolUnavailable), reading(create_engine(f"sqlite:///{tmp_path}/a.db")):
        pass
    assert not (tmp_path / "a.db").exists()


def test_write_lock_is_taken_at_the_beginning(sqlite_url):
    """A writing transaction on SQLite keeps out any other from its first statement on."""
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    with writing(create_engine(sqlite_url)):
        other = sqlite3.connect(path, timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.execute("SELECT * FROM messages")  # readers are not kept out
        other.close()


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("postgresql://m:p@h1,h2/d?target_session_attrs=read-write", "h1,h2", ","),
        (
            "postgresql://m:p@h1:5433,h2:5434/d?target_session_attrs=read-write",
            "h1,h2",
            "5433,5434",
        ),
        ("postgresql://m:p@[::1]:5433,h2/d?target_session_attrs=read-write", "::1,h2", "5433,"),
    ],
)
def test_several_hosts(url, host, port):
    """libpq gets all hosts, in order, and what it is to ask of the one that it takes."""
    engine = create_engine(url)
    _, given = engine.dialect.create_connect_args(engine.url)
    assert (given["host"], given["dbname"], given["user"]) == (host, "d", "m")
    assert given["port"] == port
    assert given["target_session_attrs"] == "read-write"


def test_a_comma_in_a_password_is_no_list_of_hosts():
    """It was taken for one, and the password asked for in DNS."""
    engine = create_engine("postgresql://mta:se,cret@db:5433/spool?sslmode=require")
    _, given = engine.dialect.create_connect_args(engine.url)
    assert (given["user"], given["password"], given["host"]) == ("mta", "se,cret", "db")
    assert (given["port"], given["dbname"], given["sslmode"]) == (5433, "spool", "require")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://mta:hush@db:hush/spool",
        "postgresql://mta:hush@db1:hush,db2/spool",
        "postgresql://mta:hu@sh@db/spool",
        "postgresql://mta:hush@db1,,db2/spool",
        "postgresql://mta:hush@db1,db2/spool?host=db3",
        "postgresql://mta:hush@[::1,db2/spool",
        "postgresql:hush",
    ],
)
def test_attack_a_password_in_an_error(url):
    """A URL that is not understood is not quoted, nor a piece of it: logs are read by many."""
    with pytest.raises(SpoolUnusable, match="spool URL: cannot be read: write") as raised:
        create_engine(url)
    assert not {"hush", "hu", "sh"} & set(re.findall(r"\w+", str(raised.value)))


def test_the_host_that_answers_is_used(postgresql_url):
    """The first host refuses: the next one is the spool."""
    directory = parse(postgresql_url).query["host"]
    user = parse(postgresql_url).username
    url = f"postgresql://{user}@127.0.0.1:1,{directory.replace('/', '%2F')}/spool"
    with reading(create_engine(url + "?target_session_attrs=read-write")) as conn:
        assert conn.exec_driver_sql("SELECT 1").scalar() == 1
