"""A process that runs on while the schema grows: expand-only changes do not disturb it."""

import pytest

from mta.spool import intake, leases, outcomes
from mta.spool.engine import create_engine, writing
from mta.spool.upgrade import upgrade


@pytest.fixture(params=["sqlite", "postgresql"])
def own_url(request, tmp_path):
    """Give a spool whose schema may be changed."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/own.db"
    else:
        url = request.getfixturevalue("empty_postgresql_url")
    upgrade(url)
    return url


def test_new_columns_do_not_disturb_those_who_do_not_know_them(own_url, open_spool, mail):
    """Accepted, claimed and recorded before the change and after it, on the same connections."""
    spool = open_spool(own_url)

    def walk():
        item = mail.intake()
        spool.wait(spool.database.write_together(intake.accept, item))
        due = (mail.token, mail.now, mail.now + 1, 10)
        (claimed,) = spool.wait(spool.database.write(leases.claim_due, *due))
        assert claimed.envelope.id == item.envelope.id
        recorded = spool.wait(spool.database.write_together(outcomes.record, mail.record(item)))
        assert recorded == outcomes.Recorded((), True)
        spool.wait(spool.database.read(leases.poll, mail.now))

    walk()
    engine = create_engine(own_url)
    with writing(engine) as conn:
        for table in ("messages", "recipients", "chunks", "attempts", "events", "nodes", "wakeups"):
            sql = f"ALTER TABLE {table} ADD COLUMN of_tomorrow INTEGER NOT NULL DEFAULT 0"
            conn.exec_driver_sql(sql)
    engine.dispose()
    walk()
