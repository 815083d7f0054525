"""Where a run keeps its things: one temporary directory, a certificate, the sinks' ports."""

import shutil
import socket
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from cells import SELECTOR, SENDER_DOMAIN
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from net import HOST

from mta.tls.selfsigned import self_signed


class Places:
    """The run's directory, on a disk (not in memory) so that fsync means something."""

    def __init__(self, parent: str | None, ports: Sequence[int], *, keep: bool) -> None:
        """``ports``: of the counting, the timing and the STARTTLS sink.

        ``keep`` what is in there at the end.
        """
        self._root = Path(tempfile.mkdtemp(prefix="mta-bench-", dir=parent))
        self._root.chmod(0o755)  # Postfix's own user has to get in
        self._count = 0
        self._keep = keep
        self.sink_port, self.timed_port, self.private_port = ports
        self._dead = socket.socket()  # bound and not listening: who connects is refused
        self._dead.bind((HOST, 0))
        self.dead_port = self._dead.getsockname()[1]
        self.certificate, self.key = self._pair("localhost")
        self.sink_pair = self._pair(HOST)
        self.signing_key = self._signing_key()

    def _pair(self, name: str) -> tuple[Path, Path]:
        """Write a certificate for ``name`` and its key."""
        certificate, key = (self._root / f"{name}-{kind}.pem" for kind in ("certificate", "key"))
        certificate_pem, key_pem = self_signed(name, datetime.now(UTC))
        certificate.write_bytes(certificate_pem)
        key.touch(0o600)
        key.write_bytes(key_pem)
        return certificate, key

    def _signing_key(self) -> Path:
        """Write an RSA-2048 key as a directory of DKIM keys has it: DOMAIN/SELECTOR.pem."""
        directory = self._root / "dkim" / SENDER_DOMAIN
        directory.mkdir(0o700, parents=True)
        directory.parent.chmod(0o700)
        key = directory / f"{SELECTOR}.pem"
        key.touch(0o600)
        made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        key.write_bytes(
            made.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )
        return key

    def fresh(self, name: str) -> Path:
        """Return a new empty directory."""
        self._count += 1
        directory = self._root / f"{name}-{self._count}"
        directory.mkdir()
        return directory

    def remove(self, directory: Path) -> None:
        """Remove a directory that ``fresh`` made."""
        if not self._keep and self._root in directory.parents:
            shutil.rmtree(directory)

    def close(self) -> Path | None:
        """Remove everything; return the directory if it is kept."""
        self._dead.close()
        if self._keep:
            return self._root
        shutil.rmtree(self._root)
        return None
