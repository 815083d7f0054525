"""Mail from two of our addresses to one site: what is shared, and what each has for itself."""

from dataclasses import dataclass
from ipaddress import ip_network

import pytest

from mta.causes.pattern import Pattern
from mta.causes.rules import Action, Rules
from mta.causes.rules import Rule as CauseRule
from mta.mail.cause import Cause
from mta.mail.envelope import Envelope, MemoryBody, Recipient
from mta.mail.outcome import Outcome, Peer, Verdict
from mta.mail.queue_id import new_queue_id
from mta.mail.restraint import Restraint
from mta.mail.shape import Shape
from mta.mail.site import Site
from mta.queue.entry import entries
from mta.queue.limits import Limits
from mta.queue.sites import Sites
from mta.shaping.rules import Rule, Shaping
from mta.spool import restraints, site_states, watching
from mta.spool.engine import reading, writing

FIRST, SECOND = "127.0.0.2", "127.0.0.3"
SITE = Site("site:mx.there.example", "mx.there.example", ("mx.there.example",))


class Names:
    """Every domain is at the same site, which is shaped."""

    def __init__(self, **shape):
        self.shaping = Shaping(
            (Rule("warm", Shape(**shape), sources=(ip_network(f"{FIRST}/32"),)),)
        )

    def known(self, destination):
        return self.shaping.site(SITE)

    alone = known

    def sourced(self, destination, sources):
        return self.shaping.site(SITE, "", tuple(one for one in sources if one))


def by_sender(sender, domain, chosen, message_id):
    return ({"a": FIRST, "b": SECOND}.get(sender[:1], ""),)


def working(stage, **shape):
    scheduler = stage.scheduler(names=Names(**shape))
    scheduler.restraints.use_sources(by_sender, shaped=True)
    return scheduler


def send(stage, scheduler, sender, count):
    return [stage.accept(scheduler, f"u{n}@there.example", sender=sender) for n in range(count)]


def begun(stage):
    """Return how many deliveries have begun of each sender, and these."""
    taken = stage.take()
    return [one.job.envelope.sender[0] for one in taken], taken


def test_a_window_for_the_address_that_is_spoken_about(stage):
    """Its connections are its own, and use up none of what the other addresses share."""
    scheduler = working(stage, connections=2)
    send(stage, scheduler, "a@example.org", 6)
    send(stage, scheduler, "b@example.org", 6)
    send(stage, scheduler, "c@example.org", 6)
    senders, _ = begun(stage)
    assert senders.count("a") == 2
    assert senders.count("b") + senders.count("c") == 5  # one window for all who share


def test_a_rate_for_the_address_that_is_spoken_about(stage):
    """It is kept to over a minute, and holds up nobody else."""
    scheduler = working(stage, messages_per_minute=3)
    send(stage, scheduler, "a@example.org", 10)
    send(stage, scheduler, "b@example.org", 10)
    senders = []
    for _ in range(50):
        some, taken = begun(stage)
        senders += some
        for one in taken:
            one.delivers()
        stage.advance(1)
    assert (senders.count("a"), senders.count("b")) == (3, 10)


def test_a_back_off_for_the_address_that_is_spoken_about(stage):
    """A host that hangs up on one address is left alone by that one."""
    scheduler = working(stage, connections=20)
    send(stage, scheduler, "a@example.org", 5)
    for one in stage.take():
        one.site_fails()
    send(stage, scheduler, "a@example.org", 1)
    assert stage.take() == []
    send(stage, scheduler, "b@example.org", 1)
    stage.one().delivers()


def test_who_looks_sees_the_address(stage):
    """``mta queue sites`` and ``mta top`` are told which of the site's queues is which."""
    scheduler = working(stage, connections=2)
    with writing(stage.database.engine) as conn:
        watching.watch(conn, stage.now_ms() + 60_000)
    send(stage, scheduler, "a@example.org", 3)
    send(stage, scheduler, "b@example.org", 1)
    for _ in range(11):
        stage.advance(1)
    with reading(stage.database.engine) as conn:
        (published,) = site_states.everywhere(conn, stage.now_ms())
        (report,) = watching.reports(conn, stage.now_ms()).values()
    found = {(one.name, one.sources, one.running, one.window) for one in published.sites}
    assert found == {("mx.there.example", (FIRST,), 2, 2), ("mx.there.example", (), 1, 5)}
    assert sorted(one["sources"] for one in report["sites"]) == [[], [FIRST]]


@pytest.mark.parametrize("configured", [False, True])
def test_where_nothing_is_said_of_any_address_nobody_is_asked(stage, configured):
    """The main road knows nothing of addresses: one queue, and no question for each message."""
    asked = []

    def sources(*what):
        asked.append(what)
        return (FIRST,)

    scheduler = stage.scheduler(names=Names(connections=1))
    scheduler.restraints.use_sources(sources if configured else None, shaped=not configured)
    send(stage, scheduler, "a@example.org", 3)
    assert len(stage.take()) == 3
    assert asked == []


@dataclass(eq=False)
class Item:
    """What waits for the site, from one of our addresses or from any."""

    sources: tuple[str, ...] = ()
    weight = 1
    urgency = 0
    owner = ""
    destination = "mx:there.example"

    @property
    def site(self):
        return SITE.reached_from(self.sources) if self.sources else SITE


def test_a_full_queue_of_one_address_does_not_keep_the_others_mail_from_being_read():
    """Attack: a backlog of a slow address.  Its domain is not named to the spool as unwanted."""
    sites = Sites(Limits(share=4))
    for _ in range(4):
        assert sites.admit(Item(), 0.0, "there.example") is None
    assert sites.admit(Item(), 0.0, "there.example") is not None
    assert sites.saturated() == ["there.example"]  # as long as there is one queue
    for _ in range(4):
        assert sites.admit(Item((FIRST,)), 0.0, "there.example") is None
    assert (sites.saturated(), sites.relieved) == ([], True)
    for sources in ((FIRST,), ()):
        put_off = sites.admit(Item(sources), 1.0, "there.example")
        assert put_off.wait_s >= 1
    assert sites.saturated() == []
    sites.withdraw(lambda item: bool(item.sources))
    sites.tidy(5000.0)
    sites.admit(Item(), 5000.0, "there.example")
    assert sites.saturated() == ["there.example"]


def test_recipients_by_two_routes_are_two_deliveries():
    """Two routes that lead to one place may go out from two addresses."""
    now = 1_750_000_000_000
    envelope = Envelope(new_queue_id(now), "a@example.org", 1, now, now)
    people = tuple(
        Recipient(n, f"u{n}@there.example", "there.example", 1, route=route)
        for n, route in enumerate(("", "bulk", ""))
    )
    made = entries(envelope, people, MemoryBody((b"x",)), "t", lambda *_: "mx:there.example")
    assert [[one.number for one in entry.job.recipients] for entry in made] == [[0, 2], [1]]
    assert made[0].charge.entries == 2


def throttling(stage, verb, sources, *, shaped=False):
    """Return a scheduler whose rules act upon the first reply."""
    action = Action(verb, 600.0, 1, 600.0)
    rule = CauseRule("mine", Cause.RATE_LIMITED, (Pattern("rate limit"),), action=action)
    names = Names(connections=3)
    scheduler = stage.scheduler(names=names, causes=Rules((rule,)))
    scheduler.restraints.use_sources(sources, shaped=shaped)
    return scheduler


def refused(stage, source):
    """Let the one delivery under way be refused; the connection came from ``source``."""
    peer = Peer("mx.there.example", "198.51.100.1", source=source)
    reply = (421, "4.7.28", "rate limit", "RCPT")
    stage.one().ends(Outcome(0, Verdict.DEFERRED, *reply, peer=peer))
    stage.advance(1)
    with reading(stage.database.engine) as conn:
        (row,) = restraints.holding(conn, stage.now_ms())
    return row


def got(stage, scheduler, sender, count=4):
    """Return how many of so many messages are begun within a moment."""
    send(stage, scheduler, sender, count)
    taken = stage.take()
    for one in taken:
        one.delivers()
    return len(taken)


@pytest.mark.parametrize(("verb", "left"), [("suspend", 0), ("slow", 1)])
@pytest.mark.parametrize("shaped", [False, True])
def test_a_throttle_meets_one_address_at_one_site(stage, verb, left, shaped):
    """Of three lots of mail to a site only that from the address that was refused is held."""
    scheduler = throttling(stage, verb, by_sender, shaped=shaped)
    send(stage, scheduler, "a@example.org", 1)
    row = refused(stage, FIRST)
    assert (row.verb, row.site_key, row.name, row.source) == (
        verb, SITE.key, "mx.there.example", FIRST,
    )  # fmt: skip
    assert got(stage, scheduler, "a@example.org") == left
    assert got(stage, scheduler, "b@example.org") == 4
    assert got(stage, scheduler, "c@example.org") == 4


@pytest.mark.parametrize(("verb", "left"), [("suspend", 0), ("slow", 1)])
def test_a_throttle_of_the_systems_address_meets_no_other(stage, verb, left):
    """A route without a source was refused: routes that have one of their own are not held."""
    scheduler = throttling(stage, verb, by_sender)
    send(stage, scheduler, "c@example.org", 1)
    assert refused(stage, "198.51.100.77").source == ""
    assert got(stage, scheduler, "c@example.org") == left
    assert got(stage, scheduler, "b@example.org") == 4


PAIRS = {"a": ("192.0.2.1", "2001:db8::1"), "b": ("192.0.2.2", "2001:db8::2")}


def paired(sender, *_):
    return PAIRS[sender[0]]


def test_mail_that_may_go_out_from_two_addresses_is_slowed_down_by_either(stage):
    """Which family it would be is not known before somebody is dialled."""
    scheduler = throttling(stage, "slow", paired)
    send(stage, scheduler, "a@example.org", 1)
    assert refused(stage, "2001:db8::1").source == "2001:db8::1"
    assert got(stage, scheduler, "a@example.org") == 1
    assert got(stage, scheduler, "b@example.org") == 4


def test_where_one_of_two_addresses_is_suspended_mail_goes_out_from_the_other(stage):
    """The attempt is told from which address nobody is to be dialled; both suspended, it waits."""
    scheduler = throttling(stage, "suspend", paired)
    send(stage, scheduler, "a@example.org", 1)
    refused(stage, "2001:db8::1")
    send(stage, scheduler, "a@example.org", 1)
    send(stage, scheduler, "b@example.org", 1)
    begun = stage.take()
    first, second = (one.job for one in begun)
    assert (first.envelope.sender[0], first.suspended) == ("a", {"2001:db8::1"})
    assert (second.envelope.sender[0], second.suspended) == ("b", frozenset())
    for one in begun:
        one.delivers()
    by_hand(stage, "source", "192.0.2.1", "192.0.2.1")
    assert got(stage, scheduler, "a@example.org") == 0
    assert got(stage, scheduler, "b@example.org") == 4


def by_hand(stage, scope, name, source):
    """Suspend as an operator does; the scheduler hears of it."""
    made = Restraint(0, "suspend", scope, name, "why", stage.now_ms(), source=source)
    with writing(stage.database.engine) as conn:
        made = restraints.suspend(conn, made)
    stage.advance(1)
    return made


def barred(attempt):
    """End an attempt as delivery does whose hosts have no address of the family that is left."""
    attempt.ends(
        *(
            Outcome(one.number, Verdict.DEFERRED, 0, "4.3.2", "closed", "connect", barred=True)
            for one in attempt.job.recipients
        )
    )


def test_a_host_without_the_other_family_is_waited_for(any_stage):
    """Uncounted, without growing old, and until the suspension is ended: then at once."""
    stage = any_stage
    scheduler = throttling(stage, "suspend", paired)
    made = by_hand(stage, "source", "192.0.2.1", "192.0.2.1")
    (message,) = send(stage, scheduler, "a@example.org", 1)
    barred(stage.one())
    stage.advance(1)
    (row,) = stage.rows(message)
    assert (row.restraint, row.attempts, row.claim) == (made.id, 0, None)
    stage.advance(3600)
    assert stage.take() == []
    with writing(stage.database.engine) as conn:
        assert restraints.end(conn, [made.id], "ann", stage.now_ms()) == 1
    stage.advance(1)
    stage.advance(1)
    assert stage.one().job.suspended == frozenset()


def test_either_of_two_suspensions_that_ends_lets_mail_go(stage):
    """Mail that waits for one address of two can go out from the other one."""
    scheduler = throttling(stage, "suspend", paired)
    made = [by_hand(stage, "source", one, one) for one in PAIRS["a"]]
    send(stage, scheduler, "a@example.org", 1)
    stage.advance(1)
    for one in reversed(made):
        assert stage.take() == []
        with writing(stage.database.engine) as conn:
            restraints.end(conn, [one.id], "ann", stage.now_ms())
        stage.advance(1)
        stage.advance(1)
        assert len(stage.attempts) == 1
        barred(stage.one())
        stage.advance(1)


def test_a_failure_without_a_connection_is_the_configured_addresss(stage):
    """Nothing was dialled: what is decided is about whom the mail would have gone out from."""
    scheduler = throttling(stage, "suspend", by_sender)
    send(stage, scheduler, "b@example.org", 1)
    stage.one().ends(Outcome(0, Verdict.DEFERRED, 0, "4.4.3", "rate limit", "DNS"))
    stage.advance(1)
    assert got(stage, scheduler, "b@example.org") == 0
    assert got(stage, scheduler, "a@example.org") == 4


def test_a_slow_address_recovers_with_its_throttle(stage):
    """Revoked, what waits in its line goes on at once, and new mail shares with all again."""
    scheduler = throttling(stage, "slow", by_sender)
    send(stage, scheduler, "a@example.org", 1)
    row = refused(stage, FIRST)
    assert got(stage, scheduler, "a@example.org", 5) == 1
    with writing(stage.database.engine) as conn:
        restraints.end(conn, [row.id], "ann", stage.now_ms())
    stage.advance(1)
    stage.advance(0)
    assert len(stage.take()) == 4
