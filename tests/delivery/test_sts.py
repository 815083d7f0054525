"""What MTA-STS means for deliveries: hosts left alone, mail that waits, policies replaced."""

import pytest

from mta.mail.outcome import Verdict
from mta.mail.security import Dane, DaneState, Published, Tlsa
from mta.security.facts import Sts, StsMode

LINES = ("version: STSv1", "mode: enforce")


class Known:
    """Answers for MTA-STS: hosts that the policy names, mode, and what a look would find."""

    def __init__(self, mode=StsMode.ENFORCE, names=("mx.test",), later=None):
        self.mode, self.names, self.later = mode, names, later
        self.on = True
        self.asked = []
        self.looked = 0

    async def facts(self, domain, host, *, certain=False):
        self.asked.append((domain, host, certain))
        published = Published("sts", domain, LINES, tuple(self.names))
        text = f"MTA-STS policy of {domain}"
        return Sts(self.mode, host in self.names, text, published=published)

    async def renewed(self, domain, lines):
        assert lines == LINES
        self.looked += 1
        if self.later is None:
            return False
        self.names, self.later = self.later, None
        return True


@pytest.fixture
def two(world):
    """Return two hosts of one domain, neither of which offers STARTTLS."""
    world.mx["there.test"] = ["mx.test", "mx2.test"]
    return world.host(), world.host("mx2.test", "192.0.2.2")


def use(world, **options):
    known = world.delivery._sts = Known(**options)
    return known


def only(outcomes):
    (outcome,) = outcomes
    return outcome


def test_attack_starttls_stripped(world, job, two):
    """Attack: who takes STARTTLS out of the answer to EHLO gets no mail, only a delay."""
    known = use(world, names=("mx.test", "mx2.test"))
    outcome = only(world.deliver(job(), within_s=1))
    assert (outcome.verdict, outcome.enhanced) == (Verdict.DEFERRED, "4.7.5")
    assert outcome.peer.tls.required == "sts"
    assert outcome.peer.tls.required_why == "MTA-STS policy of there.test"
    assert "MAIL" not in two[0].connections[0].commands + two[1].connections[0].commands
    assert known.looked == 1


def test_attack_mx_records_forged(world, job, two):
    """Attack: hosts that the policy does not name are not even dialled (RFC 8461 §4.1)."""
    use(world, names=("mx.real.test",))
    outcome = only(world.deliver(job(), within_s=1))
    assert (outcome.verdict, outcome.command) == (Verdict.DEFERRED, "TLS policy")
    assert outcome.text == "the host is not in the MTA-STS policy of there.test"
    assert two[0].connections == two[1].connections == []


def test_testing(world, job, two):
    """RFC 8461 §5: in testing mail goes, and what would have stopped it is written down."""
    known = use(world, mode=StsMode.TESTING, names=())
    outcome = only(world.deliver(job(), within_s=1))
    assert (outcome.verdict, outcome.peer.host) == (Verdict.DELIVERED, "mx.test")
    assert outcome.peer.tls.observed == (
        "would have left this host alone: the host is not in the MTA-STS policy of there.test;"
        " would have waited: STARTTLS is not offered"
    )
    assert known.looked == 0


def test_none(world, job, two):
    """RFC 8461 §5: with the mode none mail goes as if there were no policy."""
    use(world, mode=StsMode.NONE)
    outcome = only(world.deliver(job(), within_s=1))
    assert (outcome.verdict, outcome.peer.tls.required) == (Verdict.DELIVERED, "may")
    assert outcome.peer.tls.observed == ""


def test_a_policy_that_has_been_replaced(world, job, two):
    """RFC 8461 §5.1: before mail is given up, a newer policy is looked for, and followed."""
    known = use(world, names=(), later=("mx2.test",))
    outcome = only(world.deliver(job(), within_s=1))
    assert [host for _, host, _ in known.asked] == ["mx.test", "mx2.test"] * 2
    assert outcome.peer.host == "mx2.test"
    assert two[1].connections != []
    assert known.looked == 1


def test_who_asks(world, job, two):
    """Not asked: for a literal, for what we say ourselves, for TLS-Required: No; off: never."""
    known = use(world)
    world.host("[192.0.2.9]", "192.0.2.9")
    literal = job("b@[192.0.2.9]")
    assert only(world.deliver(literal, within_s=1)).verdict is Verdict.DELIVERED
    assert only(world.deliver(job(tls_not_required=True), within_s=1)).verdict is Verdict.DELIVERED
    assert known.asked == []
    world.deliver(job(require_tls=True), within_s=1)
    assert known.asked[0] == ("there.test", "mx.test", True)
    known.on, known.asked = False, []
    assert only(world.deliver(job(), within_s=1)).verdict is Verdict.DELIVERED
    assert known.asked == []


def test_the_spool_cannot_be_read(world, job, two):
    """Attack: not knowing whether a policy is in force is no reason to do without."""
    known = use(world)

    async def broken(domain, host, *, certain=False):
        raise OSError("away")

    known.facts = broken
    outcome = only(world.deliver(job(), within_s=1))
    assert (outcome.verdict, outcome.enhanced) == (Verdict.DEFERRED, "4.3.0")


def test_attack_forged_mx_records_with_dane_of_their_own(world, job, two):
    """Attack: the first host is a stranger's, in a signed zone; the policy names the second."""
    use(world, names=("mx2.test",))
    world.dane["mx.test"] = Dane(DaneState.USABLE, (Tlsa(3, 1, 1, b"\1" * 32),), "mx.test")
    world.deliver(job(), within_s=1)
    assert two[0].connections == []


def test_dane_goes_before(world, job, two):
    """A host with DANE is not asked about; the next one, without, is."""
    known = use(world, names=("mx2.test",))
    record = Tlsa(3, 1, 1, b"\1" * 32)
    world.dane["mx.test"] = Dane(DaneState.USABLE, (record,), "mx.test")
    world.signed = True
    world.deliver(job(), within_s=1)
    assert {host for _, host, _ in known.asked} == {"mx2.test"}
