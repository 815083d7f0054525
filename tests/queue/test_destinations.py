"""Windows, health, shares and turns of destinations."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.mail.outcome import Blame, Outcome, Verdict
from mta.queue.destinations import Destinations, Health, Limits, health


@dataclass(eq=False)
class Item:
    destination: str
    weight: int = 1
    urgency: int = 0


def fill(destinations, key, count, now_s=0.0):
    for _ in range(count):
        assert destinations.admit(Item(key), now_s, key) is None


def take(destinations):
    items = []
    while (item := destinations.next(0.0)) is not None:
        items.append(item)
    return items


def test_slow_start_widens_the_window_up_to_its_bound():
    """Five at first, one more for each success, never more than twenty."""
    destinations = Destinations(Limits())
    fill(destinations, "a", 500)
    running = take(destinations)
    assert len(running) == 5
    for expected in range(6, 40):
        destinations.finished(running.pop(0), Health.GOOD, 0.0)
        running += take(destinations)
        assert len(running) == min(expected, 20)


def test_faults_halve_the_window():
    """A site in trouble gets less to do."""
    destinations = Destinations(Limits(initial=8, dead_after=99))
    fill(destinations, "a", 50)
    running = take(destinations)
    for expected in (4, 2, 1, 1):
        destinations.finished(running.pop(), Health.BAD, 0.0)
        assert destinations.get("a").window == expected


def test_unknown_outcomes_change_nothing():
    """A local fault says nothing about the site."""
    destinations = Destinations(Limits())
    fill(destinations, "a", 9)
    for item in take(destinations):
        destinations.finished(item, Health.UNKNOWN, 0.0)
    assert destinations.get("a").window == 5
    assert len(take(destinations)) == 4


def test_a_dead_destination_returns_its_mail_and_refuses_more():
    """After five faults in a row everything that waits goes back, for one minute."""
    destinations = Destinations(Limits())
    fill(destinations, "a", 9)
    running = take(destinations)
    for item in running[:4]:
        assert destinations.finished(item, Health.BAD, 10.0, "refused") == ([], None)
    drained, put_off = destinations.finished(running[4], Health.BAD, 10.0, "refused")
    assert len(drained) == 4
    assert (put_off.wait_s, put_off.why) == (60.0, "refused")
    put_off = destinations.admit(Item("a"), 30.0, "a")
    assert (put_off.wait_s, put_off.why) == (40.0, "refused")
    assert destinations.admit(Item("a"), 70.0, "a") is None


def test_a_success_between_faults_keeps_it_alive():
    """Only faults in a row kill."""
    destinations = Destinations(Limits())
    for _ in range(10):
        for state in (Health.BAD,) * 4 + (Health.GOOD,):
            fill(destinations, "a", 1)
            destinations.finished(destinations.next(0.0), state, 0.0)
    assert not destinations.get("a").dead(0.0)


def test_deaths_grow_longer_and_are_bounded():
    """One probe after each death; 60, 120, 240, 480, 900, 900 seconds."""
    destinations = Destinations(Limits(dead_after=1))
    now_s, waits = 0.0, []
    for _ in range(6):
        fill(destinations, "a", 1, now_s)
        _, put_off = destinations.finished(destinations.next(0.0), Health.BAD, now_s)
        waits.append(put_off.wait_s)
        now_s += put_off.wait_s
    assert waits == [60, 120, 240, 480, 900, 900]


def test_one_probe_goes_first_and_revives():
    """When its time is over a dead site gets one delivery; a success opens the window again."""
    destinations = Destinations(Limits())
    fill(destinations, "a", 5)
    for item in take(destinations):
        destinations.finished(item, Health.BAD, 0.0)
    fill(destinations, "a", 10, 60.0)
    (probe,) = take(destinations)
    destinations.finished(probe, Health.GOOD, 60.0)
    assert len(take(destinations)) == 2


def test_late_faults_of_a_dead_site_do_not_prolong_its_death():
    """Twenty deliveries that were under way when it died are one death, not four."""
    destinations = Destinations(Limits(initial=20))
    fill(destinations, "a", 20)
    for item in take(destinations):
        destinations.finished(item, Health.BAD, 0.0)
    assert destinations.get("a").dead_until_s == 60.0


def test_destinations_take_turns():
    """A long queue for one destination does not come before a short one for another."""
    destinations = Destinations(Limits())
    fill(destinations, "a", 100)
    fill(destinations, "b", 2)
    fill(destinations, "c", 2)
    order = [item.destination for item in take(destinations)]
    assert sorted(order[:3]) == ["a", "b", "c"]
    assert sorted(order[3:6]) == ["a", "b", "c"]
    assert order[6:] == ["a", "a", "a"]


def test_slow_destinations_cannot_use_up_all_places():
    """Thirty destinations that never answer leave places for the next one."""
    destinations = Destinations(Limits(initial=20, total=200))
    for number in range(30):
        fill(destinations, f"slow{number}", 50)
    held = take(destinations)
    assert len(held) < 200
    fill(destinations, "new", 1)
    assert destinations.next(0.0).destination == "new"


def test_hundreds_that_hang_do_not_stop_the_others():
    """Peers that take minutes for each step use up all places for ten seconds, not for minutes."""
    destinations = Destinations(Limits(total=200))
    for number in range(250):
        fill(destinations, f"tarpit{number}", 1)
    assert len(take(destinations)) == 200
    fill(destinations, "good", 5, 9.0)
    assert destinations.next(9.9) is None
    begun = []
    while (item := destinations.next(10.0)) is not None:
        begun.append(item.destination)
    assert begun.count("good") == 5
    assert len(begun) == 55


def test_deliveries_that_last_are_bounded_too():
    """However many peers hang, four times ``total`` hang beside the places, and no more."""
    destinations = Destinations(Limits(total=10))
    running = []
    for number in range(100):
        fill(destinations, f"tarpit{number}", 1)
    for turn in range(20):
        while (item := destinations.next(turn * 10.0)) is not None:
            running.append(item)
    assert len(running) == 50
    for item in running:
        destinations.finished(item, Health.BAD, 200.0)
    assert destinations.running == 0
    for turn in range(20):
        while destinations.next(200.0 + turn * 10.0) is not None:
            pass
    assert destinations.running == 10


def test_the_total_is_never_exceeded():
    """Not even with more destinations than places."""
    destinations = Destinations(Limits(total=10))
    for number in range(50):
        fill(destinations, f"d{number}", 2)
    assert len(take(destinations)) == 10


def test_a_full_destination_puts_off_and_names_its_domains():
    """Beyond its share mail goes back, and its domain is not wanted until half is free."""
    destinations = Destinations(Limits(share=10, initial=20))
    for _ in range(10):
        assert destinations.admit(Item("smarthost:x"), 0.0, "one.example") is None
    assert destinations.saturated() == []
    assert destinations.admit(Item("smarthost:x"), 0.0, "two.example").wait_s == 0.0
    assert destinations.saturated() == ["two.example"]
    running = take(destinations)
    for item in running[:4]:
        destinations.finished(item, Health.GOOD, 1.0)
    assert destinations.saturated() == ["two.example"]
    destinations.finished(running[4], Health.GOOD, 1.0)
    assert destinations.saturated() == []
    assert destinations.relieved


def test_domains_beyond_memory_wait_as_long_as_the_site_needs():
    """A smarthost with thousands of domains: what cannot be named is put off by its speed."""
    destinations = Destinations(Limits(share=100, initial=20, concurrency=20))
    fill(destinations, "smarthost:x", 100)
    for number in range(500):
        destinations.admit(Item("smarthost:x"), 0.0, f"d{number}.example")
    assert len(destinations.saturated()) == 500
    assert destinations.admit(Item("smarthost:x"), 0.0, "next.example").wait_s == 30.0
    running = take(destinations)
    for item in running:
        destinations.finished(item, Health.GOOD, 10.0)
    fill(destinations, "smarthost:x", 20, 10.0)
    # 20 in 10 s: half of the 100 need 25 s
    assert destinations.admit(Item("smarthost:x"), 10.0, "next.example").wait_s == 25.0


def test_an_item_above_the_share_is_admitted_alone():
    """A message with more recipients than the share is delivered all the same."""
    destinations = Destinations(Limits(share=10))
    assert destinations.admit(Item("a", 500), 0.0, "a") is None
    assert destinations.admit(Item("a", 1), 0.0, "a") is not None


def test_withdrawn_items_are_gone():
    """What is withdrawn does not get a turn, and its share is free again."""
    destinations = Destinations(Limits(share=4))
    fill(destinations, "a", 4)
    destinations.next(0.0)
    assert len(destinations.withdraw(lambda item: True)) == 3
    assert destinations.next(0.0) is None
    fill(destinations, "a", 3)


def test_idle_destinations_are_forgotten_but_not_the_dead():
    """Memory is bounded by what was dialled of late."""
    destinations = Destinations(Limits(dead_after=1))
    for key, state in (("good", Health.GOOD), ("dead", Health.BAD)):
        fill(destinations, key, 1)
        destinations.finished(destinations.next(0.0), state, 0.0)
    fill(destinations, "busy", 1)
    destinations.tidy(100.0)
    assert len(destinations) == 2
    assert destinations.get("good") is None
    destinations.tidy(4000.0)
    assert destinations.get("dead") is None
    assert destinations.next(0.0).destination == "busy"


def test_a_queue_of_dead_domains_does_not_fill_the_memory():
    """A million domains whose DNS fails, each tried once: what is remembered is bounded."""
    destinations = Destinations(Limits())
    for number in range(21_000):
        item = Item(f"random{number}")
        destinations.admit(item, number / 1000, item.destination)
        destinations.finished(destinations.next(number / 1000), Health.BAD, number / 1000)
    destinations.tidy(22.0)
    assert len(destinations) == 20_000
    assert destinations.get("random0") is None
    assert destinations.get("random20999") is not None


def outcome(verdict, blame):
    return Outcome(0, verdict, 0, "", "", "", blame)


@pytest.mark.parametrize(
    ("outcomes", "state"),
    [
        ([outcome(Verdict.DELIVERED, Blame.NONE)], Health.GOOD),
        ([outcome(Verdict.DEFERRED, Blame.RECIPIENT)], Health.GOOD),
        ([outcome(Verdict.FAILED, Blame.MESSAGE)], Health.GOOD),
        ([outcome(Verdict.DEFERRED, Blame.SITE)], Health.BAD),
        ([outcome(Verdict.FAILED, Blame.SITE)], Health.UNKNOWN),
        ([outcome(Verdict.DEFERRED, Blame.NONE)], Health.UNKNOWN),
        (
            [outcome(Verdict.DEFERRED, Blame.SITE), outcome(Verdict.DELIVERED, Blame.NONE)],
            Health.GOOD,
        ),
        (
            [outcome(Verdict.FAILED, Blame.RECIPIENT), outcome(Verdict.DEFERRED, Blame.SITE)],
            Health.BAD,
        ),
        ([], Health.UNKNOWN),
    ],
)
def test_only_the_sites_own_faults_count(outcomes, state):
    """The table of whom an attempt speaks about."""
    assert health(outcomes) is state


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["admit", "next", "end", "withdraw", "tidy"]),
            st.integers(0, 3),
            st.sampled_from(list(Health)),
        ),
        max_size=120,
    )
)
def test_nothing_is_lost_and_no_bound_is_broken(steps):
    """Model: every item admitted is waiting, running, returned or done, whatever happens."""
    limits = Limits(initial=2, concurrency=3, total=5, share=6, dead_after=2)
    destinations = Destinations(limits)
    waiting, running, now_s = set(), [], 0.0
    for verb, number, state in steps:
        now_s += 7.0
        if verb == "admit":
            item = Item(f"d{number}")
            if destinations.admit(item, now_s, item.destination) is None:
                waiting.add(item)
        elif verb == "next":
            item = destinations.next(now_s)
            if item is not None:
                waiting.remove(item)
                running.append(item)
        elif verb == "end" and running:
            item = running.pop(number % len(running))
            drained, _ = destinations.finished(item, state, now_s)
            waiting -= set(drained)
        elif verb == "withdraw":
            key = f"d{number}"
            waiting -= set(destinations.withdraw(lambda item, key=key: item.destination == key))
        else:
            destinations.tidy(now_s)
        assert destinations.running <= limits.total
        assert destinations.running <= len(running) <= 5 * limits.total
        for place in range(4):
            here = destinations.get(f"d{place}")
            if here is not None:
                assert here.running <= limits.concurrency
                assert here.load == len(here.ready) + here.running <= limits.share
                assert set(here.ready) == {i for i in waiting if i.destination == here.key}
    now_s += 10_000
    for _ in range(1000):
        item = destinations.next(now_s)
        if item is None and not running:
            break
        if item is not None:
            waiting.remove(item)
            running.append(item)
        else:
            destinations.finished(running.pop(), Health.GOOD, now_s)
    assert not waiting


def test_a_full_destination_takes_a_quarter_more_of_urgent_mail():
    """RFC 6710: bulk mail does not keep urgent mail out, and the reverse has an end."""
    destinations = Destinations(Limits(share=4))
    fill(destinations, "a", 4)
    assert destinations.admit(Item("a"), 0.0, "a") is not None
    assert (destinations.saturated(), destinations.saturated(urgent=True)) == (["a"], [])
    assert destinations.admit(Item("a", urgency=1), 0.0, "a") is None
    put_off = destinations.admit(Item("a", urgency=1), 0.0, "a")
    assert put_off is not None
    assert put_off.wait_s >= 1
    assert destinations.saturated(urgent=True) == ["a"]


def test_the_lower_classes_get_a_tenth_each():
    """Of a hundred deliveries while all classes wait, eighty are urgent and ten of each other."""
    destinations = Destinations(Limits(initial=1, concurrency=1, share=1000))
    for urgency in (-1, 0, 1):
        for _ in range(100):
            destinations.admit(Item("a", urgency=urgency), 0.0, "a")
    taken = []
    for _ in range(100):
        item = destinations.next(0.0)
        taken.append(item.urgency)
        destinations.finished(item, Health.GOOD, 0.0)
    assert (taken.count(1), taken.count(0), taken.count(-1)) == (80, 10, 10)
