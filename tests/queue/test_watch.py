"""The queue reports of itself while somebody looks, and only then."""

import json

from sqlalchemy import select

from mta.spool import leases, watching
from mta.spool.schema import nodes


def reported(stage):
    """Return the last report."""
    with stage.database.engine.begin() as conn:
        words = conn.execute(select(nodes.c.report)).scalar_one()
    return json.loads(words) if words else None


def test_nothing_is_written_while_nobody_looks(stage):
    """Without a watcher nothing is counted and no row is written."""
    scheduler = stage.scheduler()
    stage.accept(scheduler, "b@example.net")
    stage.one().delivers()
    stage.advance(5)
    assert reported(stage) is None
    assert not scheduler._watch.wanted


def test_a_summary_a_second(any_stage):
    """While it is looked at, sites, windows and what has come of attempts since are reported."""
    stage = any_stage
    scheduler = stage.scheduler()
    stage.database.write(watching.watch, stage.now_ms() + 5000)
    stage.advance(1)
    for address in ("b@good.example", "c@good.example", "d@bad.example"):
        stage.accept(scheduler, address)
    one, two, three = stage.take()
    one.delivers()
    two.bounces()
    three.site_fails()
    stage.accept(scheduler, "e@good.example")
    stage.advance(1)
    found = reported(stage)
    sites = {site["key"]: site for site in found["sites"]}
    assert sites["mx:good.example"]["counts"] == [1, 0, 1]
    assert (sites["mx:good.example"]["running"], sites["mx:good.example"]["in_memory"]) == (1, 1)
    assert sites["mx:bad.example"]["counts"] == [0, 1, 0]
    assert sites["mx:bad.example"]["failing"]
    assert sites["mx:bad.example"]["reason"]
    published = {one.key: one for one in scheduler._publishing.states()}
    for key, one in published.items():  # one summary of a site, wherever it is shown
        said = {name: sites[key][name] for name in ("window", "running", "waiting", "until_ms")}
        assert said == {name: getattr(one, name) for name in said}
    assert (found["sums"], found["running"]) == ([1, 1, 1], 2)  # a report is on its way, too
    assert found["at_ms"] - found["since_ms"] == 1000


def test_it_ends_by_itself(stage):
    """A watcher that was killed costs nothing for long."""
    scheduler = stage.scheduler()
    stage.database.write(watching.watch, stage.now_ms() + 3000)
    stage.advance(1)
    assert scheduler._watch.wanted
    for _ in range(4):
        stage.advance(1)
    assert not scheduler._watch.wanted
    last = reported(stage)["at_ms"]
    stage.advance(5)
    assert reported(stage)["at_ms"] == last


def test_the_later_of_two_watchers_holds(stage):
    """Two people look: the earlier end does not end it for both."""
    stage.database.write(watching.watch, 9000)
    stage.database.write(watching.watch, 5000)
    with stage.database.engine.begin() as conn:
        assert leases.poll(conn, 0).watched_until_ms == 9000
