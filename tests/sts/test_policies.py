"""Which policy is in force: found, kept, renewed, and what happens while that is not possible."""

from dataclasses import replace

import pytest

from mta.mail.security import Result
from mta.security.facts import StsMode
from mta.spool.errors import SpoolUnavailable
from mta.sts.policies import RETRY_S
from mta.sts.settings import StsSettings

DAY_S = 86_400.0


def test_first_contact(world):
    """The record is asked for, the policy fetched, kept for all, and said of each host."""
    world.publish()
    found = world.ask()
    assert (found.mode, found.matches) == (StsMode.ENFORCE, True)
    assert found.text == "MTA-STS policy of e.test (enforce, id 1, fetched 2027-01-15 08:00Z)"
    assert found.published.lines[:2] == ("version: STSv1", "mode: enforce")
    assert (found.published.domain, found.published.mx) == ("e.test", ("mx.e.test", "*.mail.test"))
    assert found.published.result is None
    assert not world.ask(host="other.test").matches
    assert world.spool.rows["e.test"].id == "1"
    assert (world.asked, world.web.fetches) == (["_mta-sts.e.test"], ["e.test"])


def test_no_record(world):
    """A domain without a record has no policy: one look-up, remembered, and nothing fetched."""
    assert world.ask() is None
    assert world.ask() is None
    assert (len(world.asked), world.web.fetches, world.spool.rows) == (1, [], {})
    world.clock.advance(601)
    world.publish()
    assert world.ask().mode is StsMode.ENFORCE


def test_another_process_shares_the_policy(world):
    """What one process has fetched the others do not fetch."""
    world.publish()
    world.ask()
    world.policies, _ = world.process()
    assert world.ask().matches
    assert world.web.fetches == ["e.test"]


def test_a_new_id_fetches_anew(world, policy):
    """RFC 8461 §3.1: another id is another policy, once the record's time is over."""
    world.publish()
    world.ask()
    world.publish(record="2", policy=policy("testing"))
    assert world.ask().mode is StsMode.ENFORCE
    world.clock.advance(301)
    world.ask()  # looks, and goes by what is in force
    assert world.ask().mode is StsMode.TESTING
    assert world.spool.rows["e.test"].id == "2"


def test_the_same_id_fetches_nothing(world):
    """A record that has not changed costs nobody anything."""
    world.publish()
    for _ in range(5):
        world.ask()
        world.clock.advance(301)
    assert world.web.fetches == ["e.test"]


@pytest.mark.parametrize("how", ["no record", "no answer", "two records", "no policy"])
def test_attack_a_policy_outlives_its_sources(world, how):
    """Attack: who can keep us from looking, by DNS or by HTTPS, must not end a policy (§3.3)."""
    world.publish()
    world.ask()
    if how == "no record":
        del world.ids["e.test"]
    elif how == "two records":
        world.ids["e.test"] = '1" "v=STSv1'  # makes a record that is no good
    elif how == "no answer":
        world.dns_away = True
    else:
        del world.web.policies["e.test"]
        world.ids["e.test"] = "2"
    for _ in range(20):
        world.clock.advance(DAY_S / 3)
        assert world.ask().mode is StsMode.ENFORCE
    world.clock.advance(DAY_S / 3)
    world.ask()
    after = world.ask()
    assert after is None or after.mode is StsMode.NONE


def test_attack_a_restart_does_not_forget(world):
    """Attack: DNS that is silenced just after a restart must not get mail in the clear."""
    world.publish()
    world.ask()
    world.policies, _ = world.process()
    world.dns_away = True
    assert world.ask().mode is StsMode.ENFORCE


def test_attack_a_spool_that_cannot_be_read(world):
    """Attack: as long as it is not known whether a policy is in force, mail does not go."""
    world.spool.away = True
    with pytest.raises(SpoolUnavailable):
        world.ask()


def test_a_failure_is_said_and_not_repeated(world):
    """RFC 8461 §3.3: five minutes or more between fetches that fail, for all processes."""
    world.ids["e.test"] = "1"
    found = world.ask()
    assert (found.mode, found.matches) == (StsMode.NONE, False)
    assert found.published.result is Result.STS_FETCH_ERROR
    assert (found.unknown, found.published.text) == ("mta-sts.e.test: 404", "mta-sts.e.test: 404")
    world.ids["e.test"] = "2"  # another id does not make us ask sooner
    world.policies, _ = world.process()
    world.clock.advance(RETRY_S - 1)
    assert world.ask().published.result is Result.STS_FETCH_ERROR
    assert world.web.fetches == ["e.test"]
    world.publish()
    world.clock.advance(1)
    assert world.ask().mode is StsMode.ENFORCE
    assert world.spool.rows["e.test"].failed_ms == 0


def test_a_failure_while_a_policy_is_in_force(world):
    """The operator hears of it once, reports hear of it, and the policy stays."""
    world.publish()
    world.ask()
    del world.web.policies["e.test"]
    world.ids["e.test"] = "2"
    for _ in range(4):
        world.clock.advance(RETRY_S + 1)
        world.ask()
    assert len(world.web.fetches) == 5
    assert [(note.level, note.part) for note in world.events] == [("warning", "sts")]
    assert "is in force until 2027-01-22 08:00Z" in world.events[0].text
    found = world.ask()
    assert (found.mode, found.published.result) == (StsMode.ENFORCE, Result.STS_FETCH_ERROR)


def test_none_takes_a_policy_away(world, policy):
    """RFC 8461 §8.3: the mode none, fetched, ends what was in force; its absence would not."""
    world.publish()
    world.ask()
    world.publish(record="2", policy=policy("none"))
    world.clock.advance(301)
    world.ask()
    found = world.ask()
    assert (found.mode, found.published) == (StsMode.NONE, None)


def test_one_fetch_for_all(world):
    """However many deliveries want to know, the policy host is asked once."""
    world.publish()
    world.web.slow = True
    waiting = [world.start() for _ in range(50)]
    assert (waiting[0], world.web.fetches) == ([], ["e.test"])
    world.web.answer()
    assert {found[0].mode for found in waiting} == {StsMode.ENFORCE}


def test_attack_a_slow_policy_host(world):
    """Attack: a policy host that answers late holds up mail once, a little, and nobody else's."""
    world.publish()
    world.web.slow = True
    first = world.start()
    world.web.policies["f.test"] = world.web.policies["e.test"]
    assert world.ask("g.test") is None  # another domain is not held up
    world.clock.advance(5)
    assert first == [None]  # RFC 8461 §3.3: as if there were no policy
    assert world.ask() is None  # and what follows does not wait again
    world.web.answer()
    assert world.ask().mode is StsMode.ENFORCE
    assert world.web.fetches == ["e.test"]


def test_who_leaves_does_not_end_the_look(world):
    """A delivery that is cancelled takes nothing with it."""
    from twisted.internet.defer import CancelledError, Deferred

    world.publish()
    world.web.slow = True
    work = Deferred.fromCoroutine(world.policies.facts("e.test", "mx.e.test"))
    work.addErrback(lambda failure: failure.trap(CancelledError))
    work.cancel()
    world.web.answer()
    assert world.spool.rows["e.test"].id == "1"


def test_certainty(world):
    """REQUIRETLS waits for the answer, and is told when there is none."""
    world.publish()
    world.web.slow = True
    found = world.start(certain=True)
    world.clock.advance(60)
    assert found == []
    world.clock.advance(30)
    assert "takes too long" in found[0].unknown
    world.dns_away = True
    unknown = world.ask("f.test", certain=True).unknown
    assert unknown.startswith("it cannot be known whether f.test has an MTA-STS policy")


def test_a_newer_policy_before_giving_up(world, policy):
    """RFC 8461 §5.1: when a policy stands in the way, it is found out whether there is another."""
    from twisted.internet.defer import Deferred

    def renewed():
        found = []
        work = Deferred.fromCoroutine(world.policies.renewed("e.test", used.published.lines))
        work.addBoth(found.append)
        return found[0]

    world.publish()
    used = world.ask()
    assert renewed() is False
    world.publish(record="2", policy=policy("enforce", 604_800, "new.e.test"))
    assert renewed() is True
    assert world.ask(host="new.e.test").matches


def test_renewal(world):
    """A policy is fetched anew each day, though its id is the same; then it lives on."""
    world.publish()
    world.ask()
    world.renewal.start()
    for _ in range(20):
        world.clock.pump([301.0] * 288)
        assert world.ask().mode is StsMode.ENFORCE
    world.renewal.stop()
    assert 18 <= len(world.web.fetches) <= 21
    assert world.spool.rows["e.test"].expires_ms > (world.wall_s() + 5 * DAY_S) * 1000


def test_attack_renewal_without_dns(world):
    """Attack: who silences the DNS for as long as a policy lives must not see it end."""
    world.publish()
    world.ask()
    world.renewal.start()
    world.dns_away = True
    world.clock.pump([301.0] * 288 * 10)
    assert world.ask().mode is StsMode.ENFORCE
    world.renewal.stop()


def test_renewal_of_what_nobody_uses(world):
    """A policy that no mail has needed for a month runs out."""
    world.publish()
    world.ask()
    row = world.spool.rows["e.test"]
    world.spool.rows["e.test"] = replace(row, used_ms=row.used_ms - 30 * 86_400_000)
    world.renewal.start()
    world.clock.pump([301.0] * 300)
    world.renewal.stop()
    assert world.web.fetches == ["e.test"]


def test_renewal_survives_the_spool(world):
    """A spool that is away costs a turn and no more."""
    world.publish()
    world.ask()
    world.renewal.start()
    world.spool.away = True
    world.clock.pump([301.0] * 300)
    world.spool.away = False
    world.clock.pump([301.0] * 2)
    world.renewal.stop()
    assert world.web.fetches == ["e.test"] * 2


def test_use_is_written_once_a_day(world):
    """That mail goes to a domain is known for renewal, and costs one write a day."""
    world.publish()
    for _ in range(50):
        world.ask()
        world.clock.advance(3600)
    assert world.spool.asked.count("used") == 2


def test_off(world):
    """Switched off, nobody asks."""
    world.policies.use(StsSettings(enabled=False), None)
    assert not world.policies.on
