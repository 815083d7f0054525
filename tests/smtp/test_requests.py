"""Parameters by which senders ask for something: what is read, and what is said again."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.mail.envelope import Asked, DeliverBy, Recipient
from mta.mail.xtext import decode, decode_utf8, encode_utf8, is_xtext
from mta.smtp.grammar import GrammarError
from mta.smtp.requests import (
    MAIL,
    RCPT,
    Offer,
    Wanted,
    mail_parameters,
    notify,
    orcpt,
    rcpt_parameters,
)

ALL = frozenset({"DSN", "DELIVERBY", "MT-PRIORITY", "FUTURERELEASE"})


@given(st.text(max_size=60))
def test_xtext_never_yields_what_could_end_a_line(text):
    """Attack: whatever is written, what xtext decodes to is printable ASCII, or it is refused."""
    try:
        decoded = decode(text)
    except ValueError:
        return
    assert is_xtext(text)
    assert decoded.isascii() and decoded.isprintable()


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=60))
def test_xtext_there_and_back(text):
    """What was encoded by the rules comes back."""
    encoded = "".join(c if c not in "+= " else f"+{ord(c):02X}" for c in text)
    assert decode(encoded) == text


@given(st.sampled_from(sorted(MAIL)), st.text(max_size=40))
def test_parsers_of_mail_raise_nothing_else(keyword, value):
    """Any value is understood or refused in words for the client."""
    wanted = Wanted()
    try:
        MAIL[keyword][1](wanted, value)
    except GrammarError as error:
        assert str(error)
    else:
        assert wanted != Wanted()


@given(st.sampled_from(sorted(RCPT)), st.text(max_size=40))
def test_parsers_of_rcpt_raise_nothing_else(keyword, value):
    """Any value is understood or refused in words for the client."""
    try:
        found = RCPT[keyword][1](value)
    except GrammarError as error:
        assert str(error)
    else:
        assert found.isascii() or found.lower().startswith("utf-8;")
        assert re.sub("[\u200c\u200d]", "", found).isprintable() and " " not in found


def test_never_combined_with_others_is_refused():
    """RFC 3461 §4.1: NEVER stands alone."""
    for value in ("NEVER,FAILURE", "DELAY,NEVER", "NEVER,NEVER", "never,success"):
        with pytest.raises(GrammarError):
            notify(value)
    assert notify("never") == "NEVER"
    assert notify("delay,Success") == "SUCCESS,DELAY"


def test_orcpt_has_bounds():
    """RFC 3461 §4.2: 500 characters."""
    assert orcpt("rfc822;" + "x" * 493)
    with pytest.raises(GrammarError):
        orcpt("rfc822;" + "x" * 494)


def test_offer():
    """FUTURERELEASE has two numbers, DELIVERBY a minimum, MT-PRIORITY a profile."""
    offer = Offer(86_400, 60, True, lambda: 1_764_028_800_123)
    assert offer.lines(auth=True) == [
        "DSN",
        "FUTURERELEASE 86400 2025-11-26T00:00:00Z",
        "DELIVERBY 60",
        "MT-PRIORITY MIXER",
    ]
    assert offer.keywords(auth=False) == {"DSN", "DELIVERBY", "MT-PRIORITY"}
    assert Offer().lines(auth=True) == ["DSN"]


def test_what_is_passed_on_with_mail():
    """Each to a hop that has it, a deadline as the time that is left; a release is past."""
    by = DeliverBy(100_000, "R", True)
    asked = Asked("FULL", "a+2Bb", 1, -4, by)
    assert mail_parameters(asked, ALL, 39_500) == (b" RET=FULL ENVID=a+2Bb MT-PRIORITY=-4 BY=60;RT")
    assert mail_parameters(asked, frozenset({"DSN"}), 0) == b" RET=FULL ENVID=a+2Bb"
    assert mail_parameters(asked, frozenset(), 0) == b""
    late = Asked(deliver_by=DeliverBy(0, "N"))
    assert mail_parameters(late, frozenset({"DELIVERBY"}), 30_000) == b" BY=-30;N"


def test_a_hop_with_priorities_is_told_the_normal_one_too():
    """RFC 6710 §4.2 (1), RFC 6758 §3.2 (1a): the hop must not make up one of its own."""
    assert mail_parameters(Asked(ret="HDRS"), ALL, 0) == b" RET=HDRS MT-PRIORITY=0"


def test_what_is_left_of_a_deadline_is_never_zero_in_mode_r():
    """RFC 2852 §4: "BY=0;R" is a syntax error."""
    asked = Asked(deliver_by=DeliverBy(100_900, "R"))
    assert mail_parameters(asked, frozenset({"DELIVERBY"}), 100_000) == b" BY=1;R"


@pytest.mark.parametrize(
    ("notify", "told"),
    [
        ("", "FAILURE,DELAY"),
        ("FAILURE", "FAILURE,DELAY"),
        ("SUCCESS", "SUCCESS,DELAY"),
        ("SUCCESS,DELAY", "SUCCESS,DELAY"),
        ("NEVER", "NEVER"),
    ],
)
def test_a_hop_without_deliverby_is_asked_to_tell_of_delays(notify, told):
    """RFC 2852 §4.1.4.2, which overrides RFC 3461 §5.2.1 (c)."""
    one = Recipient(0, "b@example.com", "example.com", notify=notify)
    assert rcpt_parameters(one, delay=True) == f" NOTIFY={told}".encode()


@pytest.mark.parametrize(
    ("orcpt", "sender", "said"),
    [
        ("", "", b" ORCPT=rfc822;a+2Bb@example.org"),
        ("rfc822;z@example.org", "", b" ORCPT=rfc822;z@example.org"),
        ("", "owner-list@example.org", b""),
    ],
)
def test_orcpt_behind_an_alias(orcpt, sender, said):
    """RFC 3461 §5.2.1 (d): what the client named; §5.2.7.1 (b): nothing to a list's members."""
    one = Recipient(
        0, "b@example.com", "example.com", orcpt=orcpt, given="a+b@example.org", sender=sender
    )
    assert rcpt_parameters(one) == said


def test_an_orcpt_of_our_own_has_the_bound_of_all():
    """RFC 3461 §4.2: 500 characters; left out rather than cut."""
    given = "+" * 200 + "@example.org"
    assert rcpt_parameters(Recipient(0, "b@example.com", "example.com", given=given)) == b""


def test_what_is_passed_on_with_rcpt():
    """RFC 3461 §5.2.1: as it was said, and nothing where nothing was."""
    one = Recipient(0, "b@example.com", "example.com", notify="SUCCESS", orcpt="rfc822;b+2B")
    assert rcpt_parameters(one) == b" NOTIFY=SUCCESS ORCPT=rfc822;b+2B"
    assert rcpt_parameters(Recipient(0, "b@example.com", "example.com")) == b""


def test_an_original_recipient_in_utf8_is_passed_on_in_ascii():
    """RFC 6533 §3: the form that a hop without SMTPUTF8 takes as well; left out if too long."""
    one = Recipient(0, "b@x", "x", orcpt="utf-8;b\u00f8+2Bb@x")
    assert rcpt_parameters(one) == b" ORCPT=utf-8;b\\x{F8}\\x{2B}b@x"
    long = Recipient(0, "b@x", "x", notify="NEVER", orcpt="utf-8;" + "\u90ae" * 100)
    assert rcpt_parameters(long) == b" NOTIFY=NEVER"


@given(st.text(st.characters(exclude_categories=("C", "Z")), max_size=60))
def test_utf8_addresses_there_and_back(text):
    """Any address is ASCII without a space, "+" or "=" on its way, and comes back."""
    encoded = encode_utf8(text)
    assert is_xtext(encoded) and "+" not in encoded
    assert decode_utf8(encoded) == text


@pytest.mark.parametrize(
    "text", ["\\x{D800}", "\\x{110000}", "\\x{0A}", "+0A", "\\x{202E}", "a=b", "\\", "a b"]
)
def test_what_no_utf8_address_stands_for(text):
    """Attack: line ends, direction marks and what is no character, escaped."""
    with pytest.raises(ValueError):
        decode_utf8(text)
