"""How private mail to one host must travel: the one place where that is decided.

In this order:

1. *REQUIRETLS* (RFC 8689 §4.2.1): the DNS or an MTA-STS policy must prove that the host takes
   mail for the domain, and the host must prove by DANE or by a certificate that it is that host.
   Neither our policy nor an observe mode of ours lowers that.
2. *TLS-Required: No* (RFC 8689 §4.1): what the domain publishes does not count; what we ask for
   ourselves does, unless it is waivable.
3. *A level that we have named* stands for itself: none, may, encrypt, verify, fingerprint.
4. *DANE* (RFC 7672), if the host's records are signed: with usable TLSA records the certificate
   must match one; if none of them is usable, TLS without authentication (§2.2).  If the DNS does
   not say for sure what there is, the host is left alone for now: an attacker who can make
   look-ups fail must not get mail in the clear (§2.1.3).
5. *MTA-STS* (RFC 8461), where DANE does not prove the host: it never stands in for a DANE that
   failed, and is not weakened by one that proves too little.  Where no TLSA record is usable, an
   enforced policy is kept to as well.  Where the MX records are not signed, usable ones prove that
   a host is itself and not that it is the domain's: whoever forges MX records can have a zone of
   his own that is signed.  Whose it is, the policy says.
6. Otherwise TLS where it works (RFC 7435).

With ``observe`` whatever would have stopped mail in 4 and 5, or in 3, is written down instead.
"""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from mta.mail.security import Level, Requirement, Result, Skip, Source
from mta.security.facts import NOT_LOOKED_FOR, Dane, DaneState, Sts, StsMode, Where
from mta.security.policies import Local

UnsignedMx: TypeAlias = Literal["dane", "encrypt", "may"]

_TA = 2  # the usage whose certificates must be for a name


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the message asks for (RFC 8689)."""

    require_tls: bool = False
    tls_not_required: bool = False


NO_WISHES = Wishes()


def looks_at_published(local: Local, wishes: Wishes) -> bool:
    """Tell whether the facts of DANE and MTA-STS can change the decision at all."""
    if wishes.require_tls:
        return True
    if wishes.tls_not_required and (local.level == "dane" or local.waivable):
        return False
    return local.published


def asks_sts(
    where: Where, local: Local, wishes: Wishes, dane: Dane, unsigned_mx: UnsignedMx
) -> bool:
    """Tell whether a policy of MTA-STS can change the decision, as DANE stands."""
    if wishes.require_tls:
        return not where.signed and dane.state is not DaneState.FAILED
    if local.level != "dane" or wishes.tls_not_required:
        return False
    if dane.state is DaneState.USABLE:
        return not where.signed
    return dane.state is not DaneState.FAILED


def decide(
    where: Where,
    local: Local,
    wishes: Wishes = NO_WISHES,
    dane: Dane = NOT_LOOKED_FOR,
    sts: Sts | None = None,
    *,
    unsigned_mx: UnsignedMx = "dane",
) -> Requirement | Skip:
    """Return what a session with ``where.host`` has to come to, or why there must be none.

    ``unsigned_mx``: what TLSA records are worth where nothing proves that the host is the
    domain's (RFC 7672 §2.2.1).
    """
    if wishes.require_tls:
        return _demanded(where, local, dane, sts)
    if wishes.tls_not_required and (local.level == "dane" or local.waivable):
        if local.level == "none":
            return _own(local)
        return Requirement(source=Source.MESSAGE, why="the sender says TLS-Required: No")
    if not local.published:
        return _own(local)
    found = _published(where, local, dane, sts, unsigned_mx)
    return _observed(found, local) if isinstance(found, Skip) and local.observe else found


def _demanded(where: Where, local: Local, dane: Dane, sts: Sts | None) -> Requirement | Skip:
    """REQUIRETLS: the host must be proved, and prove itself."""
    if dane.state is DaneState.FAILED:
        return Skip(f"REQUIRETLS: {dane.text}", Result.DNSSEC_INVALID)
    enforced = sts is not None and sts.mode is StsMode.ENFORCE and sts.matches
    if where.signed is None and not enforced:
        text = f"REQUIRETLS: it cannot be known now which hosts take mail for {where.domain}"
        return Skip(f"{text}: {dane.text}", Result.DNSSEC_INVALID)
    if not where.signed and not enforced and sts is not None and sts.unknown:
        text = f"REQUIRETLS: nothing proves now which hosts take mail for {where.domain}"
        return _sts_skip(f"{text}: {sts.unknown}", sts)
    if not where.signed and not enforced:
        text = (
            f"REQUIRETLS: nothing proves which hosts take mail for {where.domain} (neither DNSSEC "
            "nor MTA-STS does)"
        )
        return Skip(text, Result.DNSSEC_INVALID, permanent=True)
    published = sts.published if enforced and sts is not None else None
    local = replace(local, source=Source.MESSAGE, observe=False)
    if dane.state is DaneState.USABLE:
        required = _by_dane(where, local, dane)
        return replace(required, why=f"REQUIRETLS; {required.why}", source=Source.MESSAGE)
    level = Level.FINGERPRINT if local.level == "fingerprint" else Level.VERIFY
    why = "REQUIRETLS; " + ("the MX records are signed" if where.signed else "MTA-STS")
    return replace(_required(level, local, why=why), published=published)


def _own(local: Local) -> Requirement:
    return _required(Level(local.level), local, why=local.why)


def _required(level: Level, local: Local, *, why: str) -> Requirement:
    """Return a requirement with as much of ours as has a meaning at ``level``."""
    if level is Level.NONE:
        return Requirement(level, source=local.source, why=why)
    authenticated = level is Level.VERIFY
    return Requirement(
        level,
        names=local.names if authenticated else (),
        minimum="" if level is Level.MAY else local.minimum,
        ca=local.ca if authenticated else "",
        fingerprints=local.fingerprints if level is Level.FINGERPRINT else frozenset(),
        observe=local.observe,
        source=local.source,
        why=why,
    )


def _published(
    where: Where, local: Local, dane: Dane, sts: Sts | None, unsigned_mx: UnsignedMx
) -> Requirement | Skip:
    only = local.level == "dane-only"
    if dane.state is DaneState.FAILED:
        return Skip(dane.text, Result.DNSSEC_INVALID)
    if only and (dane.state is not DaneState.USABLE or not where.signed):
        return Skip(
            f"DANE is required ({local.why}): {_lacking(where, dane)}", Result.DANE_REQUIRED
        )
    by_sts, found = _by_sts(local, sts), dane.state
    if found in (DaneState.USABLE, DaneState.UNUSABLE) and not where.signed:
        if unsigned_mx == "encrypt":
            why = f"{dane.base} has TLSA records, and the MX records of {where.domain} are unsigned"
            return _encrypted(_required(Level.ENCRYPT, local, why=why), local, by_sts)
        found = DaneState.INSECURE if unsigned_mx == "may" else found
    anybodys = not where.signed and isinstance(by_sts, Skip)
    if found is DaneState.USABLE and not anybodys:
        return _by_dane(where, local, dane)
    if found is DaneState.UNUSABLE:
        required = _required(Level.ENCRYPT, local, why=dane.text)
        return _encrypted(replace(required, source=Source.DANE), local, by_sts)
    return by_sts or _without(local, sts)


def _encrypted(
    required: Requirement, local: Local, by_sts: Requirement | Skip | None
) -> Requirement | Skip:
    """Return what TLS without a proof, and a policy of MTA-STS, come to together."""
    if by_sts is None:
        return required
    if isinstance(by_sts, Skip):
        return by_sts
    if by_sts.observe and not local.observe:  # the policy is on trial, and TLS is wanted anyway
        passed_over, result = by_sts.passed_over, by_sts.passed_over_for
        return replace(required, passed_over=passed_over, passed_over_for=result)
    return replace(by_sts, why=f"{by_sts.why}; {required.why}")


def _by_dane(where: Where, local: Local, dane: Dane) -> Requirement:
    names: tuple[str, ...] = ()
    if any(record.usage == _TA for record in dane.records):
        # RFC 7672 §3.2.2: the domain is a name for the host only if it says so itself, signed
        also = (where.domain, where.expanded) if where.signed else ()
        names = tuple(dict.fromkeys(name for name in (dane.base, *also) if name))
    why = f"TLSA records of {dane.base}"
    if not where.signed:
        why += f"; the MX records of {where.domain} are not signed"
    return Requirement(
        Level.DANE,
        names=names,
        tlsa=dane.records,
        sni="" if dane.base == where.host else dane.base,
        minimum=local.minimum,
        observe=local.observe,
        source=Source.DANE,
        why=why,
    )


def _by_sts(local: Local, sts: Sts | None) -> Requirement | Skip | None:
    if sts is None or sts.mode is StsMode.NONE:
        return None
    testing = sts.mode is StsMode.TESTING
    absent = "" if sts.matches else f"the host is not in the {sts.text}"
    if absent and not testing:
        return _sts_skip(absent, sts)
    return Requirement(
        Level.STS,
        minimum=local.minimum,
        observe=local.observe or testing,
        source=Source.STS,
        why=sts.text,
        passed_over=_would(absent) if absent else "",
        passed_over_for=Result.VALIDATION_FAILURE if absent else None,
        published=sts.published,
    )


def _sts_skip(why: str, sts: Sts) -> Skip:
    return Skip(why, Result.VALIDATION_FAILURE, source=Source.STS, published=sts.published)


def _without(local: Local, sts: Sts | None) -> Requirement:
    """Nothing is published, or it cannot be had: TLS where it works."""
    required = _required(Level.MAY, local, why="")
    return required if sts is None else replace(required, published=sts.published)


def _lacking(where: Where, dane: Dane) -> str:
    if dane.state is DaneState.USABLE:
        return f"the MX records of {where.domain} are not signed"
    return {
        DaneState.OFF: dane.text or "it is not in use here",
        DaneState.INSECURE: f"the addresses of {where.host} are not signed",
        DaneState.ABSENT: f"{where.host} has no TLSA records",
    }.get(dane.state, dane.text)


def _observed(skip: Skip, local: Local) -> Requirement:
    """Return what takes the place of a host's being left alone, where that is only observed."""
    required = _required(Level.MAY, local, why=local.why)
    return replace(
        required,
        passed_over=_would(skip.why),
        passed_over_for=skip.result,
        published=skip.published,
    )


def _would(text: str) -> str:
    return f"would have left this host alone: {text}"
