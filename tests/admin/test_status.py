"""``mta status``: who runs, and how the queue is."""

import json
import os
import socket

from mta.mail.refusal import Refusal
from mta.spool import counters
from mta.spool.counters import Count
from mta.spool.schema import State


def told(local):
    """Return what ``mta status --json`` says while nothing runs."""
    result = local.run("status", "--json")
    assert result.exit_code == 69
    return json.loads(result.stdout)


def test_nothing_runs(local):
    """Without a lease nothing runs; that is told, and status 69 tells a monitor."""
    result = local.run("status")
    assert (result.output, result.exit_code) == (
        "no service is running\n\n"
        "the queue is empty; 0 active, 0 due\n"
        "accounts: 0 enabled, 0 disabled\n",
        69,
    )
    status = told(local)
    assert (status["running"], status["nodes"]) == (False, [])


def test_running(relay):
    """A lease in force is a running service, with process, start and the state of the queue."""
    relay.register(pid=str(os.getpid()), host=socket.gethostname())
    relay.accept(claim=True)
    relay.accept()
    deferred = relay.accept(claim=True)
    relay.settle(deferred, State.QUEUED)
    held = relay.accept()
    relay.run("queue", "hold", held, "--yes")
    relay.run("account", "add", "app", "--generate")
    lines = relay.run("status").stdout.splitlines()
    assert lines[0].split() == ["NODE", "STATE", "PID", "HOST", "SINCE", "LEASE"]
    assert lines[1].split() == [
        *("node1", "running", str(os.getpid()), socket.gethostname()),
        *("2027-01-15", "07:50:00Z", "1m", "left"),
    ]
    assert lines[2:] == [
        "",
        "4 messages (160) for 4 recipients: 3 queued, 1 held; oldest 1h; 1 active, 1 due",
        "accounts: 1 enabled, 0 disabled",
    ]
    (status,) = relay.json("status")
    assert status["running"] is True
    assert status["queue"] == {
        "messages": 4,
        "recipients": 4,
        "octets": 160,
        "estimated": False,
        "oldest_ms": relay.now - 3_600_000,
        "queued": 3,
        "held": 1,
        "active": 1,
        "due": 1,
    }
    assert status["accounts"] == {"enabled": 1, "disabled": 0}


def test_silent(local):
    """A lease that has run out is told as such: the process has been killed, or hangs."""
    local.register(lease_ms=-120_000, pid="1", host="elsewhere.example.org")
    output = local.run("status").output
    assert "silent" in output
    assert "ended 2m ago" in output
    assert "no service is running\n" in output


def test_killed(local):
    """A process of this host that is gone is not taken for alive, though its lease lasts."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    local.register(pid=str(pid), host=socket.gethostname())
    assert "dead" in local.run("status").output
    assert told(local)["running"] is False


def test_alarms(relay):
    """What a running process has to say is shown until it takes it back, or ends."""
    from mta.spool import alarms

    relay.register(pid=str(os.getpid()), host=socket.gethostname())
    relay.write(alarms.put, "node1", "dns", "DANE is off: no AD bit", relay.now)
    relay.write(alarms.put, "gone", "dns", "x", relay.now)
    lines = relay.run("status").stdout.splitlines()
    assert [line for line in lines if "alarm" in line] == [
        "alarm since 2027-01-15 08:00:00Z: node1: DANE is off: no AD bit"
    ]
    (status,) = relay.json("status")
    assert [(one["name"], one["text"]) for one in status["alarms"]] == [
        ("dns", "DANE is off: no AD bit")
    ]


def test_a_supervisor_alone_is_no_service(local):
    """It is shown, with the workers that it misses; but nobody works on mail."""
    here = {"pid": str(os.getpid()), "host": socket.gethostname()}
    local.register(**here, role="supervisor", workers="2", down="node1/1 node1/2")
    lines = [line.split()[:3] for line in local.run("status").stdout.splitlines()]
    assert lines[1:4] == [
        ["node1", "supervising", str(os.getpid())],
        ["node1/1", "down", "-"],
        ["node1/2", "down", "-"],
    ]
    assert lines[4] == ["no", "service", "is"]
    found = told(local)
    assert found["running"] is False
    assert found["nodes"][0]["state"] == "supervising"
    assert "no service is running" in local.process("explain", "ann@[192.0.2.1]").stdout


def test_refusals(relay):
    """What was refused, by kind, this hour and in the last 24; older hours don't count."""
    many = Refusal("smtps", "RCPT", "550 5.7.1", "not trusted").counter
    few = Refusal("smtp", "connect", "421 4.7.0", "connection limit").counter
    hour = relay.now - relay.now % 3_600_000
    rows = [
        Count(many, hour, 3_600_000, 5, hour + 10**9),
        Count(many, hour - 23 * 3_600_000, 3_600_000, 2, hour + 10**9),
        Count(many, hour - 24 * 3_600_000, 3_600_000, 100, hour + 10**9),
        Count(few, hour - 3_600_000, 3_600_000, 1, hour + 10**9),
        Count("messages/3600000:login:refused", hour, 3_600_000, 9, hour + 10**9),
    ]
    relay.register(pid=str(os.getpid()), host=socket.gethostname())
    relay.write(counters.exchange, rows, [], "node", 0, 0, relay.now)
    lines = relay.run("status", "--refusals").stdout.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("LISTENER"))
    assert [line.split(maxsplit=6) for line in lines[start + 1 :]] == [
        ["smtps", "RCPT", "550", "5.7.1", "5", "7", "not trusted"],
        ["smtp", "connect", "421", "4.7.0", "0", "1", "connection limit"],
    ]
    (status,) = relay.json("status", "--refusals")
    assert status["refusals"][0] == {
        "listener": "smtps",
        "stage": "RCPT",
        "reply": "550 5.7.1",
        "reason": "not trusted",
        "this_hour": 5,
        "day": 7,
    }
    assert "refusals" not in relay.json("status")[0]


def test_nothing_was_refused(local):
    """That is told too."""
    assert "nothing was refused in the last 24 hours" in local.run("status", "--refusals").output
