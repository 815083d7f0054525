"""Logging in as real clients do it: gsasl (GNU) from outside, over TLS 1.2 and 1.3."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from relay_process import LOGIN, PASSWORD, Relay

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
    assert "SASL SCRAM-SHA-256-PLUS authentication failed: sasl_username=app7" in log
    assert PASSWORD not in log
