"""The final dot is written down before it is sent, and found by whoever claims after a crash."""

import pytest

from mta.spool import dotted, leases, operate, outcomes, resurrection
from mta.spool.dotted import Dotted
from mta.spool.listing import Filter
from mta.spool.schema import State

TO = "mx.example.com[192.0.2.7]:25"
MARKS = "SELECT number, dotted_ms, dotted_to FROM recipients ORDER BY message_id, number"


def about(item, mail, *numbers, at_ms=None, token=None, attempts=1):
    """Return the mark of some recipients of ``item``."""
    at_ms = mail.now + 5 if at_ms is None else at_ms
    keys = tuple((number, attempts) for number in numbers)
    return Dotted(item.envelope.id, token or mail.token, keys, at_ms, TO if at_ms else "")


def mark(table, *items):
    return table.write(dotted.mark, items)


def claimed(table, mail, token="of-the-next-run"):
    """Claim what a crash has left, and return who of it is marked."""
    table.write(leases.reap, mail.now + 100_000)
    found = table.write(leases.claim_due, token, mail.now + 100_000, mail.now + 200_000, 10)
    return [(one.dotted, [r.number for r in one.recipients]) for one in found]


@pytest.fixture
def item(table, mail):
    """Give a message to two, in hand."""
    made = mail.intake("a@x.example", "b@x.example", claim=mail.token)
    table.accept(made)
    return made


def test_found_after_a_crash(table, mail, item):
    """Who claims what a dead process has left is told for whom, and to whom, the dot was sent."""
    assert mark(table, about(item, mail, 1)) == [True]
    assert claimed(table, mail) == [({1: TO}, [0, 1])]


def test_found_after_the_next_crash_too(table, mail, item):
    """A mark survives a process that has claimed and done nothing, and one that gives back."""
    mark(table, about(item, mail, 0))
    claimed(table, mail, "second")
    table.write(leases.release, "second", [(item.envelope.id, 0, 2)], mail.now + 100_000)
    assert claimed(table, mail, "third") == [({0: TO}, [0, 1])]


def test_nobody_is_marked(table, mail, item):
    """What nobody has marked comes back without a word."""
    assert claimed(table, mail) == [(None, [0, 1])]


@pytest.mark.parametrize("change", [{"token": "other"}, {"attempts": 2}])
def test_fence(table, mail, item, change):
    """With a claim that is not ours any more nobody is marked, and others that wait are."""
    other = mail.intake(claim=mail.token)
    table.accept(other)
    lost = about(item, mail, 0, 1, **change)
    assert mark(table, lost, about(other, mail, 0)) == [False, True]
    assert table.rows(MARKS) == [(0, None, None), (1, None, None), (0, mail.now + 5, TO)]


def test_one_of_two_lost(table, mail, item):
    """A transaction is marked wholly or not at all."""
    table.write(leases.release, mail.token, [(item.envelope.id, 0, 1)], mail.now)
    assert mark(table, about(item, mail, 0, 1)) == [False]
    assert table.rows(MARKS) == [(0, None, None), (1, None, None)]


def test_taken_back(table, mail, item):
    """The peer is known not to have it: the mark goes, that of others stays."""
    mark(table, about(item, mail, 0, 1))
    assert mark(table, about(item, mail, 0, at_ms=0)) == [True]
    assert table.rows(MARKS) == [(0, None, None), (1, mail.now + 5, TO)]


@pytest.mark.parametrize("state", [State.QUEUED, State.DELIVERED, State.BOUNCED])
def test_outcome_ends_the_doubt(table, mail, item, state):
    """Whatever was recorded, it is known now."""
    mark(table, about(item, mail, 0, 1))
    settled = [mail.settled(0, state), mail.settled(1, state)]
    table.write(outcomes.record, [mail.record(item, *settled)])
    assert table.rows(MARKS) == [(0, None, None), (1, None, None)]


def test_older_program(table, mail, item):
    """One that knows nothing of marks leaves them; older than its outcome, they do not count."""
    mark(table, about(item, mail, 0, 1))
    with table.engine.begin() as conn:
        conn.exec_driver_sql(
            f"UPDATE recipients SET claim = NULL, last_ms = {mail.now + 6} WHERE number = 0"
        )
    assert claimed(table, mail) == [({1: TO}, [0, 1])]


@pytest.mark.parametrize("verb", ["release", "retry", "reroute"])
def test_verbs_for_what_waits(table, mail, item, verb):
    """They know of no doubt yet, and the mark stays: whoever claims it says so."""
    mark(table, about(item, mail, 0, 1))
    if verb == "release":
        table.write(operate.hold, Filter(), mail.now, "root")
    table.write(leases.reap, mail.now + 90_000)
    if verb == "reroute":
        sql = operate.reroute
        with table.engine.begin() as conn:
            assert sql(conn, Filter(), mail.now + 90_000, "root", route="other") == 2
    else:
        table.write(getattr(operate, verb), Filter(), mail.now + 80_000, "root")
    assert claimed(table, mail) == [({0: TO, 1: TO}, [0, 1])]


def test_resurrected(table, mail, item):
    """An operator who brings back what was given up wants it sent."""
    mark(table, about(item, mail, 0, 1))
    ruling = operate.Ruling(item.envelope.id, (0, 1), "5.0.0", "no")
    table.write(operate.bounce, [ruling], mail.now + 1, "root")
    table.write(leases.reap, mail.now + 90_000)
    bounced = Filter(state=State.BOUNCED)
    assert table.write(resurrection.resurrect, bounced, mail.now + 90_000, "root", 10) == 2
    assert table.rows(MARKS) == [(0, None, None), (1, None, None)]
    assert claimed(table, mail) == [(None, [0, 1])]


def test_what_peers_are_called(table, mail, item):
    """A host name with a NUL must not make the dot unsendable for ever."""
    one = Dotted(item.envelope.id, mail.token, ((0, 1),), mail.now, "mx\0.example[192.0.2.7]:25")
    assert mark(table, one) == [True]
