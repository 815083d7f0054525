"""``mta queue sites``: what the processes say of their sites."""

from dataclasses import replace

from mta.spool import site_states
from mta.spool.site_states import SiteState

BUSY = SiteState("site:google", "google", 20, 18, 340, 412.5, None, "", ("google",))


def publish(relay, *states):
    """Let a process have said something four seconds ago."""
    relay.register()
    relay.write(site_states.publish, "token-of-this-run", relay.now - 4000, states)


def test_a_table_for_people(relay):
    """Who runs, who waits, who is held, for how long and why; a fault cannot clear the screen."""
    until_ms, why = relay.now + 49_000, "4.4.1 refused\x1b[2J"
    held = SiteState("site:dead.example", "dead.example", 1, 0, 0, 0.0, until_ms, why)
    publish(relay, held, BUSY)
    result = relay.run("queue", "sites")
    lines = result.stdout.splitlines()
    assert lines[0] == "node1, 4s ago:"
    assert lines[1].split() == ["SITE", "RUNNING", "WAITING", "PER", "MIN", "HELD", "FOR", "WHY"]
    assert lines[2].split()[:5] == ["dead.example", "0/1", "0", "0", "49s"]
    assert "4.4.1 refused" in lines[2]
    assert "\x1b" not in result.stdout
    assert lines[3].split() == ["google", "18/20", "340", "412.5", "-"]
    assert result.exit_code == 0


def test_records_for_programs(relay):
    """One object for each site and process."""
    publish(relay, BUSY)
    (record,) = relay.json("queue", "sites")
    assert record == {
        "node": "node1",
        "at_ms": relay.now - 4000,
        "key": "site:google",
        "name": "google",
        "window": 20,
        "running": 18,
        "waiting": 340,
        "per_minute": 412.5,
        "until_ms": None,
        "reason": "",
        "shaping": ["google"],
        "sources": [],
    }


def test_a_site_from_one_address(relay):
    """Where it splits, the address of ours stands beside the site's name."""
    publish(relay, replace(BUSY, key="site:google from 192.0.2.5", sources=("192.0.2.5",)))
    assert "google from 192.0.2.5" in relay.run("queue", "sites").stdout
    (record,) = relay.json("queue", "sites")
    assert (record["name"], record["sources"]) == ("google", ["192.0.2.5"])


def test_nothing_to_show(relay):
    """No process, or none with anything to do: status 1."""
    assert relay.run("queue", "sites").exit_code == 1
    publish(relay)
    result = relay.run("queue", "sites")
    assert (result.exit_code, result.stdout) == (1, "")
