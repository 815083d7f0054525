"""From destinations to sites, with a cache and without surprises."""

from ipaddress import ip_network

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from mta.delivery.routes import Mx, Route, Routes
from mta.delivery.sites import SiteFinder
from mta.dns.answers import DnsTemporary
from mta.dns.mx import MailHost, MailLoop, NoSuchDomain, NoUsableHost, NullMx
from mta.mail.shape import Shape
from mta.mail.site import Site
from mta.shaping.rules import Rule, Shaping

HOSTS = (MailHost("mx1.provider.test", 10), MailHost("mx2.provider.test", 20))


class Dns:
    """Answers from a table, and remembers what was asked."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []

    def hosts(self, domain):
        self.asked.append(domain)
        answer = self.answers[domain.partition(".")[0]]
        return fail(answer) if isinstance(answer, Exception) else succeed(answer)


def found(finder, destination):
    results = []
    finder.find(destination).addBoth(results.append)
    return results[0]


def test_domains_of_one_provider_are_one_site():
    """Two domains with the same mail exchangers, one look-up each, known from then on."""
    dns = Dns(a=HOSTS, b=tuple(reversed(HOSTS)))
    finder = SiteFinder(dns, Clock().seconds)
    assert finder.known("mx:a.test") is None
    site = found(finder, "mx:a.test")
    assert (site.name, site.hosts) == ("provider.test", ("mx1.provider.test", "mx2.provider.test"))
    assert found(finder, "mx:b.test") == site
    assert finder.known("mx:a.test") == finder.known("mx:b.test") == site
    assert dns.asked == ["a.test", "b.test"]


@pytest.mark.parametrize(
    ("destination", "name"),
    [
        ("smarthost:partner", "smarthost:partner"),
        ("discard:hole", "discard:hole"),
        ("mx:[192.0.2.1]", "[192.0.2.1]"),
    ],
)
def test_what_is_not_reached_by_mx_is_never_looked_up(destination, name):
    """Smarthosts and address literals are sites by themselves, at once."""
    dns = Dns()
    assert SiteFinder(dns, Clock().seconds).known(destination) == Site(destination, name)
    assert dns.asked == []


@pytest.mark.parametrize("error", [DnsTemporary, NoSuchDomain, NoUsableHost, NullMx, MailLoop])
def test_a_domain_without_hosts_is_a_site_by_itself_for_half_a_minute(error):
    """The attempt says what is wrong with it; a flood of mail for it asks the DNS once."""
    clock, dns = Clock(), Dns(a=error("?"))
    finder = SiteFinder(dns, clock.seconds)
    assert found(finder, "mx:a.test") == Site("mx:a.test", "a.test")
    assert finder.known("mx:a.test") == Site("mx:a.test", "a.test")
    clock.advance(31)
    assert finder.known("mx:a.test") is None


def test_a_domain_that_moves_is_found_at_its_new_site():
    """What is remembered ends."""
    clock, dns = Clock(), Dns(a=HOSTS)
    finder = SiteFinder(dns, clock.seconds)
    found(finder, "mx:a.test")
    dns.answers["a"] = (MailHost("mx.other.test", 0),)
    clock.advance(301)
    assert finder.known("mx:a.test") is None
    assert found(finder, "mx:a.test").name == "mx.other.test"


def test_cancelling_reaches_the_look_up():
    """Nobody waits, nobody asks."""
    waiting = Deferred()
    dns = Dns()
    dns.hosts = lambda _domain: waiting
    finding = SiteFinder(dns, Clock().seconds).find("mx:a.test")
    finding.addErrback(lambda _: None)
    finding.cancel()
    assert waiting.called
    waiting.addErrback(lambda _: None)


def test_another_port_is_another_service():
    """The same hosts at another port have troubles and turns of their own, and the same name."""
    dns = Dns(a=HOSTS)
    finder = SiteFinder(dns, Clock().seconds)
    usual, other = found(finder, "mx:a.test"), found(finder, "mx:a.test:2525")
    assert (other.key, other.name) == (f"{usual.key}:2525", usual.name)
    assert finder.known("mx:a.test:2525") == other
    assert finder.known("mx:[IPv6:2001:db8::1]") == finder.known("mx:[IPv6:2001:db8::1]:25")
    assert finder.known("mx:[192.0.2.1]:26") == Site("mx:[192.0.2.1]:26", "[192.0.2.1]")
    dns.answers["a"] = DnsTemporary("?")
    finder = SiteFinder(dns, Clock().seconds)
    assert found(finder, "mx:a.test:26") == Site("mx:a.test:26", "a.test")


def test_routes_tell_ports_apart():
    """Two routes to the mail exchangers, at different ports, are different destinations."""
    routes = Routes((Route("b", Mx(port=2525), sender_domains=("b.test",)),))
    assert routes.destination("x@b.test", "a.test") == "mx:a.test:2525"
    assert routes.destination("x@c.test", "a.test") == "mx:a.test"
    assert routes.destination("x@b.test", "[IPv6:::1]") == "mx:[IPv6:::1]:2525"


def test_a_site_for_an_address_of_ours():
    """What is shaped by source: a site for each address, the hosts being looked up once."""
    dns = Dns(a=HOSTS)
    rules = Shaping((Rule("warm", Shape(connections=1), sources=(ip_network("192.0.2.0/24"),)),))
    finder = SiteFinder(dns, Clock().seconds, rules)
    site = found(finder, "mx:a.test")
    assert finder.sourced("mx:a.test", ("",)) == finder.sourced("mx:a.test", ("::1",)) == site
    one, two = (finder.sourced("mx:a.test", (f"192.0.2.{n}",)) for n in (1, 2))
    assert (one.key, two.key) == (f"{site.key} from 192.0.2.1", f"{site.key} from 192.0.2.2")
    assert one.shape.connections == 1
    found(finder, "mx:a.test:2525")
    other = finder.sourced("mx:a.test:2525", ("192.0.2.1",))
    assert (other.key, other.base) == (f"{site.key}:2525 from 192.0.2.1", f"{site.key}:2525")
    assert finder.sourced("smarthost:x", ("192.0.2.1", "")).key == "smarthost:x from 192.0.2.1"
    assert dns.asked == ["a.test", "a.test"]
