"""Reports as programs and people read them, and what must not get into them."""

from dataclasses import replace
from email import policy
from email.parser import BytesParser
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.mail.dsn import compose
from mta.mail.envelope import Asked, DeliverBy, Envelope, Recipient
from mta.mail.outcome import Outcome, Peer, Verdict
from mta.mail.queue_id import QueueId
from mta.mail.report import Notice, Report, header_of

NOW_MS = 1_750_000_000_000
ID = QueueId("1JXQ0S4G0ABCDEFG")
HEADER = b"From: Ann <a@example.org>\r\nSubject: =?utf-8?q?caf=C3=A9?=\r\nMessage-ID: <m@x>\r\n"
ENVELOPE = Envelope(
    QueueId("1JXQ0S4G00000000"),
    "a@example.org",
    1234,
    NOW_MS - 3_600_000,
    NOW_MS + 432_000_000,
    message_id="<m@x>",
)


def notice(text="no such user here", **changes):
    peer = Peer("mx1.example.net", "192.0.2.7")
    outcome = Outcome(0, Verdict.FAILED, 550, "5.1.1", text, "RCPT", peer=peer)
    address = changes.pop("address", "bob@example.net")
    expired = changes.pop("expired", False)
    return Notice(
        Recipient(0, address, "example.net", 1), replace(outcome, **changes), expired=expired
    )


def report(*notices, **changes):
    made = Report(
        ID,
        "a@example.org",
        "relay.example.org",
        NOW_MS,
        ENVELOPE,
        notices or (notice(),),
        header=HEADER,
    )
    return replace(made, **changes)


def parse(content):
    message = BytesParser(policy=policy.default).parsebytes(content)
    assert message.defects == []
    for part in message.walk():
        assert part.defects == []
    return message


def parts(made):
    message = parse(compose(made))
    return message, *message.iter_parts()


def fields(part):
    """Return the field groups of a delivery-status part: the message's, then one per recipient."""
    return [dict(group.items()) for group in part.get_payload()]


def test_the_frame_of_a_failure_report():
    """RFC 6522 and 3464: three parts, from a daemon to the sender, never to be answered."""
    message, human, status, original = parts(report())
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert message["From"] == "Mail Delivery System <MAILER-DAEMON@relay.example.org>"
    assert message["To"] == "a@example.org"
    assert message["Subject"] == "Not delivered: your message to bob@example.net"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["Message-ID"] == f"<{ID}@relay.example.org>"
    assert message["In-Reply-To"] == message["References"] == "<m@x>"
    assert parsedate_to_datetime(message["Date"]).timestamp() * 1000 == NOW_MS
    assert human.get_content_type() == "text/plain"
    assert status.get_content_type() == "message/delivery-status"
    assert original.get_content_type() == "text/rfc822-headers"
    assert original.get_payload(decode=True) == HEADER


def test_the_fields_of_a_failure_report():
    """RFC 3464: each required field, in its group."""
    _, _, status, _ = parts(report())
    of_message, of_recipient = fields(status)
    assert of_message == {
        "Reporting-MTA": "dns; relay.example.org",
        "Arrival-Date": "Sun, 15 Jun 2025 14:06:40 +0000",
        "X-Queue-ID": "1JXQ0S4G00000000",
    }
    assert of_recipient == {
        "Final-Recipient": "rfc822; bob@example.net",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; mx1.example.net",
        "Diagnostic-Code": "smtp; 550 5.1.1 no such user here",
        "Last-Attempt-Date": "Sun, 15 Jun 2025 15:06:40 +0000",
    }


def test_the_words_of_a_failure_report():
    """A lay person reads what happened, to whom, what the server said, and what to do."""
    _, human, _, _ = parts(report())
    text = human.get_content()
    for expected in (
        "You sent a message:",
        "Subject: café",
        "It could NOT BE DELIVERED to:",
        "bob@example.net",
        "There is no such mailbox at the recipient's organisation.",
        "The server mx1.example.net answered:",
        "550 5.1.1 no such user here",
        "Check the address for mistakes.",
        "1JXQ0S4G00000000",
    ):
        assert expected in text


def test_one_field_group_for_each_recipient():
    """RFC 3464 §2.1: groups are separated by blank lines."""
    _, human, status, _ = parts(
        report(notice(), notice(address="eve@example.net", code=0, text="x"))
    )
    groups = fields(status)
    assert [group.get("Final-Recipient") for group in groups] == [
        None,
        "rfc822; bob@example.net",
        "rfc822; eve@example.net",
    ]
    assert "Remote-MTA" not in groups[2]
    assert groups[2]["Diagnostic-Code"] == "x-mta; x"
    assert "eve@example.net" in human.get_content()


def test_a_delay_warning():
    """Nothing has failed: the sender need not act, and learns until when it is tried."""
    late = notice(verdict=Verdict.DEFERRED, code=450, enhanced="4.2.1", text="busy")
    message, human, status, _ = parts(report(late, delayed=True))
    group = fields(status)[1]
    assert message["Subject"] == "Delayed: your message to bob@example.net"
    assert (group["Action"], group["Status"]) == ("delayed", "4.2.1")
    assert group["Will-Retry-Until"] == "Fri, 20 Jun 2025 15:06:40 +0000"
    assert "NOT BEEN DELIVERED YET" in human.get_content()
    assert "You need not do anything" in human.get_content()


def test_an_expiry():
    """Given up for its age: action failed, status 4.4.7, and the last reply beside it."""
    last = notice(verdict=Verdict.DEFERRED, code=450, enhanced="4.2.2", text="full", expired=True)
    _, human, status, _ = parts(report(last))
    group = fields(status)[1]
    assert (group["Action"], group["Status"]) == ("failed", "4.4.7")
    assert group["Diagnostic-Code"] == "smtp; 450 4.2.2 full"
    assert "until its time was over. The mailbox is full." in " ".join(human.get_content().split())


@pytest.mark.parametrize(
    ("enhanced", "status"), [("4.7.1", "5.7.1"), ("", "5.0.0"), ("x", "5.0.0")]
)
def test_the_class_of_the_status_goes_with_the_action(enhanced, status):
    """A server that answers 550 4.7.1, or no enhanced code, still gives a status of class 5."""
    _, _, part, _ = parts(report(notice(enhanced=enhanced)))
    assert fields(part)[1]["Status"] == status


def test_the_whole_message_where_wanted():
    """message/rfc822, octet for octet."""
    whole = HEADER + b"\r\nAt noon?\r\n.\r\n"
    content = compose(report(whole=whole))
    assert b"Content-Type: message/rfc822\r\n\r\n" + whole in content
    _, _, _, original = parts(report(whole=whole))
    assert original.get_content()["Message-ID"] == "<m@x>"


@pytest.mark.parametrize(
    "body", ["é".encode(), b"x" * 999, b"bare\nline feed", b"bare\rreturn", b"nul\0"]
)
def test_a_message_that_is_not_7bit_is_returned_as_its_header(body):
    """8-bit or malformed content does not make the report so."""
    _, _, _, original = parts(report(whole=HEADER + b"\r\n" + body))
    assert original.get_content_type() == "text/rfc822-headers"


def test_without_the_original():
    """A message that cannot be read any more is reported in two parts."""
    message = parse(compose(report(header=b"")))
    assert [part.get_content_type() for part in message.iter_parts()] == [
        "text/plain",
        "message/delivery-status",
    ]


def test_a_postmaster_copy_does_not_pretend_to_be_for_the_sender():
    """The postmaster reads whose message it was."""
    message, human, _, _ = parts(report(copy=True, to="postmaster@example.org"))
    assert message["Subject"] == "Not delivered: message to bob@example.net"
    assert "A message from a@example.org:" in human.get_content()


def test_attack_a_reply_that_injects_header_fields():
    """Attack: a peer's reply with line ends tries to add fields, parts or recipients."""
    evil = (
        "gone\r\nBcc: victim@example.com\r\n\r\n--=_" + ID + ".0\r\nContent-Type: text/html\r\n\r\n"
        "<b>\n\nAction: delivered\u2028Status: 2.0.0\x85X: y\x00\x0bEvil: 1"
    )
    bad = notice(evil, address="bob\r\nBcc: v@example.com@example.net")
    bad = replace(bad, outcome=replace(bad.outcome, peer=Peer("mx\r\nStatus: 2.0.0")))
    content = compose(report(bad))
    message, human, status, original = parts(report(bad))
    assert len(list(message.iter_parts())) == 3
    assert message["Bcc"] is None
    groups = fields(status)
    assert len(groups) == 2
    assert (groups[1]["Action"], groups[1]["Status"]) == ("failed", "5.1.1")
    assert set(groups[1]) == {
        "Final-Recipient",
        "Action",
        "Status",
        "Remote-MTA",
        "Diagnostic-Code",
        "Last-Attempt-Date",
    }
    assert b"\r\nBcc:" not in content
    assert "\nBcc:" not in human.get_content()
    assert original.get_content_type() == "text/rfc822-headers"


def test_attack_a_subject_or_message_id_that_injects_header_fields():
    """Attack: the original's fields, decoded, contain line ends or are no ids at all."""
    header = b"Subject: =?utf-8?q?hi=0D=0ABcc=3A_v=40example.com?=\r\n"
    original = replace(ENVELOPE, message_id="<m@x>\r\nBcc: v@example.com")
    message, human, *_ = parts(report(header=header, original=original))
    assert message["Bcc"] is None
    assert message["In-Reply-To"] is None
    assert "Subject: hi Bcc: v@example.com" in human.get_content()


def test_attack_direction_characters_in_a_reply():
    """Attack: a reply in overriding direction would show a text that is not there."""
    _, human, _, _ = parts(report(notice("\u202egnorw lla s'ti\u202c fine")))
    assert "\u202e" not in human.get_content()


def test_the_boundary_does_not_occur_in_the_content():
    """Attack: content that guesses the boundary does not end its part."""
    header = HEADER + f"X: --=_{ID}.0\r\nY: =_{ID}.1\r\n".encode()
    message, _, _, original = parts(report(header=header))
    assert message.get_boundary() == f"=_{ID}.2"
    assert original.get_payload(decode=True) == header


def test_words_beyond_ascii():
    """A reply in UTF-8 is readable for people and escaped for programs; the octets are ASCII."""
    made = report(notice("boîte inconnue 邮箱"), header=b"Subject: caf\xc3\xa9 \xff\r\n")
    content = compose(made)
    assert content.isascii()
    _, human, status, original = parts(made)
    assert "boîte inconnue 邮箱" in human.get_content()
    assert "bo\\xeete inconnue" in fields(status)[1]["Diagnostic-Code"]
    assert original.get_payload(decode=True) == b"Subject: caf\xc3\xa9 \xff\r\n"


def test_an_address_beyond_ascii():
    """RFC 6533 §3: the ASCII form of an internationalised address."""
    message, _, status, _ = parts(report(notice(address="bøb@example.net")))
    assert fields(status)[1]["Final-Recipient"] == "utf-8; b\\x{F8}b@example.net"
    assert message["Subject"] == "Not delivered: your message to one recipient"


def test_a_report_for_a_reader_beyond_ascii():
    """RFC 6533 §4, §6: in UTF-8, with the types of its own, as its transport must be anyhow."""
    header = "Subject: Grüße\r\n".encode()
    made = report(notice(address="bøb@example.net"), to="ånn@bücher.example", header=header)
    content = compose(made).decode()
    assert "To: <ånn@bücher.example>\r\n" in content
    assert "Content-Type: message/global-delivery-status\r\n" in content
    assert "\r\nFinal-Recipient: utf-8; bøb@example.net\r\n" in content
    assert "Content-Type: message/global-headers\r\n" in content
    assert "\r\n\r\nSubject: Grüße\r\n" in content
    assert content.count("Content-Transfer-Encoding: 8bit\r\n") == 3


def test_the_header_of_a_message_with_smtputf8_for_a_reader_in_ascii():
    """RFC 6533 §6.3: message/global-headers, encoded for a transport of 7 bits."""
    header = "Subject: Grüße\r\n".encode()
    made = report(header=header, original=replace(ENVELOPE, utf8=True))
    assert compose(made).isascii()
    content = compose(made)
    assert b"message/global-headers\r\nContent-Transfer-Encoding: quoted-printable" in content
    assert b"Subject: Gr=C3=BC=C3=9Fe" in content


@given(st.text(max_size=3000), st.binary(max_size=3000), st.text(min_size=1, max_size=400))
def test_any_reply_in_utf8_gives_a_sound_report(text, header, address):
    """The same for a reader beyond ASCII: UTF-8 where text is, CRLF, lines within 998 octets."""
    content = compose(
        report(notice(text, address=address), header=header_of(header), to="ånn@example.org")
    )
    assert content.count(b"\n") == content.count(b"\r\n") == content.count(b"\r")
    assert max(map(len, content.split(b"\r\n"))) <= 998
    assert b"Content-Type: message/global-delivery-status\r\n" in content


@given(st.text(max_size=3000), st.binary(max_size=3000), st.text(min_size=1, max_size=400))
def test_any_reply_and_any_header_give_a_sound_report(text, header, address):
    """Whatever comes from outside: ASCII, CRLF, lines within 998 octets, two or three parts."""
    made = report(notice(text, address=address), header=header_of(header))
    content = compose(made)
    assert content.isascii()
    assert content.count(b"\n") == content.count(b"\r\n") == content.count(b"\r")
    assert max(map(len, content.split(b"\r\n"))) <= 998
    message = BytesParser(policy=policy.compat32).parsebytes(content)
    kinds = [part.get_content_type() for part in message.get_payload()]
    assert kinds[:2] == ["text/plain", "message/delivery-status"]
    groups = message.get_payload()[1].get_payload()
    assert len(groups) == 2
    assert groups[1]["Action"] == "failed"


@pytest.mark.parametrize(
    ("chunk", "header"),
    [
        (b"A: b\r\n\r\nbody\r\n\r\n", b"A: b\r\n"),
        (b"A: b\r\n", b"A: b\r\n"),
        (b"A: b", b"A: b\r\n"),
        (b"", b""),
        (b"\r\nbody", b""),
    ],
)
def test_header_of(chunk, header):
    """Up to the first empty line, or all there is."""
    assert header_of(chunk) == header


def test_a_huge_header_is_cut_at_a_line_end():
    """A header of megabytes does not go back and forth."""
    header = header_of(b"X: 123456789\r\n" * 100_000)
    assert 60_000 < len(header) <= 65_538
    assert header.endswith(b"9\r\n")


def test_the_names_that_the_sender_gave():
    """RFC 3464 §2.2.1, §2.3.1: what was xtext is read again, and cannot break out of its field."""
    one = notice()
    one = replace(one, recipient=replace(one.recipient, orcpt="rfc822;a+2Bb@example.org"))
    asked = Asked(envid="id+2B1", release_ms=NOW_MS, deliver_by=DeliverBy(NOW_MS, "N"))
    _, _, status, _ = parts(report(one, original=replace(ENVELOPE, asked=asked)))
    of_message, of_recipient = fields(status)
    assert next(iter(of_message)) == "Original-Envelope-Id"
    assert of_message["Original-Envelope-Id"] == "id+1"
    assert of_message["Deliver-By-Date"] == "Sun, 15 Jun 2025 15:06:40 +0000"
    assert of_message["Future-Release-Request"] == "until;2025-06-15T15:06:40Z"
    assert next(iter(of_recipient)) == "Original-Recipient"
    assert of_recipient["Original-Recipient"] == "rfc822; a+b@example.org"


@pytest.mark.parametrize("orcpt", ["utf-8;b\u00f8b@x.example", "utf-8;b\\x{F8}b@x.example"])
def test_original_recipient_in_utf8(orcpt):
    """RFC 6533 §3: escaped in a report in ASCII, in letters in one that is UTF-8 itself."""
    one = replace(notice(), recipient=replace(notice().recipient, orcpt=orcpt))
    content = compose(report(one))
    assert content.isascii()
    assert b"\r\nOriginal-Recipient: utf-8; b\\x{F8}b@x.example\r\n" in content
    content = compose(report(one, to="\u00e5nn@x.example"))
    assert "\r\nOriginal-Recipient: utf-8; b\u00f8b@x.example\r\n" in content.decode()


@pytest.mark.parametrize("hold", ["for;3600", "until;2030-12-31T08:00:00Z"])
def test_a_hold_is_reported_as_it_was_asked_for(hold):
    """RFC 4865 §5.1.2 (2): the value of the parameter, not the moment that it came to."""
    asked = Asked(release_ms=NOW_MS, hold=hold)
    _, _, status, _ = parts(report(notice(), original=replace(ENVELOPE, asked=asked)))
    assert fields(status)[0]["Future-Release-Request"] == hold


def test_hidden_line_ends_stay_hidden():
    """Attack: xtext with CR LF in it, should it ever get past the door."""
    one = notice()
    one = replace(one, recipient=replace(one.recipient, orcpt="rfc822;a+0D+0AX-Evil:+201"))
    asked = Asked(envid="x+0D+0AX-Evil:+201")
    _, _, status, _ = parts(report(one, original=replace(ENVELOPE, asked=asked)))
    for group in fields(status):
        assert "X-Evil" not in group


@pytest.mark.parametrize(
    ("arrived", "action", "subject"),
    [(True, "delivered", "Delivered"), (False, "relayed", "Passed on")],
)
def test_a_report_of_success(arrived, action, subject):
    """Class 2, nothing of failure in its words, and no advice."""
    one = replace(notice("Ok: queued", code=250, enhanced="2.0.0"), arrived=arrived)
    message, human, status, _ = parts(report(one, success=True))
    assert message["Subject"] == f"{subject}: your message to bob@example.net"
    assert (fields(status)[1]["Action"], fields(status)[1]["Status"]) == (action, "2.0.0")
    assert "NOT" not in human.get_content()


@pytest.mark.parametrize(
    ("mode", "late_ms", "status"), [("N", 0, "4.4.7"), ("N", -1, "4.2.2"), ("R", 0, "4.2.2")]
)
def test_a_delay_beyond_the_deadline_says_so(mode, late_ms, status):
    """RFC 2852 §4.1.3: "delayed" with 4.4.7 once the time of mode N is over."""
    one = report(notice("450 4.2.2 full", code=450, enhanced="4.2.2"), delayed=True)
    by = DeliverBy(one.now_ms - late_ms, mode)
    original = replace(ENVELOPE, asked=Asked(deliver_by=by))
    _, _, found, _ = parts(replace(one, original=original))
    group = fields(found)[1]
    assert (group["Action"], group["Status"]) == ("delayed", status)


def test_returned_because_of_its_deadline():
    """RFC 2852: the status is 5.4.7 where the sender's time was over, 4.4.7 where ours was."""
    one = notice(expired=True)
    asked = Asked(deliver_by=DeliverBy(ENVELOPE.expires_ms, "R"))
    for original, expected in ((replace(ENVELOPE, asked=asked), "5.4.7"), (ENVELOPE, "4.4.7")):
        _, _, status, _ = parts(report(one, original=original))
        assert fields(status)[1]["Status"] == expected
