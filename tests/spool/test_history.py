"""Finding and tracing messages, and forgetting them."""

import pytest

from mta.spool import history, intake, outcomes
from mta.spool.schema import State


def test_find(table, mail):
    """A message is found by id, Message-ID, recipient or sender, in the case one types."""
    item, other = mail.intake("Anna@Example.com"), mail.intake("b@x", sender="", message_id="")
    table.accept(item, other)
    header = item.envelope.message_id
    for what in (item.envelope.id.lower(), header, header.strip("<>"), "anna@example.COM"):
        assert table.read(history.find, what) == [item.envelope.id]
    assert table.read(history.find, "APP@example.org") == [item.envelope.id]
    assert table.read(history.find, "") == []
    assert table.read(history.find, "nobody@example.com") == []


def test_find_newest(table, mail):
    """Of many messages the newest are returned, oldest first."""
    items = [mail.intake() for _ in range(5)]
    table.accept(*items)
    found = table.read(history.find, "anna@example.com", 2)
    assert found == [items[3].envelope.id, items[4].envelope.id]


def test_trace_of_life(table, mail):
    """A trace names the node that has a recipient in hand, and remarks in their order."""
    table.register()
    item = mail.intake("a@x.example", "b@x.example", claim=mail.token)
    table.accept(item)
    table.write(history.note, item.envelope.id, None, mail.now, "remark", "root", "look")
    table.write(outcomes.record, [mail.record(item, mail.settled(0, State.DELIVERED))])
    trace = table.read(history.trace, item.envelope.id)
    assert [(r.state, r.node) for r in trace.recipients] == [
        (State.DELIVERED, None),
        (State.QUEUED, "node1"),
    ]
    assert trace.events == (history.TracedEvent(None, mail.now, "remark", "root", "look"),)
    assert (trace.finished_ms, trace.octets_kept, trace.parent) == (None, True, None)
    assert table.read(history.trace, "NOSUCH") is None


def test_purge(table, mail):
    """Only what has been finished for long enough is forgotten, with all that belongs to it."""
    items = [mail.intake(claim=mail.token) for _ in range(3)]
    table.accept(*items, mail.intake())
    for number, item in enumerate(items):
        table.write(outcomes.record, [mail.record(item, ended_ms=mail.now + number)])
        table.write(history.note, item.envelope.id, 0, mail.now, "remark", "root", "")
    steps = [table.write(history.purge, mail.now + 1002, 1000, 1) for _ in range(3)]
    assert steps == [1, 1, 0]
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
    assert table.write(history.sweep_orphans, mail.now - 500, 10) == 1
    assert table.write(history.sweep_orphans, mail.now - 500, 10) == 0
    assert table.rows("SELECT DISTINCT message_id FROM chunks ORDER BY 1") == [
        (queued.envelope.id,),
        (young.envelope.id,),
    ]


@pytest.mark.parametrize("number", [0, 9])
def test_missing_chunk(spool, number):
    """A body that the spool has lost is a LookupError, not an empty message."""
    from twisted.internet.defer import Deferred

    from mta.spool.body import StoredBody

    spool.wait(spool.database.write(intake.store_chunk, "A", 5, b"data"))
    body = StoredBody(spool.database, "A", 6)
    assert spool.wait(Deferred.fromCoroutine(body.chunk(5))) == b"data"
    with pytest.raises(LookupError):
        spool.wait(Deferred.fromCoroutine(body.chunk(number)))
