"""Which site a destination belongs to, by its mail exchangers; remembered for a while.

A destination that is not reached by MX (a smarthost, an address literal) is a site by itself
and is never looked up.  So is, for half a minute, a domain whose hosts cannot be found: what is
wrong is found out, and said, by the attempt.

What is remembered is only how mail is gathered, never where it goes: an attempt asks the DNS
itself.  A domain that has moved is among its former company for five minutes at most.

Where ``[[shaping]]`` says something about addresses of ours, a site can be several, one for each
of them (``sourced``); the hosts are looked up once.
"""

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred

from mta.dns.answers import DnsTemporary
from mta.dns.cache import Cache
from mta.dns.mx import MailHost, MailLoop, NoSuchDomain, NullMx
from mta.mail.shape import Shape
from mta.mail.site import Site, alone, at_port, behind_mx, by_mx, site_of
from mta.shaping.rules import NO_SHAPING, Shaping

_KEEP_S = 300.0
_KEEP_FAILURE_S = 30.0
_REMEMBERED = 20_000


class Hosts(Protocol):
    """``mta.dns.mx.MailExchangers``."""

    def hosts(self, domain: str) -> Deferred[tuple[MailHost, ...]]:
        """Give the hosts of ``domain``."""


class SiteFinder:
    """Implements ``mta.queue.resolving.SiteNames``."""

    def __init__(
        self, exchangers: Hosts, seconds: Callable[[], float], shaping: Shaping = NO_SHAPING
    ) -> None:
        """``seconds`` is a monotonic clock."""
        self._exchangers = exchangers
        self._seconds = seconds
        self.use(shaping)

    def use(self, shaping: Shaping) -> None:
        """Go on by other entries of shaping; what is remembered is looked up anew."""
        self._shaping = shaping
        self._kept: Cache[Site] = Cache(self._seconds, _REMEMBERED)
        self._plain: Cache[Site] = Cache(self._seconds, _REMEMBERED)  # the same, not shaped

    def known(self, destination: str) -> Site | None:
        """Return the site of ``destination``, if that needs no look-up."""
        kept = self._kept.get(destination)
        if kept is not None:
            return kept[0]
        by = behind_mx(destination)
        return self.alone(destination) if by is None or by[0].startswith("[") else None

    def alone(self, destination: str) -> Site:
        """Return ``destination`` as a site by itself; that of "mx:example.org" is "example.org"."""
        return self._shaped(destination, *_alone(destination))

    def sourced(self, destination: str, sources: tuple[str, ...]) -> Site:
        """Return the site of ``destination``, which is known, for mail from ``sources``.

        These are addresses of ours, one of a family; "" is nothing that could be spoken about.
        """
        return self._shaped(destination, *self._unshaped(destination), _named(sources))

    def shape(self, destination: str, sources: tuple[str, ...]) -> Shape:
        """Return all that is said about mail to ``destination``, which is known, from there."""
        return self._shaping.shape(*self._unshaped(destination), _named(sources))

    def _unshaped(self, destination: str) -> tuple[Site, str]:
        """Return a site as the DNS has it, and the domain of its mail."""
        site, domain = _alone(destination)
        kept = self._plain.get(destination)
        return (site, domain) if kept is None else (kept[0], domain)

    def _shaped(
        self, destination: str, site: Site, domain: str, sources: tuple[str, ...] = ()
    ) -> Site:
        """Return ``site`` as shaping has it, at the port by which the destination is reached."""
        by = behind_mx(destination)
        found = self._shaping.site(site, domain, sources)
        return found if by is None else at_port(found, by[1])

    def find(self, destination: str) -> Deferred[Site]:
        """Look the site up; fails only when cancelled, or by a fault of the program."""
        return Deferred.fromCoroutine(self._find(destination))

    async def _find(self, destination: str) -> Site:
        by = behind_mx(destination)
        assert by is not None
        domain = by[0]
        try:
            hosts = await self._exchangers.hosts(domain)
        except CancelledError:
            raise
        except (DnsTemporary, NoSuchDomain, NullMx, MailLoop):
            site, keep_s = self.alone(destination), _KEEP_FAILURE_S
        else:
            found = site_of((host.preference, host.name) for host in hosts)
            site, keep_s = self._shaped(destination, found, domain), _KEEP_S
            if self._shaping.by_source:
                self._plain.put(destination, found, keep_s)
        self._kept.put(destination, site, keep_s)
        return site


def _named(sources: tuple[str, ...]) -> tuple[str, ...]:
    """Leave out what only the system knows: nothing can be said about it."""
    return tuple(one for one in sources if one)


def _alone(destination: str) -> tuple[Site, str]:
    """Return ``destination`` as a site by itself, and the domain of its mail; "": any."""
    by = behind_mx(destination)
    if by is None:
        return alone(destination, destination), ""
    return alone(by_mx(by[0]), by[0]), by[0]
