"""``mta why`` knows what is suspended and slow, whether or not mail was put back for it already."""

import socket

import pytest

from mta.mail.restraint import Restraint
from mta.spool import leases, restraints, site_states
from mta.spool.schema import State, attempts
from mta.spool.site_states import SiteState

HOUR = 3_600_000


def suspend(relay, scope, name, **more):
    """Suspend, as an operator does."""
    made = Restraint(0, "suspend", scope, name, "ticket 7", relay.now - 1000, who="anna", **more)
    return relay.write(restraints.suspend, made)


def slow(relay, site, key=""):
    """Slow a site down, as a rule does."""
    made = Restraint(
        0, "slow", "site", site, "rate-limited: 421", relay.now - 1000, relay.now + 8 * HOUR,
        key, cause="rate-limited", rule="r", level=3, step_ms=3 * HOUR, who="rule",
    )  # fmt: skip
    return relay.write(restraints.suspend, made)


def answer(relay, one, number=0):
    """Return the answer about a recipient."""
    (found,) = relay.json("why", one)
    return found["answers"][number]


def tried(relay, *addresses):
    """Take a message in that was put off once, at a site."""
    one = relay.accept(*addresses or ("anna@example.com",), claim=True)
    relay.settle(one, *[State.QUEUED] * max(1, len(addresses)), site="mx.example.com")
    return one


SCOPES = [
    ("all", "", True),
    ("route", "default", True),
    ("route", "other", False),
    ("site", "mx.example.com", True),
    ("site", "mx.example.net", False),
    ("domain", "example.com", True),
    ("domain", "example.net", False),
    ("login", "app7", True),
    ("login", "app8", False),
]


@pytest.mark.parametrize(("scope", "name", "blocks"), SCOPES)
def test_suspended_while_it_waits_for_its_next_attempt(relay, scope, name, blocks):
    """What was put off before the suspension began is blocked by it, not by its back-off."""
    relay.register()
    one = tried(relay)
    made = suspend(relay, scope, name, until_ms=relay.now + HOUR)
    found = answer(relay, one)
    if not blocks:
        assert found["blocked_by"] == "peer"
        return
    assert (found["blocked_by"], found["next_attempt_ms"]) == ("restraint", relay.now + HOUR)
    assert found["unblock"] == [f"mta resume {made.id}"]
    assert found["reason"].endswith("is suspended: ticket 7")
    assert "next:    2027-01-15 09:00:00Z (in 1h)\n" in relay.run("why", one).stdout


@pytest.mark.parametrize(("scope", "name"), [("all", ""), ("login", "app7"), ("route", "default")])
def test_suspended_before_the_first_attempt(relay, scope, name):
    """Fresh mail that nobody has looked at yet says what it will be put back for."""
    relay.register()
    one = relay.accept()
    suspend(relay, scope, name)
    found = answer(relay, one)
    assert (found["blocked_by"], found["next_attempt_ms"]) == ("restraint", None)
    assert "next:    when that is ended\n" in relay.run("why", one).stdout


def test_in_hand(relay):
    """Of what a process has in hand it is said that nothing more is begun."""
    relay.register()
    one = relay.accept(claim=True)
    suspend(relay, "domain", "example.com")
    found = answer(relay, one)
    assert found["blocked_by"] == ""
    assert found["besides"] == [
        "domain example.com is suspended: ticket 7",
        "what is under way is let finish, and nothing is begun",
    ]


def test_one_of_two_recipients(relay):
    """A domain that is suspended blocks its own recipients of a message and no others."""
    relay.register()
    one = tried(relay, "a@example.com", "b@example.net")
    suspend(relay, "domain", "example.net")
    assert answer(relay, one, 0)["blocked_by"] == "peer"
    assert answer(relay, one, 1)["blocked_by"] == "restraint"


def test_several_at_once(relay):
    """All that has to be ended is named, and that nobody runs."""
    one = relay.accept()
    first, second = suspend(relay, "all", ""), suspend(relay, "login", "app7")
    found = answer(relay, one)
    assert found["unblock"] == [
        f"mta resume {first.id}",
        f"mta resume {second.id}",
        "systemctl start mta",
        "mta status",
    ]
    assert found["besides"] == [
        "login app7 is suspended: ticket 7",
        "no service is running that uses this spool",
    ]


def test_held_and_suspended(relay):
    """Held mail says that releasing it would not be enough."""
    relay.register()
    one = relay.accept(held="hold rule huge")
    suspend(relay, "login", "app7")
    assert "also:    login app7 is suspended: ticket 7\n" in relay.run("why", one).stdout


@pytest.mark.parametrize(("address", "reaches"), [("192.0.2.20", True), ("192.0.2.21", False)])
def test_suspended_from_one_source_address(relay, address, reaches):
    """A decision about a site as seen from one address of ours is about what leaves from there."""
    with relay.config.open("a") as file:
        file.write('[delivery]\nsource = ["192.0.2.20"]\n')
    relay.register()
    one = tried(relay)
    made = suspend(relay, "site", "mx.example.com", site_key="site:mx.example.com",
                   source=address, cause="blocked-ip")  # fmt: skip
    found = answer(relay, one)
    assert (found["blocked_by"] == "restraint") is reaches
    assert (f"mta throttle revoke {made.id}" in found["unblock"]) is reaches


TWO = '[delivery]\nsource = ["192.0.2.20", "2001:db8::20"]\n'


def test_one_of_two_source_addresses_is_suspended(relay):
    """Mail goes out from the other one, and that is said; both suspended, they are the answer."""
    with relay.config.open("a") as file:
        file.write(TWO)
    relay.register()
    one = tried(relay)
    first = suspend(relay, "site", "mx.example.com", source="192.0.2.20")
    found = answer(relay, one)
    assert found["blocked_by"] == "peer"
    assert found["besides"] == [
        "site mx.example.com from 192.0.2.20 is suspended: ticket 7; it goes out from"
        " 2001:db8::20 where its hosts can be reached so"
    ]
    second = suspend(relay, "source", "2001:db8::20", source="2001:db8::20")
    found = answer(relay, one)
    assert found["blocked_by"] == "restraint"
    assert found["unblock"] == [f"mta resume {first.id}", f"mta resume {second.id}"]


def test_put_back_for_an_address_that_alone_reaches_its_hosts(relay):
    """What was put back for a suspended address is blocked by it, though it has another one."""
    with relay.config.open("a") as file:
        file.write(TWO)
    relay.register()
    one = relay.accept(claim=True)
    made = suspend(relay, "source", "192.0.2.20", source="192.0.2.20", until_ms=relay.now + HOUR)
    key = (one, 0, 1)
    until = relay.now + HOUR
    relay.write(restraints.put_back, "token-of-this-run", [key], until, made.id, relay.now)
    found = answer(relay, one)
    assert (found["blocked_by"], found["next_attempt_ms"]) == ("restraint", until)
    assert found["reason"] == "source address 192.0.2.20 is suspended: ticket 7"


def test_slow(relay):
    """A throttle is no block: it is said beside what is, with how slow it makes and its end."""
    relay.register()
    one = tried(relay)
    made = slow(relay, "mx.example.com")
    found = answer(relay, one)
    assert found["blocked_by"] == "peer"
    (words,) = found["besides"]
    assert words.startswith("site mx.example.com is slowed down: rate-limited: 421")
    assert words.endswith("(one delivery in 4 seconds at most)")
    assert found["unblock"][1:] == [f"mta throttle revoke {made.id}"]


def test_smarthost_by_site(relay):
    """The site of a smarthost is known without any attempt, and without DNS."""
    with relay.config.open("a") as file:
        file.write('[[route]]\nname = "out"\nsmarthost = { host = "s.example", per_day = 5 }\n')
    relay.register()
    one = relay.accept()
    suspend(relay, "site", "smarthost:out")
    assert answer(relay, one)["blocked_by"] == "restraint"


def test_a_dead_site(relay):
    """Due mail whose site every process leaves alone says so, since when it is probed, and why."""
    relay.register()
    one = tried(relay)
    until = relay.now + 10 * 60_000
    state = SiteState("site:k", "mx.example.com", 1, 0, 0, 0.0, until, "connect: refused")
    relay.write(site_states.publish, "token-of-this-run", relay.now - 1000, [state])
    found = answer(relay, one)
    assert (found["blocked_by"], found["next_attempt_ms"]) == ("suspended", until)
    assert found["reason"].startswith("site mx.example.com is left alone by node1 until")
    assert found["reason"].endswith(": connect: refused")
    relay.write(leases.register_node, "node2", "another", relay.now, HOUR, {})
    free = SiteState("site:k", "mx.example.com", 5, 1, 3, 9.0)
    relay.write(site_states.publish, "another", relay.now - 1000, [free])
    assert answer(relay, one)["blocked_by"] == "peer"  # the other one would dial it


def test_escapes(relay):
    """Attack: what a peer has said cannot drive the terminal by way of a decision or a site."""
    relay.register()
    one = tried(relay)
    evil = "\x1b[2J"
    state = SiteState("k", "mx.example.com", 1, 0, 2, 0.0, relay.now + HOUR, f"421 {evil}")
    relay.write(site_states.publish, "token-of-this-run", relay.now - 1000, [state])
    slow(relay, "mx.example.com")
    relay.write(lambda conn: conn.exec_driver_sql("UPDATE restraints SET reason = 'x\x1b[2J'"))
    said = relay.run("why", one).stdout + relay.run("why", "mx.example.com").stdout
    assert evil not in said
    assert "\\x1b[2J" in said


def test_domain(relay):
    """About a domain that is suspended that is the answer, and when it goes on."""
    relay.register()
    tried(relay)
    made = suspend(relay, "domain", "example.com")
    lines = relay.run("why", "example.com").stdout.splitlines()
    assert lines[1] == "why:           domain example.com is suspended: ticket 7"
    assert "next attempt:  when that is ended" in lines
    assert f"do:            mta resume {made.id}" in lines
    (found,) = relay.json("why", "example.com")
    assert found["why_oldest"]["blocked_by"] == "restraint"


def test_site(relay):
    """About a site: what is decided about it, and how it is at each process."""
    relay.register()
    tried(relay)
    suspended, slowed = suspend(relay, "site", "mx.example.com"), slow(relay, "mx.example.com")
    state = SiteState("k", "mx.example.com", 4, 1, 9, 2.5, relay.now + 60_000, "connect: refused")
    relay.write(site_states.publish, "token-of-this-run", relay.now - 1000, [state])
    said = relay.run("why", "mx.example.com").stdout
    assert said.splitlines()[0].startswith("site mx.example.com: 1 recipient of 1 domain wait")
    assert "why:   site mx.example.com is suspended: ticket 7\n" in said
    assert f"do:    mta resume {suspended.id}\n" in said
    assert f"do:    mta throttle revoke {slowed.id}\n" in said
    assert (
        "at node1: 1 of 4 deliveries under way, 9 recipients in memory wait, 2.5 deliveries a"
        " minute; nothing is begun until 2027-01-15 08:01:00Z (in 1m): connect: refused\n"
    ) in said
    (found,) = relay.json("why", "mx.example.com")
    assert [one["waiting"] for one in found["states"]] == [9]
    assert {one["id"] for one in found["restraints"]} == {suspended.id, slowed.id}


def _again(conn, number, ago_ms, text):
    """Write an attempt like the first one, longer ago, with another reply."""
    row = dict(conn.execute(attempts.select().where(attempts.c.attempt == 1)).one()._mapping)
    times = {name: row[name] - ago_ms for name in ("started_ms", "ended_ms")}
    conn.execute(attempts.insert().values(**row | times | {"attempt": number, "text": text}))


def test_earlier_attempts(relay):
    """All attempts are told, those with the same reply once, and all are in the record."""
    relay.register()
    one = tried(relay)
    before = ((2, 600_000, "Greylisted, try again"), (3, 900_000, "Busy"),
              (4, 1_200_000, "Greylisted, try again"))  # fmt: skip
    for number, ago, text in before:
        relay.write(_again, number, ago, text)
    said = relay.run("why", one).stdout
    assert "before:  2 times, 49m to 39m ago: the same\n" in said
    assert "before:  44m ago: 451 4.7.1 Busy (in reply to RCPT), mx.example.com" in said
    assert len(answer(relay, one)["attempts_made"]) == 4


def test_in_the_hands_of_a_process_that_is_gone(relay):
    """It is said when another one takes it over: when the lease ends, or that there is none."""
    relay.register(pid="1999999", host=socket.gethostname())
    one = relay.accept(claim=True)
    found = answer(relay, one)
    assert (found["blocked_by"], found["unblock"][0]) == ("no service", "systemctl start mta")
    relay.write(leases.register_node, "node2", "another", relay.now, HOUR, {})
    found = answer(relay, one)
    assert found["next_attempt_ms"] == relay.now + 60_000
    assert "(node1) is gone; another one takes it over when its lease ends" in found["reason"]


def test_all_workers_are_down(relay):
    """Where a supervisor is there without its workers, that is said, not to start a service."""
    about = {leases.ROLE: leases.SUPERVISOR, leases.DOWN: "relay-1 relay-2"}
    relay.write(leases.register_node, "relay", "sup", relay.now, HOUR, about)
    found = answer(relay, relay.accept())
    assert found["reason"].startswith("no worker is up: relay-1, relay-2; their supervisor")
    assert found["unblock"] == ["mta status"]
