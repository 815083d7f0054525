"""Counters across processes and restarts, on both databases."""

from twisted.internet.defer import fail

from mta.mail.events import Note
from mta.policy import brake
from mta.policy.limits import HOUR_MS, Bound, LimitRule, Limits, Measure, Per
from mta.policy.matching import Who
from mta.policy.rules import Policy
from mta.spool.errors import SpoolUnavailable


def limited(measure, amount, window=HOUR_MS, per=Per.LOGIN):
    """One limit."""
    return Policy(limits=Limits((LimitRule("l", per, Who(), (Bound(measure, window, amount),)),)))


def test_counters_across_two_processes_on_one_spool(process):
    """What a login sends through one process is missing at the other."""
    policy = limited(Measure.MESSAGES, 3)
    one, two = process(policy), process(policy)
    there, here = one.arrive("ann"), two.arrive("ann")
    assert [one.message(there), one.message(there)] == [None, None]
    one.exchange()
    two.exchange()
    assert two.message(here) is None
    assert two.message(here).code == 451
    two.exchange()
    one.exchange()
    assert there.mail("a@example.org").code == 451
    assert one.arrive("bob").mail("a@example.org") is None


def test_both_count_at_once(process):
    """What two have counted in the same second is added, not overwritten."""
    policy = limited(Measure.RECIPIENTS, 100)
    one, two = process(policy), process(policy)
    passages = [one.arrive("ann"), two.arrive("ann")]
    for _ in range(3):
        one.message(passages[0], 10)
        two.message(passages[1], 10)
        one.exchange()
        two.exchange()
    one.exchange()
    key = f"recipients/{HOUR_MS}:login:ann"
    for each in (one, two):
        assert each.gate.shared.counts.used(key, HOUR_MS, each.gate.now_ms()) == 60


def test_restart_keeps_counts(process):
    """A process that begins knows what was used before, from its first client on."""
    policy = limited(Measure.MESSAGES, 1)
    first = process(policy)
    first.message(first.arrive("ann"))
    first.stop()
    assert process(policy).arrive("ann").mail("a@example.org").code == 451


def test_restart_keeps_blocks(process):
    """Restarting the service does not give guessers another round."""
    first = process()
    client = first.arrive(address="203.0.113.66")
    for _ in range(10):
        client.login_failed("ann")
    first.stop()
    second = process()
    waiting = second.arrive(address="203.0.113.66").may_log_in("ann")
    answers = []
    from twisted.internet.defer import Deferred

    Deferred.fromCoroutine(waiting).addCallback(answers.append)
    second.clock.advance(8)
    assert answers[0].reason.startswith("blocked")


def test_sessions_across_processes(process):
    """Sessions at the same time are those of all processes, until one ends them or itself."""
    policy = limited(Measure.SESSIONS, 2, 0, Per.CLIENT)
    one, two = process(policy), process(policy)
    first, second = one.arrive(), one.arrive()
    assert (first.refusal, second.refusal) == (None, None)
    one.exchange()
    two.exchange()
    assert two.arrive().refusal.code == 421
    first.end()
    one.exchange()
    two.exchange()
    assert two.arrive().refusal is None
    one.stop()
    two.exchange()
    assert two.arrive().refusal is None


def test_spool_away(process):
    """While the spool is away counting goes on, nothing is lost, and one line says so."""
    policy = limited(Measure.MESSAGES, 2)
    one, two = process(policy), process(policy)
    real, one.gate.shared._store = one.gate.shared._store, Away()
    client = one.arrive("ann")
    one.message(client)
    one.exchange()
    one.exchange()
    one.message(client)
    assert client.mail("a@example.org").code == 451
    one.gate.shared._store = real
    one.exchange()
    two.exchange()
    assert two.arrive("ann").mail("a@example.org").code == 451
    assert [event.level for event in one.events if isinstance(event, Note)] == ["warning", "info"]


class Away:
    """A spool that is not there."""

    def write(self, fn, *args):
        return fail(SpoolUnavailable("away"))

    read = write


def test_not_accepted_is_taken_back(process):
    """A message that was not stored after all is not counted anywhere."""
    policy = limited(Measure.MESSAGES, 1)
    one = process(policy)
    client = one.arrive("ann")
    one.message(client)
    one.exchange()
    client.not_accepted()
    one.exchange()
    assert process(policy).arrive("ann").mail("a@example.org") is None


def test_old_windows_are_forgotten(process):
    """Memory holds what counts, no more."""
    one = process(limited(Measure.MESSAGES, 9))
    one.message(one.arrive("ann"))
    one.exchange()
    counts = one.gate.shared.counts
    counts.tidy(one.gate.now_ms())
    assert len(counts._windows) > 0
    counts.tidy(one.gate.now_ms() + 90 * 24 * HOUR_MS)
    assert counts._windows == {}
    assert brake.PREFIX == "brake:"
