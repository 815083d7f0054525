"""Where the policy meets signatures and what senders ask for."""

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from mta.dkim.keys import Key
from mta.dkim.rules import Keyring, Rules
from mta.dkim.signer import Signer
from mta.mail.events import Ruled
from mta.policy.holds import HoldRule, Holds
from mta.policy.matching import Who
from mta.policy.rules import Policy
from mta.policy.senders import SenderRule, Senders
from mta.spool.engine import create_engine, reading, writing
from mta.spool.filters import Filter
from mta.spool.operate import release
from mta.spool.schema import chunks, messages, recipients

NOW_MS = 1_764_028_800_000
RELEASE_MS = NOW_MS + 7_200_000
LOGIN = b"EHLO me\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\n"  # ann, secret
MAIL = b"MAIL FROM:<ann@example.org>"
OWN = "{user}@example.org"
HOLD = Policy(holds=Holds((HoldRule("all", Who()),)))
REWRITE = Policy(senders=Senders((SenderRule("people", Who(), (OWN,), rewrite=OWN),)))
KEYS = (
    Key("example.org", "r1", rsa.generate_private_key(public_exponent=65537, key_size=2048)),
    Key("evil.test", "e1", ed25519.Ed25519PrivateKey.generate()),
)
FORGED = b"Subject: x\r\nFrom: ceo@evil.test\r\n\r\n"
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


def ann(world, policy):
    """A client that has logged in, under a policy, where mail is signed."""
    world.rule(policy)
    world.inbound._reception.signer = Signer(Now(), Rules(Keyring(KEYS)), Now())
    client = world.connect("smtps", "198.51.100.9")
    assert b"235 " in client.say(LOGIN)
    return client


def submit(client, parameters=b"", to=b"<b@example.com>", content=FORGED + b"text\r\n"):
    """Submit a message; return the last reply."""
    client.say(MAIL + parameters + b"\r\nRCPT TO:" + to + b"\r\nDATA\r\n")
    return client.say(content + b".\r\n")


def verified(message):
    """The domains whose signatures dkimpy finds good."""
    records = {key.record_name: key.record.encode() for key in KEYS}
    found = []
    for number in range(message.partition(b"\r\n\r\n")[0].count(b"DKIM-Signature:")):
        one = dkim.DKIM(message)
        if one.verify(idx=number, dnsfunc=lambda name, timeout=5: records[name.decode()[:-1]]):
            found.append(one.domain.decode())
    return found


@pytest.mark.parametrize("large", [False, True])
def test_a_rewritten_from_is_what_is_signed(world, large):
    """The new author chooses the key, and the signature covers what leaves, large or small."""
    client = ann(world, REWRITE)
    client.say(MAIL + b"\r\nRCPT TO:<b@example.com>\r\nDATA\r\n" + FORGED)
    for _ in range(12 * large):
        client.say(BLOCK)
    assert client.say(b"text\r\n.\r\n").startswith(b"250 ")
    (item,) = world.spool.accepted
    stored = [octets for _, octets in sorted(world.spool.chunks.items())]
    message = b"".join([item.head, *stored, *item.chunks])
    assert verified(message) == ["example.org"]
    header = message.partition(b"\r\n\r\n")[0]
    assert header.endswith(b"From: <ann@example.org>\r\nX-Original-From: ceo@evil.test")
    assert verified(message.replace(b"\r\nFrom: <ann@", b"\r\nFrom: <bob@")) == []
    assert item.envelope.size == len(message)
    assert len(stored) == 3 * large


def test_priority_is_gone_before_the_author_is_judged(world):
    """RFC 6758: with a rewritten From, too, the field is taken out, believed, and not signed."""
    submit(ann(world, REWRITE), content=b"MT-Priority: 3\r\n" + FORGED + b"text\r\n")
    (item,) = world.spool.accepted
    message = world.spool.body(item)
    assert item.envelope.asked.priority == 3
    assert verified(message) == ["example.org"]
    assert b"mt-priority" not in message.lower()
    assert b"From: <ann@example.org>\r\nX-Original-From: ceo@evil.test\r\n" in message


def test_a_held_message_that_was_to_leave_later(world):
    """RFC 4865: held by a rule it is not reserved, nor handed over, and keeps its moment."""
    assert submit(ann(world, HOLD), b" HOLDFOR=7200").startswith(b"250 ")
    (item,) = world.spool.accepted
    assert (item.held, item.claim, item.next_attempt_ms) == ("hold rule all", None, RELEASE_MS)
    assert [one.attempts for one in item.recipients] == [0]
    assert world.queue.reserved == 0 and world.queue.handed == []
    assert [(one.verb, one.text) for one in world.of(Ruled)] == [("hold", "hold rule all")]


def test_notify_survives_a_hold(world):
    """RFC 3461: what was asked for each recipient is kept; the rule sees their domains."""
    rule = HoldRule("one", Who(), recipient_domains=("example.net",))
    client = ann(world, Policy(holds=Holds((rule,))))
    one, two = b"<b@example.com> NOTIFY=NEVER", b"<c@example.net> NOTIFY=SUCCESS ORCPT=rfc822;x@y.z"
    submit(client, b" RET=HDRS ENVID=e1", one + b"\r\nRCPT TO:" + two)
    submit(client, b"", b"<b@example.com> NOTIFY=DELAY")
    held, sent = world.spool.accepted
    assert (held.held, sent.held) == ("hold rule one", "")
    kept = [(one.address, one.notify, one.orcpt) for one in held.recipients]
    assert kept == [("b@example.com", "NEVER", ""), ("c@example.net", "SUCCESS", "rfc822;x@y.z")]
    assert (held.envelope.asked.ret, held.envelope.asked.envid) == ("HDRS", "e1")
    assert [envelope.id for envelope, *_ in world.queue.handed] == [sent.envelope.id]


def test_all_of_it_in_both_databases(spool, world_over):
    """Signed, held, asked for: the rows say so; who releases it early does not end its wait."""
    world = world_over(spool.database)
    client = ann(world, HOLD)
    parameters, to = b" HOLDFOR=7200 MT-PRIORITY=4", b"<b@example.com> NOTIFY=SUCCESS"
    said = submit(client, parameters, to, b"From: ann@example.org\r\n\r\nx\r\n")
    while not said:
        spool.wait(spool.database.write(lambda conn: None))
        said = client.read()
    assert said.startswith(b"250 ")
    engine = create_engine(spool.url)
    with writing(engine) as conn:
        row = conn.execute(recipients.select()).one()
        assert (row.state, row.last_text, row.claim) == ("held", "hold rule all", None)
        assert (row.notify, row.urgency) == ("SUCCESS", 1)
        assert conn.execute(messages.select()).one().release_ms == RELEASE_MS
        assert verified(conn.execute(chunks.select()).one().data) == ["example.org"]
        assert release(conn, Filter(), NOW_MS + 1000, "me") == 1
    with reading(engine) as conn:
        row = conn.execute(recipients.select()).one()
        assert (row.state, row.next_attempt_ms) == ("queued", RELEASE_MS)
    engine.dispose()
