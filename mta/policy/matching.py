"""Whom and what a rule is about: logins, networks, listeners, addresses, domains.

Trusts: that addresses have passed ``smtp.grammar`` and domains are as
``mail.address.ascii_domain`` gives them.  ``*`` stands for any text; there are no other
wildcards, and what comes from a client is never taken for a pattern.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from mta.mail.address import ascii_domain, plainly, split

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class Subject(NamedTuple):
    """Who is at the other end."""

    listener: str
    address: str  # of the client
    login: str = ""  # "" before AUTH, and without
    outside: bool = False  # not from a trusted network: has no say but for domains of ours


@lru_cache(maxsize=4096)
def ip_of(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return a client's address; an IPv4 address in IPv6's clothes is the IPv4 address."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:  # a UNIX socket, a test
        return None
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    return ip


@lru_cache(maxsize=4096)
def network_of(address: str, prefix4: int = 32, prefix6: int = 64) -> str:
    """Return the network that ``address`` is counted under; as it is if it has none.

    One customer has a whole /64 of IPv6: to count single addresses there counts nothing.
    """
    ip = ip_of(address)
    if ip is None:
        return address
    prefix = prefix4 if ip.version == 4 else prefix6
    if prefix == ip.max_prefixlen:
        return str(ip)
    return str(ipaddress.ip_network((ip, prefix), strict=False))


@lru_cache(maxsize=4096)
def glob(pattern: str) -> re.Pattern[str]:
    """Return ``pattern`` compiled; ``*`` is any text, everything else is itself."""
    return re.compile(".*".join(map(re.escape, re.split(r"\*+", pattern))), re.DOTALL)


@dataclass(frozen=True, slots=True)
class Who:
    """Which clients a rule is about; what is empty excludes nobody."""

    logins: tuple[str, ...] = ()  # patterns; a client that has not logged in matches none
    clients: tuple[Network, ...] = ()
    listeners: tuple[str, ...] = ()

    @property
    def names_hosts(self) -> bool:
        """Whether it says by network or listener which clients it is about."""
        return bool(self.clients or self.listeners)

    def matches(self, subject: Subject) -> bool:
        """Tell whether the rule is about ``subject``."""
        if self.listeners and subject.listener not in self.listeners:
            return False
        if self.logins and not (
            subject.login and any(glob(one).fullmatch(subject.login) for one in self.logins)
        ):
            return False
        if not self.clients:
            return True
        ip = ip_of(subject.address)
        return ip is not None and any(ip in network for network in self.clients)


def domain_matches(pattern: str, domain: str) -> bool:
    """Tell whether a domain is meant: ``*``, ``example.org``, or below ``.example.org``."""
    if pattern.startswith("."):
        return domain.endswith(pattern) and domain != pattern
    return pattern in ("*", domain)


@dataclass(frozen=True, slots=True)
class AddressPattern:
    """``ann@example.org``, ``app-*@example.org``, ``@example.org``, ``*@.example.org``, ``<>``."""

    local: str  # lower case; "*" is any
    domain: str  # as ``domain_matches`` takes it; "" is the null sender

    @classmethod
    def of(cls, text: str) -> "AddressPattern":
        """Read a pattern; a name without ``@`` is a domain."""
        if text in ("", "<>"):
            return cls("", "")
        local, at, domain = text.rpartition("@")
        wild = domain.startswith((".", "*."))
        bare = domain.removeprefix("*").removeprefix(".") if wild else domain
        if bare != "*":
            bare = ascii_domain(bare)
        local = plainly(local.lower()) if at and local else "*"
        return cls(local, f".{bare}" if wild else bare)

    def matches(self, local: str, domain: str) -> bool:
        """Tell whether an address in its two parts is meant."""
        if not domain_matches(self.domain, domain):
            return False
        return self.local == "*" or glob(self.local).fullmatch(local.lower()) is not None


def parts(address: str) -> tuple[str, str]:
    """Return local part and domain of an address, the domain as DNS knows it.

    Quotes that are not needed are no way past a rule: ``"ann"`` is ``ann``.
    """
    local, domain = split(address)
    local = plainly(local)
    try:
        return local, ascii_domain(domain)
    except ValueError:
        return local, domain.lower()


def any_address(patterns: Iterable[AddressPattern], address: str) -> bool:
    """Tell whether one of ``patterns`` means ``address``."""
    local, domain = parts(address)
    return any(pattern.matches(local, domain) for pattern in patterns)
