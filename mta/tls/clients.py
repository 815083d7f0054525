"""Certificates that clients show us (RFC 8446 §4.4.2).

On a listener that *requests* certificates a handshake is completed whatever the client shows,
and what is wrong with it is recorded; one that *requires* them ends the handshake unless the
chain verifies.  Sessions are never resumed there: every certificate is looked at anew.

Trusts: the client authorities; a certificate that they have not issued is known by its
fingerprint alone, which pins this one certificate (the handshake has proved that the client has
its key).  Does not do: revocation; whoever is no longer trusted is taken off the accounts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from OpenSSL import SSL
from OpenSSL.crypto import X509, X509StoreFlags

from mta.tls.connections import connection_of
from mta.tls.frugal import FrugalConnection
from mta.tls.identity import chain_error

_LONGEST = 1024  # characters of a mark

# X509_V_ERR_: of an issuer that we don't know.  A pinned certificate needs none.
_UNKNOWN_ISSUER = frozenset({2, 18, 19, 20, 21})
_PURPOSE = 26

_NAMES: Mapping[str, Any] = MappingProxyType(
    {"dns": x509.DNSName, "email": x509.RFC822Name, "uri": x509.UniformResourceIdentifier}
)


class ClientCertificates(StrEnum):
    """Whether clients show certificates at a listener."""

    NONE = "none"
    REQUESTED = "requested"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """What a client has shown, and what is wrong with it."""

    fingerprint: str  # SHA-256 of the whole, lower-case hexadecimal
    subject: str = ""  # RFC 4514
    names: tuple[str, ...] = ()  # of subjectAltName: "dns:...", "email:...", "uri:..."
    trouble: str = ""  # why it does not verify; "" if it does
    pinnable: bool = True  # at worst its issuer is unknown

    @property
    def marks(self) -> list[tuple[str, str]]:
        """By what it may be known: kind and value, as ``mta.spool.certificates`` has them."""
        marks = [("fingerprint", self.fingerprint)] if self.pinnable else []
        if not self.trouble:
            marks += [("name", name) for name in self.names]
            marks += [("subject", self.subject)] if self.subject else []
        return marks


class ServerConnection(FrugalConnection):
    """A connection that remembers what OpenSSL said of the client's certificate."""

    def __init__(self, context: SSL.Context) -> None:
        super().__init__(context)
        self.complaints: list[int] = []


def ask(
    context: SSL.Context, mode: ClientCertificates, authorities: Sequence[x509.Certificate]
) -> None:
    """Have ``context`` ask clients for certificates."""
    store = context.get_cert_store()
    assert store is not None
    for authority in authorities:
        certificate = X509.from_cryptography(authority)
        store.add_cert(certificate)
        context.add_client_ca(certificate)
    store.set_flags(X509StoreFlags.PARTIAL_CHAIN)
    context.set_options(SSL.OP_NO_TICKET)
    if mode is ClientCertificates.REQUIRED:
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _required)
    else:
        context.set_verify(SSL.VERIFY_PEER, _requested)


def _requested(connection: SSL.Connection, _: X509, code: int, depth: int, ok: int) -> bool:
    assert isinstance(connection, ServerConnection)
    if not ok:
        connection.complaints.append(code)
    return True


def _required(connection: SSL.Connection, _: X509, code: int, depth: int, ok: int) -> bool:
    return bool(ok)


def client_certificate(transport: object) -> ClientCertificate | None:
    """Return what the client has shown on ``transport``, after the handshake; None: nothing."""
    connection = connection_of(transport)
    if not isinstance(connection, ServerConnection):
        return None
    certificate: Any = connection.get_peer_certificate(as_cryptography=True)
    return None if certificate is None else describe(certificate, connection.complaints)


def describe(certificate: x509.Certificate, complaints: Sequence[int] = ()) -> ClientCertificate:
    """Return the marks of a certificate."""
    subject, names = _marks(certificate)
    return ClientCertificate(
        certificate.fingerprint(SHA256()).hex(),
        subject,
        names,
        "; ".join(dict.fromkeys(map(_complaint, complaints))),
        _UNKNOWN_ISSUER.issuperset(complaints),
    )


def _complaint(code: int) -> str:
    return "certificate is not meant for a client" if code == _PURPOSE else chain_error(code)


def _marks(certificate: x509.Certificate) -> tuple[str, tuple[str, ...]]:
    try:
        subject = certificate.subject.rfc4514_string()
        found = _names(certificate)
    except Exception:  # whatever a hostile certificate makes a parser say: it has no names then
        return "", ()
    short = tuple(name for name in found if len(name) <= _LONGEST)
    return subject if len(subject) <= _LONGEST else "", short


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    names = extension.value
    return [
        *(written("dns", name) for name in names.get_values_for_type(x509.DNSName)),
        *(written("email", name) for name in names.get_values_for_type(x509.RFC822Name)),
        *(
            written("uri", name)
            for name in names.get_values_for_type(x509.UniformResourceIdentifier)
        ),
    ]


def written(kind: str, name: str) -> str:
    """Return a name of subjectAltName as a mark; domains in lower case."""
    if kind == "email":
        local, at, domain = name.rpartition("@")
        name = f"{local}{at}{domain.lower()}"
    return f"{kind}:{name.lower() if kind == 'dns' else name}"
