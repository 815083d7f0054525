"""Reports are ours: they are signed where there is a key for the host's own domain."""

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from mta.dkim.keys import Key
from mta.dkim.rules import Keyring, Rules
from mta.dkim.signer import Signer
from mta.mail.events import Note

KEY = Key("example.org", "e1", ed25519.Ed25519PrivateKey.generate())


class Pool:
    """A pool whose work is done when the test says so."""

    def __init__(self):
        self.work = []

    def start(self):
        pass

    def stop(self):
        self.work.clear()

    def callInThread(self, func, *args, **kw):
        self.work.append((func, args))

    def callFromThread(self, func, *args, **kw):
        func(*args)

    def run(self):
        work, self.work = self.work, []
        for func, args in work:
            func(*args)


@pytest.fixture
def pool():
    return Pool()


@pytest.fixture
def bounce(stage, pool):
    """Let a message bounce, signed with these keys; return its id."""

    def do(*keys):
        stage.signer = Signer(pool, Rules(Keyring(keys)), pool)
        scheduler = stage.scheduler(signer=stage.signer)
        message_id = stage.accept(scheduler, "b@example.net")
        stage.one().bounces()
        return message_id

    return do


def verifies(content):
    record = KEY.record.encode()
    return dkim.verify(content, dnsfunc=lambda name, timeout=5: record)


def test_a_report_is_signed(stage, pool, bounce):
    """The report's From is at the host, whose domain's key signs; the outcome waits for it."""
    message_id = bounce(KEY)
    assert stage.states(message_id)[0][0] == "queued"
    pool.run()
    assert stage.states(message_id)[0][0] == "bounced"
    ((report, content),) = stage.reports(message_id)
    assert content.startswith(b"DKIM-Signature: v=1; a=ed25519-sha256;")
    assert report.size == len(content)
    assert verifies(content)


def test_no_key_no_detour(stage, pool, bounce):
    """Without keys reports are written as ever, and no thread is asked."""
    message_id = bounce()
    assert pool.work == [] and stage.states(message_id)[0][0] == "bounced"
    assert b"DKIM-Signature" not in stage.reports(message_id)[0][1]


def test_a_signature_that_cannot_be_made(stage, pool, bounce):
    """The outcome is the truth and is written; the report goes unsigned, and the log says so."""
    message_id = bounce(KEY)
    ((work, (some,)),) = pool.work
    some[0][0].finish = lambda: 1 / 0
    work(some)
    assert stage.states(message_id)[0][0] == "bounced"
    assert b"DKIM-Signature" not in stage.reports(message_id)[0][1]
    assert any("goes unsigned" in note.text for note in stage.seen(Note))
