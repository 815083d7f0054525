"""Our service, as an installation has it: the twistd plugin, a configuration file, SQLite.

Only what a bench needs differs from the defaults: ports, routes, the two listeners and a
message size that lets 50 MB in.  The log goes to a file, as Postfix's does.  What is to be
deferred has a smarthost that is down: a few refused connections, then it is put off.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import measure
from cells import DEFER_DOMAIN, LOGIN, PASSWORD, SINK_DOMAIN, TIMED_DOMAIN, TLS_DOMAIN
from net import HOST, NotUp, free_ports, wait_for_port
from places import Places

_STOP_S = 30
_BIN = Path(sys.executable).parent

_CONFIGURATION = """\
host_name = "relay.test"
trusted_networks = ["127.0.0.0/8"]

[spool]
url = "{spool}"

[[listener]]
name = "plain"
endpoint = "tcp:{plain_port}:interface={host}"
tls = "none"
auth = "none"

[[listener]]
name = "smtps"
endpoint = "tcp:{tls_port}:interface={host}"
tls = "implicit"
auth = "required"

[[certificate]]
certificate = "{certificate}"
key = "{key}"

[[route]]
name = "dead"
recipient_domains = ["{defer}"]
smarthost = {{ host = "{host}", port = {dead_port}, tls = "none" }}

[[route]]
name = "sink"
recipient_domains = ["{sink}"]
smarthost = {{ host = "{host}", port = {sink_port}, tls = "none" }}

[[route]]
name = "timed"
recipient_domains = ["{timed}"]
smarthost = {{ host = "{host}", port = {timed_port}, tls = "none" }}

[[route]]
name = "private"
recipient_domains = ["{tls}"]
smarthost = {{ host = "{host}", port = {private_port}, tls = "starttls" }}

[tls]
trust = "{sink_certificate}"

[limits]
message_size = "100MiB"

[log]
text = "{directory}/mail.log"
"""

_SIGNING = """
[dkim]
directory = "{keys}"
relayed = true
"""

_NODE = """
[queue]
node = "{node}"
"""


class Database(Protocol):
    """Where a spool is, when it is not a file."""

    def fresh(self) -> str:
        """Return the URL of the spool for one run."""

    def cpu_ms(self) -> float:
        """What its server has used, in milliseconds of processor time."""


class Relay:
    """One run of the service from ``start`` to ``stop``; a new spool each time."""

    name = "ours"
    secure = True

    def __init__(
        self,
        places: Places,
        postgresql: Database | None = None,
        *,
        signing: bool = False,
        node: str = "",
    ) -> None:
        """Keep the spool in ``postgresql``, or in SQLite; ``signing``: with DKIM.

        ``node``: one of several on this spool, by this name; nobody logs in there.
        """
        self._signing = signing
        self._node = node
        self._places = places
        self._postgresql = postgresql
        self._directory = Path()
        self._process: subprocess.Popen[bytes] | None = None
        self.plain_port = self.tls_port = 0

    @property
    def pid(self) -> int:
        """The service's process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Write the installation's files and start it; returns when it answers."""
        self._directory = self._places.fresh(self.name)
        self.plain_port, self.tls_port = free_ports(2)
        configuration = self._directory / "mta.toml"
        configuration.write_text(self._configuration())
        secret = self._directory / "password"
        secret.write_text(PASSWORD + "\n")
        if not self._node:
            self._mta("account", "add", LOGIN, "--password-file", str(secret))
        with (self._directory / "service.out").open("wb") as output:
            self._process = subprocess.Popen(
                [_BIN / "twistd", "-n", "--pidfile=", "mta", "--config", configuration],
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._directory,
            )
        try:
            wait_for_port(self.tls_port, self._alive)
        except NotUp as fault:
            raise NotUp(f"{fault}; the service said: {self._last_words()}") from None

    def stop(self) -> None:
        """Stop it in order and forget its spool."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        self._places.remove(self._directory)

    def peak_mb(self) -> float | None:
        """The most memory it has used since it started."""
        return measure.memory_mb(self.pid, "VmHWM")

    def cpu_ms(self) -> float:
        """Processor time since it started, the database server's included, in milliseconds."""
        beside = self._postgresql.cpu_ms() if self._postgresql else 0.0
        return measure.cpu_ms(self.pid) + beside

    def _last_words(self) -> str:
        """What it printed last."""
        output = self._directory / "service.out"
        return output.read_text(errors="replace")[-2000:] if output.exists() else ""

    def _alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _configuration(self) -> str:
        sqlite = f"sqlite:///{self._directory}/spool.sqlite"
        signing = _SIGNING.format(keys=self._places.signing_key.parents[1])
        more = (signing if self._signing else "") + (_NODE if self._node else "")
        return (_CONFIGURATION + more).format(
            node=self._node,
            spool=self._postgresql.fresh() if self._postgresql else sqlite,
            host=HOST,
            plain_port=self.plain_port,
            tls_port=self.tls_port,
            certificate=self._places.certificate,
            key=self._places.key,
            defer=DEFER_DOMAIN,
            sink=SINK_DOMAIN,
            timed=TIMED_DOMAIN,
            tls=TLS_DOMAIN,
            private_port=self._places.private_port,
            sink_certificate=self._places.sink_pair[0],
            dead_port=self._places.dead_port,
            sink_port=self._places.sink_port,
            timed_port=self._places.timed_port,
            directory=self._directory,
        )

    def _mta(self, *arguments: str) -> None:
        done = subprocess.run(
            [_BIN / "mta", *arguments],
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, "MTA_CONFIG": str(self._directory / "mta.toml")},
        )
        if done.returncode != 0:
            raise RuntimeError(f"mta {arguments[0]}: {done.stderr.strip()}")
