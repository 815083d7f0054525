"""By which way mail would go now: route, site and source addresses, by the code of delivery.

No password is read.  Sites by MX are looked up only when they are asked for, and for a short time:
an answer does not wait for a DNS that is broken.
"""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from twisted.internet.defer import DeferredList, TimeoutError

from mta.admin.asking import resolver, run
from mta.config import Settings
from mta.config.build import visible_routes
from mta.config.build_outgoing import outgoing
from mta.config.build_shaping import shaping
from mta.delivery.sites import SiteFinder
from mta.dns.mx import MailExchangers
from mta.mail.envelope import Envelope, Recipient
from mta.mail.restraint import Marks
from mta.mail.site import Site

_MOST = 20  # sites that are looked up
_PATIENCE_S = 3.0  # for all of them


class Ways:
    """What the configuration says, as it is written now."""

    def __init__(self, settings: Settings) -> None:
        """Raises ``ConfigError`` if a file of the configuration cannot be used."""
        self.routes = visible_routes(settings)
        self._outgoing = outgoing(settings.delivery)
        self._settings = settings
        self._shaping = shaping(settings)
        nobody: Any = None  # is asked for what needs no look-up
        self._alone = SiteFinder(nobody, lambda: 0.0, self._shaping)
        self._sites: dict[str, Site] = {}

    def destination(self, envelope: Envelope, to: Recipient) -> str:
        """Return the key under which such mail is gathered."""
        return self.routes.destination(envelope.sender, to.domain, to.route)

    def look_up(self, destinations: Iterable[str]) -> None:
        """Find out the sites of those that are reached by MX; what DNS does not say stays unknown.

        A process can do it once.
        """
        unknown = (one for one in destinations if self._alone.known(one) is None)
        wanted = list(dict.fromkeys(unknown))[:_MOST]
        if wanted:
            run(lambda reactor: self._ask(reactor, wanted))

    async def _ask(self, reactor: Any, wanted: list[str]) -> None:
        hosts = MailExchangers(
            resolver(reactor, self._settings), frozenset({self._settings.host_name})
        )
        finder = SiteFinder(hosts, reactor.seconds, self._shaping)
        asked: Any = DeferredList([finder.find(one) for one in wanted], consumeErrors=True)
        with suppress(TimeoutError):
            await asked.addTimeout(_PATIENCE_S, reactor)
        self._sites = {one: site for one in wanted if (site := finder.known(one)) is not None}

    def marks(self, envelope: Envelope, to: Recipient, tried_at: str) -> Marks:
        """Return what restraints know a piece of mail by; ``tried_at``: the site's name, if any."""
        route = self.routes.choose(envelope.sender, to.domain, to.route)
        destination = self.destination(envelope, to)
        sources = (route.outgoing or self._outgoing).sources(envelope.id)
        site = self._alone.known(destination) or self._sites.get(destination)
        key, name = ("", tried_at) if site is None else (site.base, site.name)
        return Marks(envelope.origin.login, route.name, to.domain, key, name, sources)
