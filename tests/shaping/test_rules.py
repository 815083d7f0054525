"""Which entry speaks about which site, and what comes of several."""

from ipaddress import ip_network

import pytest

from mta.mail.shape import Shape
from mta.mail.site import alone, site_of
from mta.shaping.rules import Rule, Shaping

SITE = site_of([(10, "mx1.big.example"), (20, "mx2.big.example")])  # its name is big.example


def rule(name, connections=None, **more):
    values = {key: more.pop(key) for key in tuple(more) if key in Shape.__dataclass_fields__}
    if "sources" in more:
        more["sources"] = tuple(map(ip_network, more["sources"]))
    return Rule(name, Shape(connections=connections, **values), **more)


@pytest.mark.parametrize(
    ("matcher", "fits"),
    [
        ({}, True),
        ({"domains": ("a.example",)}, True),
        ({"domains": (".example",)}, True),
        ({"domains": ("b.example",)}, False),
        ({"domains": (".a.example",)}, False),
        ({"sites": ("big.example",)}, True),
        ({"sites": (".example",)}, True),
        ({"sites": ("mx1.big.example",)}, False),
        ({"mx": (".big.example",)}, True),
        ({"mx": ("mx1.big.example", "mx2.big.example")}, True),
        ({"mx": ("mx1.big.example",)}, False),
        ({"mx": ("*",)}, True),
        ({"mx": (".big.example",), "domains": ("b.example",)}, False),
        ({"mx": (".big.example",), "domains": ("a.example",)}, True),
    ],
)
def test_what_fits(matcher, fits):
    """Of each kind that an entry names one pattern has to fit, of mx one for every host."""
    found = Shaping((rule("one", 3, **matcher),)).site(SITE, "a.example")
    assert found.shape.connections == (3 if fits else None)


def test_the_most_specific_wins():
    """Domain before site before mx before all; the longer pattern; the own before the provided."""
    rules = [
        rule("all", 1),
        rule("mx", 2, mx=(".example",)),
        rule("provided", 3, mx=(".big.example",), provided=True),
        rule("mx longer", 4, mx=(".big.example",)),
        rule("site", 5, sites=("big.example",)),
        rule("domains", 6, domains=(".example",)),
        rule("domain", 7, domains=("a.example",)),
    ]
    for count in range(len(rules), 0, -1):
        for order in (rules[:count], rules[:count][::-1]):
            shape = Shaping(tuple(order)).site(SITE, "a.example").shape
            assert shape.connections == count


def test_each_value_comes_from_the_most_specific_that_says_it():
    """An entry that is silent about a value leaves it to the next one."""
    shaping = Shaping(
        (
            rule("all", 1, idle_s=9.0, tls_minimum="TLSv1.2"),
            rule("mx", mx=(".big.example",), messages_per_hour=100, tls_minimum="TLSv1.3"),
            rule("unrelated", 7, domains=("b.example",)),
        )
    )
    shape = shaping.site(SITE, "a.example").shape
    assert (shape.connections, shape.messages_per_hour, shape.idle_s) == (1, 100, 9.0)
    assert shape.tls_minimum == "TLSv1.3"
    assert shape.names == ("mx", "all")


def test_one_site_gathers_many():
    """A provider with a host for each customer: one key, one name, known to be gathered."""
    shaping = Shaping((rule("provider", 9, mx=(".mail.example",), one_site=True),))
    first = shaping.site(site_of([(0, "a-com.mail.example")]), "a.com")
    second = shaping.site(site_of([(0, "b-org.mail.example")]), "b.org")
    assert first == second
    assert (first.key, first.gathered, first.shape.connections) == ("site:provider", True, 9)


def test_who_puts_a_host_beside_the_providers_is_not_gathered():
    """Attack: a domain wants its own dead host to count against everybody at the provider."""
    shaping = Shaping((rule("provider", 9, mx=(".mail.example",), one_site=True),))
    both = site_of([(0, "mx.evil.test"), (10, "a-com.mail.example")])
    assert shaping.site(both, "evil.test") == both


def test_a_domain_with_limits_has_a_queue_of_its_own():
    """Its rate must not hold up its neighbours at the site, nor theirs it."""
    shaping = Shaping((rule("few", domains=("a.example",), messages_per_hour=5),))
    other = shaping.site(SITE, "b.example")
    split = shaping.site(SITE, "a.example")
    assert other == SITE
    assert split.key == f"{SITE.key}=few"
    assert split.name == "big.example/few"


def test_a_domain_with_limits_for_connections_alone_stays_at_its_site():
    """What the queue has not to keep to needs no queue."""
    shaping = Shaping((rule("small", domains=("a.example",), recipients_per_transaction=5),))
    found = shaping.site(SITE, "a.example")
    assert (found.key, found.shape.recipients_per_transaction) == (SITE.key, 5)


def test_the_name_of_a_gathered_site_can_be_used_for_an_entry_of_ones_own():
    """``sites = ["provider"]`` changes the provider's figures without a new site."""
    shaping = Shaping(
        (
            rule("mine", 50, sites=("provider",)),
            rule("provider", 9, mx=(".mail.example",), one_site=True, provided=True),
        )
    )
    found = shaping.site(site_of([(0, "a-com.mail.example")]), "a.com")
    assert (found.key, found.shape.connections) == ("site:provider", 50)


def test_an_entry_for_a_part_of_one_site_takes_that_part_out():
    """Two shapes under one key would change with every message."""
    shaping = Shaping(
        (
            rule("part", 3, mx=(".eu.mail.example",)),
            rule("provider", 9, mx=(".mail.example",), one_site=True),
        )
    )
    part = shaping.site(site_of([(0, "a.eu.mail.example")]), "a.com")
    rest = shaping.site(site_of([(0, "b.us.mail.example")]), "b.com")
    assert (part.key, part.shape.connections) == ("site:provider=part", 3)
    assert (rest.key, rest.shape.connections) == ("site:provider", 9)


def test_a_smarthost_has_no_mail_exchangers_and_no_domain():
    """It is meant by its name, or by an entry about everything."""
    shaping = Shaping(
        (
            rule("all", 1),
            rule("mx", 2, mx=("*",)),
            rule("domain", 3, domains=("*",)),
            rule("smarthost", 4, sites=("smarthost:partner",)),
        )
    )
    partner = alone("smarthost:partner", "smarthost:partner")
    other = alone("smarthost:other", "smarthost:other")
    assert shaping.site(partner).shape.connections == 4
    assert shaping.site(other).shape.connections == 1


def test_without_entries_nothing_is_made():
    """Nobody shapes: the site is the same object."""
    assert Shaping().site(SITE, "a.example") is SITE


V4, V6 = "192.0.2.5", "2001:db8:25::5"


@pytest.mark.parametrize(
    ("sources", "fits"),
    [
        (["192.0.2.5"], True),
        (["192.0.2.0/24"], True),
        (["2001:db8:25::/64"], True),
        (["192.0.2.6", "2001:db8:26::/64"], False),
    ],
)
def test_an_entry_by_source_is_about_mail_from_there(sources, fits):
    """An address or a network, of either family; other mail and mail from anywhere is not meant."""
    shaping = Shaping((rule("warm", 3, sources=sources),))
    assert shaping.by_source
    found = shaping.site(SITE, "a.example", (V4, V6))
    assert found.shape.connections == (3 if fits else None)
    assert shaping.site(SITE, "a.example", ()) == shaping.site(SITE, "a.example") == SITE


def test_each_address_has_its_limits_for_itself():
    """Two addresses of a network that is spoken about are two queues of one site."""
    shaping = Shaping((rule("warm", messages_per_hour=50, sources=["192.0.2.0/24"]),))
    first, second = (shaping.site(SITE, "", (f"192.0.2.{n}",)) for n in (5, 6))
    assert (first.key, first.base, first.sources) == (f"{SITE.key} from {V4}", SITE.key, (V4,))
    assert first.name == second.name == SITE.name
    assert first.key != second.key
    assert first.shape.rates == second.shape.rates == ((50, 3600.0),)
    other = shaping.site(SITE, "", ("198.51.100.1",))
    assert (other.key, other.sources) == (SITE.key, ())


def test_what_the_queue_need_not_know_makes_no_queue():
    """Recipients for each transaction are the connection's business."""
    shaping = Shaping((rule("small", sources=[V4], recipients_per_transaction=5),))
    assert shaping.site(SITE, "", (V4, V6)) == SITE
    assert shaping.shape(SITE, "", (V4, V6)).recipients_per_transaction == 5


def test_one_queue_never_has_two_shapes():
    """What is said of the other family's address alone does not change the shape of a queue."""
    shaping = Shaping(
        (
            rule("four", 3, sources=[V4]),
            rule("six", sources=[V6], idle_s=2.0, tls_minimum="TLSv1.3"),
        )
    )
    assert shaping.site(SITE, "", (V4, V6)) == shaping.site(SITE, "", (V4, "2001:db8::1"))
    assert shaping.shape(SITE, "", (V4, V6)).idle_s == 2.0


def test_two_addresses_that_are_both_spoken_about_are_one_pair():
    """The stricter of both holds, for mail may go out from either."""
    shaping = Shaping((rule("four", 3, sources=[V4]), rule("six", 2, sources=[V6])))
    found = shaping.site(SITE, "", (V4, V6))
    assert (found.sources, found.shape.connections) == ((V4, V6), 2)
    assert found.base == SITE.key


def test_with_a_source_goes_before_without():
    """Among entries that are else as specific, and among networks the smaller one."""
    rules = [
        rule("all", 1),
        rule("from net", 2, sources=["192.0.2.0/24"]),
        rule("from address", 3, sources=[V4]),
        rule("mx", 4, mx=(".big.example",)),
        rule("mx from", 5, mx=(".big.example",), sources=[V4]),
        rule("site", 6, sites=("big.example",)),
        rule("site from", 7, sites=("big.example",), sources=[V4]),
    ]
    for kept in (rules[:1], rules[:2], rules[:3], rules[:5], rules):
        for order in (kept, kept[::-1]):
            shape = Shaping(tuple(order)).site(SITE, "", (V4,)).shape
            assert shape.connections == kept[-1].shape.connections


@pytest.mark.parametrize(
    ("anywhere", "here", "holds"),
    [
        ({"connections": 20}, {"connections": 5}, 5),
        ({"connections": 2}, {"connections": 5}, 2),
        ({"tls_minimum": "TLSv1.2"}, {"tls_minimum": "TLSv1.3"}, "TLSv1.3"),
        ({"tls_minimum": "TLSv1.3"}, {"tls_minimum": "TLSv1.2"}, "TLSv1.3"),
        ({"messages_per_hour": 9}, {"idle_s": 1.0}, 9),
    ],
)
def test_a_site_and_a_source_have_both_to_be_kept_to(anywhere, here, holds):
    """An entry about a provider and one about an address of ours: neither can loosen the other."""
    shaping = Shaping(
        (
            rule("partner", **anywhere, sites=("big.example",)),
            rule("new address", **here, sources=[V4]),
        )
    )
    shape = shaping.shape(SITE, "", (V4,))
    assert getattr(shape, next(iter(anywhere))) == holds
    assert set(shape.names) >= {"partner"}


def test_an_entry_with_both_can_loosen_either():
    """Who names the site and the address knows better than who names one of them."""
    shaping = Shaping(
        (
            rule("partner", 2, sites=("big.example",)),
            rule("new address", 3, sources=[V4]),
            rule("known there", 50, sites=("big.example",), sources=[V4]),
        )
    )
    assert shaping.site(SITE, "", (V4,)).shape.connections == 50
    assert shaping.site(SITE, "", (V6,)).shape.connections == 2


def test_a_domain_of_its_own_from_a_source_of_its_own():
    """Both ways to a queue of one's own come together."""
    shaping = Shaping((rule("few", 2, domains=("a.example",)), rule("warm", 3, sources=[V4])))
    found = shaping.site(SITE, "a.example", (V4,))
    assert found.key == f"{SITE.key}=few from {V4}"
    assert (found.name, found.shape.connections) == ("big.example/few", 2)
