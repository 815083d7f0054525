"""What each host has to come to: every fact against every wish, with nothing looked up."""

from dataclasses import replace

import pytest

from mta.mail.security import (
    Flaw,
    Level,
    Published,
    Requirement,
    Result,
    Shown,
    Skip,
    Source,
    Tlsa,
)
from mta.security.decide import Wishes, asks_sts, decide, looks_at_published
from mta.security.facts import Dane, DaneState, Sts, StsMode, Where
from mta.security.judgement import fallen_short, in_the_clear, judge
from mta.security.policies import Local, TlsPolicy, local_of

EE = Tlsa(3, 1, 1, b"\1" * 32)
TA = Tlsa(2, 0, 1, b"\2" * 32)
SIGNED = Where("example.org", "mx.example.org", signed=True)
UNSIGNED = replace(SIGNED, signed=False)
USABLE = Dane(DaneState.USABLE, (EE,), "mx.example.org")
UNUSABLE = Dane(DaneState.UNUSABLE, base="mx.example.org", text="no TLSA record can be used")
FAILED = Dane(DaneState.FAILED, text="TLSA of mx.example.org: SERVFAIL")
NOTHING = [Dane(state) for state in (DaneState.OFF, DaneState.INSECURE, DaneState.ABSENT)]
ENFORCED = Sts(StsMode.ENFORCE, True, "MTA-STS policy of example.org")
OTHERS = replace(ENFORCED, matches=False)  # it does not name the host
REQUIRETLS = Wishes(require_tls=True)
NOT_REQUIRED = Wishes(tls_not_required=True)
DEFAULT = Local()


def policy(level, **options):
    """Return what a [[tls_policy]] asks for."""
    return Local(level, Source.POLICY, "p", **options)


@pytest.mark.parametrize("where", [SIGNED, UNSIGNED])
def test_usable_records_are_required(where):
    """RFC 7672 §2.2: where there are usable TLSA records, one of them must match."""
    found = decide(where, DEFAULT, dane=USABLE)
    assert found == Requirement(Level.DANE, tlsa=(EE,))
    assert found.source is Source.DANE
    assert ("not signed" in found.why) is not where.signed


@pytest.mark.parametrize("dane", NOTHING)
def test_nothing_published(dane):
    """Without TLSA records, and without signed ones, TLS is used where it works."""
    assert decide(SIGNED, DEFAULT, dane=dane) == Requirement(Level.MAY)


def test_no_usable_record_asks_for_encryption():
    """RFC 7672 §2.2: TLS without authentication, and no less."""
    assert decide(SIGNED, DEFAULT, dane=UNUSABLE) == Requirement(Level.ENCRYPT)


@pytest.mark.parametrize("level", ["dane", "dane-only"])
@pytest.mark.parametrize("sts", [None, ENFORCED])
def test_attack_a_failing_look_up_is_not_an_absent_record(level, sts):
    """Attack: who can make TLSA look-ups fail must not get mail in the clear (RFC 7672 §2.1.3)."""
    found = decide(SIGNED, policy(level), dane=FAILED, sts=sts)
    assert found == Skip("TLSA of mx.example.org: SERVFAIL", Result.DNSSEC_INVALID)


def test_names_of_an_issuer():
    """RFC 7672 §3.2.2: the TLSA base domain, and the domain itself if it names the host, signed."""
    dane = replace(USABLE, records=(TA, EE))
    where = replace(SIGNED, expanded="alias.example.net")
    found = decide(where, DEFAULT, dane=dane)
    assert found.names == ("mx.example.org", "example.org", "alias.example.net")
    assert decide(UNSIGNED, DEFAULT, dane=dane).names == ("mx.example.org",)
    assert decide(SIGNED, DEFAULT, dane=USABLE).names == ()


def test_sni_is_the_base_domain():
    """RFC 7672 §2.2.2: where the host is an alias, the name asked for is where the records are."""
    dane = replace(USABLE, base="real.example.net")
    assert decide(SIGNED, DEFAULT, dane=dane).sni == "real.example.net"


@pytest.mark.parametrize(
    ("choice", "dane", "level"),
    [
        ("dane", USABLE, Level.DANE),
        ("dane", UNUSABLE, Level.ENCRYPT),
        ("encrypt", USABLE, Level.ENCRYPT),
        ("encrypt", UNUSABLE, Level.ENCRYPT),
        ("may", USABLE, Level.MAY),
        ("may", UNUSABLE, Level.MAY),
    ],
)
def test_unsigned_mx(choice, dane, level):
    """What records are worth where nothing proves that the host is the right one."""
    assert decide(UNSIGNED, DEFAULT, dane=dane, unsigned_mx=choice).level is level
    assert decide(SIGNED, DEFAULT, dane=USABLE, unsigned_mx=choice).level is Level.DANE


@pytest.mark.parametrize("dane", [*NOTHING, UNUSABLE])
def test_dane_only_without_dane(dane):
    """Where we insist on DANE there is no other way; and only signed MX records count."""
    found = decide(SIGNED, policy("dane-only"), dane=dane)
    assert isinstance(found, Skip)
    assert (found.result, found.permanent) == (Result.DANE_REQUIRED, False)
    assert isinstance(decide(UNSIGNED, policy("dane-only"), dane=USABLE), Skip)
    assert decide(SIGNED, policy("dane-only"), dane=USABLE).level is Level.DANE


@pytest.mark.parametrize("level", ["none", "may", "encrypt", "verify", "fingerprint"])
@pytest.mark.parametrize("dane", [USABLE, FAILED])
def test_a_level_that_we_name_stands_for_itself(level, dane):
    """That is how mail is got to a site whose DANE is broken."""
    assert decide(SIGNED, policy(level), dane=dane).level == level
    assert not looks_at_published(policy(level), Wishes())


def test_what_a_policy_says_is_in_the_requirement():
    """Names and authorities where a certificate is verified, fingerprints where it is known."""
    more = {"names": ("a.example",), "ca": "/ca.pem", "minimum": "TLSv1.3"}
    one = policy("verify", fingerprints=frozenset({"ff"}), **more)
    assert decide(SIGNED, one) == Requirement(Level.VERIFY, **more)
    assert decide(SIGNED, one).why == "tls_policy p"
    pinned = decide(SIGNED, replace(one, level="fingerprint"))
    assert (pinned.fingerprints, pinned.names) == (frozenset({"ff"}), ())
    assert decide(SIGNED, replace(one, level="dane"), dane=USABLE).minimum == "TLSv1.3"


def test_sts():
    """RFC 8461 §5: enforced, the host must be named and verify; DANE goes before (§2)."""
    found = decide(SIGNED, DEFAULT, sts=ENFORCED)
    assert (found.level, found.observe, found.source) == (Level.STS, False, Source.STS)
    assert isinstance(decide(SIGNED, DEFAULT, sts=replace(ENFORCED, matches=False)), Skip)
    assert decide(SIGNED, DEFAULT, dane=USABLE, sts=ENFORCED).level is Level.DANE


@pytest.mark.parametrize("where", [SIGNED, UNSIGNED])
def test_attack_a_listener_where_no_tlsa_record_is_usable(where):
    """Attack: any certificate, at a host whose TLSA records prove nothing.  RFC 8461 §5: an
    enforced policy wants one that verifies; on trial it takes nothing from RFC 7672 §2.2."""
    assert asks_sts(where, DEFAULT, Wishes(), UNUSABLE, "dane")
    found = decide(where, DEFAULT, dane=UNUSABLE, sts=ENFORCED)
    assert (found.level, found.insists, found.source) == (Level.STS, True, Source.STS)
    assert isinstance(decide(where, DEFAULT, dane=UNUSABLE, sts=OTHERS), Skip)
    trial = decide(where, DEFAULT, dane=UNUSABLE, sts=replace(OTHERS, mode=StsMode.TESTING))
    assert (trial.level, trial.insists) == (Level.ENCRYPT, True)
    assert "not in the MTA-STS policy of example.org" in trial.passed_over
    observed = decide(where, policy("dane", observe=True), dane=UNUSABLE, sts=ENFORCED)
    assert (observed.level, observed.observe) == (Level.STS, True)


@pytest.mark.parametrize("choice", ["dane", "encrypt", "may"])
def test_attack_forged_mx_records_that_lead_to_a_signed_zone(choice):
    """Attack: MX records that nobody signs are forged, and lead to a host of the attacker's, who
    has DNSSEC and TLSA records that match.  The domain's policy does not name that host."""
    for dane in (USABLE, UNUSABLE):
        assert asks_sts(UNSIGNED, DEFAULT, Wishes(), dane, choice)
        found = decide(UNSIGNED, DEFAULT, dane=dane, sts=OTHERS, unsigned_mx=choice)
        assert isinstance(found, Skip) and found.source is Source.STS
    assert not asks_sts(SIGNED, DEFAULT, Wishes(), USABLE, choice)
    named = decide(UNSIGNED, DEFAULT, dane=USABLE, sts=ENFORCED, unsigned_mx="dane")
    assert named.level is Level.DANE


def test_sts_in_testing():
    """RFC 8461 §5.1: it delivers, and what would have stopped it is told."""
    testing = replace(ENFORCED, mode=StsMode.TESTING)
    found = decide(SIGNED, DEFAULT, sts=testing)
    assert (found.level, found.observe, found.passed_over) == (Level.STS, True, "")
    absent = decide(SIGNED, DEFAULT, sts=replace(testing, matches=False))
    assert "not in the MTA-STS policy of example.org" in absent.passed_over
    assert decide(SIGNED, DEFAULT, sts=replace(ENFORCED, mode=StsMode.NONE)).level is Level.MAY


PUBLISHED = Published("sts", "example.org", ("version: STSv1",), ("mx.example.org",))


def test_sts_for_reports():
    """What is decided because of a policy has the policy with it (RFC 8460 §4.4)."""
    sts = replace(ENFORCED, published=PUBLISHED)
    assert decide(SIGNED, DEFAULT, sts=sts).published is PUBLISHED
    skip = decide(SIGNED, DEFAULT, sts=replace(sts, matches=False))
    assert (skip.source, skip.published) == (Source.STS, PUBLISHED)
    assert skip.result is Result.VALIDATION_FAILURE
    observed = decide(SIGNED, policy("dane", observe=True), sts=replace(sts, matches=False))
    assert (observed.published, observed.passed_over_for) == (PUBLISHED, skip.result)
    assert "not in the MTA-STS policy" in observed.passed_over
    failed = Sts(StsMode.NONE, False, unknown="404", published=PUBLISHED)
    assert decide(SIGNED, DEFAULT, sts=failed) == Requirement(Level.MAY)
    assert decide(SIGNED, DEFAULT, sts=failed).published is PUBLISHED
    assert decide(UNSIGNED, DEFAULT, REQUIRETLS, sts=sts).published is PUBLISHED
    assert decide(SIGNED, DEFAULT, dane=USABLE, sts=sts).published is None


@pytest.mark.parametrize(
    ("where", "level", "dane", "unsigned_mx", "asked"),
    [
        (SIGNED, "dane", NOTHING[0], "dane", True),
        (SIGNED, "dane", NOTHING[2], "dane", True),
        (SIGNED, "dane", USABLE, "dane", False),
        (SIGNED, "dane", UNUSABLE, "dane", True),
        (SIGNED, "dane", FAILED, "dane", False),
        (UNSIGNED, "dane", USABLE, "dane", True),
        (UNSIGNED, "dane", USABLE, "encrypt", True),
        (UNSIGNED, "dane", USABLE, "may", True),
        (UNSIGNED, "dane", FAILED, "may", False),
        (SIGNED, "dane-only", NOTHING[2], "dane", False),
        (SIGNED, "may", NOTHING[2], "dane", False),
        (SIGNED, "verify", NOTHING[2], "dane", False),
    ],
)
def test_when_a_policy_is_asked_for(where, level, dane, unsigned_mx, asked):
    """RFC 8461 §2: only where DANE does not prove the host, and nothing of ours stands alone."""
    local = policy(level)
    assert asks_sts(where, local, Wishes(), dane, unsigned_mx) is asked
    assert not asks_sts(where, local, NOT_REQUIRED, dane, unsigned_mx)
    if asked:
        found = decide(where, local, dane=dane, sts=ENFORCED, unsigned_mx=unsigned_mx)
        proved = dane is USABLE and unsigned_mx == "dane"  # and the policy names the host
        assert found.level is (Level.DANE if proved else Level.STS)


@pytest.mark.parametrize("level", ["dane", "may", "verify"])
def test_when_requiretls_asks_for_a_policy(level):
    """RFC 8689 §4.2.1: where the DNS does not prove the host, and might yet be believed."""
    assert asks_sts(UNSIGNED, policy(level), REQUIRETLS, NOTHING[2], "dane")
    assert asks_sts(UNSIGNED, policy(level), REQUIRETLS, USABLE, "dane")
    assert not asks_sts(UNSIGNED, policy(level), REQUIRETLS, FAILED, "dane")
    assert not asks_sts(SIGNED, policy(level), REQUIRETLS, NOTHING[2], "dane")


@pytest.mark.parametrize("level", ["dane", "dane-only"])
def test_observed(level):
    """What would have stopped mail is written down, and mail goes with whatever TLS works."""
    found = decide(SIGNED, policy(level, observe=True), dane=FAILED)
    assert (found.level, found.observe) == (Level.MAY, True)
    assert found.passed_over.endswith("TLSA of mx.example.org: SERVFAIL")
    found = decide(SIGNED, policy(level, observe=True), dane=USABLE)
    assert (found.level, found.observe, found.insists) == (Level.DANE, True, False)


class Test_messages:
    """RFC 8689."""

    @pytest.mark.parametrize("level", ["none", "may", "encrypt", "verify", "dane"])
    def test_requiretls_is_not_lowered(self, level):
        """Neither a level of ours nor an observe mode takes away what the sender asks for."""
        local = policy(level, observe=True)
        found = decide(SIGNED, local, REQUIRETLS)
        assert (found.level, found.observe) == (Level.VERIFY, False)
        found = decide(SIGNED, local, REQUIRETLS, USABLE)
        assert (found.level, found.observe, found.tlsa) == (Level.DANE, False, (EE,))
        assert found.why == "REQUIRETLS; TLSA records of mx.example.org"
        assert looks_at_published(local, REQUIRETLS)

    def test_requiretls_without_proof(self):
        """§4.2.1: nothing proves the host's name: final, unless it is our resolver's fault."""
        for dane in (*NOTHING, USABLE):
            found = decide(UNSIGNED, policy("verify"), REQUIRETLS, dane)
            assert isinstance(found, Skip)
            assert found.permanent
        unknown = decide(replace(SIGNED, signed=None), DEFAULT, REQUIRETLS)
        assert isinstance(unknown, Skip)
        assert not unknown.permanent
        failed = decide(SIGNED, DEFAULT, REQUIRETLS, FAILED)
        assert isinstance(failed, Skip)
        assert not failed.permanent

    def test_requiretls_by_sts(self):
        """§4.2.1: an enforced MTA-STS policy that names the host is a proof too."""
        found = decide(UNSIGNED, DEFAULT, REQUIRETLS, sts=ENFORCED)
        assert (found.level, found.why) == (Level.VERIFY, "REQUIRETLS; MTA-STS")
        for sts in (replace(ENFORCED, matches=False), replace(ENFORCED, mode=StsMode.TESTING)):
            found = decide(UNSIGNED, DEFAULT, REQUIRETLS, sts=sts)
            assert isinstance(found, Skip)
            assert found.permanent

    def test_requiretls_while_it_is_not_known(self):
        """A policy that cannot be had now may be had later: no bounce (RFC 8461 §5.1)."""
        for mode in (StsMode.NONE, StsMode.ENFORCE):
            sts = Sts(mode, False, unknown="the policy host does not answer")
            found = decide(UNSIGNED, DEFAULT, REQUIRETLS, sts=sts)
            assert isinstance(found, Skip)
            assert (found.permanent, "does not answer" in found.why) == (False, True)

    @pytest.mark.parametrize("dane", [USABLE, FAILED, UNUSABLE])
    def test_tls_not_required(self, dane):
        """§4.1: what the domain publishes does not count, what we ask for does."""
        found = decide(SIGNED, DEFAULT, NOT_REQUIRED, dane, ENFORCED)
        assert (found.level, found.source) == (Level.MAY, Source.MESSAGE)
        assert not looks_at_published(DEFAULT, NOT_REQUIRED)
        for level in ("encrypt", "verify", "fingerprint"):
            assert decide(SIGNED, policy(level), NOT_REQUIRED, dane).level == level
            waived = policy(level, waivable=True)
            assert decide(SIGNED, waived, NOT_REQUIRED, dane).level is Level.MAY
        assert decide(SIGNED, policy("none", waivable=True), NOT_REQUIRED).level is Level.NONE
        assert looks_at_published(policy("dane-only"), NOT_REQUIRED)


def test_the_first_policy_that_fits_decides():
    """By recipient's domain and by host, both where both are given; else the route's."""
    policies = (
        TlsPolicy(policy("verify"), ("example.org",), (".mx.example",)),
        TlsPolicy(policy("may"), (), ("*.mx.example",)),
        TlsPolicy(policy("none"), (".test",)),
    )
    for domain, host, level in (
        ("example.org", "a.mx.example", "verify"),
        ("example.net", "a.mx.example", "may"),
        ("example.net", "mx.example", "dane"),
        ("x.test", "mx.x.test", "none"),
    ):
        assert local_of(policies, domain, host, DEFAULT).level == level


BAD = Flaw(Result.EXPIRED, "certificate has expired")


@pytest.mark.parametrize(
    ("level", "pkix", "proof", "reached", "why"),
    [
        (Level.MAY, BAD, None, "encrypted", BAD.text),
        (Level.MAY, None, None, "verified", ""),
        (Level.ENCRYPT, BAD, None, "encrypted", BAD.text),
        (Level.DANE, BAD, None, "dane", ""),
        (Level.FINGERPRINT, BAD, None, "fingerprint", ""),
        (Level.STS, None, None, "sts", ""),
        (Level.VERIFY, None, None, "verified", ""),
    ],
)
def test_satisfied(level, pkix, proof, reached, why):
    """What was required is there: that is the level; else what was shown is told."""
    tls, flaw = judge(Requirement(level, why="w"), Shown("TLSv1.3", "C", pkix, proof))
    assert flaw is None
    assert (tls.level, tls.why, tls.required, tls.required_why) == (reached, why, level, "w")


@pytest.mark.parametrize("level", [Level.DANE, Level.FINGERPRINT, Level.STS, Level.VERIFY])
@pytest.mark.parametrize("observe", [False, True])
def test_not_satisfied(level, observe):
    """The proof is missing: that is said, and where it is only observed it is written down."""
    requirement = Requirement(level, observe=observe)
    tls, flaw = judge(requirement, Shown("TLSv1.3", "C", BAD, BAD))
    assert flaw == BAD
    assert (tls.level, tls.why) == ("encrypted", BAD.text)
    assert tls.observed == ("would have waited: certificate has expired" if observe else "")


def test_too_old_a_version():
    """A certificate that is right does not make up for a version that is not."""
    requirement = Requirement(Level.DANE, minimum="TLSv1.3")
    _, flaw = judge(requirement, Shown("TLSv1.2", "C", None, None))
    assert flaw is not None
    assert flaw.result is Result.VALIDATION_FAILURE
    assert judge(requirement, Shown("TLSv1.3", "C", None, None))[1] is None


def test_in_the_clear():
    """Without TLS: nothing is missing of what may be, all of what was to be observed is."""
    assert in_the_clear(Requirement(Level.MAY), "not offered").observed == ""
    seen = in_the_clear(Requirement(Level.DANE, observe=True), "not offered")
    assert (seen.level, seen.observed) == ("none", "would have waited: not offered")
    assert fallen_short(Requirement(Level.DANE), "x").required == "dane"


def test_requirements_are_equal_when_they_ask_for_the_same():
    """Who asks makes no difference to whether a connection is used again; all else does."""
    one = Requirement(Level.DANE, tlsa=(EE,), why="a", source=Source.DANE)
    assert one == replace(one, why="b", source=Source.MESSAGE)
    for change in (
        {"tlsa": (EE, TA)}, {"observe": True}, {"minimum": "TLSv1.3"}, {"sni": "x"},
        {"names": ("x",)}, {"ca": "x"}, {"level": Level.ENCRYPT}, {"fingerprints": frozenset("x")},
    ):  # fmt: skip
        assert one != replace(one, **change)
