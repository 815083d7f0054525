"""``mta top``: one moment of the queue, with and without a running service."""

import json

from mta.spool import leases, watching
from mta.spool.schema import State

NOW = 1_800_000_000_000  # of ``relay``

SITE = {
    "key": "site:mx.example.com", "name": "mx.example.com", "in_memory": 12, "running": 3,
    "window": 5, "reason": "451 4.3.2 \x1b[2Jbusy", "counts": [30, 6, 1], "failing": True,
    "until_ms": NOW + 89_500,
}  # fmt: skip


def report(relay, **changes):
    """Let the running process have reported."""
    made = {
        "at_ms": relay.now - 500, "since_ms": relay.now - 60_500, "running": 3,
        "sites": [SITE], "sums": [30, 6, 1],
    }  # fmt: skip
    relay.write(watching.report, "token-of-this-run", json.dumps(made | changes))


def test_without_a_service(relay):
    """What is stuck is shown, the longest list first, and that nothing runs."""
    for domain in ("there.test", "there.test", "else.test"):
        one = relay.accept(f"a@{domain}", claim=True)
        relay.settle(one, State.QUEUED)
    result = relay.run("top", "--once")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "no service is running; 0 in hand, 3 stuck or held, the oldest for 1h",
        "",
        "STUCK AT    RECIPIENTS  OLDEST",
        "there.test           2      1h",
        "else.test            1      1h",
    ]


def test_with_a_service(relay):
    """Sites with their windows, rates a minute and trouble; a peer's words are made safe."""
    relay.register()
    report(relay)
    assert relay.run("top", "--once").stdout.splitlines() == [
        "node1; 0 in hand, 0 stuck or held",
        "node1: 3 deliveries at once; 30 sent, 6 deferred, 1 failed a minute",
        "",
        "SITE            NODE   MEMORY  RUNNING  WINDOW  SENT/MIN  DEFER/MIN  FAIL/MIN  STATE",
        "mx.example.com  node1      12        3       5        30          6         1"
        "  held for 1m30s: 451 4.3.2 \\x1b[2Jbusy",
    ]
    (found,) = relay.json("top", "--once")
    assert found["reports"]["node1"]["sites"][0]["window"] == 5


def test_a_site_from_one_address(relay):
    """Where it splits, the address of ours stands beside the site's name."""
    relay.register()
    report(relay, sites=[SITE | {"sources": ["192.0.2.5"]}])
    assert "mx.example.com from 192.0.2.5" in relay.run("top", "--once").stdout


def test_looking_is_told(relay):
    """A look asks the processes to report for a while, and no longer."""
    relay.run("top", "--once")
    assert relay.read(leases.poll, relay.now).watched_until_ms == relay.now + 15_000


def test_an_old_report_is_not_shown(local):
    """What a process said long ago says nothing about now."""
    local.register()
    report(local, at_ms=local.now - 60_000)
    assert "deliveries at once" not in local.run("top", "--once").stdout
