"""``mta why`` of mail that was never tried: DNS is asked for its site if that matters."""

import json
import socket
import time

import pytest
from stub_dns import StubDns

from mta.mail.restraint import Restraint
from mta.spool import leases, restraints

ZONE = {
    ("there.test", "MX"): ["10 mx1.big.test.", "20 mx2.big.test."],
    ("else.test", "MX"): ["10 mx.else.test."],
}


def answers(relay, dns_port, *messages):
    """Return what blocks the only recipient of each message, and what is said besides."""
    with relay.config.open("a") as file:
        file.write(f'[dns]\nservers = ["127.0.0.1:{dns_port}"]\n')
    told = [relay.process("why", one, "--json").stdout for one in messages]
    found = [json.loads(text)["answers"][0] for text in told]
    return [(one["blocked_by"], *one["besides"]) for one in found]


@pytest.fixture
def suspended(relay):
    """A relay whose site ``big.test`` is suspended, and a process that runs, by today's clock."""
    now_ms = time.time_ns() // 1_000_000
    relay.write(leases.register_node, "node1", "run", now_ms, 3_600_000, {})
    made = Restraint(0, "suspend", "site", "big.test", "ticket 7", now_ms, who="anna")
    relay.write(restraints.suspend, made)
    return relay


def test_the_site_of_what_was_never_tried(suspended):
    """Fresh mail to a domain of a suspended site is blocked by that, other mail is not."""
    one, other = suspended.accept("u@there.test"), suspended.accept("u@else.test")
    with StubDns(ZONE) as dns:
        assert answers(suspended, dns.port, one, other) == [("restraint",), ("turn",)]
        assert ("there.test", "MX") in dns.queries


def test_dns_is_silent(suspended):
    """Attack: a name server that never answers keeps nobody from an answer."""
    one = suspended.accept("u@there.test")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        (found,) = answers(suspended, silent.getsockname()[1], one)
    assert found == ("turn", "DNS does not say at which site; of sites suspended: big.test")


def test_nobody_is_asked_for_nothing(relay):
    """Where nothing is known of sites, DNS is left alone."""
    relay.register()
    with StubDns(ZONE) as dns:
        assert answers(relay, dns.port, relay.accept("u@there.test")) == [("turn",)]
        assert dns.queries == []
