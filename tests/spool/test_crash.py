"""A process killed in the middle of its work loses nothing that it had been told is stored."""

import signal
import subprocess
import sys

from mta.spool import history, leases

CHILD = """
import sys
from mta.mail.envelope import Envelope, Recipient
from mta.mail.queue_id import new_queue_id
from mta.spool import intake, leases
from mta.spool.engine import create_engine, writing

engine = create_engine(sys.argv[1])
with writing(engine) as conn:
    leases.register_node(conn, "node1", "killed", 0, 60_000, {})
now = 1_800_000_000_000
while True:
    now += 1
    id = new_queue_id(now)
    item = intake.Intake(
        Envelope(id, "a@example.org", 5, now, now + 1),
        (Recipient(0, "b@example.com", "example.com", 1),),
        (b"12345",),
        now + 60_000,
        "killed",
    )
    with writing(engine) as conn:
        intake.accept(conn, [item])
    print(id, flush=True)
"""


def test_killed(table):
    """After SIGKILL each message that was acknowledged is whole, and due again at once."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, table.url], stdout=subprocess.PIPE, text=True
    )
    acknowledged = [process.stdout.readline().strip() for _ in range(50)]
    process.send_signal(signal.SIGKILL)
    acknowledged += process.stdout.read().split()
    process.wait()
    process.stdout.close()
    count = table.write(leases.register_node, "node1", "next", 1, 60_000, {})
    assert len(acknowledged) <= count <= len(acknowledged) + 1
    claimed = table.write(leases.claim_due, "next", 1, 2, count)
    assert {one.envelope.id for one in claimed} >= set(acknowledged)
    assert table.read(history.trace, acknowledged[-1]).octets_kept
    whole = "SELECT count(DISTINCT message_id) FROM chunks WHERE length(data) = 5"
    assert table.rows(whole) == [(count,)]
