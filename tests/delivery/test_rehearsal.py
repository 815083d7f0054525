"""A rehearsal walks where delivery walks, judges as it judges, and never says MAIL."""

from dataclasses import replace

import pytest
from twisted.internet.defer import Deferred

from mta.delivery.rehearsal import NOT_DIALLED, READY, Rehearsal
from mta.delivery.routes import (
    Discard,
    Maildir,
    Mx,
    Refuse,
    Route,
    Routes,
    Smarthost,
    Smarthosts,
)
from mta.dns.answers import DnsTemporary
from mta.dns.mx import MailLoop, NoSuchDomain, NoUsableHost, NullMx
from mta.mail.outcome import Verdict
from mta.mail.security import Dane, DaneState, Requirement, Skip
from mta.policy.rewriting import Rewrites
from mta.security.facts import Sts, StsMode


def rehearse(world, job, *, connect=True, sts=None):
    """Return the roads of ``job``."""
    rehearsal = Rehearsal(
        world.reactor,
        world.settings,
        world,
        world.tls,
        world.events.append,
        connect=connect,
        dane=world,
        sts=sts,
        now_ms=lambda: world.wall_ms,
    )
    results = []
    Deferred.fromCoroutine(rehearsal.rehearse(job)).addBoth(results.append)
    for _ in range(200):
        if results:
            break
        world.reactor.to_the_next_event()
    return results[0]


def commands(world):
    """All that was said to anybody."""
    return [
        command.split()[0]
        for host in world.reactor.hosts.values()
        for wire in host.connections
        for command in wire.commands
    ]


def test_nobody_is_dialled_unless_that_is_asked_for(world, job):
    """Hosts, what TLS must come to, and addresses are found without a connection."""
    world.mx["there.test"] = ["mx.test", "mx2.test"]
    world.host("mx.test"), world.host("mx2.test", "192.0.2.2")
    (road,) = rehearse(world, job(), connect=False)
    assert commands(world) == []
    assert [(one.name, one.addresses, one.open) for one in road.hosts] == [
        ("mx.test", ("192.0.2.1",), True),
        ("mx2.test", ("192.0.2.2",), True),
    ]
    (outcome,) = road.outcomes
    assert (outcome.verdict, outcome.text) == (Verdict.DELIVERED, NOT_DIALLED)
    assert (outcome.peer.host, outcome.peer.tls.required) == ("mx.test", "may")


def test_a_session_ends_before_mail(world, job):
    """EHLO and QUIT are all that a host hears; what it offers is known, and what was said."""
    world.host("mx.test")
    (road,) = rehearse(world, job())
    assert commands(world) == ["EHLO", "QUIT"]
    (outcome,) = road.outcomes
    assert (outcome.verdict, outcome.text) == (Verdict.DELIVERED, READY)
    assert road.hosts[0].tried[0].keywords == ("8BITMIME", "ENHANCEDSTATUSCODES", "PIPELINING",
                                               "SIZE")  # fmt: skip
    assert "> QUIT" in outcome.transcript
    assert "< 221 2.0.0 Bye" in outcome.transcript


def test_the_next_host_is_asked_as_delivery_would(world, job):
    """The first refuses, the second is ready, the third is only looked up."""
    world.mx["there.test"] = ["mx.test", "mx2.test", "mx3.test"]
    world.host("mx.test", greeting=b"421 4.3.2 Later\r\n")
    world.host("mx2.test", "192.0.2.2"), world.host("mx3.test", "192.0.2.3")
    (road,) = rehearse(world, job())
    first, second, third = road.hosts
    assert first.tried[0].trouble == "Later"
    assert (second.tried[0].trouble, third.tried) == ("", [])
    assert third.addresses == ("192.0.2.3",)
    assert road.outcomes[0].peer.host == "mx2.test"


FAULTS = {
    "null MX": lambda world: world.mx.update({"there.test": NullMx("there.test takes none")}),
    "no domain": lambda world: world.mx.update({"there.test": NoSuchDomain("there.test: no such")}),
    "no host": lambda world: world.mx.update({"there.test": NoUsableHost("neither")}),
    "loop": lambda world: world.mx.update({"there.test": MailLoop("ourselves")}),
    "DNS": lambda world: world.mx.update({"there.test": DnsTemporary("SERVFAIL")}),
    "no address": lambda world: world.a.update({"mx.test": NoUsableHost("mx.test has none")}),
    "address?": lambda world: world.a.update({"mx.test": DnsTemporary("mx.test: SERVFAIL")}),
    "refused": lambda world: setattr(world.host("mx.test"), "refuses", True),
    "521": lambda world: world.host("mx.test", greeting=b"521 5.3.2 No mail here\r\n"),
    "EHLO": lambda world: world.host("mx.test", EHLO=b"421 4.3.2 Not now\r\n"),
    "no TLS": lambda world: (
        world.host("mx.test"),
        world.use(Route("r", Mx(tls="encrypt"))),
    ),
    "DANE": lambda world: (
        world.host("mx.test"),
        world.dane.update({"mx.test": Dane(DaneState.FAILED, text="bogus")}),
    ),
    "route": lambda world: world.use(Route("r", Refuse(551, "5.7.1", "Not from here"))),
    "discard": lambda world: world.use(Route("r", Discard())),
    "smarthost": lambda world: world.use(Route("r", Smarthost("nowhere.test", 25, "none"))),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_verdict_is_that_of_an_attempt(fault, world, job):
    """Whatever goes wrong before MAIL: the same outcome, word for word."""
    FAULTS[fault](world)
    (road,) = rehearse(world, job())
    (real,) = world.deliver(job(), within_s=400)
    (said,) = road.outcomes
    assert replace(said, timing=real.timing) == real


def test_what_a_host_lacks_for_this_message(world, job):
    """An address beyond ASCII needs SMTPUTF8: permanent, and found without MAIL."""
    world.host("mx.test")
    (road,) = rehearse(world, job("üb@there.test"))
    (outcome,) = road.outcomes
    assert (outcome.verdict, outcome.enhanced) == (Verdict.FAILED, "5.6.7")
    assert commands(world) == ["EHLO", "QUIT"]


def test_dane_that_failed_leaves_the_host_alone(world, job):
    """The facts are kept, and nobody is dialled."""
    world.host("mx.test")
    world.dane["mx.test"] = Dane(DaneState.FAILED, text="TLSA of mx.test: SERVFAIL")
    (road,) = rehearse(world, job())
    host = road.hosts[0]
    assert host.dane.state is DaneState.FAILED
    assert isinstance(host.required, Skip)
    assert (host.open, commands(world)) == (False, [])


class Policy:
    """Says the same of every host."""

    on = True

    def __init__(self, *what):
        self.said = Sts(*what)
        self.asked = []

    async def facts(self, domain, host, *, certain=False):
        return self.said

    async def renewed(self, domain, lines):
        self.asked.append(domain)
        return False


def test_a_policy_that_does_not_name_the_host(world, job):
    """It is shown, the host is left alone, and a newer policy is asked for, as in a delivery."""
    world.host("mx.test")
    policy = Policy(StsMode.ENFORCE, False, "policy of there.test (fetched)")
    (road,) = rehearse(world, job(), sts=policy)
    assert road.hosts[0].sts == policy.said
    assert isinstance(road.hosts[0].required, Skip)
    assert (road.outcomes[0].verdict, commands(world)) == (Verdict.DEFERRED, [])


def test_a_maildir_is_looked_at_and_not_written(world, job, tmp_path):
    """One that is there, one that would be made, one that there is not."""
    (tmp_path / "ann").mkdir()
    world.use(Route("r", Maildir(f"{tmp_path}/{{local}}")))
    (there,) = rehearse(world, job("ann@there.test"))[0].outcomes
    assert (there.verdict, there.peer.host) == (Verdict.DELIVERED, f"{tmp_path}/ann")
    (missing,) = rehearse(world, job("bob@there.test"))[0].outcomes
    assert (missing.verdict, missing.enhanced) == (Verdict.FAILED, "5.1.1")
    world.use(Route("r", Maildir(f"{tmp_path}/{{local}}", create=True)))
    (made,) = rehearse(world, job("bob@there.test"))[0].outcomes
    assert made.verdict is Verdict.DELIVERED
    assert [path.name for path in tmp_path.rglob("*")] == ["ann"]


def test_the_sender_that_is_told(world, job):
    """It is rewritten by the route, as in a delivery."""
    world.host("mx.test")
    table = Rewrites.of([("a@here.test", "b@outside.test")])
    world.use(Route("r", Mx(), rewrite_sender=table))
    (road,) = rehearse(world, job())
    assert road.sender == "b@outside.test"
    assert isinstance(road.hosts[0].required, Requirement)


@pytest.mark.parametrize("domain", ["a.test", "b.test", "x.b.test", "c.test"])
@pytest.mark.parametrize("sender", ["", "s@one.test", "s@two.test"])
def test_routes_passed_over_are_those_before_the_chosen_one(domain, sender):
    """Whatever matches: all of them in order, each with a reason, up to the one that is taken."""
    routes = Routes(
        (
            Route("1", Mx(), ("a.test",), ("one.test",)),
            Route("2", Mx(), (".b.test",)),
            Route("3", Mx(), ("b.test", "a.test"), ("<>",)),
            Route("4", Mx(), ("c.test",), ("*",)),
        )
    )
    chosen = routes.choose(sender, domain).name
    passed = routes.passed_over(sender, domain)
    before = "1234".partition(chosen)[0] if chosen in "1234" else "1234"
    assert "".join(route.name for route, _ in passed) == before
    assert all(why for _, why in passed)


def test_ordered_smarthosts(world, job):
    """The first that lets us in is the one; the outcome is a delivery's, and none is blamed."""
    world.host("one.test", greeting=b"421 4.3.2 Later\r\n")
    world.host("two.test", "192.0.2.2")
    hosts = tuple(
        Smarthost(f"{name}.test", 25, "none", preference=n) for n, name in enumerate(("one", "two"))
    )
    world.use(Route("r", Smarthosts("r", hosts)))
    (road,) = rehearse(world, job())
    assert [(one.name, bool(one.tried[0].trouble)) for one in road.hosts] == [
        ("one.test", True),
        ("two.test", False),
    ]
    assert road.outcomes[0].peer.host == "two.test"
    (road,) = rehearse(world, job(), connect=False)
    assert [one.name for one in road.hosts] == ["one.test", "two.test"]
