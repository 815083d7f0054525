"""A private OpenDKIM that signs for the private Postfix: own configuration, own port, own process.

It signs as our service does: one RSA-2048 signature, relaxed/relaxed.
"""

import subprocess
from pathlib import Path

import measure
from cells import SELECTOR, SENDER_DOMAIN
from net import HOST, free_ports, wait_for_port
from places import Places

_CONFIGURATION = """\
Mode s
Syslog no
Domain {domain}
Selector {selector}
KeyFile {key}
RequireSafeKeys no
Canonicalization relaxed/relaxed
SignatureAlgorithm rsa-sha256
InternalHosts 127.0.0.1
Socket inet:{port}@{host}
"""

_PARAMETERS = """\
smtpd_milters = inet:{host}:{port}
milter_default_action = tempfail
"""


class OpenDkim:
    """One process from ``start`` to ``stop``."""

    def __init__(self, places: Places) -> None:
        self._key = places.signing_key
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_ports(1)[0]

    @property
    def parameters(self) -> str:
        """What Postfix's main.cf needs; mail that could not be signed is not taken."""
        return _PARAMETERS.format(host=HOST, port=self.port)

    def start(self, directory: Path) -> None:
        """Write the configuration into ``directory`` and start; returns when it answers."""
        configuration = directory / "opendkim.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                domain=SENDER_DOMAIN, selector=SELECTOR, key=self._key, port=self.port, host=HOST
            )
        )
        process = subprocess.Popen(["opendkim", "-f", "-x", configuration])
        self._process = process
        wait_for_port(self.port, lambda: process.poll() is None)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def cpu_ms(self) -> float:
        """Processor time since it started, in milliseconds."""
        assert self._process is not None
        return measure.cpu_ms(self._process.pid)
