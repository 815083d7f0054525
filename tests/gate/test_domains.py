"""What is asked of DNS at RCPT: nobody waits long, and a dead resolver costs its patience once."""

import pytest
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock

from mta.dns.answers import DnsTemporary
from mta.dns.mx import NoSuchDomain, NoUsableHost, NullMx
from mta.gate.domains import MOST_S, PATIENCE_S, PAUSE_S, Domains
from mta.policy.recipients import Domain


class Exchangers:
    """Keeps what it is asked; answers when a test says so."""

    def __init__(self):
        self.asked = []
        self.waiting = []
        self.at_once = None

    def hosts(self, domain):
        self.asked.append(domain)
        if self.at_once is not None:
            return self.at_once()
        self.waiting.append(Deferred())
        return self.waiting[-1]


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def exchangers():
    return Exchangers()


@pytest.fixture
def domains(clock, exchangers):
    return Domains(clock, exchangers)


def ask(domains, domain):
    """Ask; return a list that the answer comes into."""
    found = domains.ask(domain)
    if isinstance(found, Domain):
        return [found]
    said = []
    Deferred.fromCoroutine(found).addBoth(said.append)
    return said


def test_dead_resolver(domains, clock, exchangers):
    """The first waits its two seconds, the others don't; the pauses grow to five minutes."""
    pauses = []
    said = ask(domains, "first.test")
    for _ in range(6):
        clock.advance(PATIENCE_S)
        assert said == [Domain.UNKNOWN]
        began_s = clock.seconds()
        while True:
            said = ask(domains, f"d{clock.seconds():.0f}.test")
            if not said:
                break
            assert said == [Domain.UNKNOWN]
            clock.advance(1)
        pauses.append(clock.seconds() - began_s)
    assert pauses == [PAUSE_S, 60, 120, 240, MOST_S, MOST_S]
    assert len(exchangers.asked) == 7


def test_question_goes_on(domains, clock, exchangers):
    """Who has lost patience does not cancel: the resolver learns what comes of it."""
    cancelled = []
    waiting = Deferred(cancelled.append)
    exchangers.at_once = lambda: waiting
    said = ask(domains, "slow.test")
    clock.advance(PATIENCE_S)
    assert (said, cancelled) == ([Domain.UNKNOWN], [])
    waiting.callback(())
    assert clock.getDelayedCalls() == []


def test_an_answer_ends_the_growth(domains, clock, exchangers):
    """A resolver that is back has its first pause again."""
    ask(domains, "a.test")
    clock.advance(PATIENCE_S)
    clock.advance(PAUSE_S)
    said = ask(domains, "b.test")
    exchangers.waiting[-1].errback(NullMx("no"))
    assert said == [Domain.NULL_MX]
    clock.advance(1)
    ask(domains, "c.test")
    clock.advance(PATIENCE_S)
    clock.advance(PAUSE_S - 1)
    assert ask(domains, "d.test") == [Domain.UNKNOWN]
    clock.advance(1)
    assert ask(domains, "e.test") == []


def test_failure_that_is_known(domains, exchangers):
    """What the resolver knows to fail is no reason to wait, and no reason to refuse."""
    exchangers.at_once = lambda: fail(DnsTemporary("SERVFAIL"))
    assert ask(domains, "x.test") == [Domain.UNKNOWN]
    exchangers.at_once = lambda: succeed(())
    assert ask(domains, "y.test") == [Domain.TAKES_MAIL]


def test_client_goes(domains, clock, exchangers):
    """Somebody who leaves while waiting leaves nothing behind."""
    found = Deferred.fromCoroutine(domains.ask("a.test"))
    failed = []
    found.addErrback(lambda failure: failed.append(failure.check(CancelledError)))
    found.cancel()
    assert failed == [CancelledError]
    exchangers.waiting[0].callback(())
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize(
    ("error", "said"), [(NullMx, Domain.NULL_MX), (NoSuchDomain, Domain.MISSING)]
)
def test_a_refusal_is_kept_by_the_resolver_alone(domains, exchangers, error, said):
    """A domain that takes mail again is believed as soon as DNS says so."""
    exchangers.at_once = lambda: fail(error("there.test"))
    assert ask(domains, "there.test") == [said]
    exchangers.at_once = lambda: succeed(())
    assert ask(domains, "there.test") == [Domain.TAKES_MAIL]
    assert len(exchangers.asked) == 2


def test_that_it_takes_mail_is_kept(domains, exchangers):
    """A thousand recipients there are one question."""
    exchangers.at_once = lambda: succeed(())
    assert [ask(domains, "there.test") for _ in range(3)] == [[Domain.TAKES_MAIL]] * 3
    assert len(exchangers.asked) == 1


def test_a_domain_without_a_usable_host_exists(domains, exchangers):
    """Its mail exchangers may be back in an hour: that is for the retries, not for a 550."""
    exchangers.at_once = lambda: fail(NoUsableHost("there.test"))
    assert ask(domains, "there.test") == [Domain.UNKNOWN]
