"""Which reports are made, and for whom."""

from dataclasses import replace
from email import policy
from email.parser import BytesParser

import pytest
from twisted.internet.defer import Deferred

from mta.mail.envelope import Asked, Envelope, MessageKind, Recipient, Role
from mta.mail.outcome import Outcome, Verdict
from mta.mail.queue_id import QueueId, is_queue_id
from mta.policy.aliases import Entry, LocalAddresses, LocalDomain
from mta.queue.bounce import first_chunk, reports, returned_octets
from mta.queue.settings import QueueSettings
from mta.spool.errors import SpoolUnavailable
from mta.spool.outcomes import Settled
from mta.spool.schema import State

NOW_MS = 1_750_000_000_000
CHUNK = b"Subject: hi\r\n\r\nbody\r\n"


def settings(*copies, **more):
    return QueueSettings(
        "relay.example.org", postmaster="post@example.org", postmaster_copies=set(copies), **more
    )


def envelope(sender="a@example.org", kind=MessageKind.MAIL):
    return Envelope(QueueId("1JXQ0S4G00000000"), sender, len(CHUNK), 0, 1, kind=kind)


def settled(number, state, warned=False, address=None):
    verdict = Verdict.FAILED if state is State.BOUNCED else Verdict.DEFERRED
    recipient = Recipient(number, address or f"r{number}@example.net", "example.net", 1)
    return Settled(recipient, Outcome(number, verdict, 0, "", "why", ""), state, 0, warned)


def made(original, *some, using=None):
    """Return kind, recipient, and the addresses that the report speaks of."""
    result = []
    for report in reports(original, some, CHUNK, using or settings(), NOW_MS):
        (content,) = report.intake.chunks
        message = BytesParser(policy=policy.default).parsebytes(content)
        groups = list(message.iter_parts())[1].get_payload()[1:]
        named = [group["Final-Recipient"].removeprefix("rfc822; ") for group in groups]
        result.append((report.kind, report.intake.recipients[0].address, named))
    return result


def test_one_report_for_all_failed_and_one_for_all_late():
    """Bounced and expired share a report; the late have their own; the delivered none."""
    assert made(
        envelope(),
        settled(0, State.BOUNCED),
        settled(1, State.DELIVERED),
        settled(2, State.EXPIRED),
        settled(3, State.QUEUED, warned=True),
        settled(4, State.QUEUED),
    ) == [
        ("failure", "a@example.org", ["r0@example.net", "r2@example.net"]),
        ("delay", "a@example.org", ["r3@example.net"]),
    ]


def test_the_report_as_a_message():
    """From the null sender, a DSN, due at once, unclaimed, with its own id and expiry."""
    (report,) = reports(envelope(), (settled(0, State.BOUNCED),), CHUNK, settings(), NOW_MS)
    intake = report.intake
    assert (intake.envelope.sender, intake.envelope.kind) == ("", MessageKind.DSN)
    assert is_queue_id(intake.envelope.id)
    assert intake.envelope.size == len(intake.chunks[0])
    assert intake.envelope.expires_ms == NOW_MS + 432_000_000
    assert intake.envelope.message_id == f"<{intake.envelope.id}@relay.example.org>"
    assert (intake.envelope.origin.listener, intake.envelope.origin.protocol) == ("", "local")
    assert (intake.claim, intake.next_attempt_ms) == (None, NOW_MS)
    assert intake.recipients == (Recipient(0, "a@example.org", "example.org"),)


@pytest.mark.parametrize(
    ("state", "warned", "copies", "kinds"),
    [
        (State.BOUNCED, False, {"failure"}, ["failure", "postmaster copy"]),
        (State.BOUNCED, False, {"delay"}, ["failure"]),
        (State.QUEUED, True, {"delay"}, ["delay", "postmaster copy"]),
        (State.QUEUED, True, {"failure"}, ["delay"]),
    ],
)
def test_copies_for_the_postmaster(state, warned, copies, kinds):
    """The postmaster gets the kinds that were chosen, in addition to the sender."""
    result = made(envelope(), settled(0, state, warned), using=settings(*copies))
    assert [kind for kind, _, _ in result] == kinds
    assert result[-1][1] == ("post@example.org" if len(kinds) > 1 else "a@example.org")


def test_a_report_that_fails_goes_to_the_postmaster_alone():
    """A double failure: nobody else can be told."""
    report = envelope("", MessageKind.DSN)
    bounced = settled(0, State.BOUNCED)
    assert made(report, bounced) == []
    assert made(report, bounced, using=settings("failure", "delay")) == []
    assert made(report, bounced, using=settings("double")) == [
        ("postmaster copy", "post@example.org", ["r0@example.net"])
    ]


def test_attack_a_loop_of_copies():
    """Attack: the postmaster's address itself bounces; copies of failing copies would go on."""
    bounced = settled(0, State.BOUNCED, address="Post@Example.org")
    for original in (envelope("", MessageKind.DSN), envelope()):
        kinds = [
            kind for kind, _, _ in made(original, bounced, using=settings("double", "failure"))
        ]
        assert "postmaster copy" not in kinds


def test_the_whole_message_up_to_a_size():
    """Headers by default; all of it where the settings and the memory allow."""
    bounced = (settled(0, State.BOUNCED),)
    (report,) = reports(envelope(), bounced, CHUNK, settings(return_whole_octets=100), NOW_MS)
    assert b"message/rfc822\r\n\r\n" + CHUNK in report.intake.chunks[0]
    (report,) = reports(envelope(), bounced, CHUNK, settings(), NOW_MS)
    assert b"\r\nbody\r\n" not in report.intake.chunks[0]
    (report,) = reports(envelope(), bounced, CHUNK[:-3], settings(return_whole_octets=100), NOW_MS)
    assert b"message/rfc822\r\n" not in report.intake.chunks[0]


@pytest.mark.parametrize("error", [LookupError("gone"), SpoolUnavailable("away")])
def test_a_header_that_cannot_be_read_does_not_stop_the_report(error):
    """The report goes without it."""

    class Broken:
        count, memory = 1, None

        async def chunk(self, number):
            raise error

    result = []
    Deferred.fromCoroutine(first_chunk(Broken())).addCallback(result.append)
    assert result == [b""]


def test_reports_about_requiretls_are_redacted_and_go_with_it():
    """RFC 8689 §5: the header only comes back, and only over ways that are as safe."""
    whole = settings(return_whole_octets=1000)
    original = replace(envelope(), require_tls=True)
    (report,) = reports(original, (settled(0, State.BOUNCED),), CHUNK, whole, NOW_MS)
    assert report.intake.envelope.require_tls
    assert b"Subject: hi" in report.intake.chunks[0]
    assert b"\r\nbody\r\n" not in report.intake.chunks[0]
    (plain,) = reports(envelope(), (settled(0, State.BOUNCED),), CHUNK, whole, NOW_MS)
    assert b"\r\nbody\r\n" in plain.intake.chunks[0]
    assert not plain.intake.envelope.require_tls


def test_ret_full_does_not_bring_back_a_message_with_requiretls():
    """RFC 8689 §5 wins over RFC 3461 §4.3: header only, whatever the sender asked for."""
    asked = Asked(ret="FULL")
    most = settings(return_full_octets=1000)
    bounced = settled(0, State.BOUNCED)
    original = replace(envelope(), asked=asked, require_tls=True)
    (report,) = reports(original, (bounced,), CHUNK, most, NOW_MS)
    assert b"Content-Type: text/rfc822-headers" in report.intake.chunks[0]
    assert b"\r\nbody\r\n" not in report.intake.chunks[0]
    assert returned_octets(original, most) == 0
    (report,) = reports(replace(envelope(), asked=asked), (bounced,), CHUNK, most, NOW_MS)
    assert b"\r\nbody\r\n" in report.intake.chunks[0]


def test_report_to_a_sender_beyond_ascii_needs_smtputf8():
    """A report whose reader's address is UTF-8 is itself a message for SMTPUTF8 (RFC 6533)."""
    original = envelope(sender="\u00e4nn@example.org")
    (report,) = reports(original, (settled(0, State.BOUNCED),), CHUNK, settings(), NOW_MS)
    assert (report.intake.envelope.utf8, report.intake.envelope.eight_bit) == (True, True)


def test_failures_of_a_list_go_to_its_owner():
    """RFC 5321 §3.9.2: the author of the message never subscribed anybody."""
    member = settled(1, State.BOUNCED)
    member = replace(member, recipient=replace(member.recipient, sender="owner-l@example.org"))
    assert made(envelope(), settled(0, State.BOUNCED), member) == [
        ("failure", "a@example.org", ["r0@example.net"]),
        ("failure", "owner-l@example.org", ["r1@example.net"]),
    ]


def test_the_owner_of_a_list_gets_nothing_of_what_the_author_asked_for():
    """RFC 3461 §5.2.7.1 (b), §6.3 (a): neither ENVID nor RET of the message to the list."""
    original = replace(envelope(), asked=Asked(ret="FULL", envid="QQ314159"))
    member = settled(1, State.BOUNCED)
    member = replace(member, recipient=replace(member.recipient, sender="owner-l@example.org"))
    found = reports(
        original,
        (settled(0, State.BOUNCED), member),
        CHUNK,
        settings(return_full_octets=1000, return_whole_octets=0),
        NOW_MS,
    )
    contents = [report.intake.chunks[0] for report in found]
    assert [b"Original-Envelope-Id" in content for content in contents] == [True, False]
    assert [b"message/rfc822\r\n" in content for content in contents] == [True, False]


@pytest.mark.parametrize(
    ("role", "action"), [(Role.EXPANDED, "expanded"), (Role.LIST, "delivered")]
)
def test_an_expanded_alias_is_reported_as_such(role, action):
    """RFC 3464 §2.3.3: who asked for SUCCESS hears what became of the name that he wrote."""
    recipient = Recipient(0, "staff@example.org", "", 1, notify="SUCCESS", role=role)
    outcome = Outcome(0, Verdict.DELIVERED, 250, "2.1.5", "passed on", "alias")
    one = Settled(recipient, outcome, State.DELIVERED, 0)
    (report,) = reports(envelope(), (one,), CHUNK, settings(), NOW_MS)
    (content,) = report.intake.chunks
    assert f"Final-Recipient: rfc822; staff@example.org\r\nAction: {action}\r\n".encode() in content


ALIASES = LocalAddresses(
    {"example.org": LocalDomain("example.org", frozenset({"ann", "bob"}), closed=True)},
    {"info@example.org": Entry(("ann", "x@example.net"), "aliases:1")},
)


@pytest.mark.parametrize(
    ("sender", "heard"),
    [
        ("info@example.org", [("ann@example.org", True), ("x@example.net", True)]),
        ("ann@example.org", [("ann@example.org", False)]),
        ("gone@example.org", [("gone@example.org", False)]),
        ("x@example.net", [("x@example.net", False)]),
    ],
)
def test_a_report_goes_where_its_address_leads(sender, heard):
    """A sender that is an alias of ours hears by those whom it stands for; the history says so."""
    (report,) = reports(
        envelope(sender), (settled(0, State.BOUNCED),), CHUNK, settings(addresses=ALIASES), NOW_MS
    )
    recipients = report.intake.recipients
    assert [(one.address, one.given == sender) for one in recipients] == heard
    assert [one.number for one in recipients] == list(range(len(heard)))
    expected = "info@example.org -> ann@example.org, x@example.net (aliases:1)"
    assert [one.text for one in report.intake.remarks] == [expected] * (len(heard) - 1)
