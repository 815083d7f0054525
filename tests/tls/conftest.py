"""Certificates made on the spot, and handshakes carried from memory to memory."""

import datetime
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


@dataclass
class Issued:
    """A certificate and its key; an authority can issue others."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


def issue(
    *names: str,
    by: Issued | None = None,
    authority: bool = False,
    begin: datetime.datetime = NOW - DAY,
    end: datetime.datetime = NOW + 30 * DAY,
) -> Issued:
    """Make a certificate for ``names`` (addresses are recognised), signed ``by`` or itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0] if names else "none")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if names and not authority:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_general(name) for name in names]), critical=False
        )
    return Issued(builder.sign(by.key if by else key, hashes.SHA256()), key)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def shake(client: SSL.Connection, server: SSL.Connection) -> None:
    """Carry bytes both ways until both have finished their handshakes; raises what fails."""
    done = {id(client): False, id(server): False}
    for _ in range(20):
        for side, other in ((client, server), (server, client)):
            if not done[id(side)]:
                try:
                    side.do_handshake()
                    done[id(side)] = True
                except SSL.WantReadError:
                    pass
            carry(side, other)
        if all(done.values()):
            drain(client)
            return
    raise AssertionError("the handshake does not end")


def carry(side: SSL.Connection, other: SSL.Connection) -> None:
    while True:
        try:
            other.bio_write(side.bio_read(65536))
        except SSL.WantReadError:
            return


def drain(side: SSL.Connection) -> None:
    """Take in what comes after a handshake: TLS 1.3 session tickets."""
    try:
        side.recv(1)
    except SSL.WantReadError:
        return


@pytest.fixture(scope="session")
def make() -> Callable[..., Issued]:
    return issue


@pytest.fixture(scope="session")
def handshake() -> Callable[[SSL.Connection, SSL.Connection], None]:
    return shake


@pytest.fixture(scope="session")
def authority() -> Issued:
    return issue("Test Authority", authority=True)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Issued], tuple[Path, Path]]:
    """Return a function that writes a certificate and its key to files."""

    def _write(issued: Issued, *chain: Issued) -> tuple[Path, Path]:
        number = len(list(tmp_path.iterdir()))
        certificate = tmp_path / f"{number}.crt"
        key = tmp_path / f"{number}.key"
        certificate.write_bytes(b"".join(one.pem for one in (issued, *chain)))
        key.write_bytes(issued.key_pem)
        key.chmod(0o600)
        return certificate, key

    return _write
