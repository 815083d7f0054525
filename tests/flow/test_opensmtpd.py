"""OpenSMTPD receives: whole messages, and a recipient that it does not know comes back.

In the clear, and by TLS whose certificate is the one that is published (DANE).
"""

import os
import shutil
import signal
import smtplib
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from dane_cases import OTHER, issue
from relay_process import Relay, eventually, free_port
from stub_dns import StubDns

pytestmark = pytest.mark.flow

# Where .ci/run unpacks the package, which cannot be installed beside Postfix
FILES = Path(os.environ.get("OPENSMTPD_FILES", "/opt/opensmtpd"))
HOST = Path(__file__).parents[1] / "support" / "opensmtpd_host.py"
NAMESPACE = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child",
             "--mount-proc")  # fmt: skip
BODY = ".a dot\n..two\n" + "x" * 900 + "\n" + "line\n" * 20_000


def answers(port: int) -> bool:
    try:
        smtplib.SMTP("127.0.0.1", port, timeout=5).quit()
    except OSError:
        return False
    return True


@contextmanager
def running(*files: Path) -> Iterator[tuple[int, Path]]:
    """Run OpenSMTPD with ``files`` in its directory; its port and that directory."""
    if not (FILES / "usr/sbin/smtpd").exists():
        pytest.skip(f"the files of OpenSMTPD are not in {FILES}")
    if subprocess.run([*NAMESPACE, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no namespaces can be made here")
    with TemporaryDirectory(prefix="mta-opensmtpd-") as name:
        directory, port = Path(name), free_port()
        directory.chmod(0o755)
        for file in files:
            shutil.copy(file, directory)
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                [*NAMESPACE, sys.executable, str(HOST), str(FILES), str(port), name],
                stdout=log, stderr=log,
            )  # fmt: skip
        try:
            eventually(lambda: process.poll() is not None or answers(port))
            assert process.poll() is None, (directory / "log").read_text()
            yield port, directory
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(10)


@pytest.fixture
def host() -> Iterator[tuple[int, Path]]:
    """OpenSMTPD in the clear."""
    with running() as one:
        yield one


def test_received(
    host: tuple[int, Path], relays: Callable[..., Relay], name_server: StubDns
) -> None:
    """The message is there as it was sent; the other recipient comes back with its reply."""
    port, directory = host
    name_server.zone["open.test", "MX"] = ["10 mx.open.test."]
    name_server.zone["mx.open.test", "A"] = ["127.0.0.1"]
    relay = relays(port)
    relay.start()
    with relay.client() as client:
        text = f"From: app@home.test\nSubject: to OpenSMTPD\n\n{BODY}"
        client.sendmail("app@home.test", ["u@open.test", "nobody@open.test"], text)
    eventually(lambda: list((directory / "mail" / "new").glob("*")))
    eventually(lambda: "status=sent" in relay.log)
    (file,) = (directory / "mail" / "new").iterdir()
    found = file.read_bytes().replace(b"\r\n", b"\n")
    assert found.partition(b"\n\n")[2] == BODY.encode()
    relay.stop()
    lines = [line for line in relay.log.splitlines() if "relay=mx.open.test" in line]
    (sent,) = [line for line in lines if "to=<u@open.test>" in line]
    (bounced,) = [line for line in lines if "to=<nobody@open.test>" in line]
    assert "tls=none" in sent and "dsn=2.0.0, status=sent (250 2.0.0" in sent, sent
    assert "status=bounced (host mx.open.test said: 524 5.2.4" in bounced, bounced


def test_by_dane(tmp_path: Path, relays: Callable[..., Relay], name_server: StubDns) -> None:
    """STARTTLS with OpenSMTPD: the certificate is the published one; with another it waits."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc (Debian: gcc, libc6-dev)")
    source, library = HOST.with_name("own_key.c"), tmp_path / "own_key.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    shown = issue("mx.open.test")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(shown.pem)
    key.write_bytes(shown.key_pem)
    key.chmod(0o600)
    with running(library, chain, key) as (port, directory):
        name_server.signed = {"open.test", "signed.test"}
        name_server.zone |= {
            ("signed.test", "SOA"): ["a. b. 1 2 3 4 5"],
            ("open.test", "MX"): ["10 mx.open.test."],
            ("mx.open.test", "A"): ["127.0.0.1"],
            (f"_{port}._tcp.mx.open.test", "TLSA"): [shown.tlsa(3, 1, 1)],
            ("else.test", "MX"): ["10 mx.else.test."],
            ("mx.else.test", "A"): ["127.0.0.1"],
            (f"_{port}._tcp.mx.else.test", "TLSA"): [OTHER.tlsa(3, 1, 1)],
        }
        name_server.signed.add("else.test")
        relay = relays(port)
        text = relay.config.read_text()
        servers = f'servers = ["127.0.0.1:{name_server.port}"]'
        more = '\nvalidating = true\ntest_signed = "signed.test"'
        relay.config.write_text(text.replace(servers, servers + more))
        relay.start()
        with relay.client() as client:
            text = f"From: app@home.test\nSubject: private\n\n{BODY}"
            client.sendmail("app@home.test", ["u@open.test", "u@else.test"], text)
        eventually(lambda: list((directory / "mail" / "new").glob("*")))
        eventually(lambda: "status=sent" in relay.log and "status=deferred" in relay.log)
        (file,) = (directory / "mail" / "new").iterdir()
        found = file.read_bytes().replace(b"\r\n", b"\n")
        heard = (directory / "log").read_text()
    relay.stop()
    assert found.partition(b"\n\n")[2] == BODY.encode()
    assert b"TLSv1.3" in found.partition(b"\n\n")[0]  # its own Received
    assert "smtp tls ciphers=TLSv1.3" in heard
    (sent,) = [line for line in relay.log.splitlines() if "status=sent" in line]
    assert "tls=dane/TLSv1.3" in sent and "to=<u@open.test>" in sent, sent
    waits = [line for line in relay.log.splitlines() if "to=<u@else.test>" in line]
    assert "the certificate matches none of the TLSA records" in waits[0], waits
