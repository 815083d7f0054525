"""Addresses and parameters as RFC 5321 §4.1.2 has them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.smtp.grammar import GrammarError, is_xtext, parameters, path

GOOD = {
    "<>": "",
    "<a@b>": "a@b",
    "<a.b+c=d@example.org>": "a.b+c=d@example.org",
    "<a@xn--bcher-kva.example>": "a@xn--bcher-kva.example",
    '<"a b"@example.org>': '"a b"@example.org',
    '<"a\\"b\\\\"@example.org>': '"a\\"b\\\\"@example.org',
    '<""@example.org>': '""@example.org',
    '<"x@y.example"@example.org>': '"x@y.example"@example.org',
    "<@one,@two.example:a@b>": "a@b",
    "<a@[192.0.2.1]>": "a@[192.0.2.1]",
    "<a@[IPv6:2001:db8::1]>": "a@[IPv6:2001:db8::1]",
    "<postmaster>": "postmaster",
    "<POSTMASTER>": "POSTMASTER",
    "<user%host@example.org>": "user%host@example.org",
    "<host!user@example.org>": "host!user@example.org",
    f"<{'a' * 250}@example.org>": f"{'a' * 250}@example.org",
}

BAD = [
    "",
    "a@b",
    "<a@b",
    "<a>",
    "<@b>",
    "<a@>",
    "<a b@c>",
    "<.a@b>",
    "<a.@b>",
    "<a..b@c>",
    "<a@b@c>",
    "<a@.b>",
    "<a@b.>",
    "<a@b..c>",
    "<a@-b>",
    "<a@b->",
    "<a@b c>",
    '<"a@b>',
    '<"a"b@c>',
    '<"a\x07"@c>',
    "<@one:>",
    "<@one a@b>",
    "<@:a@b>",
    "<@one,two:a@b>",
    "<a@[192.0.2]>",
    "<a@[192.0.2.1>",
    "<a@[IPv6:1::2::3]>",
    "<a@[IPv6:fe80::1%eth0]>",
    "<a@[x-tag:y]>",
    "<<a@b>>",
    f"<{'a' * 256}@b>",
    f"<a@{'b' * 64}>",
    f"<a@{'b.' * 128}b>",
    f"<a@{'b-' * 900}>",
]


@pytest.mark.parametrize(("text", "address"), GOOD.items())
def test_good_path(text, address):
    """The mailbox comes back as it was written, the route does not."""
    assert path(text + " SIZE=1") == (address, len(text))


@pytest.mark.parametrize("text", BAD)
def test_bad_path(text):
    """What is no path is refused with a reason."""
    with pytest.raises(GrammarError) as caught:
        path(text)
    assert str(caught.value)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60))
def test_no_path_smuggles_anything(text):
    """Whatever is accepted has no control characters, and nothing of it lies behind '>'."""
    try:
        address, end = path(f"<{text}>")
    except GrammarError:
        return
    assert f"<{text}>"[:end].endswith(f"{address}>")
    assert address.isprintable()
    if address and address.lower() != "postmaster":
        assert address.rpartition("@")[2].strip("[]-._:") != ""


def test_long_nonsense_is_refused_in_linear_time():
    """Nothing that fits into a line makes the parser backtrack (ReDoS)."""
    for text in ("<" + "a." * 1000, '<"' + "\\a" * 1000, "<a@" + "a-" * 1000, "<@a" * 600):
        with pytest.raises(GrammarError):
            path(text)


def test_parameters():
    """Keywords in upper case, values as they are."""
    assert parameters("size=10  Body=8BITMIME SMTPUTF8", 16) == {
        "SIZE": "10",
        "BODY": "8BITMIME",
        "SMTPUTF8": "",
    }


@pytest.mark.parametrize("text", ["=1", "A=1=2", "A=", "-A=1", "A\x07=1", "A=1 a=2", "A B C"])
def test_bad_parameters(text):
    """Malformed, repeated or too many."""
    with pytest.raises(GrammarError):
        parameters(text, 2)


def test_xtext():
    """RFC 3461 §4: '+' begins two upper case hexadecimal digits, '=' does not occur."""
    assert is_xtext("e+3Dmc2@example.com")
    assert is_xtext("<>")
    assert not is_xtext("a=b")
    assert not is_xtext("a+3d")
    assert not is_xtext("a b")
