"""What a session has come to, held against what was required of it."""

from dataclasses import replace

from mta.mail.outcome import Tls, TlsLevel
from mta.mail.security import Flaw, Level, Requirement, Result, Shown

_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_PROVED = {
    Level.DANE: TlsLevel.DANE,
    Level.STS: TlsLevel.STS,
    Level.FINGERPRINT: TlsLevel.FINGERPRINT,
}


def judge(requirement: Requirement, shown: Shown) -> tuple[Tls, Flaw | None]:
    """Return what was reached, and what is missing (None: the requirement is satisfied)."""
    flaw = _missing(requirement, shown)
    level = TlsLevel.ENCRYPTED if shown.pkix else TlsLevel.VERIFIED
    why = shown.pkix.text if shown.pkix else ""
    if flaw is None and requirement.level in _PROVED:
        level, why = _PROVED[requirement.level], ""
    elif shown.proof is not None:
        why = shown.proof.text
    tls = Tls(level, shown.version, shown.cipher, why)
    return _told(requirement, tls, flaw), flaw


def in_the_clear(requirement: Requirement, why: str) -> Tls:
    """Return what a session without TLS has come to; ``why`` it has none, "" if none was tried.

    Where TLS is insisted on, there is no such session.
    """
    flaw = None
    if requirement.level not in (Level.NONE, Level.MAY):
        flaw = Flaw(Result.STARTTLS_NOT_SUPPORTED, why)
    return _told(requirement, Tls(why=why), flaw)


def fallen_short(requirement: Requirement, why: str) -> Tls:
    """Return what to say of a session that came to nothing, because of TLS or otherwise."""
    return _told(requirement, Tls(why=why), None)


def again(requirement: Requirement, tls: Tls) -> Tls:
    """Return ``tls`` of a connection that is used again, under an equal requirement."""
    if tls.required_why == requirement.why:
        return tls
    return replace(tls, required_why=requirement.why)


def _told(requirement: Requirement, tls: Tls, flaw: Flaw | None) -> Tls:
    observed = [requirement.passed_over] if requirement.passed_over else []
    if flaw is not None and requirement.observe:
        observed.append(f"would have waited: {flaw.text}")
    return replace(
        tls,
        required=requirement.level.value,
        required_why=requirement.why,
        observed="; ".join(observed),
    )


def _missing(requirement: Requirement, shown: Shown) -> Flaw | None:
    if too_old(shown.version, requirement.minimum):
        text = f"{shown.version} is older than {requirement.minimum}, which is required"
        return Flaw(Result.VALIDATION_FAILURE, text)
    return shown.proof


def too_old(version: str, minimum: str) -> bool:
    """Tell whether a version of TLS is older than ``minimum`` ("" for any)."""
    if not minimum or version not in _VERSIONS:
        return bool(minimum)
    return _VERSIONS.index(version) < _VERSIONS.index(minimum)
