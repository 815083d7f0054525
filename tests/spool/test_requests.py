"""What senders asked for, in the spool: kept, claimed in order, not released before its time."""

from mta.mail.envelope import Asked, DeliverBy
from mta.spool import due, leases, listing, operate
from mta.spool.filters import Filter
from mta.spool.history import trace


def claimed(table, mail, limit, over=None):
    """The priorities of what a claim takes, in its order."""
    until_ms = mail.now + 60_000
    if over is None:
        found = table.write(leases.claim_due, mail.token, mail.now, until_ms, limit)
    else:
        ids = table.read(due.beyond, mail.now, limit, over)
        found = table.write(leases.claim_these, mail.token, mail.now, until_ms, limit, ids, over)
    return [one.envelope.asked.priority for one in found]


def test_there_and_back(table, mail):
    """All that was asked is read back, by claims and by the history."""
    asked = Asked("FULL", "a+2Bb", None, 4, DeliverBy(mail.now + 5, "N", True), "for;60")
    item = mail.intake("a@x.example", asked=asked)
    table.accept(item)
    assert table.read(trace, item.envelope.id).envelope == item.envelope
    (found,) = table.write(leases.claim_due, mail.token, mail.now, mail.now + 60_000, 10)
    assert found.envelope == item.envelope


def test_notify_and_orcpt_there_and_back(table, mail):
    """Each recipient keeps its own."""
    item = mail.intake("a@x.example")
    (one,) = item.recipients
    people = (type(one)(0, one.address, one.domain, 0, False, "SUCCESS", "rfc822;b+2B"),)
    table.accept(type(item)(item.envelope, people, item.chunks, item.next_attempt_ms))
    (found,) = table.write(leases.claim_due, mail.token, mail.now, mail.now + 60_000, 10)
    assert (found.recipients[0].notify, found.recipients[0].orcpt) == ("SUCCESS", "rfc822;b+2B")


def test_urgent_mail_is_claimed_first(table, mail):
    """RFC 6710: higher classes first, each in the order of time, whatever the others' is."""
    for priority, due_ms in ((0, 1), (-4, 2), (4, 3), (0, 4), (9, 5)):
        table.accept(
            mail.intake(asked=Asked(priority=priority), next_attempt_ms=mail.now - 9 + due_ms)
        )
    assert claimed(table, mail, 10) == [4, 9, 0, 0, -4]


def test_no_class_starves(table, mail):
    """A claim that is full of urgent mail still takes a tenth of each other class."""
    for priority in (4,) * 30 + (0,) * 30 + (-4,) * 30:
        table.accept(mail.intake(asked=Asked(priority=priority)))
    assert claimed(table, mail, 20) == [4] * 16 + [0, 0] + [-4, -4]


def test_urgent_mail_passes_where_other_mail_is_not_wanted(table, mail):
    """A destination may be full for the others and not for urgent mail."""
    table.accept(mail.intake("a@x.example"), mail.intake("b@x.example", asked=Asked(priority=4)))
    assert claimed(table, mail, 10, due.PassedOver(("x.example",), ("x.example",))) == []
    assert claimed(table, mail, 10, due.PassedOver(("x.example",), ())) == [4]


def test_poll_sees_every_class(table, mail):
    """The next due recipient may be of any class."""
    table.accept(
        mail.intake(next_attempt_ms=mail.now + 30),
        mail.intake(next_attempt_ms=mail.now + 20, asked=Asked(priority=-4)),
    )
    assert table.read(leases.poll, mail.now).next_due_ms == mail.now + 20
    table.accept(mail.intake(next_attempt_ms=mail.now + 10, asked=Asked(priority=1)))
    assert table.read(leases.poll, mail.now).next_due_ms == mail.now + 10


def test_an_operators_release_does_not_break_the_senders_hold(table, mail):
    """RFC 4865: held and released by an operator, it still waits for the moment asked for."""
    release_ms = mail.now + 3_600_000
    held = mail.intake(asked=Asked(release_ms=release_ms), next_attempt_ms=release_ms)
    plain = mail.intake(next_attempt_ms=mail.now + 5_000)
    table.accept(held, plain)
    table.write(operate.hold, Filter(), mail.now, "root")
    table.write(operate.release, Filter(), mail.now + 1, "root")
    rows = table.read(listing.page, Filter(), mail.now, 10)
    assert [row.next_attempt_ms for row in rows] == [release_ms, mail.now + 1]


def test_retry_of_everything_leaves_held_mail_alone(table, mail):
    """RFC 4865: an operator who flushes the queue does not send tomorrow's mail today."""
    release_ms = mail.now + 3_600_000
    table.accept(mail.intake(asked=Asked(release_ms=release_ms), next_attempt_ms=release_ms))
    table.accept(mail.intake(next_attempt_ms=mail.now + 5_000))
    assert table.write(operate.retry, Filter(), mail.now, "root") == 1
    assert table.write(operate.retry, Filter(), release_ms + 1, "root") == 0
