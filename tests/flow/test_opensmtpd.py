"""OpenSMTPD receives: whole messages, and a recipient that it does not know comes back."""

import os
import signal
import smtplib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
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


@pytest.fixture
def host() -> Iterator[tuple[int, Path]]:
    """A running OpenSMTPD: its port and its directory."""
    if not (FILES / "usr/sbin/smtpd").exists():
        pytest.skip(f"the files of OpenSMTPD are not in {FILES}")
    if subprocess.run([*NAMESPACE, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no namespaces can be made here")
    with TemporaryDirectory(prefix="mta-opensmtpd-") as name:
        directory, port = Path(name), free_port()
        directory.chmod(0o755)
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
