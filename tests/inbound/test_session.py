"""Sessions: whose turn it is, how long we wait, what is held back, how it all ends."""

import pytest

from mta.inbound.session import READ_AHEAD
from mta.mail.events import Disconnected
from mta.spool.intake import CHUNK_SIZE

START = b"HELO me\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n"
TIMEOUT = b"421 4.4.2 Timeout; closing\r\n"


def ended(world):
    """Why the last session ended."""
    return world.of(Disconnected)[-1].reason


def trickle(world, client, data, every_s):
    """Send octet by octet until the server has enough."""
    said = b""
    for octet in data:
        if client.closed:
            break
        said += client.say(bytes([octet]))
        world.clock.advance(every_s)
        said += client.read()
    return said


def test_slow_loris_command(world):
    """Slow-loris: octets that trickle in do not prolong the time for a command."""
    client = world.connect()
    client.read()
    said = trickle(world, client, b"NOOP " + b"x" * 100, 10.0)
    assert said == TIMEOUT
    assert client.closed
    assert world.clock.seconds() - 1_764_028_800 == pytest.approx(300, abs=10)
    client.leave()
    assert ended(world) == "timeout"


def test_slow_loris_envelope(world):
    """Slow-loris: one recipient, named again and again, holds a session for an hour at most."""
    client = world.connect()
    client.say(b"EHLO me\r\nMAIL FROM:<a@example.org>\r\n")
    for _ in range(35):
        assert client.say(b"RCPT TO:<b@example.com>\r\n") == b"250 2.1.5 Ok\r\n"
        world.clock.advance(100)
    assert not client.closed
    client.say(b"RCPT TO:<b@example.com>\r\n")
    world.clock.advance(100)
    assert client.closed
    client.leave()
    assert ended(world) == "timeout"
    again = world.connect()
    again.say(b"EHLO me\r\n")
    for _ in range(40):  # each message has its own hour
        again.say(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n")
        world.clock.advance(100)
        assert again.say(b"Subject: x\r\n\r\nx\r\n.\r\n").startswith(b"250 ")
        world.clock.advance(100)
    assert not again.closed


def test_slow_loris_content(world):
    """Slow-loris in DATA: a trickle that keeps up no rate ends the session, nothing is stored."""
    client = world.connect()
    client.say(START)
    said = trickle(world, client, b"x" * 1000, 60.0)
    assert said == TIMEOUT
    assert world.clock.seconds() - 1_764_028_800 <= 360
    client.leave()
    assert world.spool.accepted == []


def test_content_that_keeps_up_the_rate(world):
    """A slow line that keeps up the rate has all the time it needs."""
    client = world.connect()
    client.say(START)
    for _ in range(120):
        client.say(b"x" * 29_998 + b"\r\n")
        world.clock.advance(60)
    assert client.say(b".\r\n").startswith(b"250 2.0.0 ")


@pytest.mark.parametrize(
    "sent",
    [b"", b"EHLO me\r\n", b"HELO me\r\nMAIL FROM:<a@example.org>\r\n", START, START + b"text\r\n."],
)
def test_client_that_stalls(world, sent):
    """A client that stalls at any step is told, and the session ends in bounded time."""
    client = world.connect()
    client.say(sent)
    world.clock.advance(299)
    assert not client.closed
    world.clock.advance(2)
    assert client.read() == TIMEOUT
    assert client.closed


def test_client_that_stalls_in_auth(world):
    """The answer to a challenge has the time of a command."""
    client = world.connect("smtps")
    client.say(b"EHLO me\r\nAUTH LOGIN\r\n")
    trickle(world, client, b"YW5u", 100)
    assert client.closed


def test_handshake_has_its_time(world):
    """A client that never finishes its TLS handshake is cut off without a word."""
    client = world.connect("smtps", tls=False)
    world.clock.advance(31)
    assert client.wire.aborted
    assert client.read() == b""


def test_closing_is_bounded(world):
    """A client that does not take our last word is cut off."""
    client = world.connect()
    client.say(b"QUIT\r\n")
    assert client.closed
    world.clock.advance(11)
    assert client.wire.aborted


def test_nothing_is_left_in_the_reactor(world):
    """When a connection is gone its timers are."""
    client = world.connect()
    client.say(START)
    client.leave()
    assert world.clock.getDelayedCalls() == []


def test_our_own_time_is_not_the_clients(world):
    """While the database takes its time the client is not blamed for it."""
    world.spool.held = []
    client = world.connect()
    client.say(START + b"text\r\n.\r\n")
    world.clock.advance(10_000)
    assert not client.closed
    world.spool.pump()
    assert client.read().startswith(b"250 2.0.0 ")
    world.clock.advance(299)
    assert not client.closed
    world.clock.advance(2)
    assert client.read() == TIMEOUT


def test_no_250_before_the_commit(world):
    """The final dot is answered when the commit is there and not before; order is kept."""
    world.spool.held = []
    client = world.connect()
    client.say(START)
    assert client.say(b"text\r\n.\r\nNOOP\r\nQUIT\r\n") == b""
    world.spool.pump()
    lines = client.read().split(b"\r\n")
    assert [line[:3] for line in lines] == [b"250", b"250", b"221", b""]


def test_read_ahead_is_bounded(world):
    """While we are at work a client that pours on is not read, and its octets are not lost."""
    world.limit(idle_commands=10**6)
    world.spool.held = []
    client = world.connect()
    client.say(START + b"text\r\n.\r\n")
    sent = 0
    while client.wire.producerState == "producing":
        client.say(b"RSET\r\n" * 1000)
        sent += 1000
    assert READ_AHEAD <= sent * 6 <= READ_AHEAD + 6000
    world.spool.pump()
    assert client.wire.producerState == "producing"
    assert client.read().count(b"250 2.0.0 Ok\r\n") == sent


def test_client_that_does_not_read(world):
    """A client that never reads gets no more replies made for it: memory stays bounded."""
    client = world.connect()
    client.say(b"HELO me\r\n")
    client.session.pauseProducing()
    assert client.wire.producerState == "paused"
    assert client.say(b"NOOP\r\n" * 10) == b""
    client.session.resumeProducing()
    assert client.wire.producerState == "producing"
    assert client.read() == b"250 2.0.0 Ok\r\n" * 10


def test_client_that_never_reads_is_ended(world):
    """And it does not stay for ever."""
    client = world.connect()
    client.session.pauseProducing()
    client.say(b"NOOP\r\n" * 10)
    world.clock.advance(301)
    assert client.closed
    world.clock.advance(11)
    assert client.wire.aborted


def test_replies_are_joined(world):
    """A pipelined group is answered in one write."""
    client = world.connect()
    writes = []
    client.wire.write = writes.append
    client.session.dataReceived(START)
    assert len(writes) == 1


def test_leaving_in_the_middle_of_data(world):
    """A client that leaves in the middle of DATA leaves nothing behind."""
    client = world.connect()
    client.say(START + b"half a mess")
    client.leave()
    assert (world.spool.accepted, world.spool.chunks) == ([], {})
    assert world.inbound._reception.held == 0
    assert ended(world) == "lost"


def test_leaving_in_the_middle_of_a_large_message(world):
    """The chunks that were already in the spool go as well."""
    client = world.connect()
    client.say(START)
    for _ in range(10):
        client.say(b"x" * 65_534 + b"\r\n")
    assert len(world.spool.chunks) >= 2
    client.leave()
    assert world.spool.chunks == {}
    assert world.inbound.sessions == 0


def test_leaving_while_a_chunk_is_written(world):
    """The chunk on its way to the spool is removed when it has arrived there."""
    client = world.connect()
    client.say(START)
    world.spool.held = []
    for _ in range(6):
        client.say(b"x" * 65_534 + b"\r\n")
    client.leave()
    assert world.inbound.sessions == 1
    world.spool.pump()
    assert world.spool.chunks == {}
    assert world.inbound.sessions == 0
    assert world.inbound._reception.held == 0


def test_leaving_while_it_is_accepted(world):
    """A message that is being committed when the client leaves is ours and is handed over."""
    client = world.connect()
    world.spool.held = []
    client.say(START + b"text\r\n.\r\n")
    client.leave()
    world.spool.pump()
    assert len(world.spool.accepted) == len(world.queue.handed) == 1
    assert world.inbound.sessions == 0


def test_memory_of_a_large_message_is_bounded(world):
    """Whatever a message's size, one chunk is held, and while it is written hardly more."""
    client = world.connect()
    client.say(START)
    block = b"x" * 65_534 + b"\r\n"
    for _ in range(100):
        client.say(block)
        assert world.inbound._reception.held <= CHUNK_SIZE
    world.spool.held = []
    sent = 0
    while client.wire.producerState == "producing":
        client.say(block)
        sent += len(block)
    assert sent + world.inbound._reception.held <= 2 * CHUNK_SIZE + READ_AHEAD + len(block)
    world.spool.pump()
    assert client.wire.producerState == "producing"
    assert client.say(b".\r\n").startswith(b"250 ")
    (item,) = world.spool.accepted
    assert item.envelope.size == len(world.spool.body(item))
    assert world.spool.body(item).endswith(b"\r\n" + block * (100 + sent // len(block)))


def test_client_that_sends_without_end(world):
    """Memory held by a client that sends content without end stays bounded, and it is cut off."""
    world.limit(message_size=1_000_000)
    client = world.connect()
    client.say(START)
    block, sent = b"x" * 65_534 + b"\r\n", 0
    while not client.closed:
        client.say(block)
        sent += len(block)
        assert world.inbound._reception.held <= CHUNK_SIZE
        assert sent < 10_000_000
    client.leave()
    assert world.spool.chunks == {}


def test_data_before_the_greeting_is_tolerated(world):
    """A client that talks before it is greeted is answered in order, behind the greeting."""
    client = world.connect("smtps", tls=False)
    client.session.handshakeCompleted()
    assert client.say(b"NOOP\r\n") == b"220 relay.example.net ESMTP\r\n250 2.0.0 Ok\r\n"


def test_client_that_closes_its_half(world):
    """A client that pipelines everything and closes its half still gets all its answers."""
    client = world.connect()
    world.spool.held = []
    client.say(START + b"text\r\n.\r\nNOOP\r\n")
    client.session.readConnectionLost()
    assert not client.closed
    world.spool.pump()
    lines = client.read().split(b"\r\n")
    assert [line[:9] for line in lines] == [b"250 2.0.0", b"250 2.0.0", b""]
    assert client.closed


def test_half_closed_in_the_middle_of_data(world):
    """Without an end of data it is no message, however the client left."""
    client = world.connect()
    client.say(START + b"half a mess")
    client.session.readConnectionLost()
    assert client.closed
    client.leave()
    assert (world.spool.accepted, ended(world)) == ([], "lost")


def test_starttls_comes_after_the_220(world):
    """TLS begins behind the last octet in the clear, and nothing is said in between."""
    client = world.connect("submission")
    client.say(b"EHLO me\r\n")
    client.session.dataReceived(b"STARTTLS\r\n")
    ((options, said),) = client.wire.tls
    assert options == "options"
    assert said == b"220 2.0.0 Ready to start TLS\r\n"
    client.read()
    client.session.handshakeCompleted()
    assert client.read() == b""


def test_starttls_handshake_has_its_time(world):
    """A client that says STARTTLS and then nothing is cut off."""
    client = world.connect("submission")
    client.say(b"EHLO me\r\nSTARTTLS\r\n")
    world.clock.advance(31)
    assert client.wire.aborted


def test_a_fault_of_ours_is_temporary(world):
    """Something that nobody has foreseen ends the session with 421 and is logged."""
    client = world.connect()
    client.say(START)
    world.queue.reserve = lambda recipients, octets: 1 / 0
    assert client.say(b"text\r\n.\r\n").startswith(b"421 4.3.0 ")
    assert client.closed
    client.leave()
    assert world.inbound.sessions == 0


def test_disconnected_is_told(world):
    """The log learns how a session went."""
    client = world.connect()
    client.say(START + b"text\r\n.\r\nQUIT\r\n")
    world.clock.advance(2)
    client.leave()
    (event,) = world.of(Disconnected)
    assert (event.reason, event.messages, event.commands, event.seconds) == ("quit", 1, 5, 2)
    assert event.origin.client_name == "me"
