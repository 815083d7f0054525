"""What was finished long ago is forgotten, whole, and a little at a time."""

from mta.spool import driver, history, intake, outcomes, retention
from mta.spool.schema import State


def test_purge(table, mail):
    """Only what has been finished for long enough is forgotten, with all that belongs to it."""
    items = [mail.intake(claim=mail.token) for _ in range(3)]
    table.accept(*items, mail.intake())
    for number, item in enumerate(items):
        table.write(outcomes.record, [mail.record(item, ended_ms=mail.now + number)])
        table.write(history.note, item.envelope.id, 0, mail.now, "remark", "root", "")
    purge = retention.purge
    assert table.write(purge, mail.now + 1002, 1000, 1, mail.now + 1) == (1, mail.now + 1)
    assert table.write(purge, mail.now + 1002, 1000, 1, mail.now + 1) == (0, mail.now + 1)
    assert table.write(purge, mail.now + 1002, 1000, 1) == (1, mail.now)
    assert table.write(purge, mail.now + 1002, 1000, 1) == (0, 0)
    for name, left in (("messages", 2), ("recipients", 2), ("attempts", 1), ("events", 1)):
        assert table.rows(f"SELECT count(*) FROM {name}") == [(left,)]
    assert table.read(history.trace, items[2].envelope.id) is not None


def test_sweep(table, mail):
    """Chunks of messages that never came are swept once they are old; others stay."""
    old, young = mail.intake(created_ms=mail.now - 1000), mail.intake(chunks=(), stored=1)
    queued = mail.intake(created_ms=mail.now - 2000)
    table.accept(queued)
    for item in (old, young):
        table.write(intake.store_chunk, item.envelope.id, 0, b"x")
        table.write(intake.store_chunk, item.envelope.id, 1, b"x")
    assert table.write(retention.sweep_orphans, mail.now - 500, 10) == 1
    assert table.write(retention.sweep_orphans, mail.now - 500, 10) == 0
    assert table.rows("SELECT DISTINCT message_id FROM chunks ORDER BY 1") == [
        (queued.envelope.id,),
        (young.envelope.id,),
    ]


def test_a_step_is_bounded(table, mail, monkeypatch):
    """One step deletes the rows of so many messages and no more, each with its attempts.

    It is few statements, none of which returns more than one row: each row costs the reactor's
    thread a turn, while new mail waits for the same transaction.
    """
    items = [mail.intake("a@x.example", "b@x.example", claim=mail.token) for _ in range(7)]
    table.accept(*items)
    table.write(outcomes.record, [mail.record(item) for item in items])
    deleted = []

    def run(conn, sql, parameters=()):
        cursor = driver.run(conn, sql, parameters)
        deleted.append((sql.split()[:3], cursor.rowcount))
        return cursor

    monkeypatch.setattr(retention, "run", run)
    assert table.write(retention.purge, mail.now + 1_000_000, 1, 3)[0] == 3
    assert deleted[0][0][0] == "SELECT"
    assert deleted[1:] == [
        (["DELETE", "FROM", "attempts"], 6),
        (["DELETE", "FROM", "recipients"], 6),
        (["DELETE", "FROM", "messages"], 3),
    ]
    assert table.rows("SELECT count(*) FROM messages") == [(4,)]


def test_what_few_messages_have_goes_with_them(table, mail):
    """Remarks, the octets of what was bounced, and what was said."""
    item = mail.intake(claim=mail.token)
    table.accept(item)
    table.write(outcomes.record, [mail.record(item, mail.settled(0, State.BOUNCED))])
    table.write(history.note, item.envelope.id, 0, mail.now, "remark", "root", "")
    assert table.rows("SELECT count(*) FROM kept") == [(1,)]
    assert table.write(retention.purge, mail.now + 1_000_000, 1, 3)[0] == 1
    for name in ("messages", "recipients", "attempts", "events", "kept", "chunks"):
        assert table.rows(f"SELECT count(*) FROM {name}") == [(0,)]
