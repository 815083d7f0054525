"""What is required of a host decides whether it is dialled, and what becomes of the mail."""

from dataclasses import replace

import pytest

from mta.delivery.routes import Mx, Route
from mta.delivery.securing import SecuritySettings
from mta.mail.outcome import Blame, Verdict
from mta.mail.security import Dane, DaneState, Source, Tlsa
from mta.security.policies import Local, TlsPolicy

RECORD = Tlsa(3, 1, 1, b"\1" * 32)
USABLE = Dane(DaneState.USABLE, (RECORD,), "mx.test")
FAILED = Dane(DaneState.FAILED, text="TLSA of mx.test: SERVFAIL")


def policy(level, **options):
    """Return settings with one policy for everything."""
    local = Local(level, Source.POLICY, "trial", **options)
    return SecuritySettings((TlsPolicy(local),))


@pytest.fixture
def two(world):
    """Return two hosts of one domain, neither of which offers STARTTLS."""
    world.mx["there.test"] = ["mx.test", "mx2.test"]
    return world.host(), world.host("mx2.test", "192.0.2.2")


def only(outcomes):
    (outcome,) = outcomes
    return outcome


def test_attack_starttls_stripped(world, job, two):
    """Attack: a host with TLSA records that offers no STARTTLS gets nothing; the next one may."""
    world.dane["mx.test"] = USABLE
    outcome = only(world.deliver(job(), within_s=1))
    assert (outcome.verdict, outcome.peer.host) == (Verdict.DELIVERED, "mx2.test")
    assert "MAIL" not in two[0].connections[0].commands
    world.dane["mx2.test"] = USABLE
    outcome = only(world.deliver(job(), within_s=1))
    assert (outcome.verdict, outcome.enhanced) == (Verdict.DEFERRED, "4.7.5")
    assert outcome.peer.tls.required == "dane"
    assert "TLSA records of mx.test" in outcome.peer.tls.required_why


def test_attack_a_look_up_that_fails(world, job, two):
    """Attack: a host whose records cannot be had is not dialled at all; the next one may be."""
    world.dane["mx.test"] = FAILED
    outcome = only(world.deliver(job(), within_s=1))
    assert (outcome.verdict, outcome.peer.host) == (Verdict.DELIVERED, "mx2.test")
    assert two[0].connections == []
    world.dane["mx2.test"] = replace(FAILED, text="also")
    outcome = only(world.deliver(job(), within_s=1))
    assert (outcome.verdict, outcome.enhanced) == (Verdict.DEFERRED, "4.7.5")
    assert (outcome.command, outcome.blame) == ("TLS policy", Blame.SITE)
    assert "SERVFAIL" in outcome.text or "also" in outcome.text


def test_no_usable_record(world, job, two):
    """RFC 7672 §2.2: TLS all the same, and nothing in the clear."""
    unusable = Dane(DaneState.UNUSABLE, base="mx.test", text="none of the records can be used")
    world.dane = {"mx.test": unusable, "mx2.test": unusable}
    outcome = only(world.deliver(job(), within_s=1))
    assert (outcome.verdict, outcome.peer.tls.required) == (Verdict.DEFERRED, "encrypt")


@pytest.mark.parametrize("facts", [USABLE, FAILED])
@pytest.mark.parametrize("level", ["dane", "dane-only"])
def test_observed(world, job, two, facts, level):
    """Mail goes, and the outcome says where it would have waited."""
    world.dane["mx.test"] = facts
    world.signed = True
    world.settings = replace(world.settings, security=policy(level, observe=True))
    world.use()
    outcome = only(world.deliver(job(), within_s=1))
    assert (outcome.verdict, outcome.peer.host) == (Verdict.DELIVERED, "mx.test")
    assert outcome.peer.tls.observed.startswith("would have ")


@pytest.mark.parametrize("level", ["may", "none"])
def test_the_way_round(world, job, two, level):
    """A policy that names a lower level gets mail to a site whose DANE is broken."""
    world.dane["mx.test"] = FAILED
    world.settings = replace(world.settings, security=policy(level))
    world.use(Route("out", Mx(tls="verify")))
    outcome = only(world.deliver(job(), within_s=1))
    assert (outcome.verdict, outcome.peer.tls.required) == (Verdict.DELIVERED, level)
    assert outcome.peer.tls.required_why == "tls_policy trial"


def test_tls_required_no(world, job, two):
    """RFC 8689 §4.1: what the domain publishes does not hold such a message up."""
    world.dane["mx.test"] = FAILED
    outcome = only(world.deliver(job(tls_not_required=True), within_s=1))
    assert (outcome.verdict, outcome.peer.host) == (Verdict.DELIVERED, "mx.test")


def test_requiretls_while_the_resolver_is_not_believed(world, job, two):
    """It is not final that nothing is proved now."""
    assert only(world.deliver(job(require_tls=True))).verdict is Verdict.FAILED
    world.off = "no AD bit"
    outcome = only(world.deliver(job(require_tls=True)))
    assert (outcome.verdict, outcome.command) == (Verdict.DEFERRED, "TLS policy")
    world.off, world.signed = "", True
    outcome = only(world.deliver(job(require_tls=True), within_s=1))
    assert (outcome.verdict, outcome.peer.tls.required) == (Verdict.DEFERRED, "verify")


def test_another_requirement_is_another_connection(world, job):
    """Attack: what was opened in the clear for one message does not serve one that needs more."""
    host = world.host()
    assert only(world.deliver(job(), within_s=1)).verdict is Verdict.DELIVERED
    world.dane["mx.test"] = USABLE
    assert only(world.deliver(job(), within_s=1)).verdict is Verdict.DEFERRED
    world.dane.clear()
    assert only(world.deliver(job(), within_s=1)).peer.use == 2
    assert len(host.connections) == 2


@pytest.mark.parametrize(
    "host", ["[192.0.2.1]", "192.0.2.1", "2001:db8::fade", "[ipv6:2001:db8::1]"]
)
def test_an_address_has_no_records(host):
    """Of an address nothing is asked; of a name that ends like one, it is."""
    from mta.delivery.securing import _numeric

    assert _numeric(host)
    assert not any(map(_numeric, ("mx.test", "mx1", "a.example.de", "a.10", "fade")))
