"""Strangers at both ends: the clients people use submit, a real Postfix receives."""

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from receiver import Receiver
from relay_process import LOGIN, PASSWORD, Relay, eventually, free_port, installed

pytestmark = pytest.mark.flow

Receivers = Callable[..., Receiver]
Relays = Callable[..., Relay]

MESSAGE = "From: app@home.test\r\nTo: u@there.test\r\nSubject: {}\r\n\r\nHello.\r\n.dot\r\n"


def run(*command: str, text: str = "") -> None:
    """Run a client; its whole output is the failure's explanation."""
    done = subprocess.run(
        command, check=False, input=text, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def swaks_speaks_tls() -> bool:
    if not installed("swaks"):
        return False
    told = subprocess.run(["swaks", "--support"], check=False, capture_output=True, text=True)
    return "=== TLS supported" in told.stdout


needs = {
    name: pytest.mark.skipif(not installed(name), reason=f"{name} is not installed")
    for name in ("curl", "msmtp", "postfix")
} | {
    "swaks": pytest.mark.skipif(
        not swaks_speaks_tls(), reason="swaks or libnet-ssleay-perl is not installed"
    )
}


@needs["swaks"]
@pytest.mark.parametrize("port", ["smtps", "submission"])
def test_swaks_submits(port: str, receivers: Receivers, relays: Relays) -> None:
    """swaks verifies the certificate and submits over implicit TLS and over STARTTLS."""
    receiver = receivers()
    relay = relays(receiver.port)
    relay.start()
    number = relay.smtps_port if port == "smtps" else relay.submission_port
    run(
        "swaks", "--server", "127.0.0.1", "--port", str(number),
        "--tls-on-connect" if port == "smtps" else "--tls",
        "--tls-verify", "--tls-ca-path", str(relay.directory / "certificate.pem"),
        "--auth", "LOGIN", "--auth-user", LOGIN, "--auth-password", PASSWORD,
        "--from", "app@home.test", "--to", "u@there.test,v@there.test", "--pipeline",
        "--data", MESSAGE.format("swaks").replace("\r\n", "\\n"),
    )  # fmt: skip
    receiver.wait(1)
    assert receiver.messages()[0]["Subject"] == "swaks"
    assert receiver.envelopes[0][1] == ("u@there.test", "v@there.test")


@needs["curl"]
def test_curl_submits_over_smtps(tmp_path: Path, receivers: Receivers, relays: Relays) -> None:
    """curl's smtps:// verifies the name of the certificate and submits a file."""
    receiver = receivers()
    relay = relays(receiver.port)
    relay.start()
    upload = tmp_path / "message"
    upload.write_bytes(MESSAGE.format("curl").encode())
    port = relay.smtps_port
    run(
        "curl", "--silent", "--show-error", "--url", f"smtps://relay.test:{port}",
        "--connect-to", f"relay.test:{port}:127.0.0.1:{port}",
        "--cacert", str(relay.directory / "certificate.pem"), "--user", f"{LOGIN}:{PASSWORD}",
        "--mail-from", "app@home.test", "--mail-rcpt", "u@there.test", "--upload-file", str(upload),
    )  # fmt: skip
    receiver.wait(1)
    assert receiver.messages()[0].get_content() == "Hello.\n.dot\n"


@needs["msmtp"]
def test_msmtp_submits_as_sendmail(tmp_path: Path, receivers: Receivers, relays: Relays) -> None:
    """msmtp in the place of sendmail submits what an application pipes into it."""
    receiver = receivers()
    relay = relays(receiver.port)
    relay.start()
    settings = tmp_path / "msmtprc"
    settings.write_text(
        f"account default\nhost 127.0.0.1\nport {relay.smtps_port}\ntls on\ntls_starttls off\n"
        f"tls_trust_file {relay.directory / 'certificate.pem'}\ntls_host_override relay.test\n"
        f"auth plain\nuser {LOGIN}\npassword {PASSWORD}\nfrom app@home.test\n"
    )
    settings.chmod(0o600)
    text = MESSAGE.format("msmtp").replace("\r\n", "\n")
    run("msmtp", "-C", str(settings), "u@there.test", text=text)
    receiver.wait(1)
    assert receiver.messages()[0]["Subject"] == "msmtp"


_MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {0}/queue
data_directory = {0}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {0}/mail.log
maillog_file_prefixes = {0}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.there.test
mydestination =
virtual_mailbox_domains = there.test
virtual_mailbox_maps = static:all
virtual_mailbox_base = {0}/mail
virtual_uid_maps = static:{1}
virtual_gid_maps = static:{1}
smtpd_tls_security_level = may
smtpd_tls_chain_files = {0}/key.pem, {0}/certificate.pem
local_recipient_maps =
alias_maps =
smtp_address_preference = ipv4
"""

_MASTER_CF = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""


@pytest.fixture
def postfix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """A private Postfix that takes mail for there.test into one mailbox file."""
    import pwd

    home = Path(f"/tmp/mta-postfix-{os.getpid()}")
    owner = pwd.getpwnam("postfix")
    nobody = pwd.getpwnam("nobody")
    for name in ("", "queue", "data", "mail"):
        (home / name).mkdir(mode=0o755)
    os.chown(home / "data", owner.pw_uid, -1)
    os.chown(home / "mail", nobody.pw_uid, -1)
    port = free_port()
    run(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
        "-nodes", "-subj", "/CN=mx.there.test", "-days", "2",
        "-keyout", str(home / "key.pem"), "-out", str(home / "certificate.pem"),
    )  # fmt: skip
    (home / "main.cf").write_text(_MAIN_CF.format(home, nobody.pw_uid))
    (home / "master.cf").write_text(_MASTER_CF.format(port=port))
    run("postfix", "-c", str(home), "start")
    yield port, home
    run("postfix", "-c", str(home), "stop")
    run("rm", "-rf", str(home))


@needs["postfix"]
@pytest.mark.skipif(os.getuid() != 0, reason="a private Postfix starts as root only")
def test_postfix_receives(postfix: tuple[int, Path], relays: Relays) -> None:
    """A real Postfix takes mail over STARTTLS, several messages over one connection."""
    port, home = postfix
    relay = relays(port)
    relay.start()
    senders = [
        threading.Thread(target=relay.send, args=(["u@there.test"], f"p{n}")) for n in range(6)
    ]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(30)

    def delivered() -> bool:
        return sum(one.read_text().count("Subject: p") for one in (home / "mail").glob("all")) == 6

    eventually(delivered)
    eventually(lambda: relay.log.count("status=sent") == 6)
    sent = [line for line in relay.log.splitlines() if "status=sent" in line]
    assert all("tls=encrypted/TLSv1.3" in line and "dsn=2.0.0" in line for line in sent)


@needs["postfix"]
@pytest.mark.skipif(os.getuid() != 0, reason="a private Postfix starts as root only")
def test_postfix_is_told_what_to_report(postfix: tuple[int, Path], relays: Relays) -> None:
    """RFC 3461 §5.2.1: Postfix has DSN, so it reports the delivery, under the sender's names."""
    port, home = postfix
    relay = relays(port)
    relay.start()
    with relay.client() as client:
        client.sendmail(
            "app@home.test",
            ["u@there.test"],
            MESSAGE.format("dsn").encode(),
            ["ENVID=order+2B7"],
            ["NOTIFY=SUCCESS", "ORCPT=rfc822;first+2Bu@home.test"],
        )
    mail_log = home / "mail.log"
    eventually(lambda: "sender delivery status notification" in mail_log.read_text())
    deferred = home / "queue" / "deferred"  # where the report waits: there is no way out of here
    eventually(lambda: any(one.is_file() for one in deferred.rglob("*")))
    queued = b"".join(one.read_bytes() for one in deferred.rglob("*") if one.is_file())
    assert b"Original-Envelope-Id: order+7" in queued
    assert b"Original-Recipient: rfc822;first+u@home.test" in queued
    assert b"Action: delivered" in queued
    eventually(lambda: "removed" in relay.log)
    assert "notification" not in relay.log
