"""SCRAM-SHA-256 keys: the standard's vector, SASLprep, fakes, and what a repr shows."""

import base64
import hashlib
import hmac

import pytest

from mta.auth import passwords


def test_rfc_7677_example():
    """The keys of RFC 7677 §3 make the proof and the signature printed there."""
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    keys = passwords.derive("pencil", salt, 4096)
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    exchange = (
        f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}"
    ).encode()
    signature = hmac.digest(keys.server_key, exchange, "sha256")
    proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    client_signature = hmac.digest(keys.stored_key, exchange, "sha256")
    client_key = bytes(a ^ b for a, b in zip(proof, client_signature, strict=True))

    assert base64.b64encode(signature) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    assert hashlib.sha256(client_key).digest() == keys.stored_key


def test_new_keys_are_salted_and_verify():
    """Two accounts with one password have different keys, and each verifies only its own."""
    first, second = (passwords.new_keys("pencil", iterations=4096) for _ in range(2))

    assert first.salt != second.salt
    assert first.stored_key != second.stored_key
    assert passwords.verify("pencil", first)
    assert not passwords.verify("Pencil", first)


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("pass\u00a0word", "pass word"),
        ("Stra\u00dfe", "Stra\u00dfe"),
        ("u\u0308", "\u00fc"),
        ("\u0627\u0628", "\u0627\u0628"),
        ("\N{PILE OF POO}", "\N{PILE OF POO}"),
        ("", ""),
    ],
)
def test_saslprep(text: str, prepared: str):
    """The examples of RFC 4013 §3 and what passwords of people contain."""
    assert passwords.prepare(text) == prepared


@pytest.mark.parametrize(
    "text", ["\x07", "nul\0", "\ud800", "\u06271", "\u0627a\u0628", "\ue000", "line\n"]
)
def test_saslprep_refuses(text: str):
    """Controls, NUL, surrogates, private use, mixed directions; the message quotes nothing."""
    with pytest.raises(ValueError) as caught:
        passwords.prepare(text)
    assert text not in str(caught.value)


def test_one_password_typed_in_two_forms_is_one_password():
    """A password with a composed letter verifies when a client sends it decomposed."""
    keys = passwords.new_keys("Gr\u00fc\u00dfe", iterations=4096)

    assert passwords.verify(passwords.prepare("Gru\u0308\u00dfe"), keys)


def test_an_empty_password_is_refused():
    """Attack: an account whose password is empty, or vanishes in SASLprep."""
    for password in ("", "\u00ad"):
        with pytest.raises(ValueError, match="is empty"):
            passwords.new_keys(password)


def test_logins_that_can_be_none():
    """A login is neither empty, nor endless, nor does it contain NUL."""
    assert passwords.prepare_login("app7@example.org") == "app7@example.org"
    for login in ("", "a" * 256, "a\0b"):
        with pytest.raises(ValueError):
            passwords.prepare_login(login)


def test_fake_keys_are_stable_and_secret():
    """Attack: finding out by the salt which logins exist."""
    secret = b"s" * 32
    once, again = (passwords.fake_keys("nobody", secret) for _ in range(2))
    real = passwords.new_keys("pencil", iterations=4096)

    assert once == again
    assert once.salt != passwords.fake_keys("somebody", secret).salt
    assert once.salt != passwords.fake_keys("nobody", b"t" * 32).salt
    assert len(once.salt) == len(real.salt)
    assert once.iterations == passwords.ITERATIONS
    assert not passwords.verify("", once)


def test_repr_shows_no_key():
    """What a log or a traceback prints of keys helps nobody to guess."""
    keys = passwords.new_keys("pencil", iterations=4096)

    assert repr(keys) == "Keys(iterations=4096)"
