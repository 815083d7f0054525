"""The state of sites, beside the lease."""

from mta.mail.shape import Shape
from mta.mail.site import Site
from mta.spool import site_states
from mta.spool.engine import reading


class Names:
    """One site with a rate, every other destination by itself."""

    def known(self, destination):
        name = destination.removeprefix("mx:")
        rate = Shape(messages_per_minute=1, names=("slow",)) if "paced" in name else Shape()
        return Site(f"site:{name}", name, shape=rate)


def published(stage):
    with reading(stage.database.engine) as conn:
        found = site_states.everywhere(conn, stage.now_ms())
    return {one.name: one for node in found for one in node.sites}


def test_who_waits_and_why(stage):
    """A dead site, a paced one and a busy one, with numbers, the held ones first."""
    scheduler = stage.scheduler(names=Names())
    for domain, count in (("dead.example", 5), ("paced.example", 3), ("busy.example", 8)):
        for _ in range(count):
            stage.accept(scheduler, f"b@{domain}")
    for attempt in stage.take():
        if attempt.to == ["b@dead.example"]:
            attempt.site_fails()
    for _ in range(11):
        stage.advance(1)
    found = published(stage)
    assert list(found) == ["paced.example", "dead.example", "busy.example"]
    paced, dead, busy = found.values()
    assert (dead.running, dead.waiting, dead.reason) == (0, 0, "4.4.1 connection refused")
    assert dead.until_ms == stage.now_ms() + 49_000
    assert (paced.running, paced.waiting, paced.reason) == (1, 2, "rate: 1 a minute")
    assert paced.until_ms == stage.now_ms() + 50_000
    assert paced.shaping == ("slow",)
    assert (busy.running, busy.window, busy.waiting, busy.until_ms) == (5, 5, 3, None)


def test_how_fast_a_site_is(stage):
    """Deliveries that ended, for each minute since the last time."""
    scheduler = stage.scheduler()
    for _ in range(20):
        stage.accept(scheduler, "b@busy.example")
    for second in range(21):
        for attempt in stage.take()[:1] if second > 10 else []:
            attempt.delivers()
        stage.advance(1)
    assert published(stage)["mx:busy.example"].per_minute > 0


def test_nothing_to_tell_writes_nothing(stage):
    """A process that does nothing leaves the spool alone, after it has said so once."""
    scheduler = stage.scheduler()
    for _ in range(11):
        stage.advance(1)
    assert published(stage) == {}
    stage.accept(scheduler, "b@example.net")
    for _ in range(11):
        stage.advance(1)
    assert list(published(stage)) == ["mx:example.net"]
    stage.one().delivers()
    for _ in range(11):
        stage.advance(1)
    assert published(stage) == {}
