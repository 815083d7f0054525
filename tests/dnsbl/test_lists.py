"""Lists that are tested before they are believed, and clients looked up in them."""

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from mta.dns.answers import Answer, DnsTemporary, NoSuchName
from mta.dnsbl.lists import LATE_S, Lists
from mta.dnsbl.zone import TESTS, Blocklist, client, query_name
from mta.mail.events import Note
from mta.policy.decision import Action

BL, OTHER = Blocklist("bl.example"), Blocklist("other.example", Action.HOLD)


class Dns:
    """Who is on which list, and how lists misbehave."""

    def __init__(self):
        self.listed = {}
        self.away = set()  # zones that cannot be asked
        self.silent = False
        self.asked = []
        for zone in ("bl.example", "other.example"):
            for listed, _ in TESTS.values():
                self.listed[query_name(listed, zone)] = ["127.0.0.2"]

    def list(self, address, zone="bl.example", answer="127.0.0.2"):
        self.listed[query_name(client(address), zone)] = [answer]

    def lookup(self, name, kind):
        self.asked.append(name)
        if self.silent:
            return Deferred()
        if any(name.endswith(zone) for zone in self.away):
            return fail(DnsTemporary(f"{name} A: SERVFAIL"))
        found = self.listed.get(name)
        return fail(NoSuchName(name)) if found is None else succeed(Answer(name, tuple(found), 60))


class World:
    def __init__(self, *blocklists):
        self.clock, self.dns, self.said = Clock(), Dns(), []
        self.lists = Lists(self.clock, self.dns, blocklists, self.said.append, 600.0)

    def find(self, address):
        """The listings of a client; None if nothing was asked."""
        looking = self.lists.look(address)
        if looking is None:
            return None
        found = []
        Deferred.fromCoroutine(looking.listings()).addCallback(found.append)
        return found[0] if found else "waits"

    def notes(self, level):
        return [one.text for one in self.said if isinstance(one, Note) and one.level == level]


@pytest.fixture
def world():
    made = World(BL, OTHER)
    made.dns.list("192.0.2.1")
    return made


def test_listed_and_not(world):
    """A client is looked up in all lists; the refusing list comes first, with its reason."""
    world.dns.list("192.0.2.1", "other.example", "127.0.0.4")
    world.lists.start()
    assert world.find("192.0.2.2") == ()
    first, second = world.find("192.0.2.1")
    assert (first.blocklist, second.blocklist) == (BL, OTHER)
    reply = first.decision.reply
    assert (reply.code, reply.enhanced) == (550, "5.7.1")
    assert reply.text == "Client host [192.0.2.1] is listed by bl.example"
    assert second.decision.action is Action.HOLD
    assert second.decision.reason == "listed by other.example: 192.0.2.1 (127.0.0.4)"


def test_ipv6(world):
    """IPv6 clients are looked up where the list has passed that test."""
    world.dns.list("2001:db8::1")
    del world.dns.listed[query_name(TESTS[6][0], "other.example")]
    world.lists.start()
    world.dns.asked.clear()
    assert [one.blocklist for one in world.find("2001:db8::1")] == [BL]
    assert len(world.dns.asked) == 1
    assert world.notes("error") == []


def test_not_in_force_before_it_is_tested(world):
    """Until a list has passed it decides nothing."""
    assert world.find("192.0.2.1") is None


@pytest.mark.parametrize(
    ("address", "answer", "problem"),
    [
        ("127.0.0.2", None, "127.0.0.2, which is on every list, is not on it"),
        ("127.0.0.1", "127.0.0.2", "127.0.0.1, which is on no list, is on it (127.0.0.2)"),
        ("127.0.0.2", "127.255.255.254", "it answers 127.255.255.254"),
        ("127.0.0.2", "203.0.113.7", "it answers 203.0.113.7"),
    ],
)
def test_a_list_that_fails(world, address, answer, problem):
    """RFC 5782 §5: a list that is empty, lists everybody or turns us away stops no mail."""
    name = query_name(client(address), "bl.example")
    if answer is None:
        del world.dns.listed[name]
    else:
        world.dns.listed[name] = [answer]
    world.lists.start()
    assert world.notes("error") == [f"bl.example is out of force: {problem}"]
    assert world.find("192.0.2.1") == ()  # only the other was asked
    world.clock.advance(60)
    assert len(world.notes("error")) == 1  # said once
    world.dns.listed.pop(query_name(client("127.0.0.1"), "bl.example"), None)
    world.dns.list("127.0.0.2")
    world.clock.advance(60)
    assert "bl.example is in force for IPv4" in world.notes("info")
    assert len(world.find("192.0.2.1")) == 1


def test_a_list_that_is_shut_down_later(world):
    """A list that begins to list the whole world is out of force at its next test."""
    world.lists.start()
    world.dns.list("127.0.0.1")
    world.clock.advance(601)
    assert world.find("192.0.2.1") == ()


def test_a_list_that_turns_us_away_between_tests(world):
    """An error in the place of an answer is no listing, and the list is out of force at once."""
    world.lists.start()
    world.dns.list("192.0.2.1", answer="127.255.255.254")
    assert world.find("192.0.2.1") == ()
    assert world.notes("error") == ["bl.example is out of force: it answers 127.255.255.254"]
    world.dns.list("192.0.2.1")
    world.clock.advance(60)
    assert len(world.find("192.0.2.1")) == 1


def test_dns_away(world):
    """DNS that fails lists nobody, keeps the list's state, and is said once."""
    world.lists.start()
    world.dns.away.add("bl.example")
    assert world.find("192.0.2.1") == ()
    assert world.find("192.0.2.1") == ()
    assert len(world.notes("warning")) == 1
    world.clock.advance(601)
    world.dns.away.clear()
    assert len(world.find("192.0.2.1")) == 1
    assert "bl.example can be asked again" in world.notes("info")


def test_a_slow_list(world):
    """Who is not found in time is not listed."""
    world.lists.start()
    world.dns.silent = True
    looking = world.lists.look("192.0.2.1")
    found = []
    Deferred.fromCoroutine(looking.listings()).addCallback(found.append)
    world.clock.advance(LATE_S - 0.1)
    assert found == []
    world.clock.advance(0.2)
    assert found == [()]


def test_reload_and_stop(world):
    """A reload keeps what is known of a list, and ends the tests of one that is gone."""
    world.lists.start()
    stricter = Blocklist("bl.example", Action.HOLD)
    world.lists.use([stricter], 300.0)
    assert [one.blocklist for one in world.find("192.0.2.1")] == [stricter]
    assert len(world.clock.getDelayedCalls()) == 1
    world.lists.use([], 300.0)
    assert not world.lists
    assert world.find("192.0.2.1") is None
    world.lists.use([BL], 300.0)
    assert len(world.find("192.0.2.1")) == 1
    world.lists.stop()
    assert world.clock.getDelayedCalls() == []
