"""Which mail is signed as it arrives, and where the signature goes; dkimpy has the last word."""

import re
from dataclasses import replace

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from twisted.internet.defer import Deferred

from mta.dkim.keys import Key
from mta.dkim.rules import Keyring, Rules
from mta.dkim.sign import SigningSettings
from mta.dkim.signer import Signer, SigningStopped
from mta.inbound.settings import SubmissionSettings
from mta.mail.events import Note
from mta.mail.report import header_of
from mta.policy.decision import Action
from mta.policy.limits import HOUR_MS, Bound, LimitRule, Limits, Measure, Per
from mta.policy.matching import Who
from mta.policy.rules import Policy
from mta.policy.senders import SenderRule, Senders
from mta.spool.body import StoredBody
from mta.spool.engine import create_engine, reading
from mta.spool.listing import chunks as chunks_of
from mta.spool.schema import chunks, messages

KEYS = (
    Key("example.org", "r1", rsa.generate_private_key(public_exponent=65537, key_size=2048)),
    Key("example.org", "e1", ed25519.Ed25519PrivateKey.generate()),
)
START = b"EHLO me\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n"
LOGIN = b"EHLO me\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\n"
CONTENT = b"From: Ann <ann@news.example.org>\r\nSubject: x\r\n\r\nHi  there \r\n\r\n"
BLOCK = b"x y\t" * 16_383 + b"\r\n"


class Now:
    """Threads, without threads."""

    def start(self):
        pass

    def stop(self):
        pass

    def callInThread(self, func, *args, **kw):
        func(*args)

    def callFromThread(self, func, *args, **kw):
        func(*args)


def signer(keys=KEYS, settings=None):
    return Signer(Now(), Rules(Keyring(keys), settings), Now())


def verify(message):
    """What dkimpy says of each signature."""
    records = {key.record_name: key.record.encode() for key in KEYS}

    def lookup(name, timeout=5):
        return records.get(name.decode().rstrip("."))

    count = message.partition(b"\r\n\r\n")[0].count(b"DKIM-Signature:")
    return [dkim.DKIM(message).verify(idx=number, dnsfunc=lookup) for number in range(count)]


@pytest.fixture
def signing(world):
    """The inbound side, with keys."""
    world.inbound._reception.signer = signer()
    return world


def submit(client, content, start=START):
    client.say(start)
    return client.say(content + b".\r\n")


def test_submitted_mail_is_signed(signing):
    """Both signatures stand on top and cover the Date and Message-ID that were added here."""
    client = signing.connect("smtps")
    client.say(LOGIN)
    assert submit(client, CONTENT).startswith(b"250 ")
    (item,) = signing.spool.accepted
    (message,) = item.chunks
    assert verify(message) == [True, True]
    names = re.findall(rb"^([A-Za-z-]+):", message.partition(b"\r\n\r\n")[0], re.MULTILINE)
    assert names == [
        b"DKIM-Signature", b"DKIM-Signature", b"Received", b"Date", b"Message-ID",
        b"From", b"Subject",
    ]  # fmt: skip
    assert verify(message.replace(b"Message-ID: <", b"Message-ID: <9")) == [False, False]
    assert item.envelope.size == len(message)
    assert signing.spool.writes == 1


def test_foreign_mail_is_not_signed(signing):
    """Mail that passes through from a trusted network is not ours, whatever its From says."""
    submit(signing.connect("plain"), CONTENT)
    assert b"DKIM-Signature" not in signing.spool.body(signing.spool.accepted[0])
    signing.inbound._reception.signer = signer(settings=SigningSettings(relayed=True))
    submit(signing.connect("plain"), CONTENT)
    assert verify(signing.spool.body(signing.spool.accepted[1])) == [True, True]


def test_a_listener_for_submission(signing, monkeypatch):
    """Where all mail is new, mail of trusted networks is signed as well."""
    client = signing.connect("plain")
    monkeypatch.setattr(
        client.session._dialogue,
        "_listener",
        replace(client.session._dialogue._listener, submission=True),
    )
    submit(client, CONTENT)
    assert verify(signing.spool.body(signing.spool.accepted[0])) == [True, True]


def test_no_key(world):
    """Without a key for the author, mail is what it would be without any signing."""
    bodies = []
    for keys in (None, (), KEYS):
        world.inbound._reception.signer = None if keys is None else signer(keys)
        client = world.connect("smtps")
        client.say(LOGIN)
        for content in (
            CONTENT.replace(b"example.org", b"example.net"),
            b"From: nobody\r\nSubject: x\r\n\r\nx\r\n",
        ):
            submit(client, content)
            item = world.spool.accepted[-1]
            octets = world.spool.body(item).replace(item.envelope.id.encode(), b"ID")
            bodies.append(octets)
            assert (item.head, item.stored) == (b"", 0)
    assert bodies[0:2] == bodies[2:4] == bodies[4:6]
    assert world.of(Note) == []


@pytest.mark.parametrize("body", [b"text\r\n", b"text\r\n" * 80_000])
def test_what_is_signed_is_what_is_sent(signing, body):
    """New mail is completed and loses Bcc before it is signed, small or stored in chunks."""
    client = signing.connect("smtps")
    client.say(LOGIN)
    content = b"Bcc: secret@example.com,\r\n other@example.com\r\nSubject: x\r\n\r\n" + body
    assert submit(client, content).startswith(b"250 ")
    item = signing.spool.accepted[0]
    stored = [octets for _, octets in sorted(signing.spool.chunks.items())]
    sent = b"".join([item.head, *stored, *item.chunks])
    assert b"From: <a@example.org>\r\n" in sent
    assert b"secret" not in sent
    assert verify(sent) == [True, True]


def test_attack_two_from_fields(signing):
    """Attack: two From fields; where they are let in they are not signed, and the log says so."""
    lenient = SubmissionSettings(refuse_repeated=False)
    signing.inbound.use(replace(signing.settings, submission=lenient))
    client = signing.connect("smtps")
    client.say(LOGIN)
    submit(client, b"From: x@example.com\r\n" + CONTENT)
    item = signing.spool.accepted[0]
    assert b"DKIM-Signature" not in signing.spool.body(item)
    (note,) = signing.of(Note)
    assert note.text == f"{item.envelope.id} is not signed: it has 2 From fields"


def test_reload(signing):
    """New rules come into force for mail that begins after them."""
    client = signing.connect("smtps")
    client.say(LOGIN)
    submit(client, CONTENT)
    signing.inbound._reception.signer.rules = Rules(Keyring(KEYS[1:]))
    submit(client, CONTENT)
    counts = [signing.spool.body(item).count(b"DKIM-Signature:") for item in signing.spool.accepted]
    assert counts == [2, 1]


def test_stopping(signing):
    """When nothing can be signed any more the client is asked to try again; nothing stays."""
    signing.inbound._reception.signer.stop()
    client = signing.connect("smtps")
    client.say(LOGIN)
    assert submit(client, CONTENT).startswith(b"451 4.3.0 ")
    assert signing.spool.accepted == [] and signing.queue.reserved == 0
    assert SigningStopped.__doc__


def test_large_message(signing):
    """The head (signature, our lines, header) goes to the spool last, and is chunk 0."""
    client = signing.connect("smtps")
    client.say(LOGIN)
    client.say(START + CONTENT)
    for _ in range(12):
        client.say(BLOCK)
    assert client.say(b"\r\n\r\n.\r\n").startswith(b"250 ")
    (item,) = signing.spool.accepted
    assert sorted(number for _, number in signing.spool.chunks) == [1, 2, 3]
    stored = [signing.spool.chunks[item.envelope.id, n] for n in (1, 2, 3)]
    message = b"".join([item.head, *stored, *item.chunks])
    assert verify(message) == [True, True]
    assert len(message) == item.envelope.size
    assert item.head.endswith(b"Subject: x\r\n\r\n")
    assert message.endswith(BLOCK + b"\r\n\r\n")
    ((_, _, body, _),) = signing.queue.handed
    assert isinstance(body, StoredBody) and body.count == 1 + 3 + len(item.chunks)
    assert signing.inbound._reception.held == 0


def test_memory_is_short(signing):
    """While memory is short chunks are smaller; the head that is held counts as held."""
    signing.limit(memory=1)
    client = signing.connect("smtps")
    client.say(LOGIN)
    client.say(START + CONTENT[: CONTENT.index(b"\r\n\r\n") + 4])  # the header alone
    for _ in range(4):
        client.say(BLOCK)
    reception = signing.inbound._reception
    assert len(CONTENT) < reception.held < 3 * len(BLOCK)
    assert client.say(b".\r\n").startswith(b"250 ")
    item = signing.spool.accepted[0]
    stored = [octets for _, octets in sorted(signing.spool.chunks.items())]
    assert b"" not in stored
    assert verify(b"".join([item.head, *stored, *item.chunks])) == [True, True]
    assert reception.held == 0


def test_a_long_header_goes_unsigned(signing):
    """A header of more than 64 KiB is not signed; the message is stored as ever, from chunk 0."""
    client = signing.connect("smtps")
    client.say(LOGIN)
    client.say(START + b"From: a@example.org\r\n")
    for _ in range(2):
        client.say(b"X-Long: y\r\n" * 5000)
    client.say(b"\r\n" + b"text\r\n" * 40_000)
    assert client.say(b".\r\n").startswith(b"250 ")
    (item,) = signing.spool.accepted
    assert (item.head, item.stored) == (b"", 1)
    assert "its header does not end" in signing.of(Note)[0].text
    assert b"DKIM-Signature" not in signing.spool.body(item)


def test_large_message_in_both_databases(spool, world_over):
    """It comes back whole from the spool and verifies; a report finds the header in chunk 0."""
    world = world_over(spool.database)
    world.inbound._reception.signer = signer()
    client = world.connect("smtps")
    client.say(LOGIN)
    client.say(START + CONTENT)
    for _ in range(30):
        client.say(BLOCK)
        spool.wait(spool.database.write(lambda conn: None))
    client.say(b".\r\n")
    while not (said := client.read()):
        spool.wait(spool.database.write(lambda conn: None))
    assert said.startswith(b"250 ")
    ((envelope, _, body, _),) = world.queue.handed
    pieces = [spool.wait(Deferred.fromCoroutine(body.chunk(n))) for n in range(body.count)]
    message = b"".join(pieces)
    assert len(message) == envelope.size and message.endswith(BLOCK * 30)
    assert verify(message) == [True, True]
    assert b"Subject: x\r\n" in header_of(pieces[0])
    engine = create_engine(spool.url)
    with reading(engine) as conn:
        assert b"".join(chunks_of(conn, envelope.id)) == message
        assert conn.execute(messages.select()).one().chunks == body.count
    engine.dispose()


def test_client_that_leaves_a_signed_message(spool, world_over):
    """A large message that is broken off leaves nothing, though its chunks began with 1."""
    world = world_over(spool.database)
    world.inbound._reception.signer = signer()
    client = world.connect("smtps")
    client.say(LOGIN)
    client.say(START + CONTENT)
    for _ in range(12):
        client.say(BLOCK)
        spool.wait(spool.database.write(lambda conn: None))
    client.leave()
    spool.wait(spool.database.write(lambda conn: None))
    engine = create_engine(spool.url)
    with reading(engine) as conn:
        assert conn.execute(chunks.select()).all() == []
    engine.dispose()
    assert world.inbound._reception.held == 0


def test_a_message_that_cannot_be_signed_is_not_counted(world):
    """What a limit has counted is taken back when the signature fails, as at a stop."""
    rule = LimitRule("one", Per.LOGIN, Who(), (Bound(Measure.MESSAGES, HOUR_MS, 1),), Action.DEFER)
    world.rule(Policy(limits=Limits((rule,))))
    world.inbound._reception.signer = signer()
    world.inbound._reception.signer.stop()
    client = world.connect("smtps")
    client.say(LOGIN)
    assert submit(client, CONTENT).startswith(b"451 4.3.0 ")
    world.inbound._reception.signer = signer()
    assert submit(client, CONTENT).startswith(b"250 ")
    assert client.say(b"MAIL FROM:<a@example.org>\r\n").startswith(b"451 4.7.1 ")


def test_a_refused_message_is_not_signed(world):
    """The policy comes before the signature: neither work nor a warning about it."""
    world.rule(Policy(senders=Senders((SenderRule("own", Who(), ("example.org",)),))))
    world.inbound._reception.signer = signer()
    client = world.connect("smtps")
    client.say(LOGIN)
    two = b"From: ann@example.org\r\nFrom: ceo@evil.test\r\n\r\n"
    assert submit(client, two).startswith(b"550 5.7.1 ")
    assert world.of(Note) == [] and world.spool.accepted == []
