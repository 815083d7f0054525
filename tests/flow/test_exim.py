"""Exim submits: the client that sends its mail in chunks (BDAT) by itself.

It logs in over 465 and verifies the certificate, as a host's own mailer would before this relay.
"""

import os
import pwd
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from receiver import Receiver
from relay_process import LOGIN, PASSWORD, Relay

pytestmark = pytest.mark.flow

# Where .ci/run unpacks the package, which cannot be installed beside Postfix
EXIM = Path(os.environ.get("EXIM_FILES", "/opt/exim")) / "usr/sbin/exim4"
USER = "Debian-exim"  # compiled in

_CONFIGURATION = """
primary_hostname = app.test
exim_path = {exim}
spool_directory = {place}/spool
log_file_path = {place}/log/%slog
keep_environment =
add_environment = PATH=/usr/bin

begin routers
smart:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = remote

begin transports
remote:
  driver = smtp
  port = {port}
  protocol = smtps
  tls_verify_certificates = {place}/certificate.pem
  tls_verify_cert_hostnames = :
  tls_sni = relay.test
  hosts_require_tls = *
  hosts_require_auth = *

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  client_send = ^{login}^{password}
"""


def has_user() -> bool:
    """Whether the user is here that Exim insists on."""
    return any(one.pw_name == USER for one in pwd.getpwall())


@pytest.mark.skipif(not EXIM.exists(), reason=f"Exim's files are not in {EXIM.parents[2]}")
@pytest.mark.skipif(os.getuid() != 0 or not has_user(), reason=f"Exim starts as root, with {USER}")
def test_exim_submits_in_chunks(
    receivers: Callable[..., Receiver], relays: Callable[..., Relay]
) -> None:
    """What Exim has sent by BDAT arrives with its dots, whole, at a host that has only DATA."""
    receiver = receivers()
    relay = relays(receiver.port)
    relay.start()
    text = "From: app@home.test\nTo: u@there.test\nSubject: Exim\n\n.dot\n..\n" + "line\n" * 50_000
    with TemporaryDirectory(prefix="mta-exim-") as name:
        place = Path(name)
        for one in ("spool", "log"):
            (place / one).mkdir()
            shutil.chown(place / one, USER, USER)
        place.chmod(0o755)
        shutil.copy(relay.directory / "certificate.pem", place)
        (place / "certificate.pem").chmod(0o644)
        configuration = place / "exim.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                exim=EXIM, place=place, port=relay.smtps_port, login=LOGIN, password=PASSWORD
            )
        )
        configuration.chmod(0o644)
        done = subprocess.run(
            [str(EXIM), "-C", str(configuration), "-v", "-odf", "-i", "-f", "app@home.test",
             "u@there.test", "v@there.test"],
            input=text, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        log = (place / "log/mainlog").read_text()
    assert done.returncode == 0, done.stdout + done.stderr
    sent = [line for line in log.splitlines() if " => " in line or " -> " in line]
    assert len(sent) == 2, log + done.stdout + done.stderr
    assert all(" A=plain" in line and " K " in line for line in sent), log  # K: by BDAT
    receiver.wait(1)
    assert receiver.envelopes[0][1] == ("u@there.test", "v@there.test")
    content = receiver.messages()[0].get_content()
    assert content == ".dot\n..\n" + "line\n" * 50_000
