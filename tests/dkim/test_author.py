"""Whose message it is, in the words of people who would like to be somebody else."""

import time

import pytest

from mta.dkim.author import author_domain


@pytest.mark.parametrize(
    ("value", "domain"),
    [
        (b" ann@example.org\r\n", "example.org"),
        (b" Ann <ann@Example.ORG>\r\n", "example.org"),
        (b' "x@evil.test" <ann@example.org>', "example.org"),
        (b' "a \\" <x@evil.test>" <ann@example.org>', "example.org"),
        (b" x@evil.test <ann@example.org>", "example.org"),
        (b" (x@evil.test) ann@example.org (<y@evil.test>)", "example.org"),
        (b" (a (b <x@evil.test>) c) ann@example.org", "example.org"),
        (b' "odd local"@example.org', "example.org"),
        (b" <@relay.test,@other.test:ann@example.org>", "example.org"),
        (b" ann@example.org, bob@evil.test", "example.org"),
        (b" Group: ann@example.org;", "example.org"),
        (b" Ann\r\n\t<ann@\r\n example.org>", "example.org"),
        (" Jörg <jörg@bücher.example>".encode(), "xn--bcher-kva.example"),
        (b" nobody", ""),
        (b"", ""),
        (b" <ann@>", ""),
        (b" \xff@\xff.example", ""),
        (b" <" + b"(" * 20_000, ""),
    ],
)
def test_author_domain(value: bytes, domain: str) -> None:
    """A quoted or commented address does not choose the key; the angle brackets do."""
    assert author_domain(value) == domain


@pytest.mark.parametrize("value", [b'"' + b'\\"' * 8000, b"(" + b"\\(" * 8000, b"(" * 16_000])
def test_what_is_never_closed_takes_no_time(value: bytes) -> None:
    """Attack: a stranger's From field with a quote or comment that could begin anywhere."""
    began = time.process_time()
    assert author_domain(value + b" <a@example.org>"[: 16_384 - len(value)]) in ("", "example.org")
    assert time.process_time() - began < 0.1
