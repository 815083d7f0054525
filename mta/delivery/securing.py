"""How private a session with a host must be: gathers the facts and has ``mta.security`` decide.

Where nothing but a route has to say something, nothing is looked up and nothing is waited for.
"""

from dataclasses import dataclass, replace

from mta.delivery.routes import Lmtp, Mx, Smarthost
from mta.mail.envelope import Envelope
from mta.mail.security import Level, Requirement, Skip, Source
from mta.security.decide import NO_WISHES, Wishes, decide
from mta.security.facts import Where
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


def wishes_of(envelope: Envelope) -> Wishes:
    """Return what a message asks for."""
    if envelope.require_tls or envelope.tls_not_required:
        return Wishes(envelope.require_tls, envelope.tls_not_required)
    return NO_WISHES


def local_of_route(name: str, target: Mx) -> Local:
    """Return what a route asks for at mail exchangers."""
    source = Source.DEFAULT if target.tls == "dane" else Source.ROUTE
    return Local(target.tls, source, name, waivable=target.waivable)


class Securing:
    """Says for one message on one route what each host has to come to."""

    def __init__(self, settings: SecuritySettings, local: Local, wishes: Wishes) -> None:
        self._settings = settings
        self._local = local
        self._wishes = wishes

    async def requirement(self, where: Where) -> Requirement | Skip:
        """Return what a session with a mail exchanger has to come to, or why there is none."""
        local = local_of(self._settings.policies, where.domain, where.host, self._local)
        return decide(where, local, self._wishes)


def of_smarthost(target: Smarthost) -> Requirement:
    """Return what a session with a smarthost, or by LMTP, has to come to."""
    requirement = _SMARTHOST[target.tls]
    if isinstance(target, Lmtp):
        # A unix socket goes without saying
        return replace(requirement, why="the route to the mailboxes" if target.port else "")
    return requirement
