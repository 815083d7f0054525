"""Commit 1, and what is on its way to it."""

from dataclasses import replace

import pytest
from sqlalchemy.exc import IntegrityError

from mta.spool import history, intake, leases, listing, operate
from mta.spool.engine import writing
from mta.spool.filters import Filter
from mta.spool.intake import Remark
from mta.spool.schema import State


def test_accepted(table, mail):
    """All that was said of a message comes back, and its octets do."""
    item = mail.intake("anna@example.com", "Bert@Example.net", chunks=(b"one", b"two"))
    table.accept(item)
    trace = table.read(history.trace, item.envelope.id)
    assert trace.envelope == item.envelope
    assert tuple(one.recipient for one in trace.recipients) == item.recipients
    with writing(table.engine) as conn:
        assert list(listing.chunks(conn, item.envelope.id)) == [b"one", b"two"]


def test_born_claimed(table, mail):
    """Mail that is born claimed is not due for anybody else before its time."""
    table.register()
    table.accept(mail.intake(claim=mail.token), mail.intake())
    found = table.write(leases.claim_due, "other", mail.now, mail.now + 1000, 10)
    assert len(found) == 1
    assert found[0].recipients[0].attempts == 1


def test_many(table, mail):
    """More rows than one statement takes go in, whatever their number."""
    items = [mail.intake(*(f"u{n}@example.com" for n in range(size))) for size in (1, 70, 131)]
    table.accept(*items)
    assert table.rows("SELECT count(*) FROM recipients") == [(202,)]


def test_same_id_is_refused(table, mail):
    """A second message under an id in use is refused by the key, not merged with the first."""
    item = mail.intake()
    table.accept(item)
    other = replace(item, envelope=replace(item.envelope, sender="other@example.org"))
    with pytest.raises(IntegrityError):
        table.accept(other)
    assert table.rows("SELECT sender FROM messages") == [("app@example.org",)]


def test_lost_commit_is_recognised(table, mail):
    """When the answer to a commit was lost, accepting again finds the message there."""
    item, new = mail.intake(), mail.intake()
    table.accept(item)
    with table.engine.connect() as conn:
        conn.execution_options(writing=True, repeated=True)
        with conn.begin():
            intake.accept(conn, [item, new])
    assert table.rows("SELECT id FROM messages ORDER BY id") == [
        (item.envelope.id,),
        (new.envelope.id,),
    ]


def test_chunks_while_they_arrive(table, mail):
    """Chunks stored while a long message arrives are its body once it is accepted."""
    item = mail.intake(chunks=(b"last",), stored=2)
    table.write(intake.store_chunk, item.envelope.id, 0, b"first")
    table.write(intake.store_chunk, item.envelope.id, 1, b"second")
    table.accept(item)
    with writing(table.engine) as conn:
        assert list(listing.chunks(conn, item.envelope.id)) == [b"first", b"second", b"last"]
    assert table.rows("SELECT * FROM arriving") == []


def test_the_head_comes_last(table, mail):
    """What could only be written at the end (a signature) is chunk 0; the others began with 1."""
    item = replace(mail.intake(chunks=(b"last",), stored=2), head=b"head")
    table.write(intake.store_chunk, item.envelope.id, 1, b"first", 1)
    with table.engine.connect() as conn:
        conn.execution_options(writing=True, repeated=True)
        with conn.begin():
            intake.store_chunk(conn, item.envelope.id, 1, b"first", 1)
    table.write(intake.store_chunk, item.envelope.id, 2, b"second", 1)
    table.accept(item)
    with writing(table.engine) as conn:
        assert list(listing.chunks(conn, item.envelope.id)) == [
            b"head",
            b"first",
            b"second",
            b"last",
        ]
    assert table.rows("SELECT chunks FROM messages") == [(4,)]
    assert table.rows("SELECT * FROM arriving") == []


def test_store_chunk_again(table, mail):
    """A chunk whose commit got no answer may be stored again."""
    table.write(intake.store_chunk, "A", 0, b"data")
    with table.engine.connect() as conn:
        conn.execution_options(writing=True, repeated=True)
        with conn.begin():
            intake.store_chunk(conn, "A", 0, b"data")
    assert table.rows("SELECT number FROM chunks") == [(0,)]


def test_discard(table, mail):
    """What has arrived of a message that was given up goes away."""
    table.write(intake.store_chunk, "A", 0, b"data")
    table.write(intake.discard, "A")
    assert table.rows("SELECT * FROM chunks") == []
    assert table.rows("SELECT * FROM arriving") == []


def test_discard_after_acceptance(table, mail):
    """Discarding a message that was accepted after all does not touch its octets."""
    item = mail.intake(chunks=(), stored=1)
    table.write(intake.store_chunk, item.envelope.id, 0, b"data")
    table.accept(item)
    table.write(intake.discard, item.envelope.id)
    assert table.rows("SELECT number FROM chunks") == [(0,)]


def test_swept_chunks(table, mail):
    """A message whose first chunks were swept away meanwhile is not accepted without them."""
    item = mail.intake(chunks=(b"last",), stored=1)
    with pytest.raises(LookupError):
        table.accept(item)
    assert table.rows("SELECT * FROM messages") == []


def test_strange_client_name(table, mail):
    """Attack: a client's EHLO name or Message-ID that no database takes costs nobody mail."""
    origin = replace(mail.intake().envelope.origin, client_name="a\0b\udc80")
    item = mail.intake(origin=origin, message_id="<\0@x>")
    table.accept(item)
    assert table.rows("SELECT client_name, message_id FROM messages") == [
        ("a\\x00b\\udc80", "<\\x00@x>")
    ]


def test_born_held(table, mail):
    """Mail that a rule holds is never due; its cause is in the listing, and in its history."""
    item = mail.intake("a@x.org", held="hold rule big", remarks=(Remark("rewrite", "a to b"),))
    table.accept(item)
    table.register()
    assert table.write(leases.claim_due, mail.token, mail.now + 10**9, mail.now + 10**9, 10) == []
    (row,) = table.read(listing.page, Filter(), mail.now, 10)
    assert (row.state, row.last.text) == (State.HELD, "hold rule big")
    told = table.read(history.trace, item.envelope.id).events
    assert [(one.verb, one.who, one.text) for one in told] == [
        ("rewrite", "policy", "a to b"),
        ("hold", "policy", "hold rule big"),
    ]
    assert table.write(operate.release, Filter(), mail.now, "me") == 1
    assert len(table.write(leases.claim_due, mail.token, mail.now, mail.now + 10**9, 10)) == 1


def test_removed_recipients(table, mail):
    """Who is not to get a message is in its history from the beginning; the others get it."""
    table.register()
    remark = Remark("discard", "", "milter x", 1)
    item = mail.intake("a@example.com", "b@example.com", claim=mail.token)
    table.accept(replace(item, removed=frozenset({1}), remarks=(remark,)))
    trace = table.read(history.trace, item.envelope.id)
    assert [one.state for one in trace.recipients] == [State.QUEUED, State.REMOVED]
    assert [one.finished_ms for one in trace.recipients] == [None, item.envelope.created_ms]
    assert trace.finished_ms is None
    assert trace.octets_kept
    assert [(one.recipient, one.who) for one in trace.events] == [(1, "milter x")]
    assert table.write(leases.claim_due, "other", mail.now, mail.now + 1000, 10) == []


def test_a_message_that_nobody_gets(table, mail):
    """It is finished, its octets are gone, and the trace still answers."""
    item = mail.intake("a@example.com", "b@example.com", chunks=(b"last",))
    table.write(intake.store_chunk, item.envelope.id, 1, b"body", 1)
    table.accept(replace(item, head=b"head", stored=1, removed=frozenset({0, 1})))
    trace = table.read(history.trace, item.envelope.id)
    assert [one.state for one in trace.recipients] == [State.REMOVED] * 2
    assert trace.finished_ms == item.envelope.created_ms
    assert not trace.octets_kept
    assert table.rows("SELECT count(*) FROM chunks") == [(0,)]
    assert table.rows("SELECT count(*) FROM arriving") == [(0,)]


def test_a_new_body_takes_the_place_of_the_old(table, mail):
    """Whole, with fewer or more chunks; a second run of a lost commit changes nothing."""
    item = mail.intake(chunks=(b"end",))
    id, other = item.envelope.id, "OTHER"
    for number in (1, 2, 3):
        table.write(intake.store_chunk, id, number, b"old", 1)
    for number in (1, 2):
        table.write(intake.store_chunk, other, number, b"new%d" % number, 1)
    table.write(intake.adopt, id, other)
    with table.engine.connect() as conn:
        conn.execution_options(writing=True, repeated=True)
        with conn.begin():
            intake.adopt(conn, id, other)
    table.accept(replace(item, head=b"head", stored=2))
    with writing(table.engine) as conn:
        assert list(listing.chunks(conn, id)) == [b"head", b"new1", b"new2", b"end"]
    assert table.rows("SELECT count(*) FROM arriving") == [(0,)]


def test_a_new_body_that_was_swept_away(table, mail):
    """The old one is not given up for nothing."""
    table.write(intake.store_chunk, "MINE", 1, b"old", 1)
    with pytest.raises(LookupError):
        table.write(intake.adopt, "MINE", "OTHER")
    assert table.rows("SELECT count(*) FROM chunks") == [(1,)]


def test_octets_in_chunks():
    """None for nothing, one as a rule, more for what is longer than a chunk."""
    assert intake.divided(b"") == ()
    assert intake.divided(b"x") == (b"x",)
    long = b"x" * (intake.CHUNK_SIZE + 1)
    assert [len(one) for one in intake.divided(long)] == [intake.CHUNK_SIZE, 1]
