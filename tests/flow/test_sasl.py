"""Logging in as real clients do it: gsasl, curl and smtplib from outside."""

import json
import shutil
import signal
import smtplib
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from relay_process import LOGIN, PASSWORD, Relay, eventually

from mta.tls.certificates import self_signed

pytestmark = pytest.mark.flow


@pytest.fixture
def relay(relays: Callable[..., Relay]) -> Iterator[Relay]:
    """A service whose certificate is for ``localhost``."""
    one = relays(25)
    certificate, key = self_signed("localhost", datetime.now(UTC))
    (one.directory / "certificate.pem").write_bytes(certificate)
    (one.directory / "key.pem").write_bytes(key)
    one.start()
    yield one


def gsasl(relay: Relay, version: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Log in with gsasl over STARTTLS."""
    return subprocess.run(
        [
            "gsasl", "--smtp", "--connect", f"localhost:{relay.submission_port}",
            "--authentication-id", LOGIN,
            "--x509-ca-file", str(relay.directory / "certificate.pem"),
            "--priority", f"NORMAL:-VERS-ALL:+VERS-{version}", *arguments,
        ],
        capture_output=True, text=True, timeout=30, input="", check=False,
    )  # fmt: skip


@pytest.mark.skipif(shutil.which("gsasl") is None, reason="needs Debian's gsasl")
def test_gsasl(relay: Relay) -> None:
    """SCRAM with channel binding (tls-unique, tls-exporter) and without; a wrong password."""
    for version in ("TLS1.2", "TLS1.3"):
        for hash_name in ("SHA-256", "SHA-1"):
            for end in ("-PLUS", ""):
                name = f"SCRAM-{hash_name}{end}"
                plain: Any = () if end else ("--no-cb",)
                done = gsasl(relay, version, "-m", name, "-p", PASSWORD, *plain)
                assert "235 2.7.0 " in done.stdout, (version, name, done)
    wrong = gsasl(relay, "TLS1.3", "-m", "SCRAM-SHA-256-PLUS", "-p", "crayon")
    assert "535 5.7.8 " in wrong.stdout
    relay.stop()
    log = relay.log
    assert log.count("sasl_method=SCRAM-SHA-256-PLUS") == 2
    assert log.count("sasl_method=SCRAM-SHA-1-PLUS") == 2
    failed = "SASL SCRAM-SHA-256-PLUS authentication failed: credentials, sasl_username=app7"
    assert failed in log
    assert PASSWORD not in log


def identity(directory: Path, name: str) -> Path:
    """Have openssl make a client's certificate, with its key in the same file."""
    path, key = directory / f"{name}.pem", directory / f"{name}.key"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-noenc", "-days", "2", "-subj", f"/CN={name}", "-keyout", str(key), "-out", str(path),
            "-addext", f"subjectAltName=DNS:{name}", "-addext", "extendedKeyUsage=clientAuth",
        ],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    with path.open("ab") as file:
        file.write(key.read_bytes())
    return path


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_external(relays: Callable[..., Relay]) -> None:
    """smtplib with a client certificate: pinned, by its name, unknown, and none at all."""
    relay = relays(25)
    known, other = (identity(relay.directory, name) for name in ("app7.test", "other.test"))
    text = relay.config.read_text()
    text = text.replace("[[listener]]\n", '[[listener]]\nclient_certificate = "requested"\n', 1)
    relay.config.write_text(text)
    relay.mta("account", "certificate", "add", LOGIN, str(known))
    relay.start()

    def log_in(certificate: Path | None) -> tuple[int, bytes]:
        context = relay.trust()
        if certificate is not None:
            context.load_cert_chain(certificate)
        with relay.stranger(context) as client:
            client.ehlo()
            return client.docmd("AUTH", "EXTERNAL =")

    assert log_in(known)[0] == 235
    assert log_in(other)[0] == 535
    assert log_in(None)[0] == 504
    # from now on required, and by name of an authority: a reload is enough
    relay.mta("account", "certificate", "add", LOGIN, str(other), "--kind", "name")
    authorities = relay.directory / "authorities.pem"
    authorities.write_bytes(other.read_bytes())
    required = text.replace('"requested"', '"required"')
    relay.config.write_text(f'{required}\n[tls]\nclient_authorities = "{authorities}"\n')
    relay.tell(signal.SIGHUP)
    eventually(lambda: "configuration and certificates reloaded" in relay.log)
    assert log_in(other)[0] == 235
    for refused in (known, None):
        with pytest.raises((ssl.SSLError, smtplib.SMTPException, OSError)):
            log_in(refused)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_tokens(relays: Callable[..., Relay]) -> None:
    """curl with OAUTHBEARER, smtplib with XOAUTH2; a token that has expired is refused."""
    key = ec.generate_private_key(ec.SECP256R1())
    relay = relays(25)
    public = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    (relay.directory / "jwks.json").write_text(json.dumps({"keys": [public]}))
    oauth = '[oauth]\nissuer = "https://i/"\naudience = "smtp"\njwks = "jwks.json"\n'
    relay.config.write_text(f"{relay.config.read_text()}\n{oauth}")
    relay.start()

    def token(expires: float) -> str:
        claims = {"iss": "https://i/", "aud": "smtp", "sub": LOGIN, "exp": expires}
        return jwt.encode(claims, key, "ES256")

    def curl(expires: float) -> "subprocess.CompletedProcess[str]":
        port = relay.smtps_port
        return subprocess.run(
            [
                "curl", "--silent", "--verbose", "--url", f"smtps://relay.test:{port}",
                "--connect-to", f"relay.test:{port}:127.0.0.1:{port}",
                "--cacert", str(relay.directory / "certificate.pem"), "--user", f"{LOGIN}:",
                "--oauth2-bearer", token(expires),
                "--request", "NOOP",
            ],
            check=False, capture_output=True, text=True, timeout=30,
        )  # fmt: skip

    assert "235 2.7.0 " in curl(time.time() + 300).stderr
    refused = curl(time.time() - 3000)
    assert refused.returncode == 67, refused.stderr  # CURLE_LOGIN_DENIED
    with relay.stranger() as client:
        client.ehlo()
        for expires, code in ((-3000, 535), (300, 235)):
            words = f"user={LOGIN}\1auth=Bearer {token(time.time() + expires)}\1\1"
            try:
                answer = client.auth("XOAUTH2", lambda c=None, w=words: "" if c else w)[0]
            except smtplib.SMTPAuthenticationError as error:
                answer = error.smtp_code
            assert answer == code
    relay.stop()
    for mechanism in ("OAUTHBEARER", "XOAUTH2"):
        assert f"sasl_method={mechanism}, sasl_username={LOGIN}" in relay.log
        failed = f"SASL {mechanism} authentication failed: token expired, sasl_username={LOGIN}"
        assert failed in relay.log
    assert "eyJ" not in relay.log  # no part of a token
