"""The server's side of PLAIN and LOGIN."""

import pytest

from mta.smtp.sasl import (
    Cancelled,
    Challenge,
    Claim,
    Login,
    Plain,
    SaslError,
    decode,
    decode_initial,
    encode,
)


def test_plain():
    """RFC 4616, with and without an initial response."""
    assert Plain().step(None) == Challenge(b"")
    assert Plain().step(b"\0ann\0s\xc3\xa4cret") == Claim("PLAIN", "ann", "säcret")
    assert Plain().step(b"ann\0ann\0secret") == Claim("PLAIN", "ann", "secret")


@pytest.mark.parametrize(
    "response",
    [b"", b"ann", b"\0ann", b"\0ann\0", b"\0\0secret", b"\0a\0b\0c", b"root\0ann\0x", b"\0\xff\0x"],
)
def test_plain_malformed(response):
    """Missing or empty parts, another identity, no UTF-8."""
    with pytest.raises(SaslError):
        Plain().step(response)


def test_login():
    """Two prompts, or one with an initial response."""
    exchange = Login()
    assert exchange.step(None) == Challenge(b"Username:")
    assert exchange.step(b"ann") == Challenge(b"Password:")
    assert exchange.step(b"secret") == Claim("LOGIN", "ann", "secret")


def test_login_empty_password():
    """Attack: an empty password is an anonymous bind to some back-ends, and never gets there."""
    exchange = Login()
    exchange.step(b"ann")
    with pytest.raises(SaslError):
        exchange.step(b"")


def test_base64():
    """Strict base64, ``*`` and ``=``."""
    assert decode("YW5u") == b"ann"
    assert decode("") == b""
    assert decode_initial("=") == b""
    with pytest.raises(Cancelled):
        decode("*")
    for bad in ("YW5", "YW5u*", "=", "YW5u YW5u", "\xff"):
        with pytest.raises(SaslError):
            decode(bad)
    assert encode(Challenge(b"Username:")) == "VXNlcm5hbWU6"


def test_password_is_not_shown():
    """No representation has a password in it."""
    assert "secret" not in repr(Claim("PLAIN", "ann", "secret"))
