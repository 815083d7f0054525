"""Query plans: what runs often, or on a long queue, is served by its index.

The plans are asked of databases with enough rows in them for a planner to have the choice.
"""

import shutil
from contextlib import contextmanager

import psycopg
import pytest
from sqlalchemy import event, text

from mta.spool import (
    bulk,
    driver,
    due,
    history,
    leases,
    listing,
    outcomes,
    resurrection,
    retention,
    sample,
    standing,
    watching,
)
from mta.spool.engine import writing
from mta.spool.filters import Filter
from mta.spool.schema import State, metadata

pytestmark = pytest.mark.xdist_group("plans")  # which fills the spool once

HISTORY = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
INSERT INTO {table} SELECT {columns} FROM {table} CROSS JOIN n WHERE {table}.finished_ms = {now}"""


@pytest.fixture(scope="module")
def full_sqlite(sqlite_template, tmp_path_factory):
    """Give a file for what all tests here begin with."""
    path = tmp_path_factory.mktemp("full") / "spool.db"
    shutil.copy(sqlite_template, path)
    return path


@pytest.fixture(scope="module")
def full_postgresql(postgresql_server, postgresql_named):
    """Give a database for what all tests here begin with: its URL."""
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE full_of_mail TEMPLATE spool_template")
        yield postgresql_named("full_of_mail")
        connection.execute("DROP DATABASE full_of_mail WITH (FORCE)")


@pytest.fixture
def sqlite_copy(full_sqlite, tmp_path, filled):
    """Return the URL of a copy of it, and before that fill it."""
    filled(f"sqlite:///{full_sqlite}")
    shutil.copy(full_sqlite, tmp_path / "spool.db")
    return f"sqlite:///{tmp_path}/spool.db"


@pytest.fixture
def postgresql_copy(full_postgresql, postgresql_server, postgresql_named, filled):
    """The same."""
    filled(full_postgresql)
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE copied TEMPLATE full_of_mail")
        yield postgresql_named("copied")
        connection.execute("DROP DATABASE copied WITH (FORCE)")


@pytest.fixture
def filled(mail, table_of):
    """Return what lets a spool have history, a queue, and the statistics that go with them.

    Of a message that is made afterwards the id is new, filled or not.
    """
    done = mail.intake(claim=mail.token)
    due = mail.now - 100
    waiting = [mail.intake(f"w{n}@d{n % 50}.example", next_attempt_ms=due + n) for n in range(500)]

    def fill(url):
        table = table_of(url)
        if not table.rows("SELECT id FROM messages LIMIT 1"):
            _fill(table, mail, done, waiting)
        table.engine.dispose()

    return fill


def _fill(table, mail, done, waiting):
    table.accept(done, *waiting)
    table.write(outcomes.record, [mail.record(done)])
    changed = {
        "id": "CAST(1000000 + i AS TEXT)",
        "message_id": "CAST(1000000 + i AS TEXT)",
        "address": "CAST(i AS TEXT) || '@example.com'",
        "finished_ms": "finished_ms + i",
    }
    with writing(table.engine) as conn:
        for name in ("messages", "recipients"):
            columns = ", ".join(
                changed.get(c.name, f"{name}.{c.name}") for c in metadata.tables[name].c
            )
            conn.execute(text(HISTORY.format(table=name, columns=columns, now=mail.now + 20)))
        if conn.dialect.name == "postgresql":
            conn.execute(text("ANALYZE"))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def full(request, table_of):
    """Give a spool full of mail, once on each database."""
    return table_of(request.getfixturevalue(f"{request.param}_copy"))


class Plans:
    """Collects the plans of the statements that a function runs."""

    def __init__(self, table):
        self.table = table

    def of(self, fn, *args):
        """Return the plans of all reading statements of ``fn`` as one text."""
        statements = []

        def note(_conn, _cursor, statement, parameters, _context, _many):
            statements.append((statement, parameters))

        def run(conn, sql, parameters=()):
            statements.append((sql, parameters))
            return driver.run(conn, sql, parameters)

        event.listen(self.table.engine, "before_cursor_execute", note)
        with pytest.MonkeyPatch.context() as patch:
            for module in (bulk, outcomes, resurrection, retention):
                patch.setattr(module, "run", run)
            self.table.write(fn, *args)
        event.remove(self.table.engine, "before_cursor_execute", note)
        return "\n".join(self._plan(*statement) for statement in statements)

    def _plan(self, statement, parameters):
        if not statement.lstrip().startswith(("SELECT", "UPDATE", "DELETE")):
            return ""
        sqlite = self.table.engine.dialect.name == "sqlite"
        with self.table.engine.begin() as conn:
            if not sqlite:  # a disk without heads, as everybody's is
                conn.exec_driver_sql("SET LOCAL random_page_cost = 1.1")
            explain = "EXPLAIN QUERY PLAN" if sqlite else "EXPLAIN"
            found = conn.exec_driver_sql(f"{explain} {statement}", parameters)
            return "\n".join(str(row[-1]) for row in found)


@pytest.fixture
def plans(full):
    """Return a collector of plans on a full spool."""
    return Plans(full)


BIG = ("messages", "recipients")  # the others are empty here, or nearly


def _no_scan(plan):
    """Fail if a big table is read from one end to the other."""
    scans = [
        line
        for line in plan.splitlines()
        for table in BIG
        if f"Seq Scan on {table}" in line or line.strip() == f"SCAN {table}"
    ]
    assert scans == [], plan


def test_poll(plans, mail):
    """The next due recipient is read off the index of what is due."""
    plan = plans.of(leases.poll, mail.now)
    assert "ix_recipients_turn" in plan
    _no_scan(plan)


def test_claim(plans, mail):
    """Claims start from the index of what is due, and go by keys from there."""
    plan = plans.of(leases.claim_due, "t", mail.now + 10, mail.now + 100, 1000)
    assert "ix_recipients_turn" in plan
    assert "TEMP B-TREE" not in plan
    _no_scan(plan)


def test_beyond_a_backlog(plans, mail):
    """What is passed over is never looked up, and what is found is claimed by its key."""
    over = due.PassedOver(("d1.example",), ("d1.example",))
    plan = plans.of(due.beyond, mail.now + 10, 1000, over)
    sqlite = plans.table.engine.dialect.name == "sqlite"
    assert "COVERING INDEX ix_recipients_turn" in plan or not sqlite
    assert "TEMP B-TREE" not in plan
    _no_scan(plan)
    ids = [f"NOSUCH{n}" for n in range(9)]
    plan = plans.of(leases.claim_these, "t", mail.now + 10, mail.now + 100, 1000, ids, over)
    assert "ix_recipients_turn" not in plan or not sqlite
    _no_scan(plan)


def test_take_back(plans, mail):
    """What a run holds is found by its token."""
    plan = plans.of(leases.release_all, "t", mail.now)
    assert "ix_recipients_claim" in plan
    _no_scan(plan)


def test_figures_of_a_monitor(plans, mail):
    """What a monitor is told of a long queue is counted in indexes that hold all it takes."""
    plan = plans.of(sample.sample, mail.now)
    _no_scan(plan)
    if plans.table.engine.dialect.name == "sqlite":
        assert "SCAN recipients USING INDEX" not in plan
        for name in ("stuck", "turn"):
            assert f"USING COVERING INDEX ix_recipients_{name}" in plan


def test_unanswered(plans, mail):
    """The few deliveries without an answer are not looked for in the whole history."""
    if plans.table.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL scans a table that is as short as this one")
    assert "ix_attempts_unknown" in plans.of(history.unanswered, mail.now)


@pytest.mark.parametrize(
    "wanted",
    [
        Filter(),
        Filter(state=State.QUEUED),
        Filter(state=State.HELD),
        Filter(min_attempts=3),
        Filter(sender="app@example.org"),
    ],
)
def test_first_page(plans, mail, wanted):
    """A page of the queue is read in order off what waits, history or not."""
    plan = plans.of(listing.page, wanted, mail.now, 50)
    held = "ix_recipients_stuck" in plan and wanted.state is State.HELD  # a shorter one
    assert "ix_recipients_waiting" in plan or held
    assert "TEMP B-TREE" not in plan
    _no_scan(plan)


def test_later_page(plans, mail):
    """A later page starts where the last one ended."""
    first = plans.table.read(listing.page, Filter(), mail.now, 50)
    plan = plans.of(listing.page, Filter(), mail.now, 50, first[-1].position)
    assert "ix_recipients_waiting" in plan
    assert "TEMP B-TREE" not in plan
    _no_scan(plan)


def test_history_page(plans, mail):
    """A page of what has been delivered follows the key."""
    plan = plans.of(listing.page, Filter(state=State.DELIVERED), mail.now, 50)
    assert "TEMP B-TREE" not in plan


def test_trace(plans, mail):
    """A trace goes by keys alone."""
    (row,) = plans.table.read(listing.page, Filter(), mail.now, 1)
    _no_scan(plans.of(history.trace, row.envelope.id))


def test_find(plans, mail):
    """Recipients and Message-IDs are looked up; only senders are searched, newest first."""
    plan = plans.of(history.find, "7@example.com")
    assert "ix_recipients_address" in plan
    assert "ix_messages_message_id" in plan


def test_find_a_sender(plans, mail, monkeypatch):
    """A sender is looked for among the newest messages, by their key, and no further."""
    monkeypatch.setattr(history, "SENDERS", 100)
    plan = plans.of(history.find, "app@example.org")
    # SQLite's table is in the order of the key: so many rows of it, unsorted
    ordered = "CO-ROUTINE anon_1\nSCAN messages\nSCAN anon_1"
    assert "Index Scan Backward using pk_messages" in plan or ordered in plan
    found = plans.table.read(history.find, "app@example.org", 1000)
    newest = plans.table.rows("SELECT id FROM messages ORDER BY id DESC LIMIT 100")
    assert found == sorted(one for (one,) in newest)
    assert plans.table.read(history.has_older)


def test_purge(plans, mail):
    """The oldest finished messages are read off their index."""
    plan = plans.of(retention.purge, mail.now + 100_000, 1, 5)
    assert "ix_messages_finished" in plan
    _no_scan(plan)


def test_domain(plans, mail):
    """What is stuck at a domain is read off its index; the new is looked for in what waits."""
    plan = plans.of(standing.of_domain, "d1.example")
    assert "ix_recipients_stuck" in plan
    assert "ix_recipients_waiting" in plan
    _no_scan(plan)


def test_address(plans, mail):
    """Mail to an address is looked up; mail from it is searched in bounds, off the key."""
    assert "ix_recipients_address" in plans.of(standing.to_address, "7@example.com", 5)
    plan = plans.of(standing.from_address, "app@example.org", 5)
    assert plan.count("TEMP B-TREE") <= 1  # of what was found


def test_site(plans, mail):
    """What is stuck since an attempt at a site begins at the index of what is stuck."""
    plan = plans.of(standing.at_site, "mx.example", 20)
    assert "ix_recipients_stuck" in plan
    _no_scan(plan)


def test_top(plans, mail):
    """The live view reads what is stuck off its index, and nothing beside it."""
    for look in (watching.stuck_in_all, lambda conn: watching.stuck(conn, 10)):
        plan = plans.of(look)
        assert "ix_recipients_stuck" in plan
        _no_scan(plan)


@pytest.mark.parametrize(
    "by", [("domain",), ("site",), ("domain", "cause"), ("sender", "login", "code")]
)
def test_groups(plans, mail, by):
    """Groups are counted over what waits, not over the history."""
    plan = plans.of(standing.groups, Filter(), mail.now, by)
    assert "ix_recipients_waiting" in plan or "ix_recipients_turn" in plan
    assert "SCAN recipients\n" not in plan + "\n"


def test_resurrect(plans, mail):
    """What comes back is found among what is kept, and by keys, not in the history."""

    @contextmanager
    def read(conn):
        yield conn

    def search(conn):
        return list(resurrection.slices(lambda: read(conn), Filter(), lambda: 100))

    _no_scan(plans.of(search))
    wanted = Filter(ids=("1000001", "1000002"), among=(State.BOUNCED, State.EXPIRED))
    _no_scan(plans.of(resurrection.resurrect, wanted, mail.now, "anna", 500))
