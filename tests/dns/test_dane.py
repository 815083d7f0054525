"""What the DNS says about a host's certificates, and what it does not say."""

import hashlib

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from mta.dns.answers import Answer, DnsTemporary, NoSuchName
from mta.dns.dane import DaneLookup, strongest, tlsa, usable
from mta.dns.failures import MOST_S
from mta.dns.responder import Manner
from mta.dns.validation import Probes, State, Validation
from mta.mail.security import DaneState, Tlsa

EE = f"3 1 1 {'ab' * 32}"
TA = f"2 0 2 {'cd' * 64}"
BROKEN = DnsTemporary("SERVFAIL")
MX = "mx.example.org"


class Zone:
    """Answers from a table: (name, type) -> (records, signed, canonical name) or an exception."""

    def __init__(self, **more):
        self.table = {(MX, "A"): (("192.0.2.1",), True, MX)}
        self.asked = []

    def put(self, name, rdtype, *records, signed=True, at=None):
        self.table[name, rdtype] = (records, signed, at or name)
        return self

    def fails(self, name, rdtype):
        self.table[name, rdtype] = BROKEN
        return self

    def lookup(self, name, rdtype):
        self.asked.append((name, rdtype))
        found = self.table.get((name, rdtype))
        if isinstance(found, Exception):
            return fail(found)
        if found is None:
            there = [one for key, one in self.table.items() if key[0] == name]
            if there:
                signed = any(one[1] for one in there if isinstance(one, tuple))
                return succeed(Answer(name, (), 60, signed))
            return fail(NoSuchName(name))
        records, signed, at = found
        return succeed(Answer(at, records, 60, signed))

    lookup_anew = lookup

    def tlsa(self, *records, host=MX, signed=True):
        return self.put(f"_25._tcp.{host}", "TLSA", *records, signed=signed)


@pytest.fixture
def zone():
    return Zone()


def facts(zone, host=MX, **options):
    """Look up one host's facts."""
    return result(DaneLookup(zone, Clock().seconds, **options).facts(host, 25))


def result(coroutine):
    found = []
    Deferred.fromCoroutine(coroutine).addBoth(found.append)
    if hasattr(found[0], "raiseException"):
        found[0].raiseException()
    return found[0]


def test_usable(zone):
    """Signed addresses, signed records: these, and where they are."""
    found = facts(zone.tlsa(EE, TA))
    assert (found.state, found.base) == (DaneState.USABLE, MX)
    assert found.records == (Tlsa(2, 0, 2, b"\xcd" * 64), Tlsa(3, 1, 1, b"\xab" * 32))


def test_absent(zone):
    """Neither the name nor the record need be there, and unsigned records are none."""
    assert facts(zone).state is DaneState.ABSENT
    assert facts(zone.put(f"_25._tcp.{MX}", "TXT", "x")).state is DaneState.ABSENT
    assert facts(zone.tlsa(EE, signed=False)).state is DaneState.ABSENT


def test_unsigned_addresses_ask_for_no_records(zone):
    """RFC 7672 §2.2.1: a server that fails at TLSA questions must not hold up unsigned zones."""
    zone.put(MX, "A", "192.0.2.1", signed=False).fails(f"_25._tcp.{MX}", "TLSA")
    assert facts(zone).state is DaneState.INSECURE
    assert (f"_25._tcp.{MX}", "TLSA") not in zone.asked


@pytest.mark.parametrize("kind", ["A", "TLSA"])
def test_attack_a_failure_is_not_an_absence(zone, kind):
    """Attack: who makes look-ups fail does not make DANE go away (RFC 7672 §2.1.3)."""
    zone.fails(MX if kind == "A" else f"_25._tcp.{MX}", kind)
    found = facts(zone)
    assert found.state is DaneState.FAILED
    assert "SERVFAIL" in found.text


def test_one_family_that_fails(zone):
    """Another one's signed addresses say that the zone is signed."""
    assert facts(zone.fails(MX, "AAAA").tlsa(EE)).state is DaneState.USABLE


class Test_aliases:
    """RFC 7672 §2.2.2."""

    @pytest.fixture
    def zone(self):
        zone = Zone()
        return zone.put("alias.example.org", "A", "192.0.2.1", at=MX)

    def test_the_end_comes_first(self, zone):
        """The end of the chain of aliases has records: they hold, and it is the base."""
        zone.tlsa(EE).tlsa(TA, host="alias.example.org")
        assert facts(zone, "alias.example.org").base == MX

    def test_the_alias_comes_next(self, zone):
        """Without records at the end, those of the alias itself."""
        zone.tlsa(EE, host="alias.example.org")
        found = facts(zone, "alias.example.org")
        assert (found.state, found.base) == (DaneState.USABLE, "alias.example.org")
        assert zone.asked[-2:] == [
            (f"_25._tcp.{MX}", "TLSA"),
            ("_25._tcp.alias.example.org", "TLSA"),
        ]

    def test_attack_a_failure_at_the_end(self, zone):
        """Attack: the alias's records do not stand in for those that cannot be had."""
        zone.tlsa(EE, host="alias.example.org").fails(f"_25._tcp.{MX}", "TLSA")
        assert facts(zone, "alias.example.org").state is DaneState.FAILED

    def test_a_signed_alias_of_an_unsigned_name(self, zone):
        """The alias alone is asked about; what its target publishes is worth nothing."""
        zone.put("alias.example.org", "A", "192.0.2.1", signed=False, at="mx.example.net")
        zone.put("alias.example.org", "CNAME", "mx.example.net.").tlsa(EE, host="alias.example.org")
        found = facts(zone, "alias.example.org")
        assert (found.state, found.base) == (DaneState.USABLE, "alias.example.org")
        assert ("_25._tcp.mx.example.net", "TLSA") not in zone.asked

    def test_an_unsigned_alias(self, zone):
        """Nothing is asked at all."""
        zone.put("alias.example.org", "A", "192.0.2.1", signed=False, at="mx.example.net")
        zone.put("alias.example.org", "CNAME", "mx.example.net.", signed=False)
        assert facts(zone, "alias.example.org").state is DaneState.INSECURE
        zone.fails("alias.example.org", "CNAME")
        assert facts(zone, "alias.example.org").state is DaneState.FAILED


UNUSABLE = [
    f"0 1 1 {'ab' * 32}",
    f"1 1 1 {'ab' * 32}",
    f"4 1 1 {'ab' * 32}",
    f"255 1 1 {'ab' * 32}",
    f"3 2 1 {'ab' * 32}",
    f"3 1 3 {'ab' * 32}",
    f"3 1 1 {'ab' * 31}",
    f"3 1 2 {'ab' * 32}",
    f"2 0 0 {'ab' * 32}",
    f"3 1 0 {'ab' * 32}",
]


@pytest.mark.parametrize("text", UNUSABLE)
def test_unusable(zone, text):
    """RFC 7672 §3.1.3, RFC 7671 §4.1: what cannot be used, alone and beside what can."""
    assert not usable(tlsa(text))
    found = facts(zone.tlsa(text))
    assert (found.state, found.records, found.base) == (DaneState.UNUSABLE, (), MX)
    assert text.split()[0] in found.text
    assert facts(zone.tlsa(text, EE)).records == (tlsa(EE),)


def test_whole_certificates(zone):
    """Data in many words, as zone files have them; a certificate that can be read."""
    from datetime import UTC, datetime

    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from mta.tls.selfsigned import self_signed

    certificate = x509.load_pem_x509_certificate(self_signed("x.example", datetime.now(UTC))[0])
    der = certificate.public_bytes(Encoding.DER)
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    words = " ".join(der.hex()[n : n + 128] for n in range(0, len(der) * 2, 128))
    assert tlsa(f"2 0 0 {words}") == Tlsa(2, 0, 0, der)
    assert usable(Tlsa(2, 0, 0, der))
    assert usable(Tlsa(3, 1, 0, key))
    assert not usable(Tlsa(3, 1, 0, der))


def test_digest_agility():
    """RFC 7671 §9: of one usage and selector the strongest digest counts, and what is whole."""
    weak, strong = Tlsa(3, 1, 1, b"\1" * 32), Tlsa(3, 1, 2, b"\2" * 64)
    other, whole = Tlsa(3, 0, 1, b"\3" * 32), Tlsa(3, 1, 0, b"key")
    roll_over = Tlsa(3, 1, 2, b"\4" * 64)
    kept = strongest([weak, strong, other, whole, roll_over, strong])
    assert set(kept) == {strong, other, whole, roll_over}
    assert kept == strongest([roll_over, whole, other, strong, weak])


def test_findings_are_kept_for_their_time(zone):
    """Another message to the host asks nothing; a failure is asked about again."""
    clock = Clock()
    lookup = DaneLookup(zone.tlsa(EE), clock.seconds)
    for now, asked in ((0, 3), (29, 3), (31, 6)):
        clock.advance(now - clock.seconds())
        assert result(lookup.facts(MX, 25)).state is DaneState.USABLE
        assert len(zone.asked) == asked
    zone.fails(f"_26._tcp.{MX}", "TLSA")
    for _ in range(2):
        assert result(lookup.facts(MX, 26)).state is DaneState.FAILED


def test_off(zone):
    """A resolver that is not believed is not asked."""
    found = facts(zone, off=lambda: "no AD bit")
    assert (found.state, found.text, zone.asked) == (DaneState.OFF, "no AD bit", [])


class Test_validation:
    """Does the resolver do what is said of it?"""

    @pytest.fixture
    def zone(self):
        zone = Zone()
        zone.put(".", "SOA", "a b 1 2 3 4 5").put("plain.test", "SOA", "a", signed=False)
        return zone.fails("bogus.test", "SOA")

    @pytest.fixture
    def test(self, zone):
        self.told = []
        self.clock = Clock()
        probes = Probes(unsigned="plain.test", bogus="bogus.test")
        return Validation(self.clock, zone, probes, 600.0, self.told.append)

    def test_good(self, test):
        """Nothing is told while all is as it should be, and it is asked again in time."""
        test.start()
        assert (test.state, self.told) == (State(), [])
        self.clock.advance(600)
        assert len(test._resolver.asked) == 6
        test.stop()
        assert self.clock.getDelayedCalls() == []

    @pytest.mark.parametrize(
        ("name", "signed", "words"),
        [
            (".", False, "does not say that ., which is signed, is authentic"),
            ("plain.test", True, "says that plain.test, which is not signed, is authentic"),
            ("bogus.test", False, "answers for bogus.test, whose signatures are wrong"),
        ],
    )
    def test_given_away(self, test, zone, name, signed, words):
        """One wrong answer is enough; it is told once, and once that it is over."""
        good = zone.table[name, "SOA"]
        zone.put(name, "SOA", "x", signed=signed)
        test.start()
        self.clock.advance(60)
        (state,) = self.told
        assert words in state.off
        assert (state.level, state.alarm.startswith("DANE is off: ")) == ("error", True)
        zone.table[name, "SOA"] = good
        self.clock.advance(60)
        assert self.told[1:] == [State()]

    def test_attack_silence_switches_nothing_off(self, test, zone):
        """Attack: who makes the tests fail does not switch DANE off; there is an alarm."""
        zone.fails(".", "SOA").fails("plain.test", "SOA")
        test.start()
        (state,) = self.told
        assert (state.off, state.level) == ("", "warning")
        assert "SERVFAIL" in state.alarm

    def test_silence_does_not_switch_on_either(self, test, zone):
        """What has been given away holds until the signed name is authentic again."""
        zone.put(".", "SOA", "x", signed=False)
        test.start()
        zone.fails(".", "SOA")
        self.clock.advance(60)
        assert test.state.off == self.told[0].off != ""


def test_the_digest_of_nothing_is_a_digest():
    """The lengths that are asked for are those of the digests."""
    assert usable(Tlsa(3, 1, 1, hashlib.sha256().digest()))
    assert usable(Tlsa(3, 1, 2, hashlib.sha512().digest()))


def test_bogus_is_not_kept_for_long(net, resolver):
    """RFC 9520 §3.2: what was bogus for hours is seen to be mended within five minutes."""
    zone = {MX: [("A", "192.0.2.1")]}
    lookup = DaneLookup(resolver(attempts=1), net.seconds)

    def state():
        found = []
        Deferred.fromCoroutine(lookup.facts(MX, 25)).addBoth(found.append)
        net.run()
        return found[0].state

    server = net.serve(zone, manners={MX: Manner(rcode="SERVFAIL")})
    for _ in range(3600):
        assert state() is DaneState.FAILED
        net.advance(2)
    assert len(server.asked) < 2 * (9 + 7200 / MOST_S + 2)
    net.serve(zone)
    mended_s = net.seconds()
    while state() is DaneState.FAILED:
        net.advance(1)
    assert net.seconds() - mended_s <= MOST_S
    assert state() is DaneState.INSECURE
