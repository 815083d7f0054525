"""``mta explain``: who is refused or kept, and by what; what the spool knows; how it ends.

What it says of the road is held against real deliveries in tests/flow/test_explain.py.
"""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from stub_dns import StubDns

from mta.admin.obstacles import Aimed, obstacles
from mta.admin.rehearsing import FromSources
from mta.mail.restraint import Restraint
from mta.mail.shape import ANY_SHAPE
from mta.mail.site import Site
from mta.spool import (
    accounts,
    alarms,
    brakes,
    counters,
    leases,
    restraints,
    site_states,
    suppressions,
)
from mta.spool.accounts import Account
from mta.spool.counters import Count
from mta.spool.restraints import Wanted
from mta.spool.site_states import SiteState
from mta.spool.suppressions import Suppression

SUPPORT = Path(__file__).parents[1] / "support"
RULES = """
[dns]
servers = ["127.0.0.1:{dns}"]
timeout = "5s"
attempts = 1
[[listener]]
name = "submissions"
endpoint = "127.0.0.1:2465"
tls = "none"
auth = "none"
trusted_networks = ["127.0.0.0/8"]
[[sender]]
name = "own"
logins = ["app7"]
addresses = ["app@example.org"]
[[sender]]
name = "new-name"
logins = ["app8"]
addresses = ["eight@example.org"]
rewrite = "eight@example.org"
[recipients]
forbidden = ["*@competitor.test"]
refuse_unknown_domains = true
[[domain]]
name = "example.org"
recipients = ["ann"]
[[limit]]
name = "few"
per = "login"
logins = ["app9"]
messages_per_day = 3
[[hold]]
name = "huge"
min_size = "1MiB"
[[hold]]
name = "by-login"
logins = ["held"]
[brake]
enabled = true
[[milter]]
name = "rspamd"
endpoint = "tcp:127.0.0.1:11332"
when_away = "hold"
[[route]]
name = "bin"
recipient_domains = ["bin.test"]
discard = true
[[route]]
name = "out"
recipient_domains = ["sm.test"]
smarthost = {{ host = "127.0.0.1", port = 9, tls = "none", per_day = 5 }}
"""
DAY = 86_400_000
LOGINS = ("app7", "app8", "app9", "held", "braked")
CASES = {
    # what is asked: status, and what is told
    ("x@bin.test",): (0, "accepted:     at RCPT: 250 2.1.5 Ok"),
    ("x@bin.test", "--login", "app7", "--from", "boss@example.org"): (
        2, "refused:      at MAIL: 550 5.7.1 Sender address is not permitted (sender rule own"),
    ("x@bin.test", "--login", "app7", "--from", "app@example.org"): (0, "deliverable"),
    ("x@bin.test", "--login", "app8", "--from", "boss@example.org"): (
        0, "rewritten to <eight@example.org>"),
    ("x@bin.test", "--login", "nobody"): (2, "there is no account nobody: AUTH is answered 535"),
    ("nobody@example.org",): (2, "at RCPT: 550 5.1.1 There is no such address here"),
    ("x@competitor.test",): (2, "(forbidden destination)"),
    ("x@bin.test", "--client", "203.0.113.9"): (
        2, "at RCPT: 550 5.7.1 Relaying is not permitted from here"),
    ("bad@bin.test",): (2, "(suppressed: bad@bin.test (it bounced))"),
    ("x@nomail.test",): (2, "at RCPT: 556 5.1.10 The recipient's domain does not accept mail"),
    ("x@nowhere.test",): (2, "at RCPT: 550 5.1.2 The recipient's domain does not exist"),
    ("x@bin.test", "--size", "60MiB"): (2, "at MAIL: 552 5.3.4 The message is larger than"),
    ("x@bin.test", "--size", "2MiB"): (1, "held:         hold rule huge: kept until"),
    ("x@bin.test", "--login", "held"): (1, "held:         hold rule by-login"),
    ("x@bin.test", "--login", "braked"): (1, "held:         brake: the login is stopped"),
    ("x@bin.test", "--login", "app9"): (1, "(limit few: "),
    ("y@bin.test",): (
        0,
        "filter:       rspamd at tcp:127.0.0.1:11332: not asked here (--filters); mail is held",
    ),
    ("x@sm.test",): (1, "budget:       smarthost:out: 127.0.0.1:9: 5 a day, 5 used, 0 left, free "),
    ("x@bin.test", "--listener", "submissions"): (0, "at listener submissions, from 127.0.0.1"),
}  # fmt: skip


@pytest.fixture
def dns():
    """A name server that knows a domain without mail, and of the others that they do not exist."""
    server = StubDns({("nomail.test", "MX"): ["0 ."]})
    yield server
    server.close()


def everything(relay):
    """Return all rows of the tables that acceptance would write to."""
    tables = ("messages", "recipients", "chunks", "events", "counters", "brakes", "arriving")
    rows = (
        relay.read(lambda conn, name=name: conn.exec_driver_sql(f"SELECT * FROM {name}").all())
        for name in tables
    )
    return [sorted(map(str, some)) for some in rows]


def count(conn, name, number, now_ms):
    """Count something today, as another process would."""
    start = now_ms - now_ms % DAY
    one = Count(name, start, DAY, number, now_ms + DAY)
    counters.exchange(conn, [one], [], "other", 0, 0, now_ms)


def explained(relay, cases):
    """Ask all ``cases``, each in a process of its own; return statuses and outputs."""
    done = [relay.process("explain", *one) for one in cases]
    return [(one.returncode, one.stdout) for one in done]


def test_what_submission_would_say(relay, dns):
    """Refused at MAIL or RCPT is 2, kept or put off 1; the reply, and the rule behind it."""
    relay.config.write_text(relay.config.read_text() + RULES.format(dns=dns.port))
    now_ms = time.time_ns() // 1_000_000
    for login in LOGINS:
        relay.write(accounts.add, Account(login, b"", 1, b"", b"", False, now_ms))
    relay.write(suppressions.add, Suppression("bad@bin.test", "", "it bounced", "anna", now_ms))
    relay.write(brakes.trip, "braked", "brake: too much", now_ms)
    relay.write(count, "smarthost:out:127.0.0.1:9", 5, now_ms)
    relay.write(count, f"messages/{DAY}:login:app9", 3, now_ms)
    before = everything(relay)
    for case, (status, text) in zip(CASES, explained(relay, CASES), strict=True):
        assert CASES[case][1] in text, (case, text)
        assert status == CASES[case][0], (case, text)
    assert everything(relay) == before  # nothing was written


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
        ([("192.0.2.5", "2001:db8::5")], 1, False),
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
