"""TLS going out: always verify, record what was shown, fail only where that is required.

Contexts are built from sets of authorities, once each.  In the *opportunistic* ones
(RFC 7435) a handshake is completed whatever the certificate says, and what it said is
recorded: encryption to somebody unknown is better than none, and the record is what an
operator needs to see before requiring more.  In the *strict* ones the handshake fails,
before anything is sent to the peer, unless chain and host name verify.  What was required
beyond that is held against ``Shown`` by ``mta.security``.

Trusts: the certificate authorities given, and a finding kept beside a session for an
hour (``mta.tls.sessions``).  Does not do: revocation.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from cryptography import x509
from OpenSSL import SSL
from OpenSSL.crypto import X509, X509StoreFlags
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from mta.mail.security import ANYTHING, Requirement, Shown
from mta.tls.certificates import CertificateFiles, CertificateUnusable, read_certificates, show
from mta.tls.connections import connection_of
from mta.tls.finding import ClientConnection, Finding, verify
from mta.tls.identity import host_key, is_address
from mta.tls.sessions import SessionCache

# Weak keys and signatures are still better than no encryption (security level 1);
# where verification is required, OpenSSL's own default, level 2, holds.
_OPPORTUNISTIC_CIPHERS = b"DEFAULT:@SECLEVEL=1"

Trust: TypeAlias = Literal["system"] | Path | Sequence[bytes]


@dataclass(frozen=True, slots=True)
class _Way:
    """One way to do TLS: its context and the sessions that belong to it."""

    context: SSL.Context
    sessions: SessionCache


@implementer(IOpenSSLClientConnectionCreator)
class ClientHandshake:
    """Makes the TLS side of connections to one host; made by ``ClientTls.creator``."""

    def __init__(self, way: _Way, host: str, requirement: Requirement) -> None:
        self._way = way
        self._host = host
        self._requirement = requirement

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Twisted asks for the OpenSSL connection of a new transport."""
        way = self._way
        connection = ClientConnection(way.context, None)
        offered = way.sessions.take((self._host, self._requirement))
        connection.finding = Finding(self._host, self._requirement, offered)
        connection.sessions = way.sessions
        if offered is not None:
            connection.set_session(offered.session)
        name = self._requirement.sni or self._host
        # RFC 6066 §3: names only, no addresses
        if not is_address(name):
            connection.set_tlsext_host_name(name.encode("ascii"))
        return connection

    def shown(self, transport: object) -> Shown | None:
        """Return what the handshake on ``transport`` has shown.

        ``transport`` is what Twisted gave the protocol, or the OpenSSL connection itself;
        to be asked while the connection lasts.  None where there is no TLS.
        """
        connection = connection_of(transport)
        if not isinstance(connection, ClientConnection):
            return None
        finding = connection.finding
        return Shown(
            connection.get_protocol_version_name(),
            connection.get_cipher_name() or "",
            finding.pkix,
            finding.proof,
        )


class ClientTls:
    """TLS towards other hosts, verified against one set of certificate authorities or another."""

    def __init__(
        self,
        trust: Trust = "system",
        *,
        others: Iterable[str] = (),
        identities: Iterable[CertificateFiles] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read all certificates.

        ``trust`` is ``"system"`` (OpenSSL's default places), a file of PEM certificates
        or such certificates themselves; ``others`` are files that a ``Requirement.ca`` may
        name, ``identities`` are certificates of ours.  Raises ``CertificateUnusable``.
        """
        self._clock = clock
        self._authorities = {"": _authorities(trust)}
        self._authorities |= {path: read_certificates(Path(path)) for path in others}
        self._ways: dict[tuple[str, bool, CertificateFiles | None], _Way] = {}
        for path in self._authorities:
            self._way(path, strict=True)
        self._way("", strict=False)
        for identity in identities:
            self._way("", strict=True, identity=identity)

    def creator(
        self,
        host_name: str,
        requirement: Requirement = ANYTHING,
        identity: CertificateFiles | None = None,
    ) -> ClientHandshake:
        """Return the TLS side of a connection to ``host_name`` (a name or an IP address).

        Where the requirement verifies, and is not only observed, the handshake fails with
        ``VerificationFailed`` unless the peer proves to be who it has to be; otherwise
        ``ClientHandshake.shown`` says what was found.  ``identity`` is shown to a peer that asks.
        """
        strict = requirement.verifies and not requirement.observe
        way = self._way(requirement.ca, strict=strict, identity=identity)
        return ClientHandshake(way, host_key(host_name), requirement)

    def _way(self, ca: str, *, strict: bool, identity: CertificateFiles | None = None) -> _Way:
        key = (ca, strict, identity)
        way = self._ways.get(key)
        if way is None:
            context = _context(self._authorities[ca], strict=strict)
            if identity is not None:
                show(context, identity, read_certificates(identity.certificate))
            way = self._ways[key] = _Way(context, SessionCache(self._clock))
        return way


def describe(transport: object) -> str:
    """Return version and cipher in use on ``transport``, ``""`` in the clear."""
    connection = connection_of(transport)
    if connection is None or connection.get_cipher_name() is None:
        return ""
    return f"{connection.get_protocol_version_name()} {connection.get_cipher_name()}"


def _authorities(trust: Trust) -> list[x509.Certificate]:
    """Return the certificates to trust; none stands for the system's."""
    if isinstance(trust, Path):
        return read_certificates(trust)
    if isinstance(trust, str):
        if trust != "system":
            raise ValueError(f"trust is 'system', a path or certificates, not {trust!r}")
        return []
    try:
        found = [one for pem in trust for one in x509.load_pem_x509_certificates(pem)]
    except ValueError as error:
        raise CertificateUnusable(f"a trusted certificate is unreadable: {error}") from error
    if not found:
        raise CertificateUnusable("no certificate authority to trust is given")
    return found


def _context(authorities: Sequence[x509.Certificate], *, strict: bool) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)  # RFC 8996
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # ours knows what was verified
    if not strict:
        context.set_cipher_list(_OPPORTUNISTIC_CIPHERS)
        context.set_options(SSL.OP_LEGACY_SERVER_CONNECT)
    context.set_verify(SSL.VERIFY_PEER, verify)
    if authorities:
        _trust(context, authorities)
    else:
        context.set_default_verify_paths()
    return context


def _trust(context: SSL.Context, authorities: Sequence[x509.Certificate]) -> None:
    store = context.get_cert_store()
    assert store is not None
    for authority in authorities:
        store.add_cert(X509.from_cryptography(authority))
    # What the operator has listed is trusted as it is, be it a root or not.
    store.set_flags(X509StoreFlags.PARTIAL_CHAIN)
