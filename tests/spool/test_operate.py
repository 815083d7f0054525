"""The verbs of operators."""

import pytest

from mta.mail.envelope import MessageKind
from mta.spool import history, leases, listing, operate
from mta.spool.engine import reading
from mta.spool.listing import Filter
from mta.spool.operate import Ruling
from mta.spool.outcomes import Recorded


def test_hold_and_release(table, mail):
    """What is held is not due until it is released, and then it is due at once."""
    item = mail.intake(next_attempt_ms=mail.now + 5_000)
    table.accept(item)
    assert table.write(operate.hold, Filter(), mail.now, "root") == 1
    assert table.write(operate.hold, Filter(), mail.now, "root") == 0
    assert table.read(leases.poll, mail.now) == leases.Poll(1, None)
    assert table.write(operate.release, Filter(), mail.now + 7, "root") == 1
    assert table.read(leases.poll, mail.now) == leases.Poll(2, mail.now + 7)


def test_release_of_what_is_active(table, mail):
    """Releasing a recipient whose attempt is under way leaves claim and time alone."""
    table.accept(mail.intake(claim=mail.token))
    table.write(operate.hold, Filter(), mail.now, "root")
    table.write(operate.release, Filter(), mail.now, "root")
    assert table.rows("SELECT state, claim, next_attempt_ms FROM recipients") == [
        ("queued", mail.token, mail.now + 60_000)
    ]


def test_retry(table, mail):
    """Only what waits for its time is made due."""
    table.accept(
        mail.intake(next_attempt_ms=mail.now + 5_000), mail.intake(claim="x"), mail.intake()
    )
    assert table.write(operate.retry, Filter(), mail.now, "root") == 1
    assert table.read(leases.poll, mail.now) == leases.Poll(1, mail.now)


def test_remove(table, mail):
    """The last recipient removed ends the message; each leaves a row of history."""
    item = mail.intake("a@x.example", "b@x.example")
    table.accept(item)
    table.write(operate.remove, Filter(recipient="a@x.example"), mail.now, "anna")
    assert table.states(item) == ["removed", "queued"]
    assert table.rows("SELECT count(*) FROM chunks") == [(1,)]
    table.write(operate.remove, Filter(), mail.now + 1, "bert")
    assert table.rows("SELECT finished_ms FROM messages") == [(mail.now + 1,)]
    assert table.rows("SELECT count(*) FROM chunks") == [(0,)]
    told = table.read(history.trace, item.envelope.id).events
    assert [(e.recipient, e.verb, e.who) for e in told] == [
        (0, "remove", "anna"),
        (1, "remove", "bert"),
    ]


@pytest.mark.parametrize("verb", ["hold", "remove", "retry"])
def test_steps(table, mail, verb):
    """A verb works in bounded steps until nothing is left."""
    table.accept(*(mail.intake(next_attempt_ms=mail.now + 1) for _ in range(7)))
    step = getattr(operate, verb)
    counts = [table.write(step, Filter(), mail.now, "root", 3) for _ in range(4)]
    assert counts == [3, 3, 1, 0]


def test_bounce(table, mail):
    """A ruling, its report and the end of the message are one transaction."""
    item, report = mail.intake(), mail.intake("app@example.org", sender="", kind=MessageKind.DSN)
    table.accept(item)
    (row,) = table.read(listing.page, Filter(), mail.now, 10)
    with reading(table.engine) as conn:
        assert b"".join(listing.chunks(conn, row.envelope.id)) == b"0123456789"
    ruling = Ruling(item.envelope.id, (0,), "5.7.1", "given up by the operator", (report,))
    assert table.write(operate.bounce, [ruling], mail.now, "root") == [Recorded((), True)]
    trace = table.read(history.trace, item.envelope.id)
    assert (trace.recipients[0].state, trace.reports) == ("bounced", (report.envelope.id,))
    (event,) = trace.events
    assert (event.verb, event.text) == ("bounce", "given up by the operator")


def test_bounce_too_late(table, mail):
    """A ruling about a recipient that has left meanwhile does nothing; its neighbour stands."""
    gone, item = mail.intake("a@x.example", "b@x.example"), mail.intake()
    table.accept(gone, item)
    table.write(operate.remove, Filter(recipient="a@*"), mail.now, "root")
    rulings = [
        Ruling(gone.envelope.id, (0, 1), "5.7.1", "given up"),
        Ruling(item.envelope.id, (0,), "5.7.1", "given up"),
    ]
    answers = table.write(operate.bounce, rulings, mail.now, "root")
    assert answers == [Recorded((0,), False), Recorded((), True)]
    assert table.states(gone) == ["removed", "queued"]
