"""What a very long queue asks of the spool: indexes alone, estimates, bounded slices and steps."""

from contextlib import contextmanager

import pytest
from sqlalchemy import event, text

from mta.spool import leases, listing, operate, outcomes, summary
from mta.spool.filters import Filter
from mta.spool.schema import State


@pytest.fixture
def mixed(table, mail):
    """Give a spool with new, claimed, deferred, held and delivered mail."""
    fresh = [mail.intake(f"f{n}@fresh.example", size=100) for n in range(4)]
    claimed = mail.intake("c@fresh.example", claim=mail.token, size=100)
    tried = [mail.intake("t@tried.example", claim=mail.token, size=100) for _ in range(3)]
    done = mail.intake("d@done.example", claim=mail.token)
    table.accept(*fresh, claimed, *tried, done)
    deferred = [mail.record(item, mail.settled(0, State.QUEUED)) for item in tried]
    table.write(outcomes.record, [mail.record(done), *deferred])
    table.write(operate.hold, Filter(ids=(fresh[0].envelope.id,)), mail.now, "root")
    return table


def test_summary_counts_everything_once(mixed, mail):
    """What is new, claimed, deferred or held is each in one part of the count."""
    found = mixed.read(summary.summary)
    assert [(one.domain, one.state, one.recipients) for one in found.domains] == [
        ("fresh.example", "queued", 4),
        ("tried.example", "queued", 3),
        ("fresh.example", "held", 1),
    ]
    assert (found.messages, found.octets, found.estimated) == (8, 800, False)
    due = {(one.domain, one.state): one.next_attempt_ms for one in found.domains}
    assert due["fresh.example", "queued"] == mail.now
    assert due["tried.example", "queued"] == mail.now + 300_000
    assert found.oldest_ms == mail.now


def test_long_summary_is_estimated(mixed, mail):
    """Above the bound recipients are counted, messages and octets judged by some of them."""
    found = mixed.read(summary.summary, 5)
    assert (found.recipients, found.messages, found.octets, found.estimated) == (8, 8, 800, True)


def test_due(mixed, mail):
    """What is due is what nobody has in hand and whose time has come."""
    assert mixed.read(summary.due, mail.now) == 3
    assert mixed.read(summary.due, mail.now + 300_000) == 6


def test_summary_reads_indexes_alone(mixed, mail):
    """No row of a long queue is looked up: SQLite says COVERING of both indexes."""
    if mixed.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL's planner goes by statistics that a small table does not have")
    plans = []
    with mixed.engine.begin() as conn:
        for query in summary._PARTS:
            sql = str(query.compile(conn))
            plans += [row[-1] for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}")]
    assert "SCAN recipients USING COVERING INDEX ix_recipients_stuck" in plans
    assert "SCAN recipients USING COVERING INDEX ix_recipients_turn" in plans
    assert any("ix_recipients_claim" in plan for plan in plans)


def test_slices_cover_the_queue(table, mail):
    """The slices are as long as asked, end with a message, meet, and the last has no end."""
    items = [mail.intake(f"a{n}@x.example", f"b{n}@x.example") for n in range(5)]
    table.accept(*items)
    ids = [item.envelope.id for item in items]

    @contextmanager
    def read():
        with table.engine.begin() as conn:
            yield conn

    found = [(one.beyond, one.upto) for one in listing.slices(read, Filter(), lambda: 3)]
    assert found == [("", ids[1]), (ids[1], ids[3]), (ids[3], "")]
    counts = [
        table.read(listing.count, Filter(beyond=beyond, upto=upto), mail.now)
        for beyond, upto in found
    ]
    assert counts == [4, 4, 2]


def test_verb_keeps_to_its_slice(table, mail):
    """Attack on patience: what was held before is not looked through again by later steps."""
    items = [mail.intake() for _ in range(6)]
    table.accept(*items)
    part = Filter(beyond=items[1].envelope.id, upto=items[3].envelope.id)
    assert table.write(operate.hold, part, mail.now, "root") == 2
    assert [table.states(item)[0] for item in items] == [
        "queued", "queued", "held", "held", "queued", "queued"
    ]  # fmt: skip


def test_start_touches_no_more_than_the_claims(mixed, mail):
    """A start takes back what the last run held by its index, and nothing else of the queue."""
    changed = []

    def note(_conn, cursor, statement, _parameters, _context, _many):
        if statement.startswith("UPDATE recipients"):
            changed.append(cursor.rowcount)

    event.listen(mixed.engine, "after_cursor_execute", note)
    mixed.write(leases.register_node, "node1", mail.token, mail.now, 1000, {})
    mixed.write(leases.register_node, "node1", "another", mail.now, 1000, {})
    event.remove(mixed.engine, "after_cursor_execute", note)
    assert changed == [1]
    with mixed.engine.begin() as conn:
        assert conn.execute(text("SELECT count(*) FROM nodes")).scalar() == 1
