"""Canonical forms: against a plain reading of the RFC, and in pieces of any size."""

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.dkim.canonical import BodyHash, field


def plain(body: bytes, form: str) -> bytes:
    """RFC 6376 §3.4.3 and §3.4.4 word by word, on a body that ends where it ends."""
    lines = body.split(b"\r\n")
    if form == "relaxed":
        lines = [re.sub(rb"[ \t]+", b" ", line) for line in lines]
        lines = [line.removesuffix(b" ") for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        return b"\r\n" if form == "simple" else b""
    return b"\r\n".join(lines) + b"\r\n"


def digest(pieces: list[bytes], form: str) -> bytes:
    """The hash of a body in pieces."""
    body = BodyHash(form)
    for piece in pieces:
        body.feed(piece)
    return body.digest()


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


EXAMPLES = {
    "RFC 6376 §3.4.5": (b" C \r\nD \t E\r\n\r\n\r\n", b" C\r\nD E\r\n", b" C \r\nD \t E\r\n"),
    "empty": (b"", b"", b"\r\n"),
    "one empty line": (b"\r\n", b"", b"\r\n"),
    "blank lines only": (b" \t\r\n\r\n  \r\n", b"", b" \t\r\n\r\n  \r\n"),
    "no CRLF at the end": (b"text", b"text\r\n", b"text\r\n"),
    "blank lines at the end": (b"text\r\n\r\n\r\n", b"text\r\n", b"text\r\n"),
    "white lines at the end": (b"a\r\n \r\n\t\r\n", b"a\r\n", b"a\r\n \r\n\t\r\n"),
    "blank lines inside": (b"a\r\n\r\n\r\nb\r\n", b"a\r\n\r\n\r\nb\r\n", b"a\r\n\r\n\r\nb\r\n"),
    "tabs and spaces": (b"a\t\t b  \r\n\tc\r\n", b"a b\r\n c\r\n", b"a\t\t b  \r\n\tc\r\n"),
    "CR alone": (b"a\r\rb \r\r\n", b"a\r\rb \r\r\n", b"a\r\rb \r\r\n"),
    "LF alone": (b"a\n\r\n\n\r\n", b"a\n\r\n\n\r\n", b"a\n\r\n\n\r\n"),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(name: str) -> None:
    """What each form makes of a body, whole and octet by octet."""
    body, relaxed, simple = EXAMPLES[name]
    for form, canonical in (("relaxed", relaxed), ("simple", simple)):
        assert digest([body], form) == sha256(canonical)
        octets = [body[at : at + 1] for at in range(len(body))]
        assert digest(octets, form) == sha256(canonical)


@given(
    st.lists(st.text(" \t\r\nab", max_size=12).map(str.encode), max_size=12),
    st.sampled_from(["simple", "relaxed"]),
)
def test_pieces_do_not_matter(pieces: list[bytes], form: str) -> None:
    """However a body is cut, CR, LF and white space at the cuts: the hash is that of the whole."""
    assert digest(pieces, form) == sha256(plain(b"".join(pieces), form))


def test_a_flood_of_blank_lines() -> None:
    """Attack: millions of empty lines, then a word; nothing is kept of them but a count."""
    block = b"\r\n" * 100_000
    body = BodyHash("relaxed")
    for _ in range(20):
        body.feed(block)
    assert len(body._carry) == 0 and body._ends == 2_000_000
    body.feed(b"x\r\n")
    assert body.digest() == sha256(b"\r\n" * 2_000_000 + b"x\r\n")


def test_header_fields() -> None:
    """RFC 6376 §3.4.2: the name small, the value unfolded, white space reduced."""
    assert field(b"A: X\r\n", "relaxed") == b"a:X\r\n"
    assert field(b"B : Y\t\r\n\tZ  \r\n", "relaxed") == b"b:Y Z\r\n"
    assert field(b"Subject:\r\n a\r\n", "relaxed") == b"subject:a\r\n"
    assert field(b"Empty: \r\n", "relaxed") == b"empty:\r\n"
    assert field(b"B : Y\t\r\n\tZ  \r\n", "simple") == b"B : Y\t\r\n\tZ  \r\n"
