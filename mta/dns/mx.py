"""Where mail for a domain goes: the MX rules of RFC 5321 §5.1 and RFC 7505.

Trusts: the resolver.  Does not do: connecting, address literals (delivery knows them), and
looking up all hosts beforehand: a host's addresses are asked for when it is its turn.
What is found is permanent or ``DnsTemporary``; what is not known is temporary.
"""

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from random import Random, SystemRandom
from typing import Any, Protocol

from twisted.internet.defer import Deferred, DeferredList

from mta.dns.answers import Answer, DnsTemporary, Mx, NoSuchName
from mta.mail.value import value


@value
class MailHost:
    """A host that takes mail for a domain."""

    name: str
    preference: int
    signed: bool = False  # DNSSEC proves that it does
    expanded: str = ""  # the name that the domain is an alias of; "" if it is none


class NullMx(Exception):
    """The domain says that it takes no mail (RFC 7505): 556 5.1.10."""


class NoSuchDomain(Exception):
    """The domain does not exist: 5.1.2."""


class NoUsableHost(NoSuchDomain):
    """The domain exists, but no host of its that takes mail can be found: 5.4.4.

    From ``addresses`` it speaks about that one host.
    """


class MailLoop(Exception):
    """The best host for the domain is ourselves, but we do not know the domain: 5.4.6."""


class Lookup(Protocol):
    """What is asked of a resolver; ``mta.dns.resolver.Resolver`` is one."""

    def lookup(self, name: str, rdtype: str) -> Deferred[Answer]:
        """Return the records, or fail with ``NoSuchName`` or ``DnsTemporary``."""


class MailExchangers:
    """Finds the hosts for a domain, and their addresses."""

    def __init__(
        self, resolver: Lookup, own_names: frozenset[str], random: Random | None = None
    ) -> None:
        """``own_names`` are the names that this host has as an MX of others."""
        self._resolver = resolver
        self._own_names = frozenset(map(_plain, own_names))
        self._random = random or SystemRandom()

    def hosts(self, domain: str) -> Deferred[tuple[MailHost, ...]]:
        """Return the hosts to try for ``domain``, in this order; never none.

        Fails with ``NullMx``, ``NoSuchDomain``, ``NoUsableHost``, ``MailLoop`` or
        ``DnsTemporary``.
        """
        return Deferred.fromCoroutine(self._hosts(_plain(domain)))

    def addresses(
        self, host: str, families: Sequence[str] = ("AAAA", "A")
    ) -> Deferred[tuple[str, ...]]:
        """Return the addresses of ``host``, the families by turns; never none.

        ``families`` says which, and which one is first.  A family that can't be looked up
        does not hide another's addresses.  Fails with ``NoUsableHost`` where it is certain
        that there is no address, else with ``DnsTemporary``.
        """
        return Deferred.fromCoroutine(self._addresses(_plain(host), families))

    async def _hosts(self, domain: str) -> tuple[MailHost, ...]:
        try:
            answer = await self._resolver.lookup(domain, "MX")
        except NoSuchName as error:
            raise NoSuchDomain(f"{domain}: no such domain") from error
        if not answer.exchanges:
            return await self._implicit(domain, signed=answer.authenticated)
        exchanges = [mx for mx in answer.exchanges if mx.exchange]
        if not exchanges:
            raise NullMx(f"{domain} takes no mail (null MX)")
        expanded = answer.name if answer.name != domain else ""
        hosts = self._before_ourselves(self._ordered(exchanges, answer.authenticated, expanded))
        if not hosts:
            raise MailLoop(f"{domain}: its best mail host is this one")
        return hosts

    async def _implicit(self, domain: str, *, signed: bool) -> tuple[MailHost, ...]:
        """RFC 5321 §5.1: no MX at all; the domain is its own host, if it has an address."""
        if domain in self._own_names:
            raise MailLoop(f"{domain} is this host")
        try:
            await self._addresses(domain, ("AAAA", "A"))
        except NoUsableHost as error:
            raise NoUsableHost(f"{domain} has neither MX nor address records") from error
        return (MailHost(domain, 0, signed),)

    def _ordered(self, exchanges: Iterable[Mx], signed: bool, expanded: str) -> list[MailHost]:
        """Best preference first, at random among equals; a host named twice counts once."""
        best: dict[str, int] = {}
        for mx in exchanges:
            best[mx.exchange] = min(mx.preference, best.get(mx.exchange, mx.preference))
        hosts = [MailHost(name, best[name], signed, expanded) for name in best]
        self._random.shuffle(hosts)
        return sorted(hosts, key=lambda host: host.preference)

    def _before_ourselves(self, hosts: list[MailHost]) -> tuple[MailHost, ...]:
        """RFC 5321 §5.1: drop ourselves and all that are no better, or mail goes in circles."""
        own = [host.preference for host in hosts if host.name in self._own_names]
        return tuple(host for host in hosts if not own or host.preference < own[0])

    async def _addresses(self, host: str, families: Sequence[str]) -> tuple[str, ...]:
        lookups = [self._resolver.lookup(host, family) for family in families]
        outcomes: Any = await DeferredList(lookups, consumeErrors=True)
        found: list[tuple[str, ...]] = []
        temporary: DnsTemporary | None = None
        for ok, result in outcomes:
            if ok:
                found.append(result.texts)
            elif result.check(DnsTemporary):
                temporary = result.value
            elif not result.check(NoSuchName):
                result.raiseException()
        addresses = tuple(one for turn in zip_longest(*found) for one in turn if one is not None)
        if addresses:
            return addresses
        raise temporary or NoUsableHost(f"{host} has no address")


def _plain(name: str) -> str:
    return name.lower().removesuffix(".")
