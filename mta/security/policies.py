"""What we ask ourselves: the levels of routes and of ``[[tls_policy]]``.

The first policy that fits recipient's domain and host decides; without one the route does.
A level that is named stands for itself, in both directions: only DANE and DANE_ONLY look at
what the domain publishes.

Trusts: the configuration.  A policy by host is as good as the DNS that names the host.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from mta.mail.security import Source

Asked: TypeAlias = Literal["none", "may", "encrypt", "verify", "dane", "dane-only", "fingerprint"]


@dataclass(frozen=True, slots=True)
class Local:
    """What we ask for at one host."""

    level: Asked = "dane"
    source: Source = Source.DEFAULT
    name: str = ""  # of the route or policy
    minimum: str = ""  # "TLSv1.2", "TLSv1.3"
    names: tuple[str, ...] = ()
    ca: str = ""
    fingerprints: frozenset[str] = frozenset()
    observe: bool = False
    waivable: bool = False  # a message that says TLS-Required: No need not be kept to it

    @property
    def why(self) -> str:
        """Who asks, in words; "" if nobody does."""
        return "" if self.source is Source.DEFAULT else f"{_WORDS[self.source]} {self.name}"

    @property
    def published(self) -> bool:
        """What the domain publishes counts."""
        return self.level in ("dane", "dane-only")


_WORDS = {Source.ROUTE: "route", Source.POLICY: "tls_policy"}


@dataclass(frozen=True, slots=True)
class TlsPolicy:
    """A rule.  Patterns as in routes; none given: any."""

    local: Local
    domains: tuple[str, ...] = ()  # recipients'
    hosts: tuple[str, ...] = ()  # mail exchangers

    def matches(self, domain: str, host: str) -> bool:
        """Tell whether mail to ``domain`` by way of ``host`` is meant."""
        return _any(self.domains, domain) and _any(self.hosts, host)


def _any(patterns: tuple[str, ...], name: str) -> bool:
    return not patterns or any(_matches(pattern, name) for pattern in patterns)


def _matches(pattern: str, name: str) -> bool:
    if pattern == "*":
        return True
    pattern = pattern.lower().removeprefix("*")
    return name.endswith(pattern) if pattern.startswith(".") else name == pattern


def local_of(policies: tuple[TlsPolicy, ...], domain: str, host: str, otherwise: Local) -> Local:
    """Return what we ask for at ``host`` for ``domain``; ``otherwise`` is the route's."""
    for policy in policies:
        if policy.matches(domain, host):
            return policy.local
    return otherwise
