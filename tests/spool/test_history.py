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
