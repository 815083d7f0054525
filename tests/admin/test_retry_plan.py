"""``mta retry-plan``: the schedule in words, and laid over the spool's history."""

import json

import pytest

from mta.mail.envelope import Recipient
from mta.mail.outcome import Outcome, Verdict
from mta.spool import deferrals, outcomes
from mta.spool.outcomes import Record, Settled
from mta.spool.schema import State

MINUTE = 60_000


def tried(relay, message, *minutes, verdict=Verdict.DELIVERED):
    """Record attempts so many minutes after the first; the last one ends it."""
    begin = relay.now - 50 * MINUTE
    for number, minute in enumerate(minutes, 1):
        last = number == len(minutes)
        end = verdict if last else Verdict.DEFERRED
        state = State.DELIVERED if end is Verdict.DELIVERED else State.QUEUED
        at = begin + minute * MINUTE
        outcome = Outcome(0, end, 250 if end is Verdict.DELIVERED else 451, "", "x", "RCPT")
        settled = (Settled(Recipient(0, "", "", number), outcome, state, at + MINUTE),)
        relay.write(outcomes.record, [Record(message, "token-of-this-run", "n", at, at, settled)])
        if not last:
            claimed = f"claim = 'token-of-this-run', attempts = {number + 1}"
            sql = f"UPDATE recipients SET {claimed} WHERE message_id = '{message}'"
            relay.write(lambda conn, sql=sql: conn.exec_driver_sql(sql))


def test_the_schedule(local):
    """Attempts, the delay warning, the last attempt, the end."""
    text = local.run("retry-plan").output
    lines = text.splitlines()
    assert lines[1].split()[:2] == ["1", "0s"]
    assert lines[2].split()[:5] == ["2", "5m", "4m", "to", "6m"]
    assert "from here on the sender is told of the delay" in text
    assert "more, every 4h" in text
    assert lines[-1].split() == ["5d", "given", "up"]


def test_another_schedule(local):
    """It is read as the configuration writes it; what is no schedule is wrong usage."""
    (plan,) = local.json("retry-plan", "--schedule", "1m, 1h")
    assert plan["steps_s"] == [60.0, 3600.0]
    assert [one["after_ms"] for one in plan["attempts"][:3]] == [0, 60_000, 3_660_000]
    for wrong in ("", "1m,x", "0s", "5"):
        assert local.run("retry-plan", "--schedule", wrong or " ").exit_code == 64
    assert local.run("retry-plan", "--route", "x").exit_code == 64


def test_replayed(relay):
    """One was delivered at its third attempt, one waits, one went at once and is not counted."""
    late, waiting, at_once = (relay.accept(claim=True) for _ in range(3))
    tried(relay, late, 0, 5, 45)
    tried(relay, waiting, 0, 5, verdict=Verdict.DEFERRED)
    tried(relay, at_once, 0)
    (plan,) = relay.json("retry-plan", "--simulate", "30d", "--schedule", "5m,15m,30m")
    found = plan["history"]
    assert (found["looked_at_attempts"], found["put_off"], found["incomplete"]) == (6, 2, 0)
    assert found["states"] == {"delivered": 1, "queued": 1}
    assert found["delivered_at"] == [{"attempt": 3, "delivered": 1, "median_ms": 45 * MINUTE}]
    replay = found["replay"]
    assert (replay["earlier"], replay["earlier_ms"], replay["never"]) == (1, 25 * MINUTE, 1)
    text = relay.run("retry-plan", "--simulate", "30d").output
    assert "2 recipients were put off: 1 delivered, 1 queued" in text
    assert "perhaps earlier" in text


def test_by_route(local):
    """Only what the route would take now; a route that there is not is wrong usage."""
    local.config.write_text(
        local.config.read_text()
        + '[[route]]\nname = "out"\nrecipient_domains = ["example.com"]\nmx = {}\n'
    )
    tried(local, local.accept("a@example.com", claim=True), 0, 5)
    tried(local, local.accept("a@example.net", claim=True), 0, 5)
    result = local.run("retry-plan", "--simulate", "1d", "--route", "out", "--json")
    assert json.loads(result.stdout)["history"]["put_off"] == 1
    assert local.run("retry-plan", "--simulate", "1d", "--route", "nowhere").exit_code == 64


def test_no_history(local):
    """It is said, and the plan is shown all the same."""
    result = local.run("retry-plan", "--simulate", "30d")
    assert result.exit_code == 0
    assert "no attempts on record" in result.output


@pytest.mark.parametrize("limit", [1, 3])
def test_bounded(relay, limit):
    """So many attempts are looked through, the newest; what has no beginning there says so."""
    tried(relay, relay.accept(claim=True), 0, 5, 45)
    found = relay.read(deferrals.retried, 0, limit)
    assert found.looked_at == limit
    assert [one.whole for one in found.recipients] == [limit == 3]
