"""Windows, health, shares and turns of sites."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.mail.outcome import Blame, Outcome, Verdict
from mta.mail.site import Site
from mta.queue.health import Health, health
from mta.queue.limits import Limits
from mta.queue.sites import Sites


@dataclass(eq=False)
class Item:
    key: str
    weight: int = 1
    urgency: int = 0
    owner: str = ""
    destination: str = ""
    gathered: bool = False

    @property
    def site(self) -> Site:
        return Site(self.key, self.key, gathered=self.gathered)


def fill(sites, key, count, now_s=0.0):
    for _ in range(count):
        assert sites.admit(Item(key), now_s, key) is None


def take(sites):
    items = []
    while (item := sites.next(0.0)) is not None:
        items.append(item)
    return items


def test_slow_start_widens_the_window_up_to_its_bound():
    """Five at first, one more for each success, never more than twenty."""
    sites = Sites(Limits())
    fill(sites, "a", 500)
    running = take(sites)
    assert len(running) == 5
    for expected in range(6, 40):
        sites.finished(running.pop(0), Health.GOOD, 0.0)
        running += take(sites)
        assert len(running) == min(expected, 20)


def test_faults_halve_the_window():
    """A site in trouble gets less to do."""
    sites = Sites(Limits(initial=8, dead_after=99))
    fill(sites, "a", 50)
    running = take(sites)
    for expected in (4, 2, 1, 1):
        sites.finished(running.pop(), Health.BAD, 0.0)
        assert sites.get("a").window == expected


def test_unknown_outcomes_change_nothing():
    """A local fault says nothing about the site."""
    sites = Sites(Limits())
    fill(sites, "a", 9)
    for item in take(sites):
        sites.finished(item, Health.UNKNOWN, 0.0)
    assert sites.get("a").window == 5
    assert len(take(sites)) == 4


def test_a_dead_destination_returns_its_mail_and_refuses_more():
    """After five faults in a row everything that waits goes back, for one minute."""
    sites = Sites(Limits())
    fill(sites, "a", 9)
    running = take(sites)
    for item in running[:4]:
        assert sites.finished(item, Health.BAD, 10.0, "refused") == ([], None)
    drained, put_off = sites.finished(running[4], Health.BAD, 10.0, "refused")
    assert len(drained) == 4
    assert (put_off.wait_s, put_off.why) == (60.0, "refused")
    put_off = sites.admit(Item("a"), 30.0, "a")
    assert (put_off.wait_s, put_off.why) == (40.0, "refused")
    assert sites.admit(Item("a"), 70.0, "a") is None


def test_a_success_between_faults_keeps_it_alive():
    """Only faults in a row kill."""
    sites = Sites(Limits())
    for _ in range(10):
        for state in (Health.BAD,) * 4 + (Health.GOOD,):
            fill(sites, "a", 1)
            sites.finished(sites.next(0.0), state, 0.0)
    assert not sites.get("a").dead(0.0)


def test_deaths_grow_longer_and_are_bounded():
    """One probe after each death; 60, 120, 240, 480, 900, 900 seconds."""
    sites = Sites(Limits(dead_after=1))
    now_s, waits = 0.0, []
    for _ in range(6):
        fill(sites, "a", 1, now_s)
        _, put_off = sites.finished(sites.next(0.0), Health.BAD, now_s)
        waits.append(put_off.wait_s)
        now_s += put_off.wait_s
    assert waits == [60, 120, 240, 480, 900, 900]


def test_one_probe_goes_first_and_revives():
    """When its time is over a dead site gets one delivery; a success opens the window again."""
    sites = Sites(Limits())
    fill(sites, "a", 5)
    for item in take(sites):
        sites.finished(item, Health.BAD, 0.0)
    fill(sites, "a", 10, 60.0)
    (probe,) = take(sites)
    sites.finished(probe, Health.GOOD, 60.0)
    assert len(take(sites)) == 2


def test_late_faults_of_a_dead_site_do_not_prolong_its_death():
    """Twenty deliveries that were under way when it died are one death, not four."""
    sites = Sites(Limits(initial=20))
    fill(sites, "a", 20)
    for item in take(sites):
        sites.finished(item, Health.BAD, 0.0)
    assert sites.get("a").dead_until_s == 60.0


def test_sites_take_turns():
    """A long queue for one destination does not come before a short one for another."""
    sites = Sites(Limits())
    fill(sites, "a", 100)
    fill(sites, "b", 2)
    fill(sites, "c", 2)
    order = [item.key for item in take(sites)]
    assert sorted(order[:3]) == ["a", "b", "c"]
    assert sorted(order[3:6]) == ["a", "b", "c"]
    assert order[6:] == ["a", "a", "a"]


def test_slow_sites_cannot_use_up_all_places():
    """Thirty sites that never answer leave places for the next one."""
    sites = Sites(Limits(initial=20, total=200))
    for number in range(30):
        fill(sites, f"slow{number}", 50)
    held = take(sites)
    assert len(held) < 200
    fill(sites, "new", 1)
    assert sites.next(0.0).key == "new"


def test_hundreds_that_hang_do_not_stop_the_others():
    """Peers that take minutes for each step use up all places for seconds, not for minutes."""
    sites = Sites(Limits(total=200))
    for number in range(250):
        fill(sites, f"tarpit{number}", 1)
    assert len(take(sites)) == 200
    fill(sites, "good", 5, 2.0)
    assert sites.next(2.9) is None
    begun = []
    while (item := sites.next(3.0)) is not None:
        begun.append(item.key)
    assert begun.count("good") == 1  # and the rest when that has been answered
    assert len(begun) == 51


def test_deliveries_that_last_are_bounded_too():
    """However many peers hang, four times ``total`` hang beside the places, and no more."""
    sites = Sites(Limits(total=10))
    running = []
    for number in range(100):
        fill(sites, f"tarpit{number}", 1)
    for turn in range(20):
        while (item := sites.next(turn * 10.0)) is not None:
            running.append(item)
    assert len(running) == 48  # a fifth of the places is kept for those who answer
    for item in running:
        sites.finished(item, Health.BAD, 200.0)
    assert sites.running == 0
    for turn in range(20):
        while sites.next(200.0 + turn * 10.0) is not None:
            pass
    assert sites.running == 8


def answered(sites, key, count, now_s=0.0):
    """Let ``key`` be known as a site that answers, with ``count`` items waiting."""
    fill(sites, key, 1, now_s)
    sites.finished(sites.next(now_s), Health.GOOD, now_s)
    fill(sites, key, count, now_s)


def test_ten_thousand_silent_strangers_leave_places_to_those_who_answer():
    """Attack, or a bad list: more dead domains than can hang at once.  Who is known goes on."""
    sites = Sites(Limits(total=200))
    answered(sites, "good", 0)
    for number in range(10_000):
        fill(sites, f"silent{number}", 1)
    begun = 0
    for second in range(60):
        while sites.next(float(second)) is not None:
            begun += 1
    assert begun == 950
    fill(sites, "good", 5, 60.0)
    assert [item.key for item in take(sites)] == ["good"] * 5


def test_strangers_that_were_silent_once_come_after_new_ones():
    """What timed out before is tried again when nobody else wants the place."""
    sites = Sites(Limits(total=8))
    for number in range(10):
        fill(sites, f"silent{number}", 1)
        sites.finished(sites.next(0.0), Health.BAD, 0.0)
    for number in range(10):
        fill(sites, f"silent{number}", 1, 300.0)
    for number in range(5):
        fill(sites, f"new{number}", 1, 300.0)
    begun = [item.key for item in take(sites)]
    assert begun == [f"new{number}" for number in range(5)]
    sites.next(310.0)
    assert sites.next(310.0).key.startswith("silent")


def test_the_first_contact_goes_alone_when_places_are_few():
    """A stranger gets its window while strangers have less than a quarter of the places."""
    sites = Sites(Limits(total=20, initial=5))
    fill(sites, "stranger", 50)
    assert len(take(sites)) == 5
    fill(sites, "other", 50)
    assert [item.key for item in take(sites)] == ["other"]


def test_a_stranger_that_stays_silent_gets_nothing_more():
    """One question is enough: what waits behind it waits for its end, and takes no place."""
    sites = Sites(Limits(total=100, initial=2))
    fill(sites, "silent", 9)
    first, second = take(sites)
    sites.finished(first, Health.UNKNOWN, 1.0)
    assert sites.next(5.0) is None
    sites.finished(second, Health.BAD, 300.0)
    assert sites.next(300.0).key == "silent"


def run_to_the_end(good, silent, each, *, total=200, lasts_s=1.0):
    """Deliver ``each`` messages to each of so many sites; return when the good ones are done."""
    sites = Sites(Limits(total=total))
    order = [f"good{n}" for n in range(good)]
    for n in range(silent):  # spread evenly
        order.insert(n * len(order) // silent, f"silent{n}")
    for _ in range(each):
        for key in order:
            fill(sites, key, 1)
    now_s, left, running = 0.0, good * each, []
    while left:
        while (item := sites.next(now_s)) is not None:
            if item.key.startswith("good"):
                running.append((now_s + lasts_s, item))
        now_s = round(now_s + lasts_s / 10, 3)
        while running and running[0][0] <= now_s:
            sites.finished(running.pop(0)[1], Health.GOOD, now_s)
            left -= 1
        assert now_s < 10_000 * lasts_s
    return now_s


@pytest.mark.parametrize("lasts_s", [0.5, 1.0, 4.0])
def test_a_hundred_of_a_thousand_that_hang_slow_the_others_by_less_than_a_tenth(lasts_s):
    """Nine hundred sites are served within a tenth of the time that they need alone."""
    alone = run_to_the_end(900, 0, 10, lasts_s=lasts_s)
    beside = run_to_the_end(900, 100, 10, lasts_s=lasts_s)
    assert beside <= 1.1 * alone


def test_one_owners_flood_does_not_delay_anothers_message():
    """Owners take turns at a site: the first place that is free goes to whoever waited least."""
    sites = Sites(Limits())
    for _ in range(1000):
        assert sites.admit(Item("a", owner="bulk"), 0.0, "a") is None
    running = take(sites)
    sites.admit(Item("a", owner="ann"), 0.0, "a")
    sites.finished(running.pop(), Health.UNKNOWN, 0.0)
    assert sites.next(0.0).owner == "bulk"  # whose turn it was
    sites.finished(running.pop(), Health.UNKNOWN, 0.0)
    assert sites.next(0.0).owner == "ann"


def test_owners_share_a_site_evenly():
    """Three owners with 100, 10 and 10 messages: each has a third until the small ones are done."""
    sites = Sites(Limits(initial=1, concurrency=1))
    for owner, count in (("bulk", 100), ("ann", 10), ("bob", 10)):
        for _ in range(count):
            sites.admit(Item("a", owner=owner), 0.0, "a")
    taken = []
    for _ in range(30):
        taken.append(sites.next(0.0))
        sites.finished(taken[-1], Health.GOOD, 0.0)
    owners = [item.owner for item in taken]
    assert [owners.count(one) for one in ("bulk", "ann", "bob")] == [10, 10, 10]


def test_a_site_full_of_one_owners_mail_still_takes_a_guests():
    """Whoever has next to nothing at a site gets in when somebody else's bulk has filled it."""
    sites = Sites(Limits(share=100))
    for _ in range(100):
        assert sites.admit(Item("a", owner="bulk"), 0.0, "a") is None
    assert sites.admit(Item("a", owner="bulk"), 0.0, "a") is not None
    assert sites.admit(Item("a", owner="ann"), 0.0, "a") is None
    for number in range(24):
        assert sites.admit(Item("a", owner=f"guest{number}"), 0.0, "a") is None
    assert sites.admit(Item("a", owner="one too many"), 0.0, "a") is not None


def test_one_customers_trouble_is_not_the_providers():
    """A site gathered from many customers' hosts dies when two of them fail, not one."""
    sites = Sites(Limits(dead_after=5))
    for number in range(12):
        domain = "mx:one.example" if number < 10 else "mx:two.example"
        item = Item("p", gathered=True, destination=domain)
        assert sites.admit(item, 0.0, domain) is None
        sites.finished(sites.next(0.0), Health.BAD, 0.0)
        assert sites.get("p").dead(0.0) == (number >= 10)
        if number == 10:
            return


def test_a_dead_sites_queue_does_not_fill_the_memory():
    """On probation a site has little in memory, however much of it is due."""
    sites = Sites(Limits(dead_after=1))
    fill(sites, "a", 1)
    sites.finished(sites.next(0.0), Health.BAD, 0.0)
    admitted = sum(sites.admit(Item("a"), 61.0, f"d{n}") is None for n in range(5000))
    assert admitted == 100


def test_the_total_is_never_exceeded():
    """Not even with more sites than places."""
    sites = Sites(Limits(total=10))
    for number in range(50):
        fill(sites, f"d{number}", 2)
    assert len(take(sites)) == 10


def test_a_full_destination_puts_off_and_names_its_domains():
    """Beyond its share mail goes back, and its domain is not wanted until half is free."""
    sites = Sites(Limits(share=10, initial=20))
    for _ in range(10):
        assert sites.admit(Item("smarthost:x"), 0.0, "one.example") is None
    assert sites.saturated() == []
    assert sites.admit(Item("smarthost:x"), 0.0, "two.example").wait_s == 0.0
    assert sites.saturated() == ["two.example"]
    running = take(sites)
    for item in running[:4]:
        sites.finished(item, Health.GOOD, 1.0)
    assert sites.saturated() == ["two.example"]
    sites.finished(running[4], Health.GOOD, 1.0)
    assert sites.saturated() == []
    assert sites.relieved


def test_domains_beyond_memory_wait_as_long_as_the_site_needs():
    """A smarthost with thousands of domains: what cannot be named is put off by its speed."""
    sites = Sites(Limits(share=100, initial=20, concurrency=20))
    fill(sites, "smarthost:x", 100)
    for number in range(500):
        sites.admit(Item("smarthost:x"), 0.0, f"d{number}.example")
    assert len(sites.saturated()) == 500
    assert sites.admit(Item("smarthost:x"), 0.0, "next.example").wait_s == 30.0
    running = take(sites)
    for item in running:
        sites.finished(item, Health.GOOD, 10.0)
    fill(sites, "smarthost:x", 20, 10.0)
    # 20 in 10 s: half of the 100 need 25 s
    put_off = sites.admit(Item("smarthost:x"), 10.0, "next.example")
    assert put_off.wait_s == pytest.approx(25.0, abs=0.5)


def test_a_site_with_a_hundred_thousand_domains_gives_each_its_time():
    """What cannot be named is spread over the time that the site needs: not read over and over."""
    sites = Sites(Limits(share=100, initial=20, concurrency=20))
    fill(sites, "a", 100)
    for number in range(500):
        sites.admit(Item("a"), 0.0, f"named{number}")
    for item in take(sites):
        sites.finished(item, Health.GOOD, 1.0)
    fill(sites, "a", 20, 1.0)
    waits = [sites.admit(Item("a"), 1.0, f"d{number}").wait_s for number in range(20_000)]
    assert waits == sorted(waits)
    assert waits[0] == pytest.approx(2.5)  # half of the share, 20 a second
    assert waits[-1] == pytest.approx(502.5, abs=1)  # half of all, for the site may grow faster


def test_an_item_above_the_share_is_admitted_alone():
    """A message with more recipients than the share is delivered all the same."""
    sites = Sites(Limits(share=10))
    assert sites.admit(Item("a", 500), 0.0, "a") is None
    assert sites.admit(Item("a", 1), 0.0, "a") is not None


def test_withdrawn_items_are_gone():
    """What is withdrawn does not get a turn, and its share is free again."""
    sites = Sites(Limits(share=4))
    fill(sites, "a", 4)
    sites.next(0.0)
    assert len(sites.withdraw(lambda item: True)) == 3
    assert sites.next(0.0) is None
    fill(sites, "a", 3)


def test_idle_sites_are_forgotten_but_not_the_dead():
    """Memory is bounded by what was dialled of late."""
    sites = Sites(Limits(dead_after=1))
    for key, state in (("good", Health.GOOD), ("dead", Health.BAD)):
        fill(sites, key, 1)
        sites.finished(sites.next(0.0), state, 0.0)
    fill(sites, "busy", 1)
    sites.tidy(1000.0)
    assert len(sites) == 2
    assert sites.get("good") is None
    sites.tidy(4000.0)
    assert sites.get("dead") is None
    assert sites.next(0.0).key == "busy"


def test_a_queue_of_dead_domains_does_not_fill_the_memory():
    """A million domains whose DNS fails, each tried once: what is remembered is bounded."""
    sites = Sites(Limits())
    for number in range(21_000):
        item = Item(f"random{number}")
        sites.admit(item, number / 1000, item.key)
        sites.finished(sites.next(number / 1000), Health.BAD, number / 1000)
    sites.tidy(22.0)
    assert len(sites) == 20_000
    assert sites.get("random0") is None
    assert sites.get("random20999") is not None


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
    sites = Sites(limits)
    waiting, running, now_s = set(), [], 0.0
    for verb, number, state in steps:
        now_s += 7.0
        if verb == "admit":
            item = Item(f"d{number}")
            if sites.admit(item, now_s, item.key) is None:
                waiting.add(item)
        elif verb == "next":
            item = sites.next(now_s)
            if item is not None:
                waiting.remove(item)
                running.append(item)
        elif verb == "end" and running:
            item = running.pop(number % len(running))
            drained, _ = sites.finished(item, state, now_s)
            waiting -= set(drained)
        elif verb == "withdraw":
            key = f"d{number}"
            waiting -= set(sites.withdraw(lambda item, key=key: item.key == key))
        else:
            sites.tidy(now_s)
        assert sites.running <= limits.total
        assert sites.running <= len(running) <= 5 * limits.total
        for place in range(4):
            here = sites.get(f"d{place}")
            if here is not None:
                assert here.running <= limits.concurrency
                assert here.load == len(here.ready) + here.running <= limits.share
                assert set(here.ready) == {i for i in waiting if i.key == here.site.key}
    now_s += 10_000
    for _ in range(1000):
        item = sites.next(now_s)
        if item is None and not running:
            break
        if item is not None:
            waiting.remove(item)
            running.append(item)
        else:
            sites.finished(running.pop(), Health.GOOD, now_s)
    assert not waiting


def test_a_full_destination_takes_a_quarter_more_of_urgent_mail():
    """RFC 6710: bulk mail does not keep urgent mail out, and the reverse has an end."""
    sites = Sites(Limits(share=4))
    fill(sites, "a", 4)
    assert sites.admit(Item("a"), 0.0, "a") is not None
    assert (sites.saturated(), sites.saturated(urgent=True)) == (["a"], [])
    assert sites.admit(Item("a", urgency=1), 0.0, "a") is None
    put_off = sites.admit(Item("a", urgency=1), 0.0, "a")
    assert put_off is not None
    assert put_off.wait_s >= 1
    assert sites.saturated(urgent=True) == ["a"]


def test_the_lower_classes_get_a_tenth_each():
    """Of a hundred deliveries while all classes wait, eighty are urgent and ten of each other."""
    sites = Sites(Limits(initial=1, concurrency=1, share=1000))
    for urgency in (-1, 0, 1):
        for _ in range(100):
            sites.admit(Item("a", urgency=urgency), 0.0, "a")
    taken = []
    for _ in range(100):
        item = sites.next(0.0)
        taken.append(item.urgency)
        sites.finished(item, Health.GOOD, 0.0)
    assert (taken.count(1), taken.count(0), taken.count(-1)) == (80, 10, 10)
