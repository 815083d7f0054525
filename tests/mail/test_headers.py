"""The header block: what a scan finds, and the lines that are put on top."""

import pytest

from mta.mail.envelope import Origin
from mta.mail.headers import (
    date,
    missing_fields,
    protocol_keyword,
    received,
    scan,
    take_priority,
)

ORIGIN = Origin(
    listener="smtps",
    client_address="192.0.2.7",
    client_name="client.example.org",
    login="ann",
    protocol="ESMTPSA",
    tls="TLSv1.3 TLS_AES_256_GCM_SHA384",
)


def test_scan():
    """Fields are found in any case, folded, and only in the header."""
    header = scan(
        b"Received: by one\r\n"
        b"RECEIVED: by two;\r\n received: folded\r\n"
        b"date: today\r\n"
        b"X-Message-ID: <no@example.org>\r\n"
        b"Message-Id:\r\n <yes@example.org>\r\n"
        b"Subject: x\r\n\r\n"
        b"Received: in the body\r\n"
    )
    assert header.hops == 2
    assert b"date" in header.names
    assert b"message-id" in header.names
    assert header.message_id == "<yes@example.org>"
    assert header.well_begun


@pytest.mark.parametrize(
    ("block", "end", "well_begun"),
    [
        (b"", 0, True),
        (b"\r\nbody\r\n", 0, True),
        (b"A: b\r\n\r\nbody\r\n", 6, True),
        (b"A: b\r\n", 6, True),
        (b"A : b\r\n\r\n", 7, True),
        (b"no header\r\n", 11, False),
        (b" folded: x\r\n\r\n", 12, False),
        (b"hello there: it is\r\n\r\n", 20, False),
    ],
)
def test_end_of_header(block, end, well_begun):
    """The header ends at the first empty line; a message may have none at all."""
    header = scan(block)
    assert (header.end, header.well_begun) == (end, well_begun)


@pytest.mark.parametrize(
    ("line", "message_id"),
    [
        (b"Message-ID: <a@b>", "<a@b>"),
        (b"Message-ID:<a@b> (comment)", "<a@b>"),
        (b"Message-ID : <a@b>", "<a@b>"),
        (b"Message-ID: none", ""),
        (b"Message-ID: <a b>", ""),
        (b"Message-ID: <>", ""),
        (b"Message-ID:\r\n\t<a@b>", "<a@b>"),
        (b"Message-ID: x\r\nTo: <c@d>", ""),
        ("Message-ID: <jörg@b>".encode(), "<jörg@b>"),
        (b"Message-ID: <\xff@b>", "<\ufffd@b>"),
    ],
)
def test_message_id(line, message_id):
    """The value with its brackets; what is none is none, and the field is there all the same."""
    header = scan(line + b"\r\n\r\n")
    assert header.message_id == message_id
    assert b"message-id" in header.names


def test_many_hops_cost_little():
    """A header of nothing but Received fields, or nearly so, is counted exactly."""
    assert scan(b"Received: x\r\n" * 5000 + b"\r\n").hops == 5000
    assert scan(b"Received x\r\n" * 5000 + b"\r\n").hops == 0


def test_received():
    """RFC 5321 §4.4, with the TLS version as a comment."""
    assert received(ORIGIN, "relay.example.net", "ID", "b@example.com", 1_764_028_800_000) == (
        b"Received: from client.example.org ([192.0.2.7])\r\n"
        b"\tby relay.example.net with ESMTPSA (TLSv1.3 TLS_AES_256_GCM_SHA384)\r\n"
        b"\tid ID for <b@example.com>;\r\n"
        b"\tTue, 25 Nov 2025 00:00:00 +0000\r\n"
    )


def test_received_says_what_priority_was_asked_for():
    """RFC 6710 §4.1 (2), §7: the PRIORITY clause, behind "for" (RFC 5321 §4.4)."""
    for to, clause in (
        ("b@example.com", b"id ID for <b@example.com> PRIORITY -4;"),
        ("", b"id ID PRIORITY -4;"),
    ):
        assert clause in received(ORIGIN, "relay.example.net", "ID", to, 0, -4)


def test_what_stands_behind_an_mbox_line_is_no_field():
    """RFC 6409 §8.2, §8.3: Date and Message-ID are added to a message that begins with its text."""
    mbox = b"From ann Tue Nov 25\r\nDate: then\r\nMessage-ID: <x@example.org>\r\n\r\ntext\r\n"
    added = missing_fields(scan(mbox), "relay.example.net", "ID", 0)
    assert [line.partition(b":")[0] for line in added.split(b"\r\n")] == [
        b"Date",
        b"Message-ID",
        b"",
        b"",
    ]


@pytest.mark.parametrize(
    ("field", "priority"),
    [
        (b"MT-Priority: 4 (ultra)\r\n", 4),
        (b"MT-Priority:\r\n (low) -3\r\n", -3),
        (b"MT-Priority: +3\r\n", None),
        (b"MT-Priority: 3 3\r\n", None),
        (b"MT-Priority: (3\r\n", None),
    ],
)
def test_the_field_of_a_priority(field, priority):
    """RFC 6758 §4: comments and folds stand on both sides of the value."""
    assert take_priority(field + b"\r\n", len(field)) == (b"\r\n", priority)


def test_received_from_nobody_in_particular():
    """A client that said nothing, at no address, over IPv6."""
    assert b"from unknown ([unknown])\r\n" in received(Origin(), "h", "ID", "", 0)
    assert b"([IPv6:2001:db8::1])" in received(
        Origin(client_address="2001:db8::1"), "h", "ID", "", 0
    )


@pytest.mark.parametrize("evil", ["a\r\nBcc: x", "a)b(c", "a;b", "a b", "ä", "a\0b", "a<b>"])
def test_received_can_not_be_escaped_from(evil):
    """Header injection: whatever a client calls itself, the field keeps its lines and its form."""
    origin = Origin(client_name=evil, client_address=evil, tls=evil)
    field = received(origin, "h", "ID", "", 0)
    assert field.count(b"\r\n") == 4
    assert field.count(b"(") == field.count(b")") == 2
    assert field.count(b";") == 1
    assert field.isascii()


@pytest.mark.parametrize(
    ("extended", "secure", "authenticated", "keyword"),
    [
        (False, False, False, "SMTP"),
        (False, True, True, "SMTP"),
        (True, False, False, "ESMTP"),
        (True, True, False, "ESMTPS"),
        (True, False, True, "ESMTPA"),
        (True, True, True, "ESMTPSA"),
    ],
)
def test_protocol_keyword(extended, secure, authenticated, keyword):
    """RFC 3848."""
    found = protocol_keyword(extended=extended, secure=secure, authenticated=authenticated)
    assert found == keyword


def test_date():
    """RFC 5322 §3.3, in the language of the standard."""
    assert date(0) == "Thu, 1 Jan 1970 00:00:00 +0000"
    assert date(1_709_210_096_999) == "Thu, 29 Feb 2024 12:34:56 +0000"


def test_missing_fields():
    """What is missing is added; a text without a header is kept from becoming one."""
    complete = scan(b"Date: x\r\nMessage-ID: <a@b>\r\n\r\n")
    assert missing_fields(complete, "h", "ID", 0) == b""
    assert missing_fields(scan(b"hello\r\n"), "h", "ID", 0) == (
        b"Date: Thu, 1 Jan 1970 00:00:00 +0000\r\nMessage-ID: <ID@h>\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b"TLS-Required: No\r\n", True),
        (b"A: b\r\ntls-required:\tno \r\n\r\n", True),
        (b"TLS-Required: Yes\r\n", False),
        (b"TLS-Required: No\r\nTLS-Required: No\r\n", False),
        (b"TLS-Required: No, really\r\n", False),
        (b"A: b\r\n\r\nTLS-Required: No\r\n", False),
        (b"X-TLS-Required: No\r\n", False),
        (b"TLS-Required: No", True),
    ],
)
def test_tls_required_no(header, said):
    """RFC 8689 §3: one field with that one value, in the header and not in the text."""
    assert scan(header).tls_not_required is said


def test_utf8_in_the_header_is_seen():
    """RFC 6532: in the header, not in the text behind it."""
    assert scan("Subject: Gr\u00fc\u00dfe\r\n\r\n".encode()).utf8
    assert not scan("Subject: hi\r\n\r\nGr\u00fc\u00dfe\r\n".encode()).utf8


@pytest.mark.parametrize(
    ("secure", "authenticated", "keyword"),
    [
        (False, False, "UTF8SMTP"),
        (True, False, "UTF8SMTPS"),
        (False, True, "UTF8SMTPA"),
        (True, True, "UTF8SMTPSA"),
    ],
)
def test_keywords_of_smtputf8(secure, authenticated, keyword):
    """RFC 6531 §4.3: messages that came with SMTPUTF8 have ``with`` keywords of their own."""
    made = protocol_keyword(extended=True, secure=secure, authenticated=authenticated, utf8=True)
    assert made == keyword
