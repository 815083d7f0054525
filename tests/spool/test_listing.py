"""Pages, filters and counts of the queue."""

import pytest

from mta.spool import listing, operate, outcomes, summary
from mta.spool.engine import reading
from mta.spool.listing import Filter, LastReply
from mta.spool.schema import State


@pytest.fixture
def queue(table, mail):
    """Give a spool with mail of several kinds, by name."""
    items = {
        "old": mail.intake("anna@example.com", created_ms=mail.now - 3_600_000),
        "odd": mail.intake("a_b%c@example.com", "Zoë@example.net", sender=""),
        "big": mail.intake("carl@Example.NET", size=5_000_000),
        "done": mail.intake("dora@example.com", claim=mail.token),
        "deferred": mail.intake("emil@sub.example.com", claim=mail.token),
    }
    table.accept(*items.values())
    deferred = mail.record(items["deferred"], mail.settled(0, State.QUEUED))
    table.write(outcomes.record, [mail.record(items["done"]), deferred])
    table.write(operate.hold, Filter(recipient="carl@example.net"), mail.now, "root")
    return items


def _names(table, mail, queue, **wanted):
    rows = table.read(listing.page, Filter(**wanted), mail.now, 100)
    assert table.read(listing.count, Filter(**wanted), mail.now) == len(rows)
    names = {item.envelope.id: name for name, item in queue.items()}
    return [names[row.envelope.id] for row in rows]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({}, "old odd odd big deferred"),
        ({"state": State.QUEUED}, "old odd odd deferred"),
        ({"state": State.HELD}, "big"),
        ({"state": State.DELIVERED}, "done"),
        ({"sender": "<>"}, "odd odd"),
        ({"sender": "APP@example.org"}, "old big deferred"),
        ({"sender": "@example.org"}, "old big deferred"),
        ({"recipient": "ANNA@example.com"}, "old"),
        ({"recipient": "@example.com"}, "old odd"),
        ({"recipient": "*@*example.com"}, "old odd deferred"),
        ({"recipient": "a_b%*"}, "odd"),
        ({"recipient": "a%"}, ""),
        ({"domain": "example.net"}, "odd big"),
        ({"domain": "*.example.com"}, "deferred"),
        ({"min_age_ms": 1}, "old"),
        ({"max_age_ms": 60_000}, "odd odd big deferred"),
        ({"min_attempts": 1}, "deferred"),
        ({"max_attempts": 0}, "old odd odd big"),
        ({"min_next_ms": 1}, "deferred"),
        ({"min_size": 1_000_000}, "big"),
        ({"login": "app7", "max_size": 1000}, "old odd odd deferred"),
        ({"login": "app8"}, ""),
        ({"code": 451}, "deferred"),
        ({"reply": "grey*again"}, "deferred"),
        ({"reply": "4.7.1"}, "deferred"),
    ],
)
def test_filters(table, mail, queue, wanted, names):
    """Each filter finds what it says, in any case, with wildcards that are only ours."""
    assert _names(table, mail, queue, **wanted) == names.split()


def test_ids(table, mail, queue):
    """Messages can be named by their ids."""
    ids = (queue["old"].envelope.id, queue["done"].envelope.id)
    assert _names(table, mail, queue, ids=ids) == ["old"]


def test_row(table, mail, queue):
    """A row says what the envelope says, and what the last attempt was told."""
    (row,) = table.read(listing.page, Filter(min_attempts=1), mail.now, 1)
    assert row.envelope == queue["deferred"].envelope
    assert row.recipient == queue["deferred"].recipients[0]
    assert row.last == LastReply(
        451, "4.7.1", "Greylisted, try again", "mx.example.com", mail.now + 20, ""
    )
    assert (row.state, row.active, row.next_attempt_ms) == (State.QUEUED, False, mail.now + 300_000)


def test_pages(table, mail):
    """Pages follow each other without gap or overlap, though rows vanish between them."""
    items = [mail.intake("a@x.example", "b@x.example", "c@x.example") for _ in range(4)]
    table.accept(*items)
    seen, after = [], None
    while rows := table.read(listing.page, Filter(), mail.now, 5, after):
        seen += [row.position for row in rows]
        after = rows[-1].position
        table.write(operate.remove, Filter(ids=(after[0],)), mail.now, "root")
    first, second, third, fourth = (item.envelope.id for item in items)
    assert seen == [
        *((first, n) for n in range(3)),
        *((second, n) for n in range(2)),  # the rest was removed between the pages
        *((third, n) for n in range(3)),
        *((fourth, n) for n in range(2)),
    ]


def test_summary(table, mail, queue):
    """The summary counts what waits by domain and state, the longest first."""
    found = table.read(summary.summary)
    assert [(d.domain, d.state, d.recipients) for d in found.domains] == [
        ("example.com", State.QUEUED, 2),
        ("example.net", State.HELD, 1),
        ("example.net", State.QUEUED, 1),
        ("sub.example.com", State.QUEUED, 1),
    ]
    assert (found.messages, found.octets, found.recipients) == (4, 5_000_030, 5)
    assert found.oldest_ms == mail.now - 3_600_000
    assert found.count(State.HELD) == 1


def test_in_hand(table, mail):
    """What processes have claimed is counted, what waits is not."""
    table.accept(mail.intake(claim=mail.token), mail.intake("a@x.example", "b@x.example"))
    assert table.read(listing.in_hand) == 1


def test_octets_that_are_gone(table, mail, queue):
    """Asking for the octets of a finished or unknown message is an error that says so."""
    for message_id in (queue["done"].envelope.id, "NOSUCH"):
        with pytest.raises(LookupError, match=message_id), reading(table.engine) as conn:
            list(listing.chunks(conn, message_id))
