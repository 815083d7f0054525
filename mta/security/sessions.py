"""What a session is counted as in TLS reports (RFC 8460 §4): pure.

The policy is the one that was applied: TLSA records, a policy of MTA-STS, or none.  What we ask
for beyond what is published has no type of its own there; a session that falls short of it is
one without a policy that failed.  A session that was to need no TLS, because a route, a
``[[tls_policy]]`` or the message itself says so, was not held against what is published, and is
not counted: so the reports' own deliveries are not (RFC 8460 §3), for they go with
TLS-Required: No.
"""

from mta.mail.security import Flaw, Level, Requirement, Result, Skip, Source
from mta.mail.tls_session import AppliedPolicy, PolicyType, TlsSession

_OF_DANE = (Result.DNSSEC_INVALID, Result.DANE_REQUIRED)
_LONGEST = 200  # characters of a reason, and of a name that a peer gives itself


def counts(required: Requirement | Skip) -> bool:
    """Tell whether sessions under ``required`` are counted."""
    if isinstance(required, Skip):
        return not required.permanent  # REQUIRETLS, and the domain promises nothing
    if required.level is Level.MAY:
        return required.source is not Source.MESSAGE
    return required.uses_tls


def applied(required: Requirement | Skip, domain: str, host: str) -> AppliedPolicy:
    """Return the policy of a session with ``host`` on behalf of ``domain``."""
    if isinstance(required, Requirement) and required.level is Level.DANE:
        lines = tuple(
            f"{one.usage} {one.selector} {one.matching} {one.data.hex()}" for one in required.tlsa
        )
        return AppliedPolicy(PolicyType.TLSA, required.sni or host, lines)
    published = required.published
    if published is not None:
        return AppliedPolicy(
            PolicyType(published.kind), published.domain, published.lines, published.mx
        )
    if isinstance(required, Skip):
        tlsa = required.result in _OF_DANE
    else:
        tlsa = _unusable(required) or required.passed_over_for in _OF_DANE
    return AppliedPolicy(PolicyType.TLSA, host) if tlsa else AppliedPolicy(PolicyType.NONE, domain)


def flaw_of(required: Requirement, flaw: Flaw | None) -> Flaw | None:
    """Return what a session is told to have lacked, where mail went on it; None: nothing.

    With TLSA records of which none can be used mail goes, by unauthenticated TLS, and the domain
    should know (tlsa-invalid, RFC 8460 §4.3.2.1); so it should where its policy of MTA-STS cannot
    be had, and there is no older one (§4.3.2.2), and where a host would have been left alone.
    """
    if flaw is not None:
        return flaw
    if _unusable(required):
        return Flaw(Result.TLSA_INVALID, required.why)
    if required.passed_over_for is not None:
        return Flaw(required.passed_over_for, required.passed_over)
    published = required.published
    if published is not None and published.result is not None and not published.lines:
        return Flaw(published.result, published.text)
    return None


def _unusable(required: Requirement) -> bool:
    return required.level is Level.ENCRYPT and required.source is Source.DANE


def succeeded(required: Requirement, domain: str, host: str) -> TlsSession:
    """Return a session that came to what was required."""
    return TlsSession(domain, applied(required, domain, host))


def failed(
    required: Requirement | Skip,
    domain: str,
    host: str,
    flaw: Flaw,
    *,
    sending: str = "",
    address: str = "",
    helo: str = "",
) -> TlsSession:
    """Return a session that fell short, or did not come about; peers' words are cut."""
    return TlsSession(
        domain,
        applied(required, domain, host),
        flaw.result,
        sending,
        host,
        address,
        _plain(helo),
        _plain(flaw.text),
    )


def _plain(text: str) -> str:
    """Return a stranger's words as printable ASCII, on one line."""
    cut = text[:_LONGEST]
    return "".join(char if char.isascii() and char.isprintable() else "?" for char in cut)
