"""Commit 3: what came of an attempt."""

from dataclasses import replace

import pytest
from sqlalchemy.exc import IntegrityError

from mta.mail.envelope import MessageKind
from mta.spool import history, leases, operate, outcomes
from mta.spool.engine import create_engine, writing
from mta.spool.listing import Filter
from mta.spool.outcomes import Recorded
from mta.spool.schema import State


def _record(table, *items):
    return table.write(outcomes.record, items)


def test_delivered(table, mail):
    """The last delivery ends the message: octets go at once, rows stay to be traced."""
    item = mail.intake(claim=mail.token)
    table.accept(item)
    assert _record(table, mail.record(item)) == [Recorded((), True)]
    assert table.states(item) == ["delivered"]
    assert table.rows("SELECT * FROM chunks") == []
    assert table.rows("SELECT finished_ms FROM messages") == [(mail.now + 20,)]


def test_history_holds_the_outcome(table, mail):
    """What was recorded of an attempt comes back as the value it was made from."""
    item = mail.intake(claim=mail.token)
    table.accept(item)
    settled = mail.settled(0, State.QUEUED, cause="because")
    settled = replace(settled, outcome=replace(settled.outcome, maybe_delivered=True))
    _record(table, mail.record(item, settled))
    (attempt,) = table.read(history.trace, item.envelope.id).attempts
    assert attempt.outcome == settled.outcome
    assert (attempt.number, attempt.node, attempt.state) == (1, "node1", State.QUEUED)
    assert (attempt.started_ms, attempt.ended_ms, attempt.cause) == (
        mail.now + 10,
        mail.now + 20,
        "because",
    )


def test_deferred(table, mail):
    """A deferral gives the claim back, keeps the octets and remembers what was said."""
    item = mail.intake("a@x.example", "b@x.example", claim=mail.token)
    table.accept(item)
    record = mail.record(
        item, mail.settled(0, State.DELIVERED), mail.settled(1, State.QUEUED, warned=True)
    )
    assert _record(table, record) == [Recorded((), False)]
    sql = "SELECT state, claim, next_attempt_ms, last_code, last_text FROM recipients WHERE warned"
    assert table.rows(sql) == [("queued", None, mail.now + 300_000, 451, "Greylisted, try again")]
    assert table.rows("SELECT count(*) FROM chunks") == [(1,)]


def test_reports_are_atomic(table, mail):
    """The bounce and its report are one: a report that cannot be stored bounces nothing."""
    item = mail.intake(claim=mail.token)
    report = mail.intake("app@example.org", sender="", kind=MessageKind.DSN)
    table.accept(item)
    bounced = mail.record(item, mail.settled(0, State.BOUNCED), reports=(report, report))
    with pytest.raises(IntegrityError):
        _record(table, bounced)
    assert table.states(item) == ["queued"]
    assert table.rows("SELECT count(*) FROM attempts") == [(0,)]
    assert _record(table, replace(bounced, reports=(report,))) == [Recorded((), True)]
    trace = table.read(history.trace, item.envelope.id)
    assert trace.reports == (report.envelope.id,)
    assert table.read(history.trace, report.envelope.id).parent == item.envelope.id


def test_many_in_one_call(table, mail):
    """More outcomes than one statement takes are recorded together."""
    items = [mail.intake(claim=mail.token) for _ in range(150)]
    table.accept(*items)
    answers = _record(table, *(mail.record(item) for item in items))
    assert answers == [Recorded((), True)] * 150
    assert table.rows("SELECT count(*) FROM chunks") == [(0,)]


@pytest.mark.parametrize("fence", ["token", "attempts"])
def test_stale_fence(table, mail, fence):
    """The outcome of a claim that has passed on is dropped as a whole; others stand."""
    stale, good = (
        mail.intake("a@x.example", "b@x.example", claim=mail.token),
        mail.intake(claim=mail.token),
    )
    table.accept(stale, good)
    record = mail.record(stale)
    if fence == "token":
        record = replace(record, token="of-an-earlier-run")
    else:
        record = replace(record, settled=(record.settled[0], mail.settled(1, State.DELIVERED, 2)))
    lost = (0, 1) if fence == "token" else (1,)
    assert _record(table, record, mail.record(good)) == [Recorded(lost, False), Recorded((), True)]
    assert (table.states(stale), table.states(good)) == (["queued", "queued"], ["delivered"])
    assert table.rows("SELECT message_id FROM attempts") == [(good.envelope.id,)]


def test_same_outcome_twice(table, mail):
    """One claim has one outcome: the second is lost even in the same batch."""
    item = mail.intake(claim=mail.token)
    table.accept(item)
    first, second = _record(table, mail.record(item), mail.record(item))
    assert (first.lost, second.lost) == ((), (0,))
    assert table.rows("SELECT count(*) FROM attempts") == [(1,)]


def test_lost_commit_is_recognised(table, mail):
    """When the answer to a commit was lost, recording again is not a lost lease."""
    items = [mail.intake(claim=mail.token) for _ in range(2)]
    table.accept(*items)
    _record(table, mail.record(items[0]))
    with table.engine.connect() as conn:
        conn.execution_options(writing=True, repeated=True)
        with conn.begin():
            answers = outcomes.record(conn, [mail.record(item) for item in items])
    assert answers == [Recorded((), True)] * 2


@pytest.mark.parametrize("verb", ["hold", "remove"])
def test_deferral_leaves_the_operator(table, mail, verb):
    """A deferral does not put back in the queue what an operator has taken out of it."""
    item = mail.intake(claim=mail.token)
    table.accept(item)
    table.write(getattr(operate, verb), Filter(), mail.now, "root")
    assert _record(table, mail.record(item, mail.settled(0, State.QUEUED)))[0].lost == ()
    assert table.states(item) == ["held" if verb == "hold" else "removed"]
    assert table.rows("SELECT claim FROM recipients") == [(None,)]


@pytest.mark.parametrize("verb", ["hold", "remove"])
def test_delivery_overrides_the_operator(table, mail, verb):
    """What has been delivered has been delivered, whatever an operator wished meanwhile."""
    item = mail.intake(claim=mail.token)
    table.accept(item)
    table.write(getattr(operate, verb), Filter(), mail.now, "root")
    assert _record(table, mail.record(item)) == [Recorded((), True)]
    assert table.states(item) == ["delivered"]


@pytest.mark.parametrize("state", [State.BOUNCED, State.EXPIRED])
def test_no_bounce_of_what_is_removed(table, mail, state):
    """No report goes out for a recipient that an operator has removed meanwhile."""
    item = mail.intake("a@x.example", "b@x.example", claim=mail.token)
    table.accept(item)
    table.write(operate.remove, Filter(recipient="a@*"), mail.now, "root")
    both = mail.record(item, mail.settled(0, state), mail.settled(1, state))
    assert _record(table, both) == [Recorded((0,), False)]
    assert _record(table, replace(both, settled=both.settled[1:])) == [Recorded((), True)]
    assert table.states(item) == ["removed", state]


def test_two_nodes_finish_together(postgresql_url, mail):
    """The last two recipients, settled by two connections at once, end the message."""
    engine = create_engine(postgresql_url)
    item = mail.intake("a@x.example", "b@x.example", claim=mail.token)
    with writing(engine) as conn:
        outcomes.intake.accept(conn, [item])
    first, second = (mail.record(item, mail.settled(n, State.DELIVERED)) for n in (0, 1))
    from threading import Thread

    answers = []

    def late():
        with writing(engine) as conn:
            answers.extend(outcomes.record(conn, [second]))

    with writing(engine) as conn:
        assert outcomes.record(conn, [first]) == [Recorded((), False)]
        thread = Thread(target=late)
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()  # it waits for the message's row
    thread.join()
    assert answers == [Recorded((), True)]
    engine.dispose()


def test_garbage_from_a_peer_can_be_recorded(table, mail):
    """Attack: a reply with NUL or broken UTF-8 must not make its outcome impossible to store."""
    item = mail.intake(claim=mail.token)
    table.accept(item)
    settled = mail.settled(0, State.QUEUED)
    garbage = b"4\0\xff\xfe Gr\xc3\xbc\xc3\x9fe".decode("utf-8", "surrogateescape")
    settled = replace(settled, outcome=replace(settled.outcome, text=garbage))
    assert _record(table, mail.record(item, settled)) == [Recorded((), False)]
    (attempt,) = table.read(history.trace, item.envelope.id).attempts
    assert attempt.outcome.text == "4\\x00\\udcff\\udcfe Grüße"


def test_claim_deferred_again(table, mail):
    """The life of a deferred recipient: due, claimed, the attempt counted, deferred again."""
    item = mail.intake()
    table.accept(item)
    for attempt in (1, 2):
        now = mail.now + attempt * 400_000
        (claimed,) = table.write(leases.claim_due, mail.token, now, now + 60_000, 10)
        settled = mail.settled(0, State.QUEUED, claimed.recipients[0].attempts)
        assert _record(table, mail.record(item, settled)) == [Recorded((), False)]
    assert table.rows("SELECT attempt FROM attempts ORDER BY attempt") == [(1,), (2,)]


def test_held_without_an_answer(table, mail):
    """What may have arrived is held with the reason, in the very commit, and can be released."""
    item = mail.intake("a@x.example", "b@x.example", claim=mail.token)
    table.accept(item)
    unknown = replace(
        mail.settled(1, State.QUEUED).outcome, maybe_delivered=True, text="lost after the dot"
    )
    held = replace(mail.settled(1, State.QUEUED), outcome=unknown, state=State.HELD)
    record = mail.record(item, mail.settled(0, State.DELIVERED), held)
    assert _record(table, record) == [Recorded((), False)]
    assert table.states(item) == ["delivered", "held"]
    sql = "SELECT claim, finished_ms FROM recipients WHERE state = 'held'"
    assert table.rows(sql) == [(None, None)]
    trace = table.read(history.trace, item.envelope.id)
    assert [(e.recipient, e.verb, e.who, e.text) for e in trace.events] == [
        (1, "hold", "delivery", "lost after the dot")
    ]
    assert trace.octets_kept
    assert table.read(history.unanswered, mail.now) == {State.HELD: 1}
    assert table.read(history.unanswered, mail.now + 100) == {}
    assert table.write(operate.release, Filter(), mail.now, "eve") == 1
    assert table.states(item) == ["delivered", "queued"]


def test_removed_while_it_went_out(table, mail):
    """An operator's removal outlives a hold."""
    item = mail.intake(claim=mail.token)
    table.accept(item)
    table.write(operate.remove, Filter(), mail.now, "eve")
    held = replace(mail.settled(0, State.QUEUED), state=State.HELD)
    assert _record(table, mail.record(item, held)) == [Recorded((0,), True)]
    assert table.states(item) == ["removed"]
