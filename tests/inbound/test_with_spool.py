"""Sessions over the real spool and its threads, on both databases."""

from twisted.internet.defer import Deferred

from mta.spool.body import StoredBody
from mta.spool.engine import create_engine, reading
from mta.spool.leases import claim_due
from mta.spool.schema import chunks, messages

START = b"EHLO me\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n"
BLOCK = b"x" * 65_534 + b"\r\n"


def rows(spool, table):
    """How many rows there are, asked over a connection of our own."""
    engine = create_engine(spool.url)
    try:
        with reading(engine) as conn:
            return len(conn.execute(table.select()).all())
    finally:
        engine.dispose()


def answer(spool, client):
    """Let the threads work until the server says something."""
    while not (said := client.read()):
        # whatever waits has been asked for before this
        spool.wait(spool.database.write(lambda conn: None))
    return said


def test_small_message_is_in_the_database_before_the_250(spool, world_over):
    """What is answered 250 can be claimed by another process at this moment."""
    world = world_over(spool.database)
    world.queue.room = False
    client = world.connect()
    client.say(START)
    client.say(b"Subject: x\r\n\r\ntext\r\n.\r\n")
    assert answer(spool, client).startswith(b"250 2.0.0 ")
    now = world.clock.seconds() * 1000
    (claimed,) = spool.wait(spool.database.write(claim_due, "t", int(now), int(now) + 1, 10))
    assert claimed.recipients[0].address == "b@example.com"
    body = StoredBody(spool.database, claimed.envelope.id, claimed.chunks)
    octets = spool.wait(Deferred.fromCoroutine(body.chunk(0)))
    assert octets.endswith(b"+0000\r\nSubject: x\r\n\r\ntext\r\n")
    assert len(octets) == claimed.envelope.size


def test_large_message(spool, world_over):
    """A large message comes back from the spool as it went in."""
    world = world_over(spool.database)
    client = world.connect()
    client.say(START)
    for _ in range(30):
        client.say(BLOCK)
        spool.wait(spool.database.write(lambda conn: None))
    client.say(b".\r\n")
    assert answer(spool, client).startswith(b"250 2.0.0 ")
    ((envelope, _, body, _),) = world.queue.handed
    octets = b"".join(spool.wait(Deferred.fromCoroutine(body.chunk(n))) for n in range(body.count))
    assert octets.endswith(b"+0000\r\n" + BLOCK * 30)
    assert len(octets) == envelope.size


def test_client_that_leaves(spool, world_over):
    """A client that leaves in the middle of DATA leaves nothing in the database."""
    world = world_over(spool.database)
    client = world.connect()
    client.say(START)
    for _ in range(12):
        client.say(BLOCK)
        spool.wait(spool.database.write(lambda conn: None))
    assert rows(spool, chunks) > 0
    client.leave()
    spool.wait(spool.database.write(lambda conn: None))
    assert rows(spool, chunks) == rows(spool, messages) == 0
    assert world.inbound.sessions == 0


def test_pipelined_messages(spool, world_over):
    """Many messages in one packet are answered in order and are all there."""
    world = world_over(spool.database)
    client = world.connect()
    client.say(START + (b"text\r\n.\r\n" + START.partition(b"\r\n")[2]) * 49 + b"text\r\n.\r\n")
    said = b""
    while said.count(b"queued as") < 50:
        said += answer(spool, client)
    assert rows(spool, messages) == 50
