"""What waits for a restraint, and how its time is counted, on both databases."""

from mta.mail.restraint import Restraint
from mta.spool import leases, restraints


def suspended(table, mail, **more):
    made = Restraint(0, "suspend", "all", "", "why", mail.now, who="ann", **more)
    return table.write(restraints.suspend, made).id


def put_back(table, mail, id_, at_ms, limit=10):
    claimed = table.write(leases.claim_due, mail.token, mail.now, mail.now + 1000, limit)
    for one in claimed:
        keys = [(one.envelope.id, r.number, r.attempts) for r in one.recipients]
        table.write(restraints.put_back, mail.token, keys, at_ms, id_, mail.now)


def expiry(table, item):
    return table.rows("SELECT expires_ms FROM messages")[0][0] - item.envelope.expires_ms


def test_put_back_and_ended(table, mail):
    """No attempt is counted, the wait is given; an early end takes back what was not needed."""
    item = mail.intake("a@one.example", "b@two.example")
    table.accept(item)
    table.register()
    id_ = suspended(table, mail)
    put_back(table, mail, id_, mail.now + 10_000)
    rows = "SELECT attempts, claim, next_attempt_ms, restraint FROM recipients"
    assert table.rows(rows) == [(0, None, mail.now + 10_000, id_)] * 2
    assert expiry(table, item) == 10_000
    assert table.read(restraints.waiting) == {id_: 2}
    assert table.write(restraints.end, [id_], "ann", mail.now + 4000) == 2
    assert table.rows(rows) == [(0, None, mail.now + 4000, None)] * 2
    assert expiry(table, item) == 4000
    assert table.read(restraints.waiting) == {}


def test_two_recipients_wait_at_the_same_time(table, mail):
    """Two sites that are suspended do not double the time that a message gets."""
    item = mail.intake("a@one.example", "b@two.example")
    table.accept(item)
    table.register()
    first, second = suspended(table, mail), suspended(table, mail)
    [claimed] = table.write(leases.claim_due, mail.token, mail.now, mail.now + 1000, 10)
    for number, (id_, at_ms) in enumerate([(first, 10_000), (second, 15_000)]):
        key = (item.envelope.id, number, claimed.recipients[number].attempts)
        table.write(restraints.put_back, mail.token, [key], mail.now + at_ms, id_, mail.now)
    assert expiry(table, item) == 15_000


def test_mail_that_grows_old(table, mail):
    """With ``expires`` the expiry stays."""
    item = mail.intake("a@one.example")
    table.accept(item)
    table.register()
    id_ = suspended(table, mail, expires=True)
    put_back(table, mail, id_, mail.now + 10_000)
    assert expiry(table, item) == 0
    table.write(restraints.end, [id_], "ann", mail.now + 4000)
    assert expiry(table, item) == 0


def test_a_claim_takes_the_mark_away(table, mail):
    """What is in hand again waits for nothing."""
    item = mail.intake("a@one.example")
    table.accept(item)
    table.register()
    put_back(table, mail, suspended(table, mail), mail.now)
    table.write(leases.claim_due, mail.token, mail.now, mail.now + 1000, 10)
    assert table.rows("SELECT restraint FROM recipients") == [(None,)]


def test_every_change_is_told(table, mail):
    """The poll of each process sees that there is something to read; ended ones are forgotten."""
    before = table.read(leases.poll, mail.now).restraints
    id_ = suspended(table, mail)
    table.write(restraints.end, [id_], "ann", mail.now)
    assert table.read(leases.poll, mail.now).restraints == before + 2
    assert table.read(restraints.holding, mail.now) == []
    assert table.write(restraints.purge, mail.now) == 0
    assert table.write(restraints.purge, mail.now + 1) == 1
