"""What a peer's certificate says, for people to read: facts, no judgement.

A name in it is whatever its holder wrote there: it is to be escaped before it is shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from mta.tls.connections import connection_of
from mta.tls.identity import names
from mta.tls.spki import public_key_info


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """One certificate, the peer's own."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    from_: datetime
    until: datetime
    fingerprint: str  # SHA-256 of the certificate, hex
    key_fingerprint: str  # SHA-256 of its public key, hex: the data of TLSA 3 1 1
    chain: int  # how many certificates were shown, this one included


def peer_certificate(transport: object) -> PeerCertificate | None:
    """Return what the peer on ``transport`` has shown; None where there is none to read."""
    connection = connection_of(transport)
    if connection is None:
        return None
    shown = connection.get_peer_certificate(as_cryptography=True)
    if shown is None:
        return None
    chain = connection.get_peer_cert_chain(as_cryptography=True) or ()
    try:
        return described(shown, chain)
    except Exception:  # whatever a hostile certificate makes a parser say
        return None


def described(certificate: x509.Certificate, chain: Sequence[object] = ()) -> PeerCertificate:
    """Return ``certificate`` in words; raises what parsing raises."""
    return PeerCertificate(
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        names=tuple(names(certificate)),
        from_=certificate.not_valid_before_utc.astimezone(UTC),
        until=certificate.not_valid_after_utc.astimezone(UTC),
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        key_fingerprint=sha256(public_key_info(certificate)).hexdigest(),
        chain=max(1, len(chain)),
    )
