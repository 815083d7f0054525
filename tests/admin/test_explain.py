"""``mta explain`` where no delivery is walked: who is refused, what the spool knows, how it ends.

What it says of the road is held against real deliveries in tests/flow/test_explain.py.
"""

import subprocess
import sys

import pytest

from mta.admin.obstacles import Aimed, obstacles
from mta.admin.rehearsing import FromSources
from mta.mail.restraint import Restraint
from mta.mail.shape import ANY_SHAPE
from mta.mail.site import Site
from mta.spool import alarms, leases, restraints, site_states, suppressions
from mta.spool.restraints import Wanted
from mta.spool.site_states import SiteState
from mta.spool.suppressions import Suppression

RULES = """
[[sender]]
name = "own"
logins = ["app7"]
addresses = ["app@example.org"]
[recipients]
forbidden = ["*@competitor.test"]
[[domain]]
name = "example.org"
recipients = ["ann"]
"""


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("x@example.com", "--login", "app7", "--from", "boss@example.org"), "550 5.7.1 Sender"),
        (("nobody@example.org",), "550 5.1.1 There is no such address here"),
        (("x@competitor.test",), "forbidden destination"),
    ],
)
def test_what_would_not_be_accepted(local, arguments, told):
    """Status 2, the reply that a client would get, and the rule behind it."""
    local.config.write_text(local.config.read_text() + RULES)
    result = local.run("explain", *arguments)
    assert result.exit_code == 2
    assert told in result.output
    assert result.output.rstrip().endswith("would fail")


@pytest.mark.parametrize("arguments", [("nobody",), ("a@b.test", "--from", "nobody")])
def test_what_is_no_address(local, arguments):
    """Wrong usage is status 64."""
    assert local.run("explain", *arguments).exit_code == 64


def test_what_the_spool_knows(relay):
    """A suppressed address, a site that is left alone, an alarm; each says what it does."""
    now = relay.now
    relay.write(
        suppressions.add, Suppression("x@example.com", "", "it bounced", "anna", now - 1000)
    )
    relay.register()
    relay.write(alarms.put, "node1", "dns", "DANE is off: no AD bit", now)
    state = SiteState("site:mx", "mx.example.com", 1, 0, 7, 2.0, now + 60_000, "421 too busy")
    relay.write(site_states.publish, "token-of-this-run", now - 2000, [state])
    site = Site("site:mx", "mx.example.com", ("mx.example.com",))
    aimed = Aimed(site, "default", "example.com")
    found = relay.read(obstacles, ["X@Example.com"], "app7", [aimed], (now, None))
    assert [(one.kind, one.blocks, one.refuses) for one in found] == [
        ("suppressed", False, True),
        ("alarm", False, False),
        ("site", True, False),
    ]
    assert "mta suppress remove x@example.com" in found[0].text
    assert "421 too busy" in found[2].text
    other = relay.read(
        obstacles, ["y@example.com"], "", [Aimed(Site("site:b", "b"), "r", "d")], (now, None)
    )
    assert [one.kind for one in other] == ["alarm"]


@pytest.mark.parametrize(
    ("scope", "name", "blocks"),
    [
        ("all", "", True),
        ("route", "out", True),
        ("route", "other", False),
        ("site", "mx.example.com", True),
        ("domain", "example.com", True),
        ("domain", "example.net", False),
        ("login", "app7", True),
        ("login", "app8", False),
    ],
)
def test_what_is_suspended(relay, scope, name, blocks):
    """Only what is about this mail stands in its way; who did it, and why, is said."""
    now = relay.now
    made = Restraint(0, "suspend", scope, name, "until they are back", now - 1000, who="anna")
    relay.write(restraints.suspend, made)
    aimed = Aimed(Site("site:mx", "mx.example.com"), "out", "example.com")
    found = relay.read(obstacles, ["x@example.com"], "app7", [aimed], (now, None))
    said = [one for one in found if one.kind == "suspended"]
    assert [one.blocks for one in said] == [True] * blocks
    assert all("until they are back (by anna, suspended until it is ended)" in o.text for o in said)


@pytest.mark.parametrize(
    ("ways", "said", "blocks"),
    [
        ([("192.0.2.5",)], 1, True),
        ([("192.0.2.6",)], 0, False),
        ([("192.0.2.5",), ("192.0.2.6",)], 1, False),
        ([("192.0.2.5", "2001:db8::5")], 1, True),
        ([("",)], 0, False),
    ],
)
def test_what_one_of_our_addresses_is_suspended_for(relay, ways, said, blocks):
    """It stands in the way of mail that can go out from there alone; of other mail it is said."""
    now, site = relay.now, Site("site:mx", "mx.example.com")
    wanted = Wanted(
        "suspend", "site:mx", "mx.example.com", "192.0.2.5", "blocked-ip", "r", (), 9999
    )
    relay.write(restraints.impose, wanted, now)
    here = tuple(FromSources(some, site, ANY_SHAPE) for some in ways)
    aimed = Aimed(site, "out", "example.com", here)
    found = relay.read(obstacles, ["x@example.com"], "app7", [aimed], (now, None))
    suspended = [one for one in found if one.kind == "suspended"]
    assert [one.blocks for one in suspended] == [blocks] * said
    assert all("site mx.example.com from 192.0.2.5" in one.text for one in suspended)


@pytest.mark.parametrize(("apart", "blocks"), [(False, False), (True, True)])
def test_a_queue_of_one_address_that_is_left_alone(relay, apart, blocks):
    """Mail from another address of ours has another queue, and is not held up."""
    site = Site("site:mx", "mx.example.com")
    theirs = site.reached_from(("192.0.2.5",))
    relay.register()
    state = SiteState(theirs.key, site.name, 1, 0, 7, 2.0, relay.now + 60_000, "421 too busy",
                      sources=theirs.sources)  # fmt: skip
    relay.write(site_states.publish, "token-of-this-run", relay.now, [state])
    here = [FromSources(("192.0.2.5",), theirs, ANY_SHAPE)]
    here += [] if apart else [FromSources(("192.0.2.6",), site, ANY_SHAPE)]
    aimed = Aimed(site, "out", "example.com", tuple(here))
    (one,) = relay.read(obstacles, ["x@example.com"], "app7", [aimed], (relay.now, None))
    assert (one.kind, one.blocks) == ("site", blocks)
    assert "leaves site mx.example.com from 192.0.2.5 alone" in one.text


def test_nobody_delivers(relay):
    """Without a service it is said, and is no verdict about the address."""
    (one,) = relay.read(obstacles, ["y@example.com"], "", [], (relay.now, None))
    assert (one.kind, one.blocks, one.refuses) == ("no service", False, False)
    assert relay.read(leases.everyone) == []


def test_help_is_quick():
    """The help imports neither delivery nor DNS nor TLS."""
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom mta.admin.cli import cli\n"
        "result = CliRunner().invoke(cli, ['explain', '--help'])\n"
        "assert '--connect' in result.output\n"
        "heavy = ('mta.delivery.', 'mta.dns.', 'mta.tls.', 'mta.inbound.', 'OpenSSL')\n"
        "print([name for name in sys.modules if name.startswith(heavy)])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
