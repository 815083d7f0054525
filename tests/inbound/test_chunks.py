"""Messages in chunks (RFC 3030), and what is kept of the extensions a message came with."""

import pytest

from mta.mail.events import Accepted
from mta.spool.errors import SpoolUnavailable
from mta.spool.intake import CHUNK_SIZE

BEGIN = b"EHLO me\r\nMAIL FROM:<a@example.org>%s\r\nRCPT TO:<b@example.com>\r\n"
KIBIBYTE = b"0123456789abcd\r\n" * 64


def begun(world, parameters=b"", **where):
    """A client that has said MAIL and RCPT."""
    client = world.connect(**where)
    client.read()
    assert client.say(BEGIN % parameters).endswith(b"250 2.1.5 Ok\r\n")
    return client


def bdat(data, last=b""):
    return b"BDAT %d%s\r\n%s" % (len(data), last and b" LAST", data)


def test_content_is_stored_as_it_came(world):
    """No dot is stuffed or unstuffed, and pieces of any size make up one message."""
    client = begun(world)
    client.say(bdat(b"Message-ID: <m@x>\r\n\r\n.\r\n..x\r") + bdat(b"\n.\r\n", b"LAST"))
    (item,) = world.spool.accepted
    body = world.spool.body(item)
    assert body.endswith(b"Message-ID: <m@x>\r\n\r\n.\r\n..x\r\n.\r\n")
    assert item.envelope.size == len(body)
    assert item.envelope.message_id == "<m@x>"


def test_large_message_goes_to_the_spool_while_it_arrives(world):
    """Chunks of the client's are not chunks of the spool: at most one of those is in memory."""
    client = begun(world)
    for _ in range(10):
        assert client.say(bdat(KIBIBYTE * 100)).startswith(b"250 2.0.0 ")
        assert world.inbound._reception.held <= CHUNK_SIZE
    assert client.say(bdat(b"", b"LAST")).startswith(b"250 2.0.0 Ok: queued")
    (item,) = world.spool.accepted
    assert world.spool.body(item).endswith(KIBIBYTE * 1000)
    assert world.inbound._reception.held == 0


@pytest.mark.parametrize("command", [b"RSET\r\n", b"EHLO me\r\n", b"HELO me\r\n"])
def test_reset_between_chunks_leaves_nothing(world, command):
    """RFC 3030 §2: what had come is forgotten, in memory and in the spool."""
    client = begun(world)
    client.say(bdat(KIBIBYTE * 600))
    assert world.spool.chunks != {}
    assert client.say(command).startswith(b"250")
    assert (world.spool.chunks, world.inbound._reception.held) == ({}, 0)
    assert client.say(bdat(b"x\r\n", b"LAST")).startswith(b"503 5.5.1")
    assert world.spool.accepted == []


def test_refused_chunk_leaves_nothing(world):
    """After an error nothing of the message stays, and the next one is clean."""
    client = begun(world)
    client.say(bdat(KIBIBYTE * 600))
    assert client.say(bdat(b"a\nb")).startswith(b"550 5.6.11")
    assert (world.spool.chunks, world.inbound._reception.held) == ({}, 0)
    client.say(BEGIN % b"" + bdat(b"c: d\r\n", b"LAST"))
    (item,) = world.spool.accepted
    assert world.spool.body(item).endswith(b"c: d\r\n")


def test_database_away_between_chunks(world):
    """The chunk that can't be stored is answered 451, what is pipelined behind it 503."""
    client = begun(world)
    client.say(bdat(KIBIBYTE * 200))
    world.spool.error = SpoolUnavailable("gone")
    said = client.say(bdat(KIBIBYTE * 200) + bdat(b"x\r\n", b"LAST"))
    assert said.startswith(b"451 4.3.0")
    assert b"\r\n503 5.5.1 No message is being sent" in said
    assert world.spool.accepted == []


def test_many_chunks_pipelined_after_an_error_end_no_session(world):
    """Attack of one's own: 50 chunks behind a refused one are one error, not fifty."""
    client = begun(world)
    said = client.say(bdat(b"a\nb") + bdat(b"c\r\n") * 50 + b"NOOP\r\n")
    assert said.count(b"503 5.5.1") == 50
    assert said.endswith(b"250 2.0.0 Ok\r\n")
    assert not client.closed


def test_attack_bdat_without_end(world):
    """Attack: empty chunks behind a failed one, for ever, end the session."""
    client = begun(world)
    said = client.say(bdat(b"a\nb") + b"BDAT 0\r\n" * 200)
    assert b"421 4.7.0" in said
    assert client.closed


def test_attack_slow_chunks(world):
    """Attack: a chunk of one octet every few minutes keeps no session open for ever."""
    client = begun(world)
    for _ in range(10):
        client.say(bdat(b"x"))
        world.clock.advance(100)
        if client.closed:
            break
    assert client.closed


def test_leaving_between_chunks_leaves_nothing(world):
    """A client that goes away in the middle leaves nothing in the spool."""
    client = begun(world)
    client.say(bdat(KIBIBYTE * 600))
    client.leave()
    assert (world.spool.chunks, world.inbound._reception.held) == ({}, 0)


def test_shutdown_lets_a_message_in_chunks_finish(world):
    """Who is between two chunks may send the rest; then the session ends."""
    client = begun(world)
    client.say(bdat(b"a: b\r\n"))
    world.inbound.shutdown(30)
    assert not client.closed
    said = client.say(bdat(b"c: d\r\n", b"LAST"))
    assert said.startswith(b"250 2.0.0 Ok: queued")
    assert client.closed


@pytest.mark.parametrize(
    ("parameters", "content", "flags"),
    [
        (b" BODY=BINARYMIME", b"a: b\r\n\r\n\0\n", ("BINARYMIME",)),
        (b" SMTPUTF8", "Subject: Grüße\r\n".encode(), ("SMTPUTF8",)),
        (b" SMTPUTF8", "Subject: hi\r\n\r\nGrüße\r\n".encode(), ()),
        (b"", "Subject: Grüße\r\n".encode(), ()),
        (b"", b"TLS-Required: No\r\n", ("TLS-Required:No",)),
        (b" REQUIRETLS", b"TLS-Required: No\r\n", ("REQUIRETLS",)),
    ],
)
def test_what_a_message_needs_is_kept_with_it(world, parameters, content, flags):
    """Parameters and header together say it; REQUIRETLS makes TLS-Required: No void (RFC 8689)."""
    client = world.connect("smtps")
    client.say(b"EHLO me\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\n")
    client.say(BEGIN % parameters)
    client.say(bdat(content, b"LAST"))
    (event,) = world.of(Accepted)
    assert event.envelope.requirements == flags
    utf8 = b"SMTPUTF8" in parameters
    assert event.envelope.origin.protocol == ("UTF8SMTPSA" if utf8 else "ESMTPSA")


def test_received_never_makes_a_header_internationalised(world):
    """The one recipient's address is named in Received in ASCII only."""
    client = world.connect()
    client.say("EHLO me\r\nMAIL FROM:<a@b.example> SMTPUTF8\r\nRCPT TO:<ü@b.example>\r\n".encode())
    client.say(bdat(b"a: b\r\n", b"LAST"))
    (item,) = world.spool.accepted
    assert world.spool.body(item).isascii()
    assert item.recipients[0].address == "ü@b.example"
