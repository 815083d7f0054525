"""What was required of a session says under which policy it is counted, and what it lacked."""

from dataclasses import replace

import pytest

from mta.mail.security import Dane, DaneState, Flaw, Published, Requirement, Result, Skip
from mta.mail.tls_session import AppliedPolicy, PolicyType
from mta.security.decide import Wishes, decide
from mta.security.facts import Sts, StsMode, Where
from mta.security.policies import Local
from mta.security.sessions import applied, counts, failed, flaw_of

WHERE = Where("example.org", "mx.example.org")
LINES = ("version: STSv1", "mode: enforce", "mx: mx.example.org", "max_age: 604800")
POLICY = Published("sts", "example.org", LINES, ("mx.example.org",))
APPLIED = AppliedPolicy(PolicyType.STS, "example.org", LINES, ("mx.example.org",))
BARE = AppliedPolicy(PolicyType.STS, "example.org")
NONE = AppliedPolicy(PolicyType.NONE, "example.org")


def required(sts: Sts | None, dane: Dane | None = None, **local: object) -> Requirement | Skip:
    return decide(WHERE, Local(**local), dane=dane or Dane(), sts=sts)  # type: ignore[arg-type]


def test_a_policy_of_mta_sts_is_told_line_by_line() -> None:
    """RFC 8460 §4.5: the lines of the policy, its domain, and the patterns of hosts."""
    found = required(Sts(StsMode.ENFORCE, True, published=POLICY))
    assert isinstance(found, Requirement)
    assert applied(found, "example.org", "mx.example.org") == APPLIED
    assert flaw_of(found, None) is None


def test_a_host_that_the_policy_does_not_name() -> None:
    """Enforced it is not dialled, in testing mode it is, and both are failures of that policy."""
    enforced = required(Sts(StsMode.ENFORCE, False, published=POLICY))
    assert isinstance(enforced, Skip) and counts(enforced)
    assert applied(enforced, "example.org", "evil.example") == APPLIED
    testing = required(Sts(StsMode.TESTING, False, published=POLICY))
    assert isinstance(testing, Requirement)
    assert applied(testing, "example.org", "evil.example") == APPLIED
    flaw = flaw_of(testing, None)
    assert flaw is not None and flaw.result is Result.VALIDATION_FAILURE


@pytest.mark.parametrize(
    "result", [Result.STS_FETCH_ERROR, Result.STS_INVALID, Result.STS_WEBPKI_INVALID]
)
def test_a_policy_that_cannot_be_had(result: Result) -> None:
    """Without an older one mail goes, and the domain hears why; an older one is kept to."""
    nothing = Published("sts", "example.org", result=result, text="why")
    found = required(Sts(StsMode.NONE, False, unknown="why", published=nothing))
    assert isinstance(found, Requirement) and counts(found)
    assert applied(found, "example.org", "mx.example.org") == BARE
    assert flaw_of(found, None) == Flaw(result, "why")
    worse = Flaw(Result.STARTTLS_NOT_SUPPORTED, "no")
    assert flaw_of(found, worse) == worse
    older = replace(POLICY, result=result, text="why")
    kept = required(Sts(StsMode.ENFORCE, True, published=older))
    assert isinstance(kept, Requirement)
    assert (applied(kept, "example.org", "x"), flaw_of(kept, None)) == (APPLIED, None)


def test_dane_that_is_only_observed() -> None:
    """A host that would have been left alone for its TLSA records is told as such."""
    bogus = Dane(DaneState.FAILED, text="TLSA of mx.example.org: SERVFAIL")
    found = required(None, bogus, observe=True)
    assert isinstance(found, Requirement)
    tlsa = AppliedPolicy(PolicyType.TLSA, "mx.example.org")
    assert applied(found, "example.org", "mx.example.org") == tlsa
    flaw = flaw_of(found, None)
    assert flaw is not None and flaw.result is Result.DNSSEC_INVALID and "SERVFAIL" in flaw.text


def test_what_the_message_wants_is_not_the_domains_business() -> None:
    """TLS-Required: No is not counted; nor is REQUIRETLS where a domain has promised nothing."""
    assert not counts(decide(WHERE, Local(), Wishes(tls_not_required=True)))
    assert not counts(decide(WHERE, Local(), Wishes(require_tls=True)))
    assert counts(decide(WHERE, Local()))


def test_peers_words_are_cut_and_made_plain() -> None:
    """Attack: a reply or a name of itself with line ends, escapes, other scripts, or no end."""
    flaw = Flaw(Result.VALIDATION_FAILURE, "a\r\nb\x1b[2J\u202e" + "x" * 10_000)
    one = failed(Requirement(), "example.org", "mx", flaw, helo="\x00" * 300)
    assert one.policy == NONE
    assert one.reason == "a??b?[2J?" + "x" * 191 and one.helo == "?" * 200
