"""The real service as a process of its own: started by twistd, watched over sd_notify."""

import os
import random
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from email.message import EmailMessage
from pathlib import Path

import warm
from warm import Warm

BIN = Path(sys.executable).parent
LOGIN, PASSWORD = "app7", "correct horse"
PATIENCE_S = 60.0  # with what takes a second on a quiet machine: others may be busy
_PORTS = range(15_000, 32_000)
_given: set[int] = set()  # by us, to who may not listen there yet


def free_ports(count: int) -> list[int]:
    """Return different TCP ports that nobody used a moment ago.

    They are below those that the system gives to connections that are dialled: with many of
    these about, such a port is soon taken, and stays so for a minute.
    """
    probes: list[socket.socket] = []
    for port in random.SystemRandom().sample(_PORTS, 200):  # not what a test has seeded
        if port in _given:
            continue
        try:
            probes.append(socket.create_server(("", port), reuse_port=False))
        except OSError:
            continue
        if len(probes) == count:
            break
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    assert len(ports) == count, "no ports are free"
    _given.update(ports)
    return ports


def free_port() -> int:
    """Return a TCP port that nobody listened on a moment ago."""
    return free_ports(1)[0]


class Relay:
    """One installation in ``directory``: configuration, certificate, account, process.

    Its processes are started warm (``warm``) where they can be; where the process itself is
    what is looked at, ``cold`` starts them as everybody does.
    """

    def __init__(
        self,
        directory: Path,
        *,
        dns_port: int,
        mx_port: int,
        extra: str = "",
        cold: bool = False,
        **keys: str,
    ):
        self.directory = directory
        self.cold = cold
        self.config = directory / "mta.toml"
        self.smtps_port, self.submission_port = free_ports(2)
        self.process: subprocess.Popen[bytes] | Warm | None = None
        self.environment: dict[str, str] = {}  # what the service gets besides ours
        self._init()
        text = self.config.read_text()
        for old, new in keys.items():
            text = text.replace(old, new)
        self.config.write_text(text + _TEST_BED.format(dns_port=dns_port, mx_port=mx_port) + extra)

    def _init(self) -> None:
        secret = self.directory / "password"
        secret.write_text(PASSWORD + "\n")
        self.mta(
            "init", "--non-interactive", "--directory", str(self.directory),
            "--host-name", "relay.test", "--login", LOGIN, "--password-file", str(secret),
            "--smtps-port", str(self.smtps_port), "--submission-port", str(self.submission_port),
        )  # fmt: skip

    def mta(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the command line on this installation."""
        environment = {**os.environ, "MTA_CONFIG": str(self.config)}
        if not self.cold and warm.possible(environment):
            done = warm.run("mta", arguments, environment)
            if check:
                done.check_returncode()
            return done
        return subprocess.run(
            [str(BIN / "mta"), *arguments],
            check=check, capture_output=True, text=True, timeout=60, env=environment,
        )  # fmt: skip

    def use_spool(self, url: str) -> None:
        """Take the spool at ``url`` instead, with the schema and the account it needs."""
        text = self.config.read_text()
        old = next(line for line in text.splitlines() if line.startswith("url = "))
        self.config.write_text(text.replace(old, f'url = "{url}"'))
        self.mta("db", "upgrade")
        self.mta("account", "add", LOGIN, "--password-file", str(self.directory / "password"))

    def command(self) -> list[str]:
        return [str(BIN / "twistd"), "-n", "--pidfile=", "mta", "--config", str(self.config)]

    def start(self, timeout_s: float = PATIENCE_S, given: socket.socket | None = None) -> None:
        """Start the service and wait until it says that it is ready.

        ``given`` is handed over as systemd hands over a socket called "load".
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            path = self.directory / "notify"
            path.unlink(missing_ok=True)
            ready.bind(str(path))
            ready.settimeout(timeout_s)
            with (self.directory / "service.log").open("ab") as log:
                self.process = self._started(log.fileno(), str(path), given)
            while b"READY=1" not in ready.recv(4096):
                pass

    def _started(
        self, log: int, ready: str, given: socket.socket | None
    ) -> "subprocess.Popen[bytes] | Warm":
        command = self.command()
        environment = {**os.environ, **self.environment, "NOTIFY_SOCKET": ready}
        usual = given is None and command[0] == str(BIN / "twistd")
        if usual and not self.cold and warm.possible(environment):
            with Path(os.devnull).open("rb") as none:
                standard = (none.fileno(), log, log)
                return warm.start("twistd", command[1:], environment, self.directory, standard)
        descriptors = () if given is None else (given.fileno(),)
        return subprocess.Popen(
            [*(part for one in descriptors for part in _activated(one)), *command],
            stdout=log, stderr=log, cwd=self.directory, pass_fds=descriptors, env=environment,
        )  # fmt: skip

    @property
    def log(self) -> str:
        """All that the service has written."""
        return (self.directory / "service.log").read_text(errors="replace")

    def tell(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = PATIENCE_S) -> int:
        """Stop the service; return its exit status, 0 if it ended by the signal it was sent.

        twistd passes the signal on to itself when all is done.
        """
        if self.process is None:
            return 0
        process, self.process = self.process, None
        process.send_signal(number)
        status = process.wait(timeout_s)
        return 0 if status == -number else status

    def end(self) -> None:
        """Stop the service for good, whatever state it is in."""
        process = self.process
        try:
            self.stop()
        except subprocess.TimeoutExpired:
            assert process is not None
            process.kill()
            process.wait(10)
            raise

    def trust(self) -> ssl.SSLContext:
        """A context that trusts this installation's certificate and nothing else."""
        return ssl.create_default_context(cafile=str(self.directory / "certificate.pem"))

    def stranger(
        self, context: ssl.SSLContext | None = None, *, port: int = 0, source: str = "127.0.0.1"
    ) -> smtplib.SMTP_SSL:
        """A client that has verified the certificate (its name is relay.test)."""
        return _Named(
            "127.0.0.1", port or self.smtps_port,
            context=context or self.trust(), timeout=30, source_address=(source, 0),
        )  # fmt: skip

    def client(self, port: int = 0, source: str = "127.0.0.1") -> smtplib.SMTP_SSL:
        """A client that has verified the certificate and logged in."""
        client = self.stranger(port=port, source=source)
        client.login(LOGIN, PASSWORD)
        return client

    def send(self, recipients: Sequence[str], subject: str, sender: str = "app@home.test") -> None:
        """Submit one message over SMTPS."""
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = sender, recipients[0], subject
        message.set_content("Hello.\n")
        with self.client() as client:
            client.send_message(message, sender, list(recipients))


def _activated(descriptor: int) -> list[str]:
    """Return what runs a command with a socket as systemd gives it: the third descriptor."""
    code = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3);"
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='load');"
        "os.execv(sys.argv[2], sys.argv[2:])"
    )
    return [sys.executable, "-c", code, str(descriptor)]


class _Named(smtplib.SMTP_SSL):
    """Verify the certificate against the relay's own name, whatever address is dialled."""

    def _get_socket(self, host: str, port: int, timeout: float) -> ssl.SSLSocket:
        plain = socket.create_connection((host, port), timeout, self.source_address)
        return self.context.wrap_socket(plain, server_hostname="relay.test")


def eventually(condition: "object", timeout_s: float = PATIENCE_S, step_s: float = 0.05) -> None:
    """Wait until ``condition()`` is true: for states of another process, with a bound."""
    assert callable(condition)
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(step_s)


def installed(program: str) -> bool:
    """Whether a Debian package's program is on this machine."""
    return shutil.which(program) is not None


_TEST_BED = """
[dns]
servers = ["127.0.0.1:{dns_port}"]

[[route]]
name = "test-bed"
mx = {{ port = {mx_port} }}
"""
