"""Mail from outside: what is written on top of it, what is removed, what is refused."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from twisted.internet.defer import Deferred, fail, succeed

from mta.dkim.keys import Key
from mta.dkim.rules import Keyring, Rules
from mta.dkim.sign import SigningSettings
from mta.dkim.signer import Signer
from mta.dns.answers import Answer, NoSuchName
from mta.dnsbl.lists import Lists
from mta.dnsbl.zone import Blocklist
from mta.inbound import relaying
from mta.mail.events import Refused, Ruled
from mta.policy.decision import Action
from mta.verify.message import Verifier
from mta.verify.settings import VerifySettings

OUTSIDE = "203.0.113.5"
KEY = Key("example.org", "e", ed25519.Ed25519PrivateKey.generate())
FORGED = b"Authentication-Results: relay.example.net; dmarc=pass\r\n"
OTHERS = b"Authentication-Results: other.example.net; dmarc=pass\r\n"


class Dns:
    """TXT and A records by name; may be silent."""

    def __init__(self):
        self.records = {
            KEY.record_name: KEY.record,
            "_dmarc.example.org": "v=DMARC1; p=reject",
            "_dmarc.example.com": "v=DMARC1; p=quarantine",
            "example.org": "v=spf1 ip4:203.0.113.5 -all",
            "2.0.0.127.bl.example": "127.0.0.2",
        }
        self.silent = False

    def lookup(self, name, kind):
        if self.silent:
            return Deferred()
        if name not in self.records:
            return fail(NoSuchName(name))
        text = self.records[name]
        return succeed(Answer(name, (f'"{text}"' if kind == "TXT" else text,), 60))


class AtOnce:
    """A thread pool that works at once."""

    def start(self):
        pass

    def stop(self):
        pass

    def callInThreadWithCallback(self, then, fn, *args):
        then(True, fn(*args))


@pytest.fixture
def dns():
    return Dns()


@pytest.fixture
def ours(monkeypatch):
    """Every domain is the organisation's own: a stranger may send there."""
    monkeypatch.setattr(relaying, "may_relay", lambda *args, **kwargs: None)


@pytest.fixture
def outside(world, dns, ours):
    """A world in which strangers' mail is verified."""

    def do(**settings):
        world.clock.callFromThread = lambda fn, *args, **kwargs: fn(*args, **kwargs)
        made = VerifySettings("relay.example.net", **settings)
        world.strangers(verifier=Verifier(world.clock, dns, made, AtOnce()))
        return world

    return do


def send(world, message, *, address=OUTSIDE, sender="ann@example.org", listener="plain"):
    """Send a message; return the answer after the final dot."""
    client = world.connect(listener, address)
    client.say(b"EHLO mail.example.org\r\n")
    assert client.say(f"MAIL FROM:<{sender}>\r\n".encode()).startswith(b"250 ")
    assert client.say(b"RCPT TO:<bob@here.example>\r\n").startswith(b"250 ")
    client.say(b"DATA\r\n")
    return client.say(message + b"\r\n.\r\n")


def signed(body=b"Hello", header=b"From: ann@example.org\r\nSubject: x\r\n"):
    message = header + b"\r\n" + body + b"\r\n"
    signing, _ = Rules(Keyring([KEY])).begin(message, 1_764_028_800, whole=True)
    return (signing.finish() + message).removesuffix(b"\r\n")


def content(world):
    """The octets of the message that was accepted last."""
    item = world.spool.accepted[-1]
    return item.head + world.spool.body(item) if item.stored == 0 else b"".join(
        [item.head]
        + [world.spool.chunks[item.envelope.id, n] for n in range(1, item.stored + 1)]
        + list(item.chunks)
    )  # fmt: skip


def test_results_on_top(outside):
    """All pass: the field stands on top, above Received, and the history and the log have it."""
    world = outside()
    assert send(world, signed()).startswith(b"250 ")
    octets = content(world)
    assert octets.startswith(
        b"Authentication-Results: relay.example.net;\r\n"
        b"\tspf=pass smtp.mailfrom=example.org;\r\n"
        b"\tdkim=pass header.d=example.org header.s=e header.b="
    )
    assert b"\tdmarc=pass policy.dmarc=reject header.from=example.org\r\nReceived: from " in octets
    assert octets.endswith(signed() + b"\r\n")
    (remark,) = world.spool.accepted[-1].remarks
    text = "spf=pass(example.org) dkim=pass(d=example.org) dmarc=pass(example.org)"
    assert (remark.verb, remark.who, remark.text) == ("verified", "verify", text)
    (event,) = world.of(Ruled)
    assert (event.verb, event.text) == ("verified", text)
    assert world.spool.accepted[-1].envelope.size == len(octets)


@pytest.mark.parametrize("size", [1, 300_000, 5_000_000])
def test_a_message_of_any_size(outside, size):
    """A body that goes to the spool while it arrives is verified, and the field is on top."""
    world = outside()
    body = (b"0123456789abcde\r\n" * (size // 17 + 1))[:-2]
    assert send(world, signed(body)).startswith(b"250 ")
    octets = content(world)
    assert octets.startswith(b"Authentication-Results: relay.example.net;\r\n")
    assert b"dkim=pass" in octets[:500]
    assert octets.endswith(signed(body) + b"\r\n")
    assert octets.count(b"Received: ") == 1


def test_forged_results(outside):
    """Attack: results in our name do not get in; others' do, and signatures still verify."""
    world = outside()
    message = FORGED + OTHERS + b"authentication-RESULTS : RELAY.example.net 1;\r\n dmarc=pass\r\n"
    assert send(world, message + signed()).startswith(b"250 ")
    octets = content(world)
    header = octets.partition(b"\r\n\r\n")[0].lower()
    assert header.count(b"authentication-results") == 2
    assert OTHERS in octets
    assert octets.endswith(OTHERS + signed() + b"\r\n")
    removed, _ = world.spool.accepted[-1].remarks
    assert (removed.verb, removed.text) == ("removed", "2 Authentication-Results in our name")


def test_forged_results_beyond_the_first_chunk(outside):
    """Attack: a header so long that what is forged stands where nobody looks is refused."""
    world = outside()
    padding = b"X-Padding: " + b"x" * 900 + b"\r\n"
    answer = send(world, padding * 400 + FORGED + b"From: a@example.org\r\n\r\nhi")
    assert answer.startswith(b"552 5.3.4 ")
    assert world.spool.accepted == []
    assert world.spool.chunks == {}


def test_without_a_body_or_a_header(outside):
    """Messages that are only a header, or only a body, have the field as well."""
    world = outside()
    for message in (b"From: ann@example.org\r\nSubject: x", b"\r\nonly text", b""):
        assert send(world, message).startswith(b"250 ")
        octets = content(world)
        assert octets.startswith(b"Authentication-Results: relay.example.net;\r\n")
        assert octets.endswith(message + b"\r\n")


@pytest.mark.parametrize(
    ("settings", "sender", "answer", "held"),
    [
        ({}, "x@evil.example", b"250 ", ""),
        ({"on_reject": Action.HOLD}, "x@evil.example", b"250 ", "DMARC fails"),
        ({"on_reject": Action.REFUSE}, "x@evil.example", b"550 5.7.26 ", None),
        ({"on_reject": Action.REFUSE}, "ann@example.org", b"250 ", ""),
    ],
)
def test_dmarc_reject(outside, settings, sender, answer, held):
    """What is done with mail that fails and whose domain says reject is for us to say."""
    world = outside(**settings)
    assert send(world, b"From: ann@example.org\r\n\r\nhi", sender=sender).startswith(answer)
    if held is None:
        assert world.spool.accepted == []
        (refused,) = world.of(Refused)
        assert "DMARC fails, and the policy is reject: spf=none" in refused.reason
    else:
        assert world.spool.accepted[-1].held.startswith(held)


@pytest.mark.parametrize(
    "header",
    [
        b"From: ann@example.org\r\nFrom: x@evil.example\r\n",
        b"From: ann@example.org, x@evil.example\r\n",
        b"From: ann@example.org (%b)\r\n" % (b"x" * 17_000),
    ],
)
def test_a_second_author_is_no_way_round_dmarc(outside, header):
    """Attack: readers see a domain that wants forgeries refused, and DMARC cannot tell whose."""
    for action, answer in ((Action.REFUSE, b"550 5.7.26 "), (Action.ACCEPT, b"250 ")):
        world = outside(on_reject=action)
        assert send(world, header + b"\r\nhi", sender="x@evil.example").startswith(answer)
    held = outside(on_reject=Action.HOLD)
    assert send(held, header + b"\r\nhi", sender="x@evil.example").startswith(b"250 ")
    assert held.spool.accepted[-1].held.startswith("no DMARC: ")


def test_dmarc_quarantine(outside):
    """Quarantine is held where that is wanted."""
    world = outside(on_quarantine=Action.HOLD)
    assert send(world, b"From: a@example.com\r\n\r\nhi").startswith(b"250 ")
    assert "policy is quarantine" in world.spool.accepted[-1].held


def test_slow_dns_refuses_nobody(outside, dns):
    """Our own fault: DNS that never answers costs ten seconds, and the mail is accepted."""
    world = outside(on_reject=Action.REFUSE)
    dns.silent = True
    assert send(world, signed(), sender="x@evil.example") == b""
    for _ in range(6):
        world.clock.advance(4)
    assert b"spf=temperror" in content(world)
    assert b"dmarc=temperror" in content(world)


def test_a_client_that_leaves(outside, dns):
    """Its questions are forgotten, and nothing stays."""
    world = outside()
    dns.silent = True
    client = world.connect("plain", OUTSIDE)
    client.say(b"EHLO x.example\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@here.example>\r\n")
    client.say(b"DATA\r\n")
    client.say(b"From: a@example.org\r\n\r\n" + b"x\r\n" * 200_000)
    client.leave()
    assert world.spool.accepted == []
    assert world.spool.chunks == {}


def test_never_on_submission_nor_from_trusted_networks(outside):
    """Who has logged in, or is trusted, is not verified, and what their mail carries stays."""
    world = outside()
    assert send(world, FORGED + signed(), address="192.0.2.7").startswith(b"250 ")
    assert FORGED in content(world)
    assert world.spool.accepted[-1].remarks == ()


def test_a_stranger_gets_no_signature_of_ours(outside):
    """Attack: with dkim.relayed, mail that claims to be ours must not be signed by us."""
    world = outside()
    rules = Rules(Keyring([KEY]), SigningSettings(relayed=True))
    world.inbound._reception.signer = Signer(world.clock, rules)
    assert send(world, b"From: ceo@example.org\r\n\r\nPay at once.").startswith(b"250 ")
    assert b"DKIM-Signature" not in content(world)


@pytest.fixture
def listed(world, dns, ours):
    """A world in which 203.0.113.5 is on a list."""

    def do(action=Action.REFUSE, **options):
        lists = Lists(
            world.clock, dns, [replace(Blocklist("bl.example"), action=action, **options)],
            world.events.append,
        )  # fmt: skip
        dns.records["5.113.0.203.bl.example"] = "127.0.0.4"
        lists.start()
        world.strangers(lists)
        return world

    return do


def rcpt(world, recipient="bob@here.example", address=OUTSIDE):
    client = world.connect("plain", address)
    client.say(b"EHLO x.example\r\nMAIL FROM:<a@example.org>\r\n")
    return client.say(f"RCPT TO:<{recipient}>\r\n".encode())


def test_listed_clients_are_refused(listed):
    """Whoever is on a list is refused at RCPT, told which list, and the log knows why."""
    world = listed()
    assert rcpt(world) == b"550 5.7.1 Client host [203.0.113.5] is listed by bl.example\r\n"
    assert rcpt(world, address="203.0.113.6").startswith(b"250 ")
    (refused,) = world.of(Refused)
    assert refused.reason == "listed by bl.example: 203.0.113.5 (127.0.0.4)"


def test_postmaster_hears_those_who_are_listed(listed):
    """RFC 5321 §4.5.1: postmaster can be reached, from a listed host as well."""
    world = listed()
    assert rcpt(world, "postmaster@here.example").startswith(b"250 ")
    assert rcpt(world, "postmaster").startswith(b"250 ")


def test_trusted_clients_are_not_looked_up(listed, dns):
    """Trusted networks are never looked up."""
    world = listed()
    dns.records["7.2.0.192.bl.example"] = "127.0.0.2"
    assert rcpt(world, address="192.0.2.7").startswith(b"250 ")


def test_an_answer_of_our_own(listed):
    """The text can be the site's."""
    world = listed(text="Ask {zone} about {address}; see https://here.example/")
    assert rcpt(world).endswith(b"Ask bl.example about 203.0.113.5; see https://here.example/\r\n")


@pytest.mark.parametrize("action", [Action.ACCEPT, Action.HOLD])
def test_listed_clients_are_recorded_or_held(listed, action):
    """Softer: it is in the history, or the message is held with that reason."""
    world = listed(action)
    assert send(world, b"From: a@example.org\r\n\r\nhi").startswith(b"250 ")
    item, reason = world.spool.accepted[-1], "listed by bl.example: 203.0.113.5 (127.0.0.4)"
    if action is Action.HOLD:
        assert item.held == reason
    else:
        assert [(one.verb, one.text) for one in item.remarks] == [("listed", reason)]


def test_a_slow_list_is_waited_for_at_rcpt_only(listed, dns):
    """The greeting and MAIL do not wait for DNS; RCPT does, and not for ever."""
    world = listed()
    dns.silent = True
    client = world.connect("plain", OUTSIDE)
    assert client.read().startswith(b"220 ")
    assert b"250 2.1.0" in client.say(b"EHLO x.example\r\nMAIL FROM:<a@example.org>\r\n")
    assert client.say(b"RCPT TO:<bob@here.example>\r\n") == b""
    world.clock.advance(11)
    assert client.read().startswith(b"250 ")
