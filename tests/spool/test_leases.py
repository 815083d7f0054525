"""Claims, leases and their fences."""

from threading import Barrier, Thread

from mta.spool import due, leases, operate
from mta.spool.engine import writing
from mta.spool.listing import Filter


def _claim(table, mail, token=None, limit=10, over=None):
    token, until_ms = token or mail.token, mail.now + 60_000
    if over is None:
        found = table.write(leases.claim_due, token, mail.now, until_ms, limit)
    else:
        ids = table.read(due.beyond, mail.now, limit, over)
        found = table.write(leases.claim_these, token, mail.now, until_ms, limit, ids, over)
    return [[r.number for r in one.recipients] for one in found]


def test_claims_are_grouped(table, mail):
    """Recipients come back by message, longest due first, with the attempt counted."""
    late, early = mail.intake("a@x.example", "b@y.example"), mail.intake(next_attempt_ms=5)
    table.accept(late, early)
    found = table.write(leases.claim_due, mail.token, mail.now, mail.now + 60_000, 10)
    assert [one.envelope for one in found] == [early.envelope, late.envelope]
    assert [r.attempts for one in found for r in one.recipients] == [1, 1, 1]
    assert table.rows("SELECT DISTINCT claim, attempts, next_attempt_ms FROM recipients") == [
        (mail.token, 1, mail.now + 60_000)
    ]


def test_not_due(table, mail):
    """What is due later, held or claimed is left alone."""
    table.accept(
        mail.intake(next_attempt_ms=mail.now + 1), mail.intake(claim="other"), mail.intake()
    )
    table.write(operate.hold, Filter(max_next_ms=0), mail.now, "root")
    assert _claim(table, mail) == []


def test_excluded_domains(table, mail):
    """Saturated domains are passed over, however long their mail has waited."""
    table.accept(
        mail.intake("a@slow.example", next_attempt_ms=1),
        mail.intake("b@quick.example", "c@slow.example"),
    )
    slow = due.PassedOver(("slow.example", "other.example"), ())
    assert _claim(table, mail, over=slow) == [[0]]
    assert _claim(table, mail, over=slow) == []


def test_what_is_found_beyond_a_backlog_is_looked_at_again(table, mail):
    """Between the look and the claim another process may have claimed, an operator held; the
    bound holds, and messages stay whole.
    """
    items = [mail.intake("a@x.example", "b@y.example", "c@dead.example") for _ in range(4)]
    table.accept(*items)
    over = due.PassedOver(("dead.example",), ("dead.example",))
    ids = table.read(due.beyond, mail.now, 100, over)
    assert ids == [item.envelope.id for item in items]
    table.write(operate.hold, Filter(ids=(ids[0],)), mail.now, "root")
    assert [len(one) for one in _claim(table, mail, token="other", limit=1, over=over)] == [2]
    found = table.write(leases.claim_these, mail.token, mail.now, mail.now + 9, 3, ids, over)
    assert [(one.envelope.id, len(one.recipients)) for one in found] == [(ids[2], 2), (ids[3], 2)]


def test_limit_keeps_messages_whole(table, mail):
    """The last message is not cut in two by the limit, and no other comes along."""
    table.accept(
        mail.intake(),
        mail.intake(*(f"u{n}@example.com" for n in range(5)), next_attempt_ms=mail.now - 1),
        mail.intake(),
    )
    assert _claim(table, mail, limit=2) == [[0, 1, 2, 3, 4]]
    assert _claim(table, mail, limit=1) == [[0]]
    assert _claim(table, mail, limit=10) == [[0]]


def test_concurrent_claims_never_overlap(table, mail):
    """Two connections that claim at the same time never get the same recipient.

    On SQLite that rests on BEGIN IMMEDIATE alone: SKIP LOCKED is dropped there.
    """
    table.accept(*(mail.intake() for _ in range(120)))
    barrier, claimed = Barrier(2), {"one": [], "two": []}

    def work(token):
        barrier.wait()
        while found := table.write(leases.claim_due, token, mail.now, mail.now + 1, 7):
            claimed[token] += [one.envelope.id for one in found]

    threads = [Thread(target=work, args=(token,)) for token in claimed]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed["one"]) + len(claimed["two"]) == 120
    assert not set(claimed["one"]) & set(claimed["two"])


def test_open_claim_does_not_block_another(postgresql_url, mail):
    """On PostgreSQL a claim passes over rows that another one is just claiming."""
    from mta.spool.engine import create_engine
    from mta.spool.intake import accept

    engine = create_engine(postgresql_url)
    with writing(engine) as conn:
        accept(conn, [mail.intake() for _ in range(4)])
    with writing(engine) as first, writing(engine) as second:
        one = leases.claim_due(first, "one", mail.now, mail.now + 1, 2)
        two = leases.claim_due(second, "two", mail.now, mail.now + 1, 4)
    assert (len(one), len(two)) == (2, 2)
    engine.dispose()


def test_lost_claim_is_found_again(table, mail):
    """When the answer to a claim's commit was lost, claiming again returns what it had got."""
    table.accept(mail.intake(), mail.intake())
    assert _claim(table, mail, limit=1) == [[0]]
    with table.engine.connect() as conn:
        conn.execution_options(writing=True, repeated=True)
        with conn.begin():
            found = leases.claim_due(conn, mail.token, mail.now, mail.now + 60_000, 1)
    assert [r.attempts for one in found for r in one.recipients] == [1, 1]


def test_release(table, mail):
    """Work that was not begun goes back, uncounted; a stale key releases nothing."""
    item = mail.intake("a@x.example", "b@x.example")
    table.accept(item)
    _claim(table, mail)
    stale, good = (item.envelope.id, 0, 7), (item.envelope.id, 1, 1)
    assert table.write(leases.release, mail.token, [stale, good], mail.now + 5) == 1
    assert table.write(leases.release, "other", [(item.envelope.id, 0, 1)], mail.now + 5) == 0
    assert table.rows(
        "SELECT claim, attempts, next_attempt_ms FROM recipients ORDER BY number"
    ) == [
        (mail.token, 1, mail.now + 60_000),
        (None, 0, mail.now + 5),
    ]


def test_register_takes_back(table, mail):
    """A node that starts again has at once what its last run held, and nobody else's."""
    table.register("first-run")
    table.register("elsewhere", name="node2")
    table.accept(mail.intake(claim="first-run"), mail.intake(claim="elsewhere"))
    assert table.register("second-run") == 1
    assert table.write(leases.renew, "first-run", mail.now, 60_000) is False
    assert _claim(table, mail, "second-run") == [[0]]


def test_release_all(table, mail):
    """An orderly stop leaves everything due and no lease behind."""
    table.register()
    table.accept(mail.intake(claim=mail.token))
    assert table.write(leases.release_all, mail.token, mail.now) == 1
    assert table.read(leases.everyone) == []
    assert _claim(table, mail, "other") == [[0]]


def _register(table, mail, name, token, pid):
    about = {"pid": str(pid), "host": "here"}
    table.write(leases.register_node, name, token, mail.now, 60_000, about)


def test_say(table, mail):
    """A run changes one thing that it says about itself; of one that is gone nothing is said."""
    _register(table, mail, "relay", "run", 7)
    table.write(leases.say, "run", leases.DOWN, "relay/1 relay/2")
    table.write(leases.say, "gone", leases.DOWN, "x")
    (node,) = table.read(leases.everyone)
    assert node.about == {"pid": "7", "host": "here", "down": "relay/1 relay/2"}
    assert node.down == ["relay/1", "relay/2"]
    assert not node.supervises


def test_renew(table, mail):
    """A renewed lease outlives the reaper."""
    table.register()
    assert table.write(leases.renew, mail.token, mail.now + 50_000, 60_000) is True
    table.accept(mail.intake(claim=mail.token))
    assert table.write(leases.reap, mail.now + 100_000) == 0
    node = table.read(leases.everyone)[0]
    assert (node.name, node.lease_until_ms, node.about) == (
        "node1",
        mail.now + 110_000,
        {"pid": "1"},
    )


def test_reap(table, mail):
    """Claims of a run whose lease ran out are due for the others; the run is told."""
    table.register()
    table.register("alive", name="node2")
    table.accept(mail.intake(claim=mail.token), mail.intake(claim="alive"))
    table.write(leases.renew, "alive", mail.now, 10_000_000)
    assert table.write(leases.reap, mail.now + 60_001) == 1
    assert table.write(leases.renew, mail.token, mail.now + 60_002, 60_000) is False


def test_reap_claims_of_nobody(table, mail):
    """Mail accepted under a token whose lease had just been reaped does not lie for ever."""
    table.register("alive", name="node2")
    table.accept(
        mail.intake(claim="reaped"), mail.intake(claim="zombie"), mail.intake(claim="alive")
    )
    assert table.write(leases.reap, mail.now) == 2


def test_poll(table, mail):
    """The poll sees the next due recipient that is nobody's, and operators' wake-ups."""
    assert table.read(leases.poll, mail.now) == leases.Poll(0, None)
    table.accept(mail.intake(next_attempt_ms=7), mail.intake(claim="x", next_attempt_ms=3))
    table.write(leases.wake)
    assert table.read(leases.poll, mail.now) == leases.Poll(1, 7)


def test_withdrawn(table, mail):
    """A scheduler can ask which of its claims an operator does not want attempted."""
    item = mail.intake("a@x.example", "b@x.example", claim=mail.token)
    table.accept(item)
    table.write(operate.remove, Filter(recipient="b@*"), mail.now, "root")
    assert table.read(leases.withdrawn, mail.token) == [(item.envelope.id, 1, 1)]
