"""OpenDKIM, as Debian packages it, verifies what we sign."""

import shutil
import subprocess

import pytest

from mta.dkim.sign import SigningSettings

pytestmark = pytest.mark.skipif(
    shutil.which("opendkim") is None, reason="needs opendkim (Debian package opendkim)"
)

MESSAGE = (
    b"From: Ann <ann@example.org>\r\n"
    b'To: b@example.com,\r\n\t"C, D" <c@example.net>\r\n'
    b"Subject: folded\r\n  and\ttabbed\r\n"
    b"Date: Tue, 25 Nov 2025 00:00:00 +0000\r\n"
    b"Message-ID: <1@example.org>\r\n"
    b"List-Unsubscribe: <https://example.org/u>\r\n"
    b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    b"\r\nHi  there\t\r\n\r\n\r\nx \r\n\r\n \r\n\r\n"
)


@pytest.fixture
def opendkim(tmp_path):
    """Run opendkim over a message, with the records of some keys; return what it says."""

    def run(message: bytes, keys) -> str:
        records = "".join(f"{key.record_name} {key.record}\n" for key in keys)
        (tmp_path / "records").write_text(records)
        (tmp_path / "conf").write_text(
            f"Mode v\nSyslog no\nTestPublicKeys {tmp_path}/records\nOn-BadSignature reject\n"
        )
        (tmp_path / "message").write_bytes(message)
        done = subprocess.run(
            ["opendkim", "-v", "-x", str(tmp_path / "conf"), "-t", str(tmp_path / "message")],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return done.stdout + done.stderr

    return run


@pytest.mark.parametrize("forms", ["relaxed/relaxed", "relaxed/simple", "simple/relaxed"])
@pytest.mark.parametrize("kind", ["rsa_key", "ed25519_key"])
def test_opendkim_verifies(sign, opendkim, request, kind, forms) -> None:
    """Each algorithm by itself, whatever the canonicalization."""
    key = request.getfixturevalue(kind)
    signed = sign(MESSAGE, (key,), SigningSettings(*forms.split("/")), 5)
    said = opendkim(signed, (key,))
    assert f"(s={key.selector}, d=example.org" in said and "succeeded" in said, said


def test_opendkim_verifies_two_signatures(sign, opendkim, rsa_key, ed25519_key) -> None:
    """RSA and Ed25519 together are accepted."""
    keys = (rsa_key, ed25519_key)
    assert "SMFIS_ACCEPT" in opendkim(sign(MESSAGE, keys), keys)


def test_opendkim_sees_the_attack(sign, opendkim, rsa_key) -> None:
    """Attack: a second From on top; a changed body."""
    signed = sign(MESSAGE, (rsa_key,))
    assert "succeeded" in opendkim(signed, (rsa_key,))
    forged = b"From: forger@example.org\r\n" + signed
    assert "succeeded" not in opendkim(forged, (rsa_key,))
    assert "succeeded" not in opendkim(signed.replace(b"x \r\n", b"y \r\n"), (rsa_key,))
