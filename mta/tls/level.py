"""TLS going out: always verify, record the level reached, fail only where it is required.

Two contexts are built once, from the same authorities.  In the *opportunistic* one
(RFC 7435) a handshake is completed whatever the certificate says, and what it said is
recorded: encryption to somebody unknown is better than none, and the record is what an
operator needs to see before requiring more.  In the *mandatory* one the handshake fails,
before anything is sent to the peer, unless chain and host name verify.

Trusts: the certificate authorities given, and a finding kept beside a session for an
hour (``mta.tls.sessions``).  Does not do: revocation, DANE, MTA-STS; client certificates.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cryptography import x509
from OpenSSL import SSL
from OpenSSL.crypto import X509, X509StoreFlags
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from mta.mail.outcome import Tls, TlsLevel
from mta.tls.certificates import CertificateUnusable, read_certificates
from mta.tls.connections import connection_of
from mta.tls.identity import chain_error, host_key, is_address, mismatch
from mta.tls.reasons import VerificationFailed
from mta.tls.sessions import Remembered, SessionCache

# Weak keys and signatures are still better than no encryption (security level 1);
# where verification is required, OpenSSL's own default, level 2, holds.
_OPPORTUNISTIC_CIPHERS = b"DEFAULT:@SECLEVEL=1"

_UNSEEN = "the peer showed no certificate"


@dataclass(slots=True)
class _Finding:
    """What is found out about the peer while the handshake goes on."""

    host: str
    mandatory: bool
    offered: Remembered | None  # the session that we proposed to resume
    complaints: list[str] = field(default_factory=list)
    seen: bool = False  # the peer's own certificate has been looked at
    done: bool = False  # the handshake is complete

    @property
    def why(self) -> str:
        """Why the peer is not verified; ``""`` when it is.

        In a full handshake OpenSSL always calls back about the peer's certificate; where
        it did not, the session was resumed and its own finding holds.
        """
        if self.seen or self.complaints:
            return "; ".join(self.complaints)
        return _UNSEEN if self.offered is None else self.offered.why

    def chain(self, code: int) -> None:
        """Record a complaint of OpenSSL's about the chain."""
        text = chain_error(code)
        if text not in self.complaints:
            self.complaints.append(text)

    def leaf(self, certificate: X509) -> None:
        """Compare the peer's certificate with the host that was dialled, once."""
        if self.seen:
            return
        self.seen = True
        wrong = mismatch(certificate.to_cryptography(), self.host)
        if wrong:
            self.complaints.append(wrong)


class _ClientConnection(SSL.Connection):
    """A connection that knows its finding, and leaves a session behind when it closes."""

    finding: _Finding
    sessions: SessionCache

    def do_handshake(self) -> None:
        super().do_handshake()
        self.finding.done = True
        # The callback has broken off any such handshake already: this is the bolt behind
        # the lock, should OpenSSL ever finish one without asking it.
        if self.finding.mandatory and self.finding.why:
            raise VerificationFailed(self.finding.why)

    def shutdown(self) -> bool:
        self._remember()
        return super().shutdown()

    def _remember(self) -> None:
        """Keep the session now: in TLS 1.3 the tickets come after the handshake."""
        finding = self.finding
        if not finding.done or (finding.mandatory and finding.why):
            return
        finding.done = False
        session = self.get_session()
        if session is None:
            return
        examined_s = self.sessions.now()
        if not finding.seen and finding.offered is not None:
            examined_s = finding.offered.examined_s
        self.sessions.keep(finding.host, Remembered(session, finding.why, examined_s))


@dataclass(frozen=True, slots=True)
class _Way:
    """One of the two ways to do TLS: its context and the sessions that belong to it."""

    context: SSL.Context
    sessions: SessionCache
    mandatory: bool


@implementer(IOpenSSLClientConnectionCreator)
class ClientHandshake:
    """Makes the TLS side of connections to one host; made by ``ClientTls.creator``."""

    def __init__(self, way: _Way, host: str) -> None:
        self._way = way
        self._host = host

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Twisted asks for the OpenSSL connection of a new transport."""
        way = self._way
        connection = _ClientConnection(way.context, None)
        offered = way.sessions.take(self._host)
        connection.finding = _Finding(self._host, way.mandatory, offered)
        connection.sessions = way.sessions
        if offered is not None:
            connection.set_session(offered.session)
        # RFC 6066 §3: names only, no addresses
        if not is_address(self._host):
            connection.set_tlsext_host_name(self._host.encode("ascii"))
        return connection

    def result(self, transport: object) -> Tls:
        """Return what the handshake on ``transport`` came to.

        ``transport`` is what Twisted gave the protocol, or the OpenSSL connection itself;
        to be asked while the connection lasts.  ``Tls()`` where there is no TLS.
        """
        connection = connection_of(transport)
        if not isinstance(connection, _ClientConnection):
            return Tls()
        why = connection.finding.why
        return Tls(
            level=TlsLevel.ENCRYPTED if why else TlsLevel.VERIFIED,
            version=connection.get_protocol_version_name(),
            cipher=connection.get_cipher_name() or "",
            why=why,
        )


class ClientTls:
    """TLS towards other hosts, verified against one set of certificate authorities."""

    def __init__(
        self,
        trust: Literal["system"] | Path | Sequence[bytes] = "system",
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Build the contexts.

        ``trust`` is ``"system"`` (OpenSSL's default places), a file of PEM certificates
        or such certificates themselves.  Raises ``CertificateUnusable``.
        """
        authorities = _authorities(trust)
        self._mandatory = _Way(_context(authorities, mandatory=True), SessionCache(clock), True)
        self._may = _Way(_context(authorities, mandatory=False), SessionCache(clock), False)

    def creator(self, host_name: str, *, mandatory: bool) -> ClientHandshake:
        """Return the TLS side of a connection to ``host_name`` (a name or an IP address).

        With ``mandatory`` the handshake fails with ``VerificationFailed`` unless the peer
        proves to be ``host_name``; without, ``ClientHandshake.result`` says what was found.
        """
        return ClientHandshake(self._mandatory if mandatory else self._may, host_key(host_name))


def describe(transport: object) -> str:
    """Return version and cipher in use on ``transport``, ``""`` in the clear."""
    connection = connection_of(transport)
    if connection is None or connection.get_cipher_name() is None:
        return ""
    return f"{connection.get_protocol_version_name()} {connection.get_cipher_name()}"


def _authorities(trust: Literal["system"] | Path | Sequence[bytes]) -> list[x509.Certificate]:
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


def _context(authorities: Sequence[x509.Certificate], *, mandatory: bool) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)  # RFC 8996
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # ours knows what was verified
    if not mandatory:
        context.set_cipher_list(_OPPORTUNISTIC_CIPHERS)
        context.set_options(SSL.OP_LEGACY_SERVER_CONNECT)
    context.set_verify(SSL.VERIFY_PEER, _verify)
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


def _verify(connection: SSL.Connection, certificate: X509, code: int, depth: int, ok: int) -> bool:
    """OpenSSL's question about each certificate of the chain, the peer's own last."""
    assert isinstance(connection, _ClientConnection)
    finding = connection.finding
    if not ok:
        finding.chain(code)
    if depth == 0:
        finding.leaf(certificate)
    if finding.mandatory and finding.complaints:
        raise VerificationFailed(finding.why)
    return True
