"""Budgets of smarthosts, wherever an operator looks: used, left, and when there is more."""

import json

import pytest

from mta.spool import counters
from mta.spool.counters import Count

DAY = 86_400_000
ROUTES = """
[[route]]
name = "out"
recipient_domains = ["example.com"]
[[route.smarthost]]
host = "a.example"
per_day = 5
per_second = 2
[[route.smarthost]]
host = "b.example"
per_day = 100
[[route]]
name = "free"
smarthost = { host = "c.example" }
"""


@pytest.fixture
def budgeted(relay):
    """A relay with budgets, and what was counted by another process."""
    relay.config.write_text(relay.config.read_text() + ROUTES)
    return relay


def used(relay, host, number):
    """Count ``number`` messages for a host, today."""
    start = relay.now - relay.now % DAY
    one = Count(f"smarthost:out:{host}:465", start, DAY, number, relay.now + DAY)
    relay.write(counters.exchange, [one], [], "other", 0, 0, relay.now)


def answer(relay, one):
    """Return what is said about the first recipient."""
    (found,) = relay.json("why", one)
    return found["answers"][0]


def test_used_up_before_anybody_has_tried(budgeted):
    """Fresh mail waits for the budget that is used up, as delivery will find; other routes not."""
    budgeted.register()
    one, other = budgeted.accept(), budgeted.accept("x@example.net")
    used(budgeted, "a.example", 5)
    assert answer(budgeted, one)["blocked_by"] == "turn"  # the second host has room
    used(budgeted, "b.example", 100)
    found = answer(budgeted, one)
    assert found["blocked_by"] == "budget"
    assert found["reason"].endswith("a.example (5 a day), b.example (100 a day)")
    midnight = budgeted.now - budgeted.now % DAY + DAY
    assert midnight < found["next_attempt_ms"] < midnight + DAY  # as the day slides on
    assert answer(budgeted, other)["blocked_by"] == "turn"


def test_where_they_are_shown(budgeted):
    """``top`` and ``queue sites`` have one answer: per second, per day, used, left, free when."""
    used(budgeted, "a.example", 5)
    used(budgeted, "b.example", 30)
    (look,) = budgeted.json("top", "--once")
    first, second = look["budgets"]
    assert (first["of"], first["host"], first["port"]) == ("smarthost:out", "a.example", 465)
    assert [first[key] for key in ("per_second", "per_day", "used", "left")] == [2, 5, 5, 0]
    assert first["free_ms"] > budgeted.now + DAY - budgeted.now % DAY
    assert [second[key] for key in ("per_second", "per_day", "used", "left")] == [None, 100, 30, 70]
    assert second["free_ms"] == budgeted.now
    shown = [one["budget"] for one in budgeted.json("queue", "sites")]
    assert shown == look["budgets"]
    for command in (("top", "--once"), ("queue", "sites"), ("why", "smarthost:out")):
        lines = budgeted.run(*command).stdout.splitlines()
        row = next(line.split() for line in lines if "b.example:465" in line)
        assert row == ["smarthost:out", "b.example:465", "-", "100", "30", "70", "-"]


def test_why_site(budgeted):
    """A route's smarthosts are a site: that its budgets are used up is the answer about it."""
    used(budgeted, "a.example", 5)
    used(budgeted, "b.example", 100)
    result = budgeted.run("why", "smarthost:out")
    assert "why:   smarthost:out waits until 2027-01-" in result.stdout
    assert json.loads(budgeted.run("why", "smarthost:out", "--json").stdout)["known"]


def test_nothing_where_there_are_none(relay):
    """Without budgets nothing is shown of them."""
    assert "BUDGET" not in relay.run("top", "--once").stdout
    assert relay.run("queue", "sites").exit_code == 1
