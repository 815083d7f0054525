"""Rates: no stretch of time has more than it may, and a paced site holds up nobody."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.mail.shape import Shape
from mta.mail.site import Site, alone
from mta.queue.health import Health
from mta.queue.limits import Limits
from mta.queue.pace import Pace
from mta.queue.sites import Sites


@dataclass(eq=False)
class Item:
    site: Site
    weight: int = 1
    urgency: int = 0
    owner: str = ""
    destination: str = ""


def shaped(key, **shape):
    return Site(key, key, shape=Shape(**shape, names=("test",)))


def fill(sites, site, count, now_s=0.0):
    return sum(sites.admit(Item(site), now_s, site.key) is None for _ in range(count))


def take(sites, now_s=0.0):
    items = []
    while (item := sites.next(now_s)) is not None:
        items.append(item)
    return items


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 50),
    st.sampled_from([1.0, 60.0, 3600.0]),
    st.lists(st.floats(0, 100), min_size=1, max_size=300),
)
def test_no_stretch_has_more_than_it_may(count, seconds, gaps):
    """Whenever somebody asks: what was begun in any stretch of the length is within the rate."""
    pace, now_s, begun = Pace(((count, seconds),)), 0.0, []
    for gap in gaps:
        now_s += gap
        if pace.wait_s(now_s) <= 0:
            pace.take(now_s)
            begun.append(now_s)
    for start in begun:
        assert sum(start <= at < start + seconds for at in begun) <= count


def test_the_wait_is_as_long_as_said_and_no_longer():
    """Ten a minute: ten at once, and ten more a minute later, to a sixtieth."""
    pace = Pace(((10, 60.0),))
    for _ in range(10):
        assert pace.wait_s(0.0) == 0
        pace.take(0.0)
    assert pace.wait_s(0.0) == 61.0
    assert pace.wait_s(60.9) == pytest.approx(0.1)
    assert pace.wait_s(61.0) == 0


def test_the_tightest_of_several_rates_holds():
    """Two a second and three a minute: two, one more a second later, and then a minute's pause."""
    pace = Pace(((2, 1.0), (3, 60.0)))
    begun = []
    for tick in range(650):
        if pace.wait_s(tick / 10) <= 0:
            pace.take(tick / 10)
            begun.append(tick / 10)
    assert begun == [0.0, 0.1, 1.1, 61.0, 61.1, 62.1]


def test_a_paced_site_waits_and_holds_up_nobody():
    """What may not begin yet takes no place; others go on, and the site goes on when it may."""
    sites = Sites(Limits())
    slow = shaped("slow", messages_per_minute=2)
    fill(sites, slow, 5)
    fill(sites, alone("fast", "fast"), 3)
    running = take(sites)
    assert sorted(item.site.key for item in running) == ["fast"] * 3 + ["slow"] * 2
    for item in running:
        sites.finished(item, Health.GOOD, 0.0)
    assert sites.wake_s == 61.0
    assert take(sites, 60.0) == []
    assert [item.site.key for item in take(sites, 61.0)] == ["slow"] * 2
    assert sites.wake_s == 122.0


def test_a_shape_bounds_the_window_both_ways():
    """Connections of an entry hold in place of those for all sites."""
    sites = Sites(Limits(initial=5, concurrency=20, total=200))
    for site, most in ((shaped("narrow", connections=2), 2), (shaped("wide", connections=40), 40)):
        fill(sites, site, 100)
        running = take(sites)
        for _ in range(50):
            sites.finished(running.pop(0), Health.GOOD, 0.0)
            running += take(sites)
        assert len(running) == most


def test_a_paced_site_has_no_more_in_memory_than_goes_soon():
    """Sixty an hour: what may be begun in a quarter of an hour, and the first hour's sixty."""
    sites = Sites(Limits())
    assert fill(sites, shaped("slow", messages_per_hour=60), 1000) == 60
    assert fill(sites, shaped("slower", messages_per_minute=2), 1000) == 30


def test_a_new_shape_does_not_wait_for_the_old_pace():
    """Reload: a site that was to wait for an hour goes on when the entry is gone."""
    sites = Sites(Limits())
    fill(sites, shaped("a", messages_per_hour=1), 1)
    sites.finished(sites.next(0.0), Health.GOOD, 0.0)
    fill(sites, shaped("a", messages_per_hour=1), 1, 10.0)
    assert take(sites, 10.0) == []
    for item in sites.withdraw(lambda _item: True):
        item.site = alone("a", "a")
        assert sites.admit(item, 20.0, "a") is None
    assert len(take(sites, 20.0)) == 1
    assert sites.wake_s is None


def test_what_was_sent_is_remembered_as_long_as_it_counts():
    """A site that is idle for half an hour has still used up its hour."""
    sites = Sites(Limits())
    site = shaped("a", messages_per_hour=1)
    fill(sites, site, 1)
    sites.finished(sites.next(0.0), Health.GOOD, 0.0)
    sites.tidy(1800.0)
    fill(sites, site, 1, 1800.0)
    assert sites.next(1800.0) is None


class Names:
    """Every domain is at a site with a rate."""

    site = shaped("slow", messages_per_minute=2)

    def known(self, destination):
        return self.site


def test_waiting_for_a_rate_uses_up_no_attempt(stage):
    """Six messages at two a minute: all arrive with their first attempt, none is put off."""
    scheduler = stage.scheduler(names=Names())
    ids = [stage.accept(scheduler, f"b@d{n}.example") for n in range(6)]
    begun = []
    for _ in range(200):
        for attempt in stage.take():
            begun.append(stage.clock.seconds())
            attempt.delivers()
        stage.advance(1)
    assert [stage.states(one)[0][:2] for one in ids] == [("delivered", 1)] * 6
    assert begun == [0, 0, 61, 61, 122, 122]
