"""What is stored of a message, what is added to it, and what happens when storing fails."""

import tracemalloc

import pytest

from mta.inbound.transaction import _CHUNK
from mta.mail.envelope import MemoryBody, Recipient
from mta.mail.events import Accepted, Note, Refused
from mta.spool.body import StoredBody
from mta.spool.errors import SpoolFull, SpoolUnavailable
from mta.spool.intake import CHUNK_SIZE

START = b"EHLO me\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n"
BLOCK = b"x" * 65_534 + b"\r\n"


def submit(client, content, start=START):
    """Send one message; return the last reply."""
    client.say(start)
    return client.say(content + b".\r\n")


def test_small_message(world):
    """A small message is one write: envelope, recipients and octets together."""
    client = world.connect()
    said = submit(client, b"Message-ID: <1@example.org>\r\n\r\ntext\r\n")
    (item,) = world.spool.accepted
    envelope = item.envelope
    assert said == f"250 2.0.0 Ok: queued as {envelope.id}\r\n".encode()
    assert world.spool.writes == 1
    assert item.chunks == (
        b"Received: from me ([192.0.2.7])\r\n"
        b"\tby relay.example.net with ESMTP\r\n"
        b"\tid " + envelope.id.encode() + b" for <b@example.com>;\r\n"
        b"\tTue, 25 Nov 2025 00:00:00 +0000\r\n"
        b"Message-ID: <1@example.org>\r\n\r\ntext\r\n",
    )
    assert envelope.size == len(item.chunks[0])
    assert (envelope.sender, envelope.message_id) == ("a@example.org", "<1@example.org>")
    assert envelope.created_ms == 1_764_028_800_000
    assert envelope.expires_ms == envelope.created_ms + 5 * 24 * 3600 * 1000
    assert not envelope.eight_bit
    assert (item.claim, item.next_attempt_ms, item.stored) == ("token", 9_999_999, 0)
    assert item.recipients == (Recipient(0, "b@example.com", "example.com", attempts=1),)


def test_born_claimed(world):
    """What was accepted is handed over in memory, after it has been told to the log."""
    submit(world.connect(), b"text\r\n")
    ((envelope, recipients, body, reservation),) = world.queue.handed
    (item,) = world.spool.accepted
    assert body == MemoryBody(item.chunks)
    assert (envelope, recipients) == (item.envelope, item.recipients)
    assert reservation.claim == "token"
    assert world.of(Accepted) == [Accepted(envelope, recipients)]


def test_no_room_in_the_active_set(world):
    """Without room it is stored unclaimed, due at once, with no attempt counted."""
    world.queue.room = False
    submit(world.connect(), b"text\r\n")
    (item,) = world.spool.accepted
    assert (item.claim, item.next_attempt_ms) == (None, item.envelope.created_ms)
    assert item.recipients[0].attempts == 0
    assert world.queue.handed[0][3] is None


def test_mail_for_a_dead_site_stays_in_the_spool(world):
    """It is stored unclaimed and due when the site may be tried; no room is used up."""
    world.queue.dead_until_ms = 123_456_789
    submit(world.connect(), b"text\r\n")
    (item,) = world.spool.accepted
    assert (item.claim, item.next_attempt_ms) == (None, 123_456_789)
    assert item.recipients[0].attempts == 0
    assert (world.queue.handed, world.queue.reserved) == ([], 0)
    assert world.of(Accepted) == [Accepted(item.envelope, item.recipients)]


def test_eight_bit_is_seen(world):
    """Octets above 127 are noticed, whatever BODY said."""
    submit(world.connect(), "Subject: x\r\n\r\nJörg\r\n".encode())
    assert world.spool.accepted[0].envelope.eight_bit


def test_large_message(world):
    """A large message goes to the spool in chunks while it arrives."""
    client = world.connect()
    said = submit(client, b"Subject: large\r\n\r\n" + BLOCK * 40)
    assert said.startswith(b"250 ")
    (item,) = world.spool.accepted
    assert item.stored >= 40 * 65536 // CHUNK_SIZE
    assert world.spool.body(item).endswith(b"Subject: large\r\n\r\n" + BLOCK * 40)
    assert item.envelope.size == len(world.spool.body(item))
    body = world.queue.handed[0][2]
    assert isinstance(body, StoredBody)
    assert (body.count, body.memory) == (item.stored + len(item.chunks), None)


@pytest.mark.parametrize("size", [_CHUNK - 2, _CHUNK, _CHUNK + 2, 2 * _CHUNK])
def test_sizes_round_a_chunk(world, size):
    """No octet is lost at the border between memory and spool."""
    content = b"y" * (size - 2) + b"\r\n"
    assert submit(world.connect(), content).startswith(b"250 ")
    (item,) = world.spool.accepted
    assert world.spool.body(item).endswith(b"+0000\r\n" + content)


def test_short_of_memory(world):
    """When all messages arriving hold too much together, they go to the spool sooner."""
    world.limit(memory=0)
    client = world.connect()
    client.say(START)
    for _ in range(10):
        client.say(b"x" * 29_998 + b"\r\n")
        assert world.inbound._reception.held <= 64 * 1024
    assert client.say(b".\r\n").startswith(b"250 ")
    assert world.spool.accepted[0].stored >= 4


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SpoolUnavailable("gone"), b"451 4.3.0 "),
        (SpoolFull("full"), b"452 4.3.1 "),
        (ValueError("nobody has foreseen this"), b"451 4.3.0 "),
    ],
)
def test_storing_fails(world, error, code):
    """The database's faults are temporary for the client; the session goes on and recovers."""
    client = world.connect()
    world.spool.error = error
    assert submit(client, b"text\r\n").startswith(code)
    assert world.queue.reserved == 0
    assert world.queue.handed == []
    assert world.of(Refused)[-1].reason == str(error)
    world.spool.error = None
    assert submit(client, b"text\r\n").startswith(b"250 ")


def test_storing_fails_in_the_middle(world):
    """After a failure the rest is swallowed, the one answer comes at the end, nothing stays."""
    client = world.connect()
    client.say(START)
    for _ in range(8):
        client.say(BLOCK)
    world.spool.error = SpoolFull("full")
    writes = world.spool.writes
    for _ in range(50):
        assert client.say(BLOCK) == b""
    assert world.spool.writes == writes + 1
    world.spool.error = None
    assert client.say(b".\r\n").startswith(b"452 4.3.1 ")
    assert (world.spool.accepted, world.spool.chunks) == ([], {})
    assert world.inbound._reception.held == 0


def test_discarding_fails(world):
    """Chunks that can't be removed are told to the log; the spool sweeps them later."""
    client = world.connect()
    client.say(START)
    for _ in range(8):
        client.say(BLOCK)
    world.spool.error = SpoolUnavailable("gone")
    client.leave()
    assert [note.level for note in world.of(Note)] == ["warning"]
    assert world.inbound.sessions == 0


def test_large_message_refused_at_its_end(world):
    """SMTP smuggling at the end of a large message: its chunks go."""
    client = world.connect()
    said = submit(client, BLOCK * 10 + b"\n.\n\r\n")
    assert said.startswith(b"550 5.6.11 ")
    assert (world.spool.accepted, world.spool.chunks) == ([], {})


def test_loop_in_a_large_message(world):
    """A loop is seen in the first chunk; nothing of the message is written."""
    world.limit(hops=2)
    client = world.connect()
    said = submit(client, b"Received: x\r\nReceived: y\r\n\r\n" + BLOCK * 20)
    assert said.startswith(b"554 5.4.6 ")
    assert world.spool.writes == 0


def test_recipients_are_counted(world):
    """Thousands of RCPT: the limit holds, the session goes on, the first ones get the message."""
    world.limit(recipients=100)
    client = world.connect()
    client.say(b"EHLO me\r\nMAIL FROM:<a@example.org>\r\n")
    said = client.say(b"".join(b"RCPT TO:<u%d@example.com>\r\n" % n for n in range(5000)))
    assert said.count(b"250 2.1.5") == 100
    assert said.count(b"452 4.5.3") == 4900
    assert client.say(b"DATA\r\ntext\r\n.\r\n").startswith(b"354")
    (item,) = world.spool.accepted
    assert [r.number for r in item.recipients] == list(range(100))


def test_recipient_given_twice(world):
    """The same recipient twice is one recipient."""
    start = START.replace(b"DATA", b"RCPT TO:<b@example.com>\r\nRCPT TO:<c@Example.COM>\r\nDATA")
    submit(world.connect(), b"text\r\n", start)
    recipients = world.spool.accepted[0].recipients
    assert [(r.address, r.domain) for r in recipients] == [
        ("b@example.com", "example.com"),
        ("c@Example.COM", "example.com"),
    ]


def test_received_hides_other_recipients(world):
    """With several recipients ``for`` would tell each about the others (RFC 5321 §7.2)."""
    start = START.replace(b"DATA", b"RCPT TO:<secret@example.com>\r\nDATA")
    submit(world.connect(), b"text\r\n", start)
    assert b" for " not in world.spool.accepted[0].chunks[0]
    assert b"secret" not in world.spool.accepted[0].chunks[0]


@pytest.mark.parametrize(
    "name", [b"evil)\\(comment", b"a;b", b"x<y>z", b"x@y", b'"q"', b"for=root", b"a," * 100]
)
def test_header_injection_through_the_hello_name(world, name):
    """Header injection via HELO: a name can't leave its place in ``Received:``."""
    submit(world.connect(), b"Subject: x\r\n\r\n", START.replace(b"me", name, 1))
    body = world.spool.accepted[0].chunks[0]
    first, _, _ = body.partition(b"\r\n")
    assert first.startswith(b"Received: from ")
    assert first.endswith(b" ([192.0.2.7])")
    assert set(first[15:-14]) <= set(
        b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-?:[]"
    )


def test_relay_adds_nothing_but_received(world):
    """RFC 6409 is for submission: on a relay's port no field is made up."""
    submit(world.connect(), b"no header at all\r\n")
    assert world.spool.accepted[0].chunks[0].endswith(b"+0000\r\nno header at all\r\n")


def test_submission_completes_the_header(world):
    """On submission From, Date and Message-ID are added where they are missing."""
    client = world.connect("smtps", "2001:db8::7")
    client.say(b"EHLO me\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\n")
    client.say(b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n")
    client.say(b"Subject: x\r\n\r\ntext\r\n.\r\n")
    (item,) = world.spool.accepted
    id = item.envelope.id
    assert item.envelope.message_id == f"<{id}@relay.example.net>"
    assert item.chunks[0].decode() == (
        "Received: from me ([IPv6:2001:db8::7])\r\n"
        "\tby relay.example.net with ESMTPSA\r\n"
        f"\tid {id} for <b@example.com>;\r\n"
        "\tTue, 25 Nov 2025 00:00:00 +0000\r\n"
        "From: <ann@example.org>\r\n"
        "Date: Tue, 25 Nov 2025 00:00:00 +0000\r\n"
        f"Message-ID: <{id}@relay.example.net>\r\n"
        "Subject: x\r\n\r\ntext\r\n"
    )
    assert item.envelope.origin.login == "ann"
    assert item.envelope.origin.protocol == "ESMTPSA"


def test_bare_postmaster_gets_a_domain(world):
    """``<postmaster>`` is somebody in particular by the time it is stored."""
    submit(world.connect(), b"x\r\n", START.replace(b"b@example.com", b"PostMaster"))
    assert world.spool.accepted[0].recipients[0].address == "PostMaster@relay.example.net"


def test_pieces_of_two_octets_weigh_what_they_hold(world):
    """Attack: one TLS record for every two octets; a Python object for each would be megabytes."""
    client = world.connect()
    client.say(START)
    tracemalloc.start()
    for _ in range(60_000):
        client.session.dataReceived(bytes(bytearray(b"xy")))  # an object of its own each time
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 1_000_000
    assert client.say(b"\r\n.\r\n").startswith(b"250 ")
    assert world.spool.accepted[0].chunks[0].endswith(b"\r\n" + b"xy" * 60_000 + b"\r\n")


def test_waits_do_not_follow_the_wall_clock(world):
    """A clock set back an hour is seen in what is written down and in nothing else."""
    client = world.connect()
    client.say(START)
    world.wall_ms -= 3_600_000
    assert client.say(b"x\r\n.\r\n").startswith(b"250 ")
    submit(world.connect(), b"later\r\n")
    assert [item.envelope.created_ms for item in world.spool.accepted] == [
        1_764_028_800_000,
        1_764_025_200_000,
    ]
    world.clock.advance(299)
    assert client.read() == b""
    world.clock.advance(2)
    assert client.read() == b"421 4.4.2 Timeout; closing\r\n"
