"""Which entries of ``[[shaping]]`` speak about a site, and which of them wins.

An entry names recipients' domains, sites, mail exchangers, or nothing (then it is about every
site), and beside that source addresses of ours; of what it names, each has to fit.  By *domain* is
the most specific, then by *site*, then by *mx*; within each a longer pattern, and then who names a
*source*.  Among equals the operator's own come before those of the providers' file, and the
first before the later ones.  Each value is taken from the most specific entry that says anything
about it; where that is about any source, and a wider one about this source, the stricter holds.

An entry by mail exchangers fits only where *every* host of the site does: whoever puts one of a
provider's hosts beside one of its own gets no share in the provider's limits, nor a say in
its troubles.

* ``one_site``: all sites that fit are one, under the entry's name.
* An entry by domain that the queue has to keep to takes its domains out of their site's queue
  and gives them one of their own.  It does not count towards their site's limits.  The same
  does an entry by mail exchangers that is about a part of ``one_site``.
* An entry by source that the queue has to keep to gives mail from that address a queue of its own
  at each site that it is about (``docs/decisions/0009-sources.rst``).

Pure.  Trusts the DNS as far as the site itself does.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import TypeAlias

from mta.mail.shape import ANY_SHAPE, Shape
from mta.mail.site import Site

_REMEMBERED = 10_000

Network: TypeAlias = IPv4Network | IPv6Network
Rank: TypeAlias = tuple[int, int, int, bool]


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry.

    Patterns: "example.org" is that name, ".example.org" are the names below it, "*" is any.
    """

    name: str
    shape: Shape
    domains: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    mx: tuple[str, ...] = ()
    one_site: bool = False
    provided: bool = False  # from the providers' file
    sources: tuple[Network, ...] = ()  # of ours

    def rank(
        self, site: Site, names: Iterable[str], domain: str, sources: Iterable[str]
    ) -> Rank | None:
        """Return how specific it is about mail for ``domain`` at ``site``; None: it does not fit.

        ``names`` are those of the site, ``sources`` the addresses that the mail may go out from.
        """
        by_source = max(map(self.meant, sources), default=0) if self.sources else 0
        if self.sources and not by_source:
            return None
        by_mx = _worst(self.mx, site.hosts) if self.mx else 0
        by_site = _best(self.sites, names) if self.sites else 0
        by_domain = _best(self.domains, (domain,)) if self.domains else 0
        if by_mx is None or by_site is None or by_domain is None:
            return None
        kind = 3 if self.domains else 2 if self.sites else 1 if self.mx else 0
        return kind, by_domain or by_site or by_mx, by_source, not self.provided

    @property
    def places(self) -> bool:
        """Whether it can take mail out of its site's queue, whatever its source."""
        return not self.sources or bool(self.domains or self.mx)

    def meant(self, source: str) -> int:
        """Return how specific it is about one address of ours; 0: it is not about it."""
        address = ip_address(source)
        return max((1 + one.prefixlen for one in self.sources if address in one), default=0)


class Shaping:
    """All entries."""

    def __init__(self, rules: tuple[Rule, ...] = ()) -> None:
        """``rules``: the operator's in their order, then the providers'."""
        self.rules = rules
        self.by_source = any(rule.sources for rule in rules)
        self._found: dict[tuple[Site, str, tuple[str, ...]], Site] = {}

    def site(self, site: Site, domain: str = "", sources: tuple[str, ...] = ()) -> Site:
        """Return ``site`` as it holds for mail to ``domain``: gathered, split and with its shape.

        ``domain`` is "" where mail for any domain goes there (a smarthost).  ``sources`` are the
        addresses of ours that the mail may go out from, one of a family; those that the queue
        has to tell apart are in the site that is returned, and its shape is theirs.
        """
        if not self.rules:
            return site
        found = self._found.get((site, domain, sources))
        if found is None:
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            found = self._found[site, domain, sources] = self._shaped(site, domain, sources)
        return found

    def shape(self, site: Site, domain: str, sources: tuple[str, ...] = ()) -> Shape:
        """Return all that holds for such mail, what the queue need not tell apart as well."""
        return _shape(self._speaking(site, domain, sources)[1])

    def _shaped(self, site: Site, domain: str, sources: tuple[str, ...]) -> Site:
        one, fitting = self._speaking(site, domain, sources)
        apart = tuple(
            source
            for source in sources
            if any(rule.shape.queued and rule.meant(source) for rule in fitting)
        )
        if apart != sources:  # two messages in one queue must not have two shapes
            return self._shaped(site, domain, apart)
        if one is not None:
            site = Site(f"site:{one.name}", one.name, gathered=True)
        first = next((rule for rule in fitting if rule.shape.queued and rule.places), None)
        if first is not None and (first.domains or (one and first.mx and first is not one)):
            site = replace(site, key=f"{site.key}={first.name}", name=f"{site.name}/{first.name}")
        site = replace(site, shape=_shape(fitting))
        return site.reached_from(apart) if apart else site

    def _speaking(
        self, site: Site, domain: str, sources: tuple[str, ...]
    ) -> tuple[Rule | None, list[Rule]]:
        """Return the entry that makes ``site`` a part of one site, and all that speak about it."""
        gathering = self._fitting(site, (site.name,), "", ())
        one = next((rule for rule in gathering if rule.one_site), None)
        names = (site.name,) if one is None else (one.name, site.name)
        return one, self._fitting(site, names, domain, sources)

    def _fitting(
        self, site: Site, names: tuple[str, ...], domain: str, sources: tuple[str, ...]
    ) -> list[Rule]:
        ranked = [(rule.rank(site, names, domain, sources), rule) for rule in self.rules]
        fitting = [(rank, rule) for rank, rule in ranked if rank is not None]
        fitting.sort(key=lambda pair: pair[0], reverse=True)  # stable: the first before the later
        return [rule for _, rule in fitting]


NO_SHAPING = Shaping()


def _shape(fitting: Iterable[Rule]) -> Shape:
    """Return what all of them say, the most specific first."""
    shape = by_source = ANY_SHAPE
    for rule in fitting:
        said = replace(rule.shape, names=(rule.name,))
        shape = shape.under(said)
        if rule.sources:
            by_source = by_source.under(said)
    return shape.within(by_source)


def _fits(pattern: str, name: str) -> bool:
    if pattern == "*":
        return True
    return name.endswith(pattern) if pattern.startswith(".") else name == pattern


def _best(patterns: tuple[str, ...], names: Iterable[str]) -> int | None:
    """Return how much the best of the patterns says about any of the names; None: nothing fits."""
    found = [
        len(pattern) * 2 + (not pattern.startswith((".", "*")))
        for name in names
        for pattern in patterns
        if name and _fits(pattern, name)
    ]
    return max(found, default=None)


def _worst(patterns: tuple[str, ...], names: tuple[str, ...]) -> int | None:
    """Return how much the patterns say about all of the names; None: one of them fits to none."""
    found = [_best(patterns, (name,)) for name in names]
    said = [one for one in found if one is not None]
    return min(said) if said and len(said) == len(found) else None
