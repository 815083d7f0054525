"""One installation for the demonstration: configuration, certificate, account, process."""

import os
import signal
import smtplib
import ssl
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import formatdate
from pathlib import Path
from secrets import token_hex
from socket import AF_INET, SOCK_STREAM, socket
from typing import IO

from mta.demo.world import World
from mta.tls.selfsigned import self_signed

LOGIN = "app7"

_CONFIGURATION = """\
host_name = "relay.demo.example"

[spool]
url = "sqlite:///spool.sqlite"

[[listener]]
name = "smtps"
endpoint = "tcp:{smtps_port}:interface=127.0.0.1"
tls = "implicit"
auth = "required"

[[certificate]]
certificate = "certificate.pem"
key = "key.pem"

[tls]
trust = "{authorities}"

[dns]
servers = ["127.0.0.1:{dns_port}"]

[[route]]
name = "everywhere"
mx = {{ port = {mx_port} }}

[retry]
steps = ["4s", "5s", "10s"]
delay_warning = "never"

[log]
text = "mail.log"
json_lines = "mail.jsonl"
"""


def _free_port() -> int:
    with socket(AF_INET, SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Stage:
    """The relay of the demonstration, in a directory of its own."""

    directory: Path
    smtps_port: int
    password: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def configuration(self) -> Path:
        """The configuration file."""
        return self.directory / "mta.toml"

    @property
    def certificate(self) -> Path:
        """The certificate made on the spot, which clients trust."""
        return self.directory / "certificate.pem"

    @property
    def output(self) -> Path:
        """What the service printed."""
        return self.directory / "service.out"

    def environment(self) -> dict[str, str]:
        """The environment in which the commands find this installation."""
        return {**os.environ, "MTA_CONFIG": str(self.configuration)}

    def command(self, *arguments: str) -> list[str]:
        """The command line of ``mta`` with ``arguments``."""
        return [sys.executable, "-m", "mta", *arguments]

    def start(self) -> None:
        """Start the service through the twistd plugin."""
        arguments = ["-n", "--pidfile=", "mta", "--config", str(self.configuration)]
        program = "import sys; from twisted.scripts.twistd import run; sys.exit(run())"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", program, *arguments],
                stdout=output, stderr=subprocess.STDOUT, cwd=self.directory,
            )  # fmt: skip

    def stop(self) -> int:
        """Stop the service in order; return 0 if it did so.

        twistd ends by the signal that it was stopped with, once all is done.
        """
        process, self.process = self.process, None
        if process is None:
            return 0
        process.terminate()
        status = process.wait(20)
        return 0 if status == -signal.SIGTERM else status


def set_stage(directory: Path, world: World) -> Stage:
    """Write configuration, certificate and account for a relay that lives in ``world``."""
    stage = Stage(directory, _free_port(), token_hex(8))
    certificate, key = self_signed("localhost", datetime.now(UTC))
    stage.certificate.write_bytes(certificate)
    _write_private(directory / "key.pem", key)
    stage.configuration.write_text(
        _CONFIGURATION.format(
            smtps_port=stage.smtps_port,
            dns_port=world.dns_port,
            mx_port=world.mx_port,
            authorities=world.authorities,
        )
    )
    _write_private(directory / "password", stage.password.encode() + b"\n")
    subprocess.run(
        stage.command("account", "add", LOGIN, "--password-file", str(directory / "password")),
        check=True, stdout=subprocess.DEVNULL, env=stage.environment(), cwd=directory,
    )  # fmt: skip
    return stage


def _write_private(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


def submit(stage: Stage, sender: str, recipient: str, subject: str) -> str:
    """Send one message over SMTPS as a client that verifies the certificate.

    Returns the TLS version.  Raises what ``smtplib`` raises.
    """
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, recipient, subject
    message["Date"] = formatdate()
    message.set_content("Sent by the demonstration.\n")
    context = ssl.create_default_context(cafile=str(stage.certificate))
    with smtplib.SMTP_SSL("localhost", stage.smtps_port, context=context, timeout=10) as client:
        client.login(LOGIN, stage.password)
        client.send_message(message, sender, [recipient])
        return str(client.sock.version()) if isinstance(client.sock, ssl.SSLSocket) else ""


def show(stage: Stage, out: IO[str], *arguments: str) -> int:
    """Run an ``mta`` command and copy what it prints to ``out``; return its exit status."""
    done = subprocess.run(
        stage.command(*arguments), env=stage.environment(), cwd=stage.directory,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30, check=False,
    )  # fmt: skip
    out.write(done.stdout)
    out.flush()
    return done.returncode
