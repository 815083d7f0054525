"""One message verified while it arrives: all methods together, and time."""

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mta.dkim.keys import Key
from mta.dkim.rules import Keyring, Rules
from mta.verify.message import Client, Verifier
from mta.verify.settings import VerifySettings

NOW_S = 1_764_028_800
CLIENT = Client("192.0.2.1", "ann@example.org", "mail.example.org")
MESSAGE = b"From: Ann <ann@example.org>\r\nSubject: x\r\n\r\nHello\r\n"


class Reactor(Clock):
    def callFromThread(self, fn, *args, **kwargs):
        fn(*args, **kwargs)


@pytest.fixture
def reactor():
    return Reactor()


@pytest.fixture
def begin(reactor, zone, at_once):
    """Begin with a message, whole."""

    def do(message=MESSAGE, client=CLIENT, **settings):
        made = VerifySettings("relay.example.net", **settings)
        verifier = Verifier(reactor, zone, made, at_once)
        end = message.index(b"\r\n\r\n") + 2
        begun = verifier.begin(made, client, message[:end], NOW_S)
        begun.feed(message[end + 2 :])
        return begun

    return do


@pytest.fixture
def key():
    from cryptography.hazmat.primitives.asymmetric import ed25519

    return Key("example.org", "e", ed25519.Ed25519PrivateKey.generate())


def summary(message, done):
    return str(done(message.findings()))


def publish(zone, policy="reject"):
    zone.txt("example.org", "v=spf1 ip4:192.0.2.1 -all")
    zone.txt("_dmarc.example.org", f"v=DMARC1; p={policy}")


def test_all_is_well(begin, zone, done, key):
    """SPF and DKIM pass, so does DMARC; the summary is one line."""
    publish(zone)
    zone.txt(key.record_name, key.record)
    signing, _ = Rules(Keyring([key])).begin(MESSAGE, NOW_S, whole=True)
    assert summary(begin(signing.finish() + MESSAGE), done) == (
        "spf=pass(example.org) dkim=pass(d=example.org) dmarc=pass(example.org)"
    )


def test_a_forger(begin, zone, done):
    """Attack: somebody else's host, no signature, our domain: DMARC fails, the wish is told."""
    publish(zone)
    findings = done(begin(client=Client("203.0.113.5", "x@evil.example", "h")).findings())
    assert str(findings) == "spf=none(evil.example) dkim=none dmarc=fail(example.org)"
    assert findings.wish == "reject"


@pytest.mark.parametrize(
    ("fields", "reason", "ambiguous"),
    [
        (b"", "there is no From field", False),
        (b"From: a@example.org\r\nFrom: b@evil.example\r\n", "there are several From fields", True),
        (b"From: a@evil.example, ceo@example.org\r\n", "From has several domains", True),
        (b"From: undisclosed\r\n", "From has no domain", False),
        (b"From: a@example.org (%b)\r\n" % (b"x" * 17_000), "From is too long to be read", True),
    ],
)
def test_an_unclear_author(begin, zone, done, fields, reason, ambiguous):
    """Attack: an author whom two readers read differently is nobody's: permerror, never pass."""
    publish(zone)
    zone.txt("evil.example", "v=spf1 +all")
    message = fields + b"Subject: x\r\n\r\nHi\r\n"
    findings = done(begin(message, Client("192.0.2.9", "a@evil.example", "h")).findings())
    results = findings.results
    assert findings.ambiguous == (reason if ambiguous else "")
    assert (results[-1].method, results[-1].value, results[-1].reason) == (
        "dmarc",
        "permerror",
        reason,
    )


def test_a_display_name_is_no_author(begin, zone, done):
    """Attack: an address as the display name does not choose the domain that is judged."""
    publish(zone)
    message = MESSAGE.replace(b"Ann <ann@example.org>", b'"ann@example.org" <x@evil.example>')
    assert "dmarc=none(evil.example)" in summary(begin(message), done)


def test_only_what_is_wanted(begin, zone, done):
    """What is switched off asks nothing and says nothing."""
    publish(zone)
    assert summary(begin(dkim=False, dmarc=False), done) == "spf=pass(example.org)"
    assert summary(begin(spf=False, dmarc=False), done) == "dkim=none"
    zone.asked.clear()
    assert summary(begin(spf=False, dkim=False, dmarc=False), done) == "nothing was looked at"
    assert zone.asked == []


def test_dns_that_never_answers(begin, zone, reactor, key):
    """Slow DNS is temperror after the time allowed, not a second later, and nobody's failure."""
    signing, _ = Rules(Keyring([key])).begin(MESSAGE, NOW_S, whole=True)
    zone.silent |= {"example.org", "_dmarc.example.org", key.record_name}
    begun = begin(signing.finish() + MESSAGE, timeout_s=10.0)
    results = []
    Deferred.fromCoroutine(begun.findings()).addCallback(results.append)
    reactor.advance(9.9)
    assert results == []
    reactor.advance(0.2)
    reactor.advance(0)  # each of the others finds that time is up
    reactor.advance(0)
    (found,) = results
    assert [one.value for one in found.results] == ["temperror"] * 3
    assert found.wish == "none"
    assert reactor.getDelayedCalls() == []


def test_time_runs_from_the_end_of_the_message(begin, zone, reactor, done):
    """A message that takes an hour to arrive has its answers by then."""
    publish(zone)
    begun = begin()
    reactor.advance(3600)
    assert summary(begun, done).startswith("spf=pass")


def test_cancelled(begin, zone, reactor):
    """A client that leaves takes its questions along."""
    zone.silent |= {"example.org", "_dmarc.example.org"}
    begin().cancel()
    assert reactor.getDelayedCalls() == []


def test_a_fault_of_the_library_is_temporary(begin, zone, done, monkeypatch):
    """Own fault: a record that breaks the library is temperror, and the mail is not refused."""
    from mta.verify import evaluation

    publish(zone)

    def broken(*args):
        raise IndexError("list index out of range")

    monkeypatch.setattr(evaluation, "evaluate", broken)
    assert "spf=temperror" in summary(begin(), done)
