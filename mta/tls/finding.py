"""What a client finds out about its peer while it shakes hands.

Chain and name are judged as OpenSSL asks about them, and always, for the record.  Where a
certificate of a known authority is required, the handshake ends there, before anything is
sent.  Other proofs (a fingerprint, TLSA records) need the whole of what the peer has shown, and
are looked at as the handshake ends: nothing but the handshake has been sent by then.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from OpenSSL import SSL
from OpenSSL.crypto import X509

from mta.mail.security import Flaw, Level, Requirement, Result
from mta.tls import dane
from mta.tls.identity import chain_error, chain_result, mismatch
from mta.tls.reasons import VerificationFailed
from mta.tls.sessions import Remembered, SessionCache
from mta.tls.spki import public_key_info

_UNSEEN = Flaw(Result.NOT_TRUSTED, "the peer showed no certificate")


@dataclass(slots=True)
class Finding:
    """One handshake's."""

    host: str
    requirement: Requirement
    offered: Remembered | None  # the session that we proposed to resume
    complaints: list[Flaw] = field(default_factory=list)
    seen: bool = False  # the peer's own certificate has been looked at
    done: bool = False  # the handshake is complete
    proof: Flaw | None = None  # what is missing of what was required

    @property
    def mandatory(self) -> bool:
        """The handshake fails unless chain and name verify."""
        return self.requirement.verifies and not self.requirement.observe

    @property
    def full(self) -> bool:
        """OpenSSL calls back about the peer's certificate in every full handshake; where it did
        not, the session was resumed and its own finding holds."""
        return self.seen or bool(self.complaints)

    @property
    def pkix(self) -> Flaw | None:
        """Why the peer is not verified; None when it is."""
        if self.complaints:
            text = "; ".join(one.text for one in self.complaints)
            return Flaw(self.complaints[0].result, text)
        if self.seen:
            return None
        return _UNSEEN if self.offered is None else self.offered.pkix

    def chain(self, code: int) -> None:
        """Record a complaint of OpenSSL's about the chain."""
        flaw = Flaw(chain_result(code), chain_error(code))
        if flaw not in self.complaints:
            self.complaints.append(flaw)

    def leaf(self, certificate: X509) -> None:
        """Compare the peer's certificate with the host that was dialled, once."""
        if self.seen:
            return
        self.seen = True
        names = self.requirement.names if self.requirement.verifies else ()
        wrong = misnamed(certificate.to_cryptography(), names or (self.host,))
        if wrong:
            self.complaints.append(Flaw(Result.HOST_MISMATCH, wrong))

    def ended(self, chain: Callable[[], Sequence[x509.Certificate]]) -> None:
        """The handshake is complete: look for the proof that was required.

        ``chain`` gives what the peer has shown, its own certificate first.
        """
        self.done = True
        if self.requirement.verifies:
            self.proof = self.pkix
        elif self.requirement.level in _PROOFS:
            self.proof = self._proof(chain)

    def _proof(self, chain: Callable[[], Sequence[x509.Certificate]]) -> Flaw | None:
        if not self.full and self.offered is not None:
            return self.offered.proof
        shown = chain()
        return _PROOFS[self.requirement.level](shown, self.requirement) if shown else _UNSEEN


def misnamed(certificate: x509.Certificate, names: tuple[str, ...]) -> str:
    """Return why the certificate is for none of ``names``; "" if it is for one."""
    wrong = [mismatch(certificate, name) for name in names]
    return wrong[0] if all(wrong) else ""


def fingerprints(certificate: x509.Certificate) -> frozenset[str]:
    """Return the SHA-256 of the certificate, and of its public key, in hexadecimal."""
    digest = Hash(SHA256())
    digest.update(public_key_info(certificate))
    return frozenset({certificate.fingerprint(SHA256()).hex(), digest.finalize().hex()})


def _unknown(chain: Sequence[x509.Certificate], requirement: Requirement) -> Flaw | None:
    try:
        if requirement.fingerprints & fingerprints(chain[0]):
            return None
    except Exception as error:  # whatever a hostile certificate makes a parser say
        return Flaw(Result.VALIDATION_FAILURE, f"certificate is unreadable ({error})")
    return Flaw(Result.NOT_TRUSTED, "certificate is none of those whose fingerprints are known")


def _no_tlsa(chain: Sequence[x509.Certificate], requirement: Requirement) -> Flaw | None:
    return dane.flaw(chain, requirement.tlsa, requirement.names)


_PROOFS: dict[Level, Callable[[Sequence[x509.Certificate], Requirement], Flaw | None]] = {
    Level.FINGERPRINT: _unknown,
    Level.DANE: _no_tlsa,
}


class ClientConnection(SSL.Connection):
    """A connection that knows its finding, and leaves a session behind when it closes."""

    finding: Finding
    sessions: SessionCache

    def do_handshake(self) -> None:
        super().do_handshake()
        finding = self.finding
        finding.ended(lambda: self.get_peer_cert_chain(as_cryptography=True) or ())
        # The callback has broken off any such handshake already: this is the bolt behind
        # the lock, should OpenSSL ever finish one without asking it.
        if finding.mandatory and finding.pkix is not None:
            raise VerificationFailed(finding.pkix.text, finding.pkix.result)

    def shutdown(self) -> bool:
        self._remember()
        return super().shutdown()

    def _remember(self) -> None:
        """Keep the session now: in TLS 1.3 the tickets come after the handshake."""
        finding = self.finding
        if not finding.done or (finding.proof is not None and not finding.requirement.observe):
            return
        finding.done = False
        session = self.get_session()
        if session is None:
            return
        examined_s = self.sessions.now()
        if not finding.full and finding.offered is not None:
            examined_s = finding.offered.examined_s
        remembered = Remembered(session, finding.pkix, finding.proof, examined_s)
        self.sessions.keep((finding.host, finding.requirement), remembered)


def verify(connection: SSL.Connection, certificate: X509, code: int, depth: int, ok: int) -> bool:
    """OpenSSL's question about each certificate of the chain, the peer's own last."""
    assert isinstance(connection, ClientConnection)
    finding = connection.finding
    if not ok:
        finding.chain(code)
    if depth == 0:
        finding.leaf(certificate)
    if finding.mandatory and finding.pkix is not None and finding.complaints:
        raise VerificationFailed(finding.pkix.text, finding.pkix.result)
    return True
