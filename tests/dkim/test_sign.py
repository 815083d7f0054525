"""What is signed, what it looks like, and what a stranger (dkimpy) makes of it."""

import re
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mta.dkim.keys import KeyState
from mta.dkim.rules import Keyring, Rules
from mta.dkim.sign import NotSigned, SigningSettings

NOW_S = 1_764_028_800
HEADER = (
    b"Received: from somewhere\r\n"
    b"From: Ann <ann@example.org>\r\n"
    b'To: b@example.com,\r\n\t"C, D" <c@example.net>\r\n'
    b"Subject:  folded \r\n  and\ttabbed \r\n"
    b"Date: Tue, 25 Nov 2025 00:00:00 +0000\r\n"
    b"Message-ID: <1@example.org>\r\n"
    b"List-Unsubscribe: <https://example.org/u>\r\n"
    b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    b"X-Campaign: 7\r\n"
)
MESSAGE = HEADER + b"\r\nHi  there\t\r\n\r\n\r\nx \r\n\r\n \r\n\r\n"
FORMS = ["relaxed", "simple"]


@pytest.mark.parametrize("header_form", FORMS)
@pytest.mark.parametrize("body_form", FORMS)
def test_dkimpy_verifies_both_algorithms(
    sign, verify, rsa_key, ed25519_key, header_form, body_form
) -> None:
    """RSA and Ed25519 side by side, in all four canonicalizations, in one piece and in many."""
    keys = (rsa_key, ed25519_key)
    for size in (1 << 30, 3):
        signed = sign(MESSAGE, keys, SigningSettings(header_form, body_form), size)
        assert verify(signed, keys) == [True, True]
        assert f"c={header_form}/{body_form};".encode() in signed


BODIES = {
    "empty body": b"",
    "no CRLF at the end": b"text",
    "one blank line": b"\r\n",
    "blank lines at the end": b"a\r\n\r\n\r\n",
    "white lines": b" \r\n\t\r\n",
    "tabs and spaces": b"a\t b  c \r\n d\r\n",
    "dots": b".\r\n..\r\n",
    "eight bit": "Grüße\r\n".encode(),
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("form", FORMS)
def test_dkimpy_verifies_any_body(sign, verify, ed25519_key, name, form) -> None:
    """Bodies that implementations get wrong."""
    message = HEADER + b"\r\n" + BODIES[name]
    signed = sign(message, (ed25519_key,), SigningSettings("relaxed", form), 2)
    assert verify(signed, (ed25519_key,)) == [True]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(" \t\r\nab", max_size=40), st.integers(1, 9))
def test_dkimpy_verifies_what_hypothesis_writes(sign, verify, ed25519_key, text, size) -> None:
    """Any mixture of white space and lines, cut anywhere."""
    body = re.sub(rb"\r?\n|\r", b"\r\n", text.encode()) + b"\r\n"
    signed = sign(HEADER + b"\r\n" + body, (ed25519_key,), None, size)
    assert verify(signed, (ed25519_key,)) == [True]


def test_message_without_a_body(sign, verify, ed25519_key) -> None:
    """A message that ends with its header has an empty body (RFC 5322 §3.5)."""
    signed = sign(HEADER, (ed25519_key,))
    assert verify(signed + b"\r\n", (ed25519_key,)) == [True]


def test_the_field(sign, rsa_key, ed25519_key) -> None:
    """The tag list (RFC 6376 §3.5): folded, no long line, RSA first, expiry counted from ``t=``."""
    signed = sign(MESSAGE, (ed25519_key, rsa_key), SigningSettings(expire_s=3600))
    fields = signed[: -len(MESSAGE)].decode().split("DKIM-Signature: ")[1:]
    assert [re.search("a=([a-z0-9-]+)", one)[1] for one in fields] == [
        "rsa-sha256",
        "ed25519-sha256",
    ]
    assert all(len(line) <= 78 for line in signed[: -len(MESSAGE)].decode().split("\r\n"))
    tags = dict(
        part.strip().partition("=")[::2] for part in re.sub(r"\s", "", fields[0]).split(";")
    )
    assert tags["v"] == "1" and tags["d"] == "example.org" and tags["s"] == "r1"
    assert (tags["t"], tags["x"]) == (str(NOW_S), str(NOW_S + 3600))
    assert tags.keys() == {"v", "a", "c", "d", "s", "t", "x", "h", "bh", "b"}
    assert " ".join(tags["h"].split(":")) == (
        "from from to to cc subject subject date date message-id message-id reply-to"
        " mime-version content-type content-transfer-encoding"
        " list-unsubscribe list-unsubscribe-post"
    )


ADDED = {
    "a second From": b"From: Forger <forger@example.org>\r\n",
    "a second Subject": b"Subject: You have won\r\n",
    "a Reply-To": b"Reply-To: forger@example.com\r\n",
    "a Content-Type": b"Content-Type: text/html\r\n",
}


@pytest.mark.parametrize("name", ADDED)
def test_attack_a_field_added_above(sign, verify, rsa_key, ed25519_key, name) -> None:
    """Attack: a forger puts a field on top; it is oversigned, so both signatures break."""
    keys = (rsa_key, ed25519_key)
    signed = sign(MESSAGE, keys)
    assert verify(signed, keys) == [True, True]
    assert verify(ADDED[name] + signed, keys) == [False, False]
    top, _, rest = signed.partition(b"Received:")
    assert verify(top + ADDED[name] + b"Received:" + rest, keys) == [False, False]


@pytest.mark.parametrize(
    "changed",
    [
        (b"<https://example.org/u>", b"<https://example.com/u>"),
        (b"=One-Click", b"=Two-Click"),
        (b"x \r\n", b"y \r\n"),
        (b"<1@example.org>", b"<2@example.org>"),
    ],
)
def test_what_is_covered(sign, verify, ed25519_key, changed) -> None:
    """List-Unsubscribe and -Post (RFC 8058 §4), the body, Message-ID: a change breaks it."""
    signed = sign(MESSAGE, (ed25519_key,))
    assert verify(signed.replace(*changed), (ed25519_key,)) == [False]


def test_what_is_not_covered(sign, verify, ed25519_key) -> None:
    """Received lines may be added on the way; an additional field only counts if configured."""
    signed = sign(MESSAGE, (ed25519_key,))
    changed = signed.replace(b"X-Campaign: 7", b"X-Campaign: 8")
    assert verify(b"Received: from next\r\n" + changed, (ed25519_key,)) == [True]
    more = SigningSettings(additional=("X-Campaign", "from"))
    signed = sign(MESSAGE, (ed25519_key,), more)
    assert verify(signed, (ed25519_key,)) == [True]
    changed = signed.replace(b"X-Campaign: 7", b"X-Campaign: 8")
    assert verify(changed, (ed25519_key,)) == [False]


def test_several_fields_of_one_name(sign, verify, ed25519_key) -> None:
    """They are taken from the bottom up (RFC 6376 §5.4.2)."""
    message = b"List-Id: one\r\nList-Id: two\r\n" + MESSAGE
    signed = sign(message, (ed25519_key,))
    assert b"list-id:list-id" in re.sub(rb"\s", b"", signed)
    assert verify(signed, (ed25519_key,)) == [True]


def begin(keys, message: bytes, whole: bool = True):
    return Rules(Keyring(keys)).begin(message, NOW_S, whole=whole)


def test_attack_two_from_fields(ed25519_key) -> None:
    """Attack: a client sends two From fields; that is never signed, whichever is ours."""
    with pytest.raises(NotSigned, match="2 From fields"):
        begin((ed25519_key,), b"From: x@example.com\r\n" + MESSAGE)
    with pytest.raises(NotSigned, match="2 From fields"):
        begin((ed25519_key,), b"fRoM : x@example.com\r\n" + MESSAGE)


def test_header_without_an_end(ed25519_key) -> None:
    """A header of more than 64 KiB is not held in memory; the message goes unsigned."""
    long = b"From: a@example.org\r\n" + b"X: y\r\n" * 20_000
    with pytest.raises(NotSigned, match="header"):
        begin((ed25519_key,), long, whole=False)
    with pytest.raises(NotSigned, match="header"):
        begin((ed25519_key,), long)


def test_whose_key(rsa_key) -> None:
    """The author's domain, or the nearest domain above it that has a key; nobody else's."""
    near = replace(rsa_key, domain="news.example.org")
    keys = (rsa_key, near)
    for author, domain in (
        ("a@example.org", "example.org"),
        ("a@EXAMPLE.org", "example.org"),
        ("a@mail.example.org", "example.org"),
        ("a@news.example.org", "news.example.org"),
        ("a@x.y.news.example.org", "news.example.org"),
    ):
        begun = begin(keys, f"From: {author}\r\n\r\n".encode())
        assert begun is not None and begun[0].keys[0].domain == domain
    for author in ("a@example.com", "a@notexample.org", "a@org", "a@[192.0.2.1]", "nobody", ""):
        assert begin(keys, f"From: {author}\r\n\r\n".encode()) is None
    assert begin(keys, b"Subject: no author\r\n\r\n") is None
    assert begin((), MESSAGE) is None


def test_domains_of_the_configuration(rsa_key) -> None:
    """With a list of domains, keys of others stay unused."""
    other = replace(rsa_key, domain="example.net")
    keyring = Keyring((rsa_key, other), ("example.net",))
    assert keyring.find("example.org", NOW_S) == ()
    assert keyring.find("example.net", NOW_S) == (other,)


def test_rotation_by_itself(rsa_key) -> None:
    """A next key takes over at its moment, without a reload, and the old one stops."""
    then = datetime.fromtimestamp(NOW_S, UTC)
    waiting = replace(rsa_key, selector="r2", state=KeyState.NEXT)
    timed = replace(waiting, selector="r3", active_from=then)
    keyring = Keyring((rsa_key, waiting, timed, replace(rsa_key, selector="r0", state="retired")))
    for at_s, selector in ((NOW_S - 1, "r1"), (NOW_S, "r3"), (NOW_S + 9, "r3")):
        assert [key.selector for key in keyring.find("example.org", at_s)] == [selector]


def test_fifty_megabytes_in_bounded_memory(sign, ed25519_key) -> None:
    """The body of a message of 50 MB is hashed in the memory of a few blocks."""
    block = (b"x " * 40 + b"\t\r\n") * 3000
    signing, _ = begin((ed25519_key,), HEADER + b"\r\n", whole=False)
    tracemalloc.start()
    for _ in range(50_000_000 // len(block)):
        signing.feed(block)
    fields = signing.finish()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert fields.startswith(b"DKIM-Signature:")
    assert peak < 6 * len(block)
