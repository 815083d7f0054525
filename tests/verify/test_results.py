"""The field that is written, and the fields that are removed (RFC 8601)."""

import email.policy
from email.parser import BytesParser

import pytest

from mta.verify.forged import without_forged
from mta.verify.results import Result, authentication_results

OURS = "mail.example.org"


def test_a_field():
    """Results stand in one field, folded, with what each is about."""
    field = authentication_results(
        OURS,
        [
            Result("spf", "pass", (("smtp.mailfrom", "example.net"),)),
            Result("dkim", "fail", (("header.d", "example.net"), ("header.b", "ab+/=")), "no"),
            Result("dmarc", "none"),
        ],
    )
    assert field == (
        b"Authentication-Results: mail.example.org;\r\n"
        b"\tspf=pass smtp.mailfrom=example.net;\r\n"
        b'\tdkim=fail reason="no" header.d=example.net header.b="ab+/=";\r\n'
        b"\tdmarc=none\r\n"
    )
    assert authentication_results(OURS, []) == (
        b"Authentication-Results: mail.example.org;\r\n\tnone\r\n"
    )


@pytest.mark.parametrize(
    "said",
    [
        "x\r\nSubject: forged",
        "x; dmarc=pass header.from=bank.example",
        'x" ; dmarc=pass',
        "x (comment",
        "x\\",
        "é\u2028\x00",
        "a" * 5000,
        "",
    ],
)
def test_a_stranger_cannot_write_a_result(said):
    """Attack: whatever a domain, selector or sender is, it stays one value of one field."""
    field = authentication_results(
        OURS, [Result("dkim", "fail", (("header.d", said),), said), Result("spf", "none")]
    )
    assert field.isascii()
    assert max(map(len, field.split(b"\r\n"))) < 998
    message = BytesParser(policy=email.policy.compat32).parsebytes(field + b"\r\n")
    assert message.keys() == ["Authentication-Results"]
    bare = _without_quoted(str(message["Authentication-Results"]))
    assert bare.count(";") == 2
    assert "dmarc" not in bare


def _without_quoted(text):
    bare, quoted, at = "", False, 0
    while at < len(text):
        if text[at] == "\\" and quoted:
            at += 1
        elif text[at] == '"':
            quoted = not quoted
        elif not quoted:
            bare += text[at]
        at += 1
    assert not quoted
    return bare


@pytest.mark.parametrize(
    "field",
    [
        b"Authentication-Results: mail.example.org; dmarc=pass\r\n",
        b"AUTHENTICATION-results :MAIL.Example.ORG;dmarc=pass\r\n",
        b"Authentication-Results:\r\n\tmail.example.org;\r\n dmarc=pass\r\n",
        b"Authentication-Results: mail.example.org 1; dmarc=pass\r\n",
        b"Authentication-Results: (a (nested) c\\)omment) mail.example.org (x) 1 ; none\r\n",
        b'Authentication-Results: "mail.example.org"; dmarc=pass\r\n',
        b'Authentication-Results: "mail\\.example.org"; dmarc=pass\r\n',
        b"Authentication-Results: mail.example.org.; dmarc=pass\r\n",
        b"Authentication-Results: mail.example.org\r\n",
        b"Authentication-Results: (no end mail.example.org; dmarc=pass\r\n",
        b"Authentication-Results: ; dmarc=pass\r\n",
        b'Authentication-Results: "mail.example.org; dmarc=pass\r\n',
        b"Authentication-Results: mail.example.org=x; dmarc=pass\r\n",
        b"X: y\nAuthentication-Results: mail.example.org; dmarc=pass\r\n",
        b"Authentication-Results: (" + b"x" * 10_000 + b") mail.example.org; dmarc=pass\r\n",
    ],
)
def test_forged_results_are_removed(field):
    """Attack: results in our name, however they are written, do not get in (§5)."""
    header = b"Received: a\r\n" + field + b"From: ceo@example.org\r\n"
    kept, removed = without_forged(header, OURS)
    assert removed == 1
    assert b"uthentication-" not in kept.lower()
    assert kept.startswith(b"Received: a\r\n")
    assert kept.endswith(b"From: ceo@example.org\r\n")


@pytest.mark.parametrize(
    "field",
    [
        b"Authentication-Results: mail.example.net; dmarc=pass\r\n",
        b"Authentication-Results: example.org; dmarc=pass\r\n",
        b"Authentication-Results: notmail.example.org 1;\r\n\tdmarc=pass\r\n",
        b"X-Authentication-Results: mail.example.org; dmarc=pass\r\n",
        b"Subject: about\r\n Authentication-Results: mail.example.org; dmarc=pass\r\n",
        b"ARC-Authentication-Results: i=1; mail.example.org; dmarc=pass\r\n",
    ],
)
def test_others_results_stay(field):
    """What other hosts have found is theirs; a look-alike is another field."""
    assert without_forged(field, OURS) == (field, 0)


def test_a_header_of_forgeries():
    """Attack: ten thousand of them are removed in one go."""
    header = b"Authentication-Results: mail.example.org; spf=pass\r\n" * 4000
    assert without_forged(header + b"From: a\r\n", OURS) == (b"From: a\r\n", 4000)
