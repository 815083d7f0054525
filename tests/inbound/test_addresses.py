"""What becomes of recipients in domains of ours, and of addresses that tables rewrite."""

from dataclasses import replace

import pytest

from mta.inbound.addressees import Addressees
from mta.mail.envelope import Recipient, Role
from mta.mail.events import Refused, Ruled
from mta.policy.matching import AddressPattern
from mta.policy.recipients import Recipients
from mta.policy.rules import Policy

LOGIN = b"EHLO me\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\n"  # ann, secret
DAY = 1_764_028_800 // 86_400


@pytest.fixture
def stranger(world):
    """A client from outside that says EHLO."""
    world.ours()
    client = world.connect("smtp", "198.51.100.66")
    client.say(b"EHLO mail.example.com\r\n")
    return client


def send(world, client, *to, sender="x@example.com"):
    """Send a message; return its intake."""
    said = client.say(f"MAIL FROM:<{sender}>\r\n".encode())
    for one in to:
        said += client.say(f"RCPT TO:{one}\r\n".encode())
    said += client.say(b"DATA\r\n") + client.say(b"Subject: x\r\n\r\ntext\r\n.\r\n")
    assert b"queued as" in said, said
    return world.spool.accepted[-1]


def told(item, *names):
    """What the recipients have in some fields."""
    return [tuple(getattr(one, name) for name in names) for one in item.recipients]


def test_an_alias_is_expanded_and_remembered(world, stranger):
    """The recipients are what it stands for; what was named, and why, is kept."""
    item = send(world, stranger, "<staff@example.org>", "<bob@example.org>")
    assert told(item, "number", "address", "given", "role") == [
        (0, "ann@example.org", "staff@example.org", Role.PLAIN),
        (1, "bob@example.org", "staff@example.org", Role.PLAIN),
        (2, "eve@example.net", "staff@example.org", Role.FORWARDED),
    ]
    text = "staff@example.org -> ann@example.org, bob@example.org, eve@example.net (aliases:2)"
    assert [(one.verb, one.text) for one in item.remarks] == [("alias", text)]
    assert [event.text for event in world.of(Ruled)] == [text]


def test_what_no_alias_changes_stays_as_it_is(world, stranger):
    """A mailbox of ours is a recipient like any other."""
    item = send(world, stranger, "<ann+x@example.org>")
    assert item.recipients == (Recipient(0, "ann+x@example.org", "example.org", 1),)
    assert item.remarks == ()


def test_received_names_what_the_client_named(world, stranger):
    """Not the addresses behind an alias, which are nobody's business."""
    item = send(world, stranger, "<staff@example.org>")
    received = item.chunks[0].partition(b"Subject")[0]
    assert b"for <staff@example.org>" in received
    assert b"eve" not in received


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("", ("", "")),
        (" NOTIFY=SUCCESS,FAILURE", ("SUCCESS,FAILURE", "")),
        (" NOTIFY=NEVER ORCPT=rfc822;z+2Bz@a.example", ("NEVER", "rfc822;z+2Bz@a.example")),
    ],
)
def test_an_alias_of_one_passes_on_what_the_sender_asked(world, stranger, asked, given):
    """RFC 3461 §5.2.7.2; an ORCPT that nobody gave is in no report (§6.3 (d))."""
    item = send(world, stranger, f"<away@example.org>{asked}")
    assert told(item, "notify", "orcpt") == [given]


@pytest.mark.parametrize(
    ("asked", "left", "alias"),
    [
        ("", "", []),
        ("FAILURE", "FAILURE", []),
        ("NEVER", "NEVER", []),
        ("SUCCESS", "NEVER", [("staff@example.org", "SUCCESS", Role.EXPANDED, "")]),
        (
            "SUCCESS,DELAY",
            "DELAY",
            [("staff@example.org", "SUCCESS", Role.EXPANDED, "")],
        ),
    ],
)
def test_an_alias_of_several_reports_success_itself(world, stranger, asked, left, alias):
    """RFC 3461 §5.2.7.3 (c): SUCCESS goes no further, and what is left must not ask for more."""
    notify = f" NOTIFY={asked}" if asked else ""
    item = send(world, stranger, f"<staff@example.org>{notify}")
    assert told(item, "notify")[:3] == [(left,)] * 3
    assert told(item, "address", "notify", "role", "domain")[3:] == alias


def test_a_list_with_an_owner_is_the_end_of_the_message(world, stranger):
    """RFC 3461 §5.2.7.1: delivered; from there on the owner hears, and nobody else."""
    item = send(world, stranger, "<team@example.org> NOTIFY=SUCCESS,FAILURE")
    owner = "owner-team@example.org"
    assert told(item, "address", "sender", "notify", "orcpt", "role") == [
        ("x@example.net", owner, "", "", Role.PLAIN),
        ("y@example.com", owner, "", "", Role.PLAIN),
        ("team@example.org", "", "SUCCESS", "", Role.LIST),
    ]


def test_a_bounce_to_a_list_gets_no_sender(world, stranger):
    """It would become something that bounces."""
    item = send(world, stranger, "<team@example.org>", sender="")
    assert told(item, "sender") == [("",), ("",)]


def test_a_bounce_to_an_srs_address_goes_to_who_sent_the_message(world, stranger):
    """From anybody, for it is signed."""
    signed = world.settings.addresses.srs.forward("x@example.com", DAY - 3)
    item = send(world, stranger, f"<{signed}>", sender="")
    assert told(item, "address", "given") == [("x@example.com", signed)]
    assert [(one.verb, one.text) for one in item.remarks] == [("srs", f"{signed} -> x@example.com")]


def test_an_old_srs_address_is_no_address(world, stranger):
    """Stolen ones end some day."""
    signed = world.settings.addresses.srs.forward("x@example.com", DAY - 30)
    stranger.say(b"MAIL FROM:<>\r\n")
    assert stranger.say(f"RCPT TO:<{signed}>\r\n".encode()) == (
        b"550 5.1.1 There is no such address here\r\n"
    )
    assert world.of(Refused)[-1].reason == "SRS: it is 30 days old"


def test_rewriting_changes_senders_and_recipients(world, stranger):
    """Both are in the history."""
    item = send(world, stranger, "<bob@old.example>", sender="root@db.internal.example.org")
    assert item.envelope.sender == "root@example.org"
    assert told(item, "address", "given") == [("bob@example.org", "bob@old.example")]
    assert [one.text for one in item.remarks] == [
        "sender root@db.internal.example.org -> root@example.org by old",
        "recipient bob@old.example -> bob@example.org by old",
    ]


def test_who_has_logged_in_is_told_at_once_too(world):
    """A wrong address in our own domain would only bounce."""
    world.ours()
    client = world.connect("smtps", "198.51.100.9")
    client.say(LOGIN + b"MAIL FROM:<ann@example.org>\r\n")
    assert client.say(b"RCPT TO:<nobody@example.org>\r\n").startswith(b"550 5.1.1 ")
    assert client.say(b"RCPT TO:<x@example.com>\r\n").startswith(b"250 ")
    client.say(b"RSET\r\n")
    item = send(world, client, "<away@example.org>", sender="ann@example.org")
    assert told(item, "role") == [(Role.PLAIN,)]  # it is ours: no SRS


def test_a_listener_that_takes_nothing_from_outside_does_not(world):
    """incoming = false."""
    world.ours()
    client = world.connect("plain", "198.51.100.66")
    client.say(b"HELO x\r\nMAIL FROM:<x@example.com>\r\n")
    assert client.say(b"RCPT TO:<ann@example.org>\r\n") == (
        b"550 5.7.1 Relaying is not permitted from here\r\n"
    )


def test_a_table_is_no_way_from_outside_to_outside(world):
    """Strangers do not get through by an address that is rewritten to another foreign one."""
    world.ours()
    addresses = world.settings.addresses
    table = replace(
        addresses.canonical[0],
        table=type(addresses.canonical[0].table).of([("@a.example", "@b.example")]),
    )
    world.ours(replace(addresses, canonical=(table,)))
    client = world.connect("smtp", "198.51.100.66")
    client.say(b"HELO x\r\nMAIL FROM:<x@example.com>\r\n")
    assert client.say(b"RCPT TO:<x@a.example>\r\n").startswith(b"550 5.7.1 ")


def test_the_policy_is_asked_about_each_address(world):
    """One of several to which no mail goes is left out; if there is no other, it is refused."""
    forbidden = (AddressPattern.of("example.net"),)
    world.rule(Policy(recipients=Recipients(forbidden=forbidden)))
    world.ours()
    client = world.connect("smtp", "198.51.100.66")
    client.say(b"EHLO x\r\n")
    item = send(world, client, "<staff@example.org>")
    assert told(item, "address") == [("ann@example.org",), ("bob@example.org",)]
    assert item.remarks[-1].text == "eve@example.net is left out: forbidden destination"
    client.say(b"MAIL FROM:<x@example.com>\r\n")
    assert client.say(b"RCPT TO:<away@example.org>\r\n").startswith(b"550 5.7.1 ")


def test_the_bound_on_recipients_counts_what_comes_of_aliases():
    """But a list that is longer can be written to, by itself."""
    many = [Recipient(0, f"u{n}@a.example", "a.example", given="all@o") for n in range(5)]
    box = Addressees(3)
    assert box.add("x@a.example", "", "")
    assert not box.add_all(many)
    box = Addressees(3)
    assert box.add_all(many)
    assert not box.add("x@a.example", "", "")
    assert (box.count, box.only) == (5, "all@o")


def test_an_alias_named_again_and_again_leaves_no_more(world, stranger):
    """Attack: thousands of RCPT that lead to one address, each of them to be remembered."""
    stranger.say(b"MAIL FROM:<x@example.com>\r\n")
    rcpt = b"RCPT TO:<info@example.org>\r\n"
    assert stranger.say(rcpt * 1000) == b"250 2.1.5 Ok\r\n" * 1000
    for number in range(1000):
        stranger.say(b"RCPT TO:<info+%d@example.org>\r\n" % number)
    stranger.say(b"DATA\r\n")
    assert b"queued as" in stranger.say(b"Subject: x\r\n\r\ntext\r\n.\r\n")
    item = world.spool.accepted[-1]
    assert [one.address for one in item.recipients] == ["ann@example.org"]
    texts = [one.text for one in item.remarks]
    assert len(texts) == 201
    assert texts[:2] == [
        "info@example.org -> ann@example.org (aliases:1)",
        "info+0@example.org -> ann@example.org (aliases:1)",
    ]
    assert texts[-1] == "more aliases were used than are told"


def test_the_bound_counts_who_only_hears_of_success():
    """Attack: one list under a thousand names, each of which wants to be told of success."""
    addressees = Addressees(4)
    for number in range(2):
        alias = Recipient(0, f"list+{number}@example.org", "", role=Role.EXPANDED)
        row = Recipient(0, "ann@example.org", "example.org")
        assert addressees.add_all([row, alias])
    alias = Recipient(0, "list+3@example.org", "", role=Role.EXPANDED)
    assert not addressees.add_all([row, alias])
    assert len(addressees.recipients(1)) == 3
