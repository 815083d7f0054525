"""What commands say of restraints is what the queue does: one set of cases, asked both."""

import pytest

from mta.mail.envelope import Envelope, MemoryBody, Origin, Recipient
from mta.mail.restraint import Marks, Restraint, barred, keeping_back
from mta.mail.site import Site
from mta.queue.entry import entries
from mta.queue.suspensions import Suspensions

NOW = 1_800_000_000_000
KEY = "site:mx.example.com"
FOUR, SIX = "192.0.2.20", "2001:db8::20"
SOURCES = [(FOUR,), (SIX,), (FOUR, SIX), ("",), (FOUR, "")]
CASES = [
    ("all", "", {}),
    ("login", "app7", {}),
    ("login", "app8", {}),
    ("login", "app7", {"source": FOUR}),
    ("route", "bulk", {}),
    ("route", "other", {}),
    ("route", "bulk", {"source": FOUR}),
    ("route", "other", {"source": FOUR}),
    ("domain", "example.com", {}),
    ("domain", "mx.example.com", {}),
    ("domain", "example.com", {"source": FOUR}),
    ("domain", "example.com", {"source": "192.0.2.21"}),
    ("site", "mx.example.com", {}),
    ("site", "example.com", {}),
    ("site", KEY, {}),
    ("site", "mx.example.com", {"source": FOUR}),
    ("site", "example.com", {"source": FOUR}),
    ("site", "mx.example.com", {"site_key": KEY}),
    ("site", "mx.example.com", {"site_key": "site:another"}),
    ("site", "mx.example.com", {"site_key": KEY, "source": FOUR}),
    ("site", "mx.example.com", {"site_key": KEY, "source": "192.0.2.21"}),
    ("source", FOUR, {"source": FOUR}),
    ("source", "192.0.2.21", {"source": "192.0.2.21"}),
]


def suspension(scope, name, number=1, **more):
    """Make one that holds until it is ended."""
    return Restraint(number, "suspend", scope, name, "why", NOW, None, **more)


def asked(found, sources, *domains):
    """Return what the queue knows, and an entry for one recipient at each domain."""
    envelope = Envelope("1M87Z6Z57AF2TMW2", "a@example.org", 9, 0, 9**15,
                        origin=Origin(login="app7"))  # fmt: skip
    to = tuple(Recipient(n, f"b@{one}", one, 1) for n, one in enumerate(domains))
    (entry,) = entries(envelope, to, MemoryBody((b"",)), "token", lambda *_: "smarthost:bulk")
    entry.site = Site(KEY, "mx.example.com")
    return Suspensions(found, lambda _: sources, lambda *_: "bulk", lambda: NOW), entry


def agree(found, sources):
    """Tell whether mail is kept back, and from where it must not go out, if both say the same."""
    suspensions, entry = asked(found, sources, "example.com")
    mail = Marks("app7", "bulk", "example.com", KEY, "mx.example.com", sources)
    kept, block = keeping_back(found, mail), suspensions.blocked(entry)
    assert bool(kept) is (block is not None)
    if block is None:
        assert barred(found, mail) == suspensions.sources(entry)
    else:
        assert block.restraint in [one.id for one in kept]
    return bool(kept), set(barred(found, mail))


@pytest.mark.parametrize("sources", SOURCES)
@pytest.mark.parametrize(("scope", "name", "more"), CASES)
def test_one_answer(scope, name, more, sources):
    """What ``keeping_back`` and ``barred`` say of a piece of mail, the queue does with it."""
    agree([suspension(scope, name, **more)], sources)


SITE = ("site", "mx.example.com")
PAIRS = [
    ([suspension("source", FOUR, source=FOUR)], (False, {FOUR})),
    ([suspension(*SITE, source=FOUR), suspension(*SITE, 2, source=SIX)], (True, {FOUR, SIX})),
    ([suspension(*SITE, source=FOUR), suspension("source", SIX, 2, source=SIX)],
     (True, {FOUR, SIX})),
    ([suspension("domain", "example.com", source=SIX), suspension(*SITE, 2, source=FOUR)],
     (True, {FOUR, SIX})),
    ([suspension("login", "app7", source=SIX), suspension("login", "app8", 2, source=FOUR)],
     (False, {SIX})),
    ([suspension("all", ""), suspension("source", FOUR, 2, source=FOUR)], (True, {FOUR})),
]  # fmt: skip


@pytest.mark.parametrize(("found", "expected"), PAIRS)
def test_an_address_of_each_family(found, expected):
    """Mail that may go out from two addresses waits only where both are suspended for it."""
    assert agree(found, (FOUR, SIX)) == expected


def test_two_domains_at_one_smarthost():
    """A domain's suspension for an address is about its own recipients, also where all wait."""
    found = [suspension("domain", "example.com", source=FOUR)]
    suspensions, entry = asked(found, (FOUR,), "example.com", "example.net")
    block = suspensions.blocked(entry)
    assert [one.domain for one in block.free] == ["example.net"]
    suspensions, entry = asked(found, (FOUR, SIX), "example.com", "example.net")
    assert suspensions.blocked(entry) is None
    assert suspensions.sources(entry) == {FOUR}
    assert [one.domain for one in suspensions.waiting(entry).free] == ["example.net"]


def test_the_suspension_that_ends_first_is_waited_for():
    """Of two addresses that are suspended the first to be free lets the mail go."""
    found = [
        suspension("source", FOUR, source=FOUR),
        Restraint(2, "suspend", "source", SIX, "why", NOW, NOW + 60_000, source=SIX),
    ]
    suspensions, entry = asked(found, (FOUR, SIX), "example.com")
    assert (suspensions.blocked(entry).restraint, suspensions.blocked(entry).until_ms) == (
        2,
        NOW + 60_000,
    )
