"""How private a session with a host must be: gathers the facts and has ``mta.security`` decide.

Where nothing but a route has to say something, nothing is looked up and nothing is waited for.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

from twisted.internet.abstract import isIPAddress, isIPv6Address

from mta.delivery.routes import Lmtp, Mx, Smarthost, Smarthosts
from mta.mail.envelope import Envelope
from mta.mail.security import NOT_LOOKED_FOR, Dane, Level, Published, Requirement, Skip, Source
from mta.security.decide import (
    NO_WISHES,
    UnsignedMx,
    Wishes,
    asks_sts,
    decide,
    looks_at_published,
)
from mta.security.facts import Sts, Where
from mta.security.policies import Local, TlsPolicy, local_of

_SMARTHOST = {
    "none": Requirement(Level.NONE, source=Source.ROUTE, why="the route to the smarthost"),
    "implicit": Requirement(Level.VERIFY, source=Source.ROUTE, why="the route to the smarthost"),
    "starttls": Requirement(Level.VERIFY, source=Source.ROUTE, why="the route to the smarthost"),
}


@dataclass(frozen=True, slots=True)
class SecuritySettings:
    """What we ask for, beside the routes."""

    policies: tuple[TlsPolicy, ...] = ()
    unsigned_mx: UnsignedMx = "dane"


class DaneFacts(Protocol):
    """What is asked about DANE; ``mta.dns.dane.DaneLookup`` answers."""

    @property
    def off(self) -> str:
        """Why nothing is known now; "" if it is."""

    async def facts(self, host: str, port: int) -> Dane:
        """Return DANE's facts about a host."""


class StsFacts(Protocol):
    """What is asked about MTA-STS; ``mta.sts.policies.Policies`` answers."""

    @property
    def on(self) -> bool:
        """Policies are looked at."""

    async def facts(self, domain: str, host: str, *, certain: bool = False) -> Sts | None:
        """Return what the domain's policy says of a host."""

    async def renewed(self, domain: str, lines: tuple[str, ...]) -> bool:
        """Tell whether another policy than that of ``lines`` is in force, after a look."""


def wishes_of(envelope: Envelope) -> Wishes:
    """Return what a message asks for.

    REQUIRETLS is no reason to lose a report (RFC 8689 §4.2.1, §5).
    """
    require_tls = envelope.require_tls and bool(envelope.sender)
    if require_tls or envelope.tls_not_required:
        return Wishes(require_tls, envelope.tls_not_required)
    return NO_WISHES


@lru_cache(maxsize=256)
def local_of_route(name: str, target: Mx) -> Local:
    """Return what a route asks for at mail exchangers."""
    source = Source.DEFAULT if target.tls == "dane" else Source.ROUTE
    return Local(target.tls, source, name, waivable=target.waivable)


class Securing:
    """Says for one message on one route what each host has to come to."""

    def __init__(
        self,
        settings: SecuritySettings,
        local: Local,
        wishes: Wishes,
        dane: DaneFacts | None,
        sts: StsFacts | None = None,
    ) -> None:
        """``local`` is what the route asks for; without ``dane`` nobody validates DNSSEC here,
        without ``sts`` nobody looks for policies."""
        self._settings = settings
        self._local = local
        self._wishes = wishes
        self._dane = dane
        self._sts = sts

    async def requirement(self, where: Where, port: int) -> Requirement | Skip:
        """Return what a session with a mail exchanger has to come to, or why there is none."""
        settings, wishes = self._settings, self._wishes
        local = self._local
        if settings.policies:
            local = local_of(settings.policies, where.domain, where.host, local)
        dane = NOT_LOOKED_FOR
        if self._dane is not None and looks_at_published(local, wishes):
            if self._dane.off:
                where = replace(where, signed=None)
            if not _numeric(where.host):
                dane = await self._dane.facts(where.host, port)
        sts, unsigned_mx = None, settings.unsigned_mx
        if (
            self._sts is not None
            and asks_sts(where, local, wishes, dane, unsigned_mx)
            and not where.domain.startswith("[")
        ):
            certain = wishes.require_tls
            sts = await self._sts.facts(where.domain, where.host, certain=certain)
        return decide(where, local, wishes, dane, sts, unsigned_mx=unsigned_mx)

    async def replaced(self, published: Published) -> bool:
        """Tell whether a domain has another policy than the one that stood in the way."""
        if self._sts is None:
            return False
        return await self._sts.renewed(published.domain, published.lines)


def secured_by(
    settings: SecuritySettings,
    route: str,
    target: Mx | Smarthost | Smarthosts,
    envelope: Envelope,
    dane: DaneFacts | None,
    sts: StsFacts | None,
) -> Requirement | Securing:
    """Return how private sessions along a route must be, or what says it of each host.

    Where only the route has a say, that is known beforehand.
    """
    if isinstance(target, Smarthosts):  # each says it of itself
        return of_smarthost(target.hosts[0])
    if isinstance(target, Smarthost):
        return of_smarthost(target)
    wishes = wishes_of(envelope)
    if sts is not None and not sts.on:
        sts = None
    if dane is None and sts is None and not settings.policies and wishes is NO_WISHES:
        return _of_route(route, target)
    return Securing(settings, local_of_route(route, target), wishes, dane, sts)


@lru_cache(maxsize=256)
def _of_route(route: str, target: Mx) -> Requirement | Securing:
    found = decide(Where("", ""), local_of_route(route, target))
    if isinstance(found, Skip):
        return Securing(SecuritySettings(), local_of_route(route, target), NO_WISHES, None)
    return found


def _numeric(host: str) -> bool:
    """Tell whether a host is an address, in brackets or not, and thus has no records."""
    if host[-1:] in "0123456789abcdef]":  # most names end otherwise, and this is quick
        return is_address(host.strip("[]").removeprefix("ipv6:"))
    return False


def is_address(text: str) -> bool:
    """Tell whether ``text`` is an IPv4 or IPv6 address."""
    return isIPAddress(text) or isIPv6Address(text)


def of_smarthost(target: Smarthost) -> Requirement:
    """Return what a session with a smarthost, or by LMTP, has to come to."""
    requirement = _SMARTHOST[target.tls]
    if isinstance(target, Lmtp):
        # A unix socket goes without saying
        return replace(requirement, why="the route to the mailboxes" if target.port else "")
    return requirement
