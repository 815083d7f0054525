"""Connections that wait for more mail, and those that are saying good-bye.

A connection that has proved its worth is kept for a few seconds: the next message to the
site then costs one round trip less than TCP, TLS, EHLO and AUTH together.  Peers pay for idle
connections too, so they are few, and soon closed with QUIT.
"""

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mta.delivery.connection import Connection
from mta.delivery.opening import Site
from mta.delivery.settings import DeliverySettings
from mta.mail.security import Requirement
from mta.security.judgement import again


class Pool:
    """Idle connections by site.  One timer serves all of them."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._idle: dict[Connection, tuple[Site, float]] = {}  # until when; oldest first
        self._of_site: dict[Site, list[Connection]] = {}
        self._leaving: set[Deferred[None]] = set()
        self._sweep: IDelayedCall | None = None
        self._stopping = False

    @property
    def idle(self) -> int:
        """How many connections wait here."""
        return len(self._idle)

    def __contains__(self, site: Site) -> bool:
        """Tell whether a connection to ``site`` waits here."""
        return site in self._of_site

    def take(self, site: Site, requirement: Requirement) -> Connection | None:
        """Return the connection to ``site`` that was used last, or None.

        It has been opened under an equal requirement: what another one has come to, whether
        more or less, was never held against this one.
        """
        for connection in reversed(self._of_site.get(site, ())):
            if connection.requirement == requirement:
                self._remove(connection)
                connection.tls = again(requirement, connection.tls)
                return connection
        return None

    def park(self, site: Site, connection: Connection, settings: DeliverySettings) -> None:
        """Keep ``connection`` for the next message, if it is fit for one; else dismiss it."""
        connection.record = None
        most = connection.client.extensions.limits.mails or settings.messages_per_connection
        worn = connection.uses >= min(most, settings.messages_per_connection)
        unwanted = worn or self._stopping or settings.idle_s <= 0
        if unwanted or not connection.alive:
            self.dismiss(connection)
            return
        until = self._clock.seconds() + settings.idle_s
        self._idle[connection] = (site, until)
        self._of_site.setdefault(site, []).append(connection)
        connection.on_lost = lambda: self._remove(connection)
        while len(self._idle) > settings.idle_connections:
            self._dismiss_idle(next(iter(self._idle)))
        if self._sweep is None and self._idle:
            self._sweep = self._clock.callLater(settings.idle_s, self._dismiss_overdue)
        elif self._sweep is not None and self._sweep.getTime() > until:
            self._sweep.reset(settings.idle_s)

    def dismiss(self, connection: Connection) -> None:
        """See ``connection`` off with QUIT; it may be dead already."""
        connection.record = None
        ended = connection.quit()
        if not ended.called:
            self._leaving.add(ended)
            ended.addCallback(lambda _: self._leaving.discard(ended))

    def stop(self) -> Deferred[None]:
        """Dismiss all, and keep none from now on.

        Fires when every connection here has ended, within the time for QUIT.
        """
        self._stopping = True
        for connection in list(self._idle):
            self._dismiss_idle(connection)
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        leaving = [_shared(ended) for ended in self._leaving]
        return gatherResults(leaving).addCallback(lambda _: None)

    def _remove(self, connection: Connection) -> None:
        site, _ = self._idle.pop(connection)
        waiting = self._of_site[site]
        waiting.remove(connection)
        if not waiting:
            del self._of_site[site]
        connection.on_lost = None

    def _dismiss_idle(self, connection: Connection) -> None:
        self._remove(connection)
        self.dismiss(connection)

    def _dismiss_overdue(self) -> None:
        self._sweep = None
        now = self._clock.seconds()
        for connection, (_, until) in list(self._idle.items()):
            if until <= now:
                self._dismiss_idle(connection)
        if self._idle:
            first = min(until for _, until in self._idle.values())
            self._sweep = self._clock.callLater(first - now, self._dismiss_overdue)


def _shared(ended: Deferred[None]) -> Deferred[None]:
    """Return another Deferred that fires with ``ended``."""
    also: Deferred[None] = Deferred()
    ended.addCallback(also.callback)
    return also
