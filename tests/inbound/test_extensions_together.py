"""Where extensions meet: chunks, requests, UTF-8 and signatures in one message."""

from base64 import b64encode
from hashlib import sha256

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from mta.dkim.keys import Key
from mta.dkim.rules import Keyring, Rules
from mta.dkim.sign import SigningSettings
from mta.dkim.signer import Signer
from mta.mail.events import Note, Refused

KEY = Key("example.org", "e1", ed25519.Ed25519PrivateKey.generate())
MAIL = b"AUTH PLAIN AGFubgBzZWNyZXQ=\r\nMAIL FROM:<ann@example.org>%s\r\n"
RCPT = b"RCPT TO:<b@example.com>%s\r\n"
HEADER = b"From: ann@example.org\r\nSubject: x\r\n\r\n"


class Now:
    """Threads, without threads."""

    def callInThread(self, func, *args, **kw):
        func(*args)

    def callFromThread(self, func, *args, **kw):
        func(*args)


@pytest.fixture
def client(world):
    """A client of a service that signs."""
    world.inbound._reception.signer = Signer(Now(), Rules(Keyring((KEY,))), Now())
    client = world.connect("smtps")
    client.say(b"EHLO me\r\n")
    return client


def bdat(*pieces):
    """All of a message in chunks."""
    chunks = [b"BDAT %d\r\n%s" % (len(piece), piece) for piece in pieces]
    return b"".join(chunks) + b"BDAT 0 LAST\r\n"


def sound(message):
    """What dkimpy says of the signature."""
    return dkim.DKIM(message).verify(dnsfunc=lambda name, timeout=5: KEY.record.encode())


def whole(world, item):
    """The octets of a message, the head that was held back included."""
    return (
        item.head
        + b"".join(world.spool.chunks[key] for key in sorted(world.spool.chunks))
        + b"".join(item.chunks)
    )


def test_chunks_with_requests_are_signed(world, client):
    """BDAT, RET, ENVID and NOTIFY: stored as asked, with one signature over all chunks."""
    client.say(MAIL % b" RET=HDRS ENVID=e1" + RCPT % b" NOTIFY=SUCCESS,DELAY ORCPT=rfc822;c@d")
    assert b"Ok: queued" in client.say(
        bdat(HEADER[:7], HEADER[7:], b"Hi  the", b"re \r\n.\r\n\r\n")
    )
    (item,) = world.spool.accepted
    assert (item.envelope.asked.ret, item.envelope.asked.envid) == ("HDRS", "e1")
    assert (item.recipients[0].notify, item.recipients[0].orcpt) == ("SUCCESS,DELAY", "rfc822;c@d")
    assert sound(whole(world, item))
    assert whole(world, item).endswith(b"\r\n\r\nHi  there \r\n.\r\n\r\n")


def test_large_message_in_chunks_is_signed(world, client):
    """The head waits for the signature while chunks of the body are stored."""
    client.say(MAIL % b"" + RCPT % b" NOTIFY=NEVER")
    line = b"0123456789 abcd\r\n"
    answer = client.say(bdat(HEADER, line * 30_000, line * 30_000))
    assert answer.endswith(b"\r\n") and b"Ok: queued" in answer
    (item,) = world.spool.accepted
    assert item.head.startswith(b"DKIM-Signature: ") and item.stored > 2
    assert sound(whole(world, item))
    assert item.envelope.size == len(whole(world, item))


def test_a_refused_chunk_leaves_no_head_behind(world, client):
    """A message that is lost while its head is held back leaves neither memory nor chunks."""
    client.say(MAIL % b"" + RCPT % b"")
    client.say(bdat(HEADER, b"0123456789 abcd\r\n" * 40_000, b"bare\ncr"))
    assert world.spool.accepted == []
    assert (world.spool.chunks, world.inbound._reception.held) == ({}, 0)


def test_binary_body_is_signed_as_it_is(world, client):
    """BINARYMIME: CR, LF and NUL alone are octets of the body like any other."""
    client.say(MAIL % b" BODY=BINARYMIME" + RCPT % b"")
    body = b"\0a \rb\t\r\r\n\xff\r\n\r\n"
    assert b"Ok: queued" in client.say(bdat(HEADER + body))
    (item,) = world.spool.accepted
    assert item.envelope.binary
    assert sound(whole(world, item))
    assert whole(world, item).endswith(body)


def test_line_feeds_in_a_binary_body_are_no_line_ends(world, client):
    """RFC 6376 §3.4.3 by hand: dkimpy itself takes LF for CRLF before it hashes."""
    rules = Rules(Keyring((KEY,)), SigningSettings(body_form="simple"))
    world.inbound._reception.signer.rules = rules
    client.say(MAIL % b" BODY=BINARYMIME" + RCPT % b"")
    body = b"\0a \n\n\rb\t\r\r\n\n\xff\r\n"
    assert b"Ok: queued" in client.say(bdat(HEADER + body[:5], body[5:] + b"\r\n\r\n"))
    (item,) = world.spool.accepted
    assert b"bh=" + b64encode(sha256(body).digest()) in whole(world, item)


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\0"])
def test_attack_a_binary_header_that_reads_two_ways(world, client, end):
    """A bare CR or LF in a header: who takes it for a line end sees another From than we do."""
    client.say(MAIL % b" BODY=BINARYMIME" + RCPT % b"")
    answer = client.say(bdat(b"X-Note: x" + end + b"From: x@y.example\r\n" + HEADER + b"x\r\n"))
    assert b"\r\n554 5.6.0 The header of the message has a bare CR or LF" in answer
    assert world.spool.accepted == []
    assert "bare CR or LF" in world.of(Refused)[-1].reason


def test_a_binary_header_of_others_that_reads_two_ways_is_not_signed(world, client):
    """Relayed mail is not ours to refuse for its header; it leaves without our signature."""
    rules = Rules(Keyring((KEY,)), SigningSettings(relayed=True))
    world.inbound._reception.signer.rules = rules
    client = world.connect("plain")
    client.say(b"EHLO me\r\n" + MAIL % b" BODY=BINARYMIME" + RCPT % b"")
    client.say(bdat(b"X-Note: x\nX: y\r\n" + HEADER + b"x\r\n"))
    (item,) = world.spool.accepted
    assert b"DKIM-Signature" not in whole(world, item)
    assert any("bare CR or LF" in note.text for note in world.of(Note))


def test_utf8_header_is_signed_in_octets(world, client):
    """SMTPUTF8: the header is signed as it stands, in UTF-8."""
    client.say(MAIL % b" SMTPUTF8" + RCPT % b"")
    header = "From: \u00e4nn@example.org\r\nSubject: Gr\u00fc\u00dfe\r\n\r\n".encode()
    assert b"Ok: queued" in client.say(bdat(header[:30], header[30:] + b"Hello.\r\n"))
    (item,) = world.spool.accepted
    assert item.envelope.utf8
    message = whole(world, item)
    assert sound(message)
    assert not sound(message.replace("\u00fc".encode(), b"u"))


def test_utf8_original_recipient(world, client):
    """RFC 6533 §3: kept as it came, in letters or escaped."""
    client.say(MAIL % b" SMTPUTF8" + RCPT % b" ORCPT=utf-8;b\xc3\xb8b@example.com")
    client.say(b"RCPT TO:<c@example.com> ORCPT=UTF-8;c\\x{F8}@example.com\r\n")
    client.say(bdat(HEADER))
    (item,) = world.spool.accepted
    assert [one.orcpt for one in item.recipients] == [
        "utf-8;b\u00f8b@example.com",
        "UTF-8;c\\x{F8}@example.com",
    ]
