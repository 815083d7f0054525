"""Policies of MTA-STS (RFC 8461 §3.2, §4.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.security.facts import StsMode
from mta.sts.policy import LONGEST_AGE_S, Policy, PolicyInvalid, kept, parse

GOOD = b"version: STSv1\nmode: enforce\nmx: mail.example.com\nmx: *.example.net\nmax_age: 604800\n"
READ = Policy(StsMode.ENFORCE, 604800, ("mail.example.com", "*.example.net"))


@pytest.mark.parametrize(
    "document",
    [
        GOOD,
        GOOD.replace(b"\n", b"\r\n"),
        GOOD.removesuffix(b"\n"),
        GOOD.replace(b": ", b":"),
        GOOD.replace(b": ", b": \t "),
        GOOD.replace(b"\n", b" \t\r\n"),
        GOOD.replace(b"\n", b"\n\n"),
        b"new-field.1: anything \xc3\xa9 at all\n" + GOOD,
        GOOD + b"mode: none\nversion: STSv2\nmax_age: 1\n",
        GOOD.replace(b"mail.example.com", b"MAIL.Example.com."),
        GOOD + b"mx: *.example.net\n",
    ],
)
def test_read(document):
    """Line ends, spaces, unknown fields, later duplicates, case and a final dot change nothing."""
    assert parse(document) == READ


@pytest.mark.parametrize(
    ("change", "to"),
    [
        (b"version: STSv1\n", b""),
        (b"STSv1", b"stsv1"),
        (b"STSv1", b"STSv2"),
        (b"enforce", b"Enforce"),
        (b"enforce", b"report"),
        (b"mode", b"Mode"),
        (b"604800", b"-1"),
        (b"604800", b"1 day"),
        (b"604800", b"12345678901"),
        (b"604800", "٦٠٤".encode()),
        (b"max_age: 604800\n", b""),
        (b"mx: mail.example.com\nmx: *.example.net\n", b""),
        (b"*.example.net", b"*"),
        (b"*.example.net", b"*.*.example.net"),
        (b"*.example.net", b"mail.*.example.net"),
        (b"*.example.net", b"m*.example.net"),
        (b"*.example.net", b".example.net"),
        (b"*.example.net", b"a b"),
        (b"*.example.net", "müller.example".encode()),
        (b"*.example.net", b"x" * 64 + b".example"),
        (b"mode: enforce", b"mode enforce"),
        (b"mode: enforce", b" mode: enforce"),
        (b"mode: enforce", b"mode : enforce"),
        (b"mode: enforce", b"mode: enforce\nx:\0"),
        (b"mode: enforce", b"mode: enforce\nx: a\rb"),
        (b"mode: enforce", b"mode: enforce\nx: \xff"),
        (b"version", b"<html>"),
    ],
)
def test_invalid(change, to):
    """What a policy allows is never guessed: what cannot be read is no policy."""
    document = GOOD.replace(change, to)
    assert document != GOOD
    with pytest.raises(PolicyInvalid) as caught:
        parse(document)
    assert str(caught.value).isprintable()


def test_none_needs_no_hosts():
    """RFC 8461 §3.2: mx is required unless the mode is none."""
    assert parse(b"version: STSv1\nmode: none\nmax_age: 0").mode is StsMode.NONE


def test_the_longest_life():
    """RFC 8461 §3.2: a year at most, whatever is said."""
    assert parse(GOOD.replace(b"604800", b"9999999999")).max_age_s == LONGEST_AGE_S


@pytest.mark.parametrize(
    ("host", "named"),
    [
        ("mail.example.com", True),
        ("Mail.Example.COM.", True),
        ("a.example.net", True),
        ("example.net", False),
        ("a.b.example.net", False),
        (".example.net", False),
        ("*.example.net", False),
        ("x.mail.example.com", False),
        ("example.com", False),
        ("aexample.net", False),
        ("net", False),
    ],
)
def test_names(host, named):
    """RFC 8461 §4.1: a wildcard stands for exactly one label, the leftmost."""
    assert READ.names(host) is named


@given(st.binary(max_size=300) | st.lists(st.sampled_from(GOOD.splitlines(True))).map(b"".join))
def test_anything(document):
    """Whatever comes is refused in words, or is a policy that is read again as itself."""
    try:
        policy = parse(document)
    except PolicyInvalid as error:
        assert str(error).isprintable()
        return
    assert kept(policy.lines) == policy
    assert 0 <= policy.max_age_s <= LONGEST_AGE_S
    assert policy.mx or policy.mode is StsMode.NONE
