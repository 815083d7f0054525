"""The policy's tables, and what becomes of them."""

import ipaddress

import pytest

from mta.config.build_policy import policy
from mta.policy.brake import BrakeSettings
from mta.policy.decision import Action
from mta.policy.guard import GuardSettings
from mta.policy.limits import DAY_MS, HOUR_MS, Bound, LimitRule, Measure, Per
from mta.policy.matching import AddressPattern, Who
from mta.policy.recipients import Recipients
from mta.policy.rules import Policy

HEAD = 'host_name = "relay.example.org"\n[[certificate]]\ncertificate = "c.pem"\nkey = "k.pem"\n'


def test_default(configured):
    """Without a table there is no rule but the guard and null MX, with the defaults."""
    assert policy(configured()) == Policy(recipients=Recipients(null_mx=True, null_mx_senders=True))
    known = configured("[incoming]\nrefuse_null_mx_senders = false")
    assert policy(known) == Policy(recipients=Recipients(null_mx=True))
    assert policy(configured("[guard]\nenabled = false")).guard is None
    assert policy(configured("[brake]\nenabled = true")).brake == BrakeSettings()


def test_tables(configured):
    """Every key arrives."""
    made = policy(
        configured(
            """
            [[sender]]
            name = "apps"
            logins = ["app-*"]
            clients = ["192.0.2.0/24"]
            listeners = ["submission"]
            addresses = ["{user}@example.org", "apps.example.org", ".a.example.org", "{login}"]
            plus = true
            header_from = false
            null_sender = false
            rewrite = "{user}@example.org"
            [[limit]]
            name = "logins"
            per = "network"
            action = "hold"
            messages_per_hour = 5
            octets_per_day = "1MiB"
            [[limit]]
            name = "sessions"
            sessions = 0
            [[hold]]
            name = "big"
            senders = ["<>", "ann@example.org"]
            recipient_domains = [".example.com"]
            min_size = "1kB"
            [recipients]
            allowed = ["example.org", "ann@Example.net"]
            forbidden = ["*@.example.com"]
            refuse_null_mx = false
            [guard]
            window = "1m"
            free = 0
            longest_delay = "2s"
            per_address = 3
            per_login = 2
            """
        )
    )
    (sender,) = made.senders.rules
    assert sender.who == Who(("app-*",), (ipaddress.ip_network("192.0.2.0/24"),), ("submission",))
    assert (sender.plus, sender.header, sender.null_sender) == (True, False, False)
    assert sender.rewrite == "{user}@example.org"
    for login, address in (
        ("app-1", "app-1@example.org"),
        ("app-1", "x@apps.example.org"),
        ("app-1", "x@b.a.example.org"),
        ("me@else.org", "me@else.org"),
    ):
        assert sender.permits(login, address)
    first = (Bound(Measure.MESSAGES, HOUR_MS, 5), Bound(Measure.OCTETS, DAY_MS, 1024**2))
    assert made.limits.rules == (
        LimitRule("logins", Per.NETWORK, Who(), first, Action.HOLD),
        LimitRule("sessions", Per.LOGIN, Who(), (Bound(Measure.SESSIONS, 0, 0),)),
    )
    (hold,) = made.holds.rules
    assert hold.senders == (AddressPattern("", ""), AddressPattern("ann", "example.org"))
    assert (hold.recipient_domains, hold.min_size) == ((".example.com",), 1000)
    assert made.recipients == Recipients(
        (AddressPattern("*", "example.org"), AddressPattern("ann", "example.net")),
        (AddressPattern("*", ".example.com"),),
        null_mx=False,
        null_mx_senders=True,
    )
    assert made.guard == GuardSettings(60_000, 0, 2.0, 3, 2)


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ('[[limit]]\nname = "x"', 'limit["x"].name', "needs one of sessions"),
        ('[[limit]]\nname = "x"\naction = "hold"\nsessions = 1', 'limit["x"].sessions', "hold"),
        ('[[limit]]\nname = "x"\nsessions = -1', 'limit["x"].sessions', "at least 0"),
        (
            '[[sender]]\nname = "x"\naddresses = ["{name}@e.org"]',
            'sender["x"].addresses[0]',
            "braces",
        ),
        ('[[sender]]\nname = "x"\naddresses = ["{user}"]', 'sender["x"].addresses[0]', "domain"),
        ('[[sender]]\nname = "x"\nrewrite = "*@e.org"', 'sender["x"].rewrite', "one address"),
        ('[[hold]]\nname = "x"\nlisteners = ["y"]', 'hold["x"].listeners', 'no listener "y"'),
        ('[[hold]]\nname = "x"\n[[hold]]\nname = "x"', 'hold["x"].name', "twice"),
        ('[recipients]\nallowed = ["not a domain"]', "recipients.allowed[0]", "must be"),
        ("[brake]\nfactor = 1.0", "brake.factor", "more than 1"),
    ],
)
def test_mistakes(problems, text, where, words):
    """What cannot be meant is said, with its place."""
    found = problems(HEAD + text)
    assert list(found) == [where]
    assert words in found[where]
