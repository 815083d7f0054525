"""Clients that leave while something is found out about their message, before it is ours.

Whatever is asked meanwhile (policy, signature, DNS, filters), the client has not heard 250 and will
come again (RFC 5321 §4.1.1.10): nothing is accepted, counted, or left in the spool or in memory.
"""

import gc

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from scripted_filter import ScriptedFilter
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, globalLogPublisher

from mta.dkim.keys import Key
from mta.dkim.rules import Keyring, Rules
from mta.dkim.signer import Signer
from mta.gate.passage import Passage
from mta.inbound import relaying
from mta.inbound.filtering import Filtering
from mta.mail.events import Refused
from mta.milter.filter import Filter
from mta.milter.milters import Milters
from mta.milter.settings import MilterSettings
from mta.policy.brake import BrakeSettings
from mta.policy.decision import Action
from mta.policy.limits import HOUR_MS, Bound, LimitRule, Limits, Measure, Per
from mta.policy.matching import Who
from mta.policy.rules import Policy
from mta.spool import counters
from mta.verify.message import Message, Verifier
from mta.verify.settings import VerifySettings

LOGIN = b"EHLO me\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\n"  # ann, secret
START = b"EHLO me\r\nMAIL FROM:<ann@example.org>\r\nRCPT TO:<b@example.com>\r\n"
CONTENT = b"From: ann@example.org\r\nSubject: x\r\n\r\n"
BLOCK = b"x" * 65_534 + b"\r\n"
KEY = Key("example.org", "e", ed25519.Ed25519PrivateKey.generate())
ONCE = LimitRule("once", Per.LISTENER, Who(), (Bound(Measure.MESSAGES, HOUR_MS, 1),), Action.DEFER)


@pytest.fixture
def faults():
    """What is logged as an error, unhandled ones of Deferreds too."""
    found = []

    def observe(event):
        if event["log_level"] >= LogLevel.error:
            found.append(event)

    globalLogPublisher.addObserver(observe)
    yield found
    gc.collect()
    globalLogPublisher.removeObserver(observe)
    assert found == []


class Held:
    """A pool of threads, and a spool for the policy, that work when they are told to."""

    def __init__(self):
        self.waiting = []

    def start(self):
        pass

    def stop(self):
        pass

    def callInThread(self, fn, *args, **kwargs):
        self.waiting.append(lambda: fn(*args, **kwargs))

    def callInThreadWithCallback(self, then, fn, *args):
        self.waiting.append(lambda: then(True, fn(*args)))

    def callFromThread(self, fn, *args, **kwargs):
        fn(*args, **kwargs)

    def read(self, fn, *args):
        answer = Deferred()
        self.waiting.append(lambda: answer.callback([] if fn is counters.history else None))
        return answer

    def write(self, fn, *args):
        answer = Deferred()
        answer.callback(True)
        return answer

    def go_on(self):
        waiting, self.waiting = self.waiting, []
        for work in waiting:
            work()


class Silent:
    """DNS that never answers; whoever gives up cancels."""

    def lookup(self, name, kind):
        return Deferred()


def submit(client, large):
    """Send a message to its end, and hear nothing of it."""
    client.say(b"DATA\r\n")
    client.session.dataReceived(CONTENT)
    for _ in range(12 if large else 1):
        client.session.dataReceived(BLOCK)
    client.read()
    assert client.say(b".\r\n") == b""


def nothing_is_left(world):
    """As if there had never been a message."""
    assert world.spool.accepted == []
    assert world.spool.chunks == {}
    assert world.queue.reserved == 0
    assert world.inbound._reception.held == 0
    assert world.inbound.sessions == 0


def may_send_one(world, listener):
    """The one message that the limit allows has not been used up."""
    client = world.connect(listener)
    client.say(LOGIN if listener == "smtps" else b"")
    client.say(START + b"DATA\r\n" + CONTENT)
    return client.say(b".\r\n")


@pytest.mark.parametrize("large", [False, True])
def test_leaving_while_the_message_is_signed(world, faults, large):
    """The signature is made for nobody."""
    pool = Held()
    world.rule(Policy(limits=Limits((ONCE,))))
    world.inbound._reception.signer = Signer(pool, Rules(Keyring([KEY])), pool)
    client = world.connect("smtps")
    client.say(LOGIN + START)
    submit(client, large)
    client.leave()
    assert world.inbound.sessions == 1  # it is still at work
    pool.go_on()
    nothing_is_left(world)
    assert world.of(Refused)[-1].reason == "the client has gone"
    world.inbound._reception.signer = None
    assert may_send_one(world, "smtps").startswith(b"250 ")


@pytest.mark.parametrize("large", [False, True])
def test_leaving_while_the_policy_judges_the_message(world, faults, large):
    """The brake reads what a login usually sends, and its client leaves meanwhile."""
    store = Held()
    world.rule(Policy(limits=Limits((ONCE,)), brake=BrakeSettings()), store)
    client = world.connect("smtps")
    client.say(LOGIN + START)
    store.go_on()  # the suppression list, at RCPT
    submit(client, large)
    assert store.waiting
    client.leave()
    store.go_on()
    nothing_is_left(world)
    world.gate.shared.suppressing = False
    assert may_send_one(world, "smtps").startswith(b"250 ")


def test_leaving_while_the_policy_judges_a_recipient(world, faults):
    """The suppression list is read at RCPT; the answer is nobody's."""
    store = Held()
    world.rule(Policy(), store)
    client = world.connect("smtps")
    client.say(LOGIN + START)
    assert store.waiting
    client.leave()
    store.go_on()
    nothing_is_left(world)


@pytest.mark.parametrize("large", [False, True])
def test_leaving_while_the_message_is_verified(world, faults, monkeypatch, large):
    """DNS is silent at the end of the message; the questions end with their time."""
    monkeypatch.setattr(relaying, "may_relay", lambda *args, **kwargs: None)
    world.clock.callFromThread = lambda fn, *args, **kwargs: fn(*args, **kwargs)
    settings = VerifySettings("relay.example.net")
    pool = Held()
    world.strangers(verifier=Verifier(world.clock, Silent(), settings, pool))
    client = world.connect("plain", "203.0.113.5")
    client.say(START)
    submit(client, large)
    client.leave()
    for _ in range(10):
        pool.go_on()
        world.clock.advance(4)
    nothing_is_left(world)
    assert not world.clock.getDelayedCalls()


def test_aborted_by_a_stop_while_the_message_is_signed(world, faults):
    """A stop that does not wait any more: the signer's failure finds nobody, and that is all."""
    pool = Held()
    signer = world.inbound._reception.signer = Signer(pool, Rules(Keyring([KEY])), pool)
    client = world.connect("smtps")
    client.say(LOGIN + START)
    submit(client, large=False)
    client.session.abort()
    client.leave()
    signer.stop()
    pool.go_on()
    nothing_is_left(world)


def signing(world, question):
    world.inbound._reception.signer = signer = Signer(Held(), Rules(Keyring([KEY])), Held())
    signer.sign = lambda signing: question


def judging(world, question):
    async def message(self, *args):
        self._count(1, 100)
        return await question

    world.monkeypatch.setattr(Passage, "message", message)


def verifying(world, question):
    async def findings(self):
        return await question

    world.monkeypatch.setattr(relaying, "may_relay", lambda *args, **kwargs: None)
    world.monkeypatch.setattr(Message, "findings", findings)
    settings = VerifySettings("relay.example.net")
    world.strangers(verifier=Verifier(world.clock, Silent(), settings, Held()))


def filtering(world, question):
    async def finish(self, *args):
        return await question

    world.monkeypatch.setattr(Filtering, "finish", finish)
    script = ScriptedFilter()
    settings = MilterSettings("f", "memory")
    world.inbound.filter(Milters([Filter(world.clock, script, settings)]))


def committing(world, question):
    world.monkeypatch.setattr(world.spool, "write_together", lambda fn, item: question)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("step", [judging, filtering, signing, verifying, committing])
def test_cancelled_at_the_end_of_a_message(world, monkeypatch, step, large):
    """What was waited for is cancelled, as at a stop: 421, not counted, not kept, not ours."""
    world.monkeypatch = monkeypatch
    world.rule(Policy(limits=Limits((ONCE,))))
    question = Deferred()
    step(world, question)
    door = ("plain", "203.0.113.5") if step is verifying else ("plain", "192.0.2.7")
    client = world.connect("smtps") if step is signing else world.connect(*door)
    client.say((LOGIN if step is signing else b"") + START)
    submit(client, large)
    question.cancel()
    assert client.read() == b"421 4.3.0 Something went wrong here; try again later\r\n"
    client.leave()
    nothing_is_left(world)
    monkeypatch.undo()
    world.inbound.filter(None)
    world.strangers()
    assert may_send_one(world, "plain").startswith(b"250 ")
