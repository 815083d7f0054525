"""Our own certificates: read, checked, chosen by the name that a client asks for.

Contexts are built once, when the files are read; a reload builds a complete new set and
swaps one reference, so that a connection sees either the old set or the new one.  A file
that can't be used is told in one line with its path; what is only doubtful (expired, a key
readable by everybody) becomes a warning, because refusing to start would stop more mail.

Trusts: the files.  Does not do: OCSP stapling, ALPN, encrypted keys; what clients show is
``clients``'s.
"""

import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from mta.tls.clients import ClientCertificates, ServerConnection, ask
from mta.tls.frugal import FrugalConnection
from mta.tls.identity import names
from mta.tls.reasons import tls_reason
from mta.tls.selfsigned import self_signed

__all__ = [
    "CertificateFiles",
    "CertificateUnusable",
    "Clients",
    "ServerCertificates",
    "read_certificates",
    "self_signed",
]

_VERSIONS = {"TLSv1.2": SSL.TLS1_2_VERSION, "TLSv1.3": SSL.TLS1_3_VERSION}

# RFC 9325 §4.2: forward secrecy always, authenticated encryption first.
_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:!aNULL:!eNULL"

_OPTIONS = (
    SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE
)  # and session tickets, which are on unless forbidden


class CertificateUnusable(Exception):
    """A certificate or key can't be used; one clear line with the file's path."""


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where one certificate, its chain behind it, and its key are (both PEM)."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class _Served:
    """One complete set of certificates; never changed once built."""

    default: SSL.Context
    by_name: Mapping[str, SSL.Context]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Clients:
    """What listeners want of their clients' certificates."""

    modes: frozenset[ClientCertificates] = frozenset()  # besides NONE
    authorities: Path | None = None  # who issues them


class ServerCertificates:
    """The certificates of our listeners; the first is for clients that name nobody we know."""

    def __init__(
        self,
        files: Sequence[CertificateFiles],
        *,
        clients: Clients = Clients(),
        minimum: Literal["TLSv1.2", "TLSv1.3"] = "TLSv1.2",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Read ``files``.  Raises ``CertificateUnusable``."""
        self._minimum = _VERSIONS[minimum]
        self._now = now
        self._modes = clients.modes | {ClientCertificates.NONE}
        self._served = self._load(files, clients)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is doubtful about the certificates in force, one line each."""
        return self._served[ClientCertificates.NONE].warnings

    def reload(self, files: Sequence[CertificateFiles], clients: Clients = Clients()) -> None:
        """Serve ``files`` to new connections; on ``CertificateUnusable`` the old ones stay."""
        # Sessions that have begun under the old settings may still come to STARTTLS.
        self._modes |= clients.modes
        self._served = self._load(files, clients)

    def options(
        self, mode: Callable[[], ClientCertificates] = lambda: ClientCertificates.NONE
    ) -> "_ServerConnections":
        """Return what ``startTLS`` and ``TLSMemoryBIOFactory`` take; follows ``reload``.

        ``mode`` is asked at each connection.
        """
        return _ServerConnections(self, mode)

    def context(
        self, name: bytes | None = None, mode: ClientCertificates = ClientCertificates.NONE
    ) -> SSL.Context:
        """Return the context for a client that asked for ``name`` (RFC 6066 §3)."""
        served = self._served[mode]
        return _choose(served.by_name, name) or served.default

    def _load(
        self, files: Sequence[CertificateFiles], clients: Clients
    ) -> Mapping[ClientCertificates, _Served]:
        authorities = read_certificates(clients.authorities) if clients.authorities else []

        def prepare(mode: ClientCertificates, context: SSL.Context) -> None:
            if mode is not ClientCertificates.NONE:
                ask(context, mode, authorities)

        now = self._now()
        return MappingProxyType(
            {mode: _load(files, self._minimum, now, partial(prepare, mode)) for mode in self._modes}
        )


@implementer(IOpenSSLServerConnectionCreator)
class _ServerConnections:
    """Makes the TLS side of incoming connections from the certificates in force."""

    def __init__(
        self, certificates: ServerCertificates, mode: Callable[[], ClientCertificates]
    ) -> None:
        self._certificates = certificates
        self._mode = mode

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Twisted asks for the OpenSSL connection of a new transport."""
        mode = self._mode()
        context = self._certificates.context(mode=mode)
        if mode is ClientCertificates.NONE:
            return FrugalConnection(context)
        return ServerConnection(context)


def _choose(by_name: Mapping[str, SSL.Context], name: bytes | None) -> SSL.Context | None:
    """Exact name first, then the wildcard for its first label (RFC 9525 §6.3)."""
    if not name:
        return None
    host = name.decode("ascii", "replace").rstrip(".").lower()
    _, _, parent = host.partition(".")
    return by_name.get(host) or by_name.get("*." + parent)


def _load(
    files: Sequence[CertificateFiles],
    minimum: int,
    now: datetime,
    prepare: Callable[[SSL.Context], None],
) -> _Served:
    if not files:
        raise CertificateUnusable("no certificate is given")
    by_name: dict[str, SSL.Context] = {}
    contexts: list[SSL.Context] = []
    warnings: list[str] = []
    for pair in files:
        chain = read_certificates(pair.certificate)
        context = _context(pair, chain, minimum)
        prepare(context)
        contexts.append(context)
        warnings += _doubts(pair, chain[0], now)
        try:
            found = names(chain[0])
        except ValueError as error:
            raise CertificateUnusable(f"{pair.certificate}: {error}") from error
        for name in found:
            by_name.setdefault(name, context)
    frozen = MappingProxyType(by_name)
    if len(contexts) > 1:
        _answer_to_names(contexts[0], frozen)
    return _Served(contexts[0], frozen, tuple(warnings))


def _answer_to_names(default: SSL.Context, by_name: Mapping[str, SSL.Context]) -> None:
    """Every connection starts in ``default``, so its callback is the one that is asked."""

    def named(connection: SSL.Connection) -> None:
        chosen = _choose(by_name, connection.get_servername())
        if chosen is not None:
            connection.set_context(chosen)

    default.set_tlsext_servername_callback(named)


def _context(
    pair: CertificateFiles, chain: Sequence[x509.Certificate], minimum: int
) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(minimum)
    context.set_options(_OPTIONS)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_cipher_list(_CIPHERS)
    # Tickets hold the state (RFC 5077); nothing of it stays in our memory.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_session_id(b"mta")
    show(context, pair, chain)
    return context


def show(context: SSL.Context, pair: CertificateFiles, chain: Sequence[x509.Certificate]) -> None:
    """Have ``context`` show a certificate with its chain.  Raises ``CertificateUnusable``."""
    try:
        context.use_certificate(chain[0])
        for issuer in chain[1:]:
            context.add_extra_chain_cert(issuer)
    except SSL.Error as error:
        raise CertificateUnusable(f"{pair.certificate}: {tls_reason(error)}") from error
    _use_key(context, pair)


def _use_key(context: SSL.Context, pair: CertificateFiles) -> None:
    data = _read(pair.key)
    try:
        key = load_pem_private_key(data, password=None)
    except TypeError as error:
        raise CertificateUnusable(
            f"{pair.key}: the key is encrypted, and a service can't ask for its pass phrase"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateUnusable(f"{pair.key}: no usable PEM private key in it") from error
    try:
        context.use_privatekey(key)  # type: ignore[arg-type]
        context.check_privatekey()
    except (SSL.Error, TypeError) as error:
        raise CertificateUnusable(
            f"{pair.key}: the key does not belong to the certificate in {pair.certificate}"
        ) from error


def _doubts(pair: CertificateFiles, leaf: x509.Certificate, now: datetime) -> list[str]:
    doubts = []
    if leaf.not_valid_after_utc < now:
        doubts.append(f"{pair.certificate}: expired on {leaf.not_valid_after_utc:%Y-%m-%d}")
    if leaf.not_valid_before_utc > now:
        doubts.append(f"{pair.certificate}: not valid before {leaf.not_valid_before_utc:%Y-%m-%d}")
    if pair.key.stat().st_mode & stat.S_IROTH:
        doubts.append(f"{pair.key}: everybody can read this private key")
    return doubts


def read_certificates(path: Path) -> list[x509.Certificate]:
    """Return the PEM certificates in ``path``, at least one.  Raises ``CertificateUnusable``."""
    data = _read(path)
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise CertificateUnusable(f"{path}: no usable PEM certificate in it") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateUnusable(f"{path}: {error.strerror}") from error
