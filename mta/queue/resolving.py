"""Which site is this?  Mail whose site is not known yet waits here, before the ready queues.

One look-up for each destination, a hundred at the same time; owners and classes take turns,
as at a site.  A look-up that has taken a second gives its place away and goes on beside
the others, up to a thousand: domains whose DNS is silent hold up nobody.  What cannot be
looked up, or not within ``_PATIENCE_S``, becomes a site by itself, and the attempt finds out what
is wrong; a look-up still under way is then the attempt's as well.

Trusts who looks up to end some time.  Mail that waits here is part of the active set and has its
bounds.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mta.mail.site import Site, alone
from mta.queue.entry import Entry
from mta.queue.ready import Ready

_AT_ONCE = 100
_SLOW_S = 1.0
_MOST_SLOW = 1000
_PATIENCE_S = 10.0


class SiteNames(Protocol):
    """Knows sites, or finds them; ``mta.delivery.sites``."""

    def known(self, destination: str) -> Site | None:
        """Return the site of a destination, if that needs no look-up."""

    def alone(self, destination: str) -> Site:
        """Return ``destination`` as a site by itself."""

    def find(self, destination: str) -> Deferred[Site]:
        """Look it up."""

    def sourced(self, destination: str, sources: tuple[str, ...]) -> Site:
        """Return the site of a destination that is known, for mail from addresses of ours."""


class Alone:
    """Every destination is a site by itself."""

    def known(self, destination: str) -> Site:
        """Return the destination as a site."""
        return self.alone(destination)

    def alone(self, destination: str) -> Site:
        """Return the destination as a site."""
        return alone(destination, destination)

    def find(self, destination: str) -> Deferred[Site]:
        """Nothing is ever looked up."""
        raise NotImplementedError

    def sourced(self, destination: str, sources: tuple[str, ...]) -> Site:
        """Return the destination as a site: nothing is said about any address."""
        return self.alone(destination)


class Resolving:
    """Entries that wait for their site to be known."""

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, names: SiteNames, found: Callable[[Entry], None]
    ) -> None:
        """``found(entry)`` is called when ``entry.site`` is known."""
        self._clock = clock
        self._names = names
        self._found = found
        self._waiting: Ready[Entry] = Ready()
        self._asked: dict[str, tuple[list[Entry], IDelayedCall]] = {}
        self._since_s: OrderedDict[str, float] = OrderedDict()  # the oldest first
        self._slow: set[str] = set()
        self.load = 0  # recipients that wait here

    def __len__(self) -> int:
        """Count the look-ups under way."""
        return len(self._asked)

    def wait(self, entry: Entry) -> None:
        """Take ``entry`` in; ``go`` must follow."""
        self.load += entry.weight
        self._waiting.append(entry)

    def go(self) -> None:
        """Begin as many look-ups as may be."""
        while self._waiting and self._has_place():
            entry = self._waiting.popleft()
            key = entry.destination
            site = self._names.known(key)
            if site is not None:
                self._tell((entry,), site)
            elif key in self._asked:
                self._asked[key][0].append(entry)
            else:
                self._ask(key, entry)

    def _has_place(self) -> bool:
        now_s = self._clock.seconds()
        while self._since_s and len(self._slow) < _MOST_SLOW:
            key, since_s = next(iter(self._since_s.items()))
            if now_s - since_s < _SLOW_S:
                break
            del self._since_s[key]
            self._slow.add(key)
        return len(self._since_s) < _AT_ONCE

    def _ask(self, key: str, entry: Entry) -> None:
        patience = self._clock.callLater(_PATIENCE_S, self._over, key)
        self._asked[key] = ([entry], patience)
        self._since_s[key] = self._clock.seconds()
        try:
            finding = self._names.find(key)
        except Exception:
            self._answered(Failure(), key)
            return
        finding.addBoth(self._answered, key)

    def _over(self, key: str) -> None:
        self._tell(self._asked.pop(key)[0], self._names.alone(key))

    def _answered(self, result: Site | Failure, key: str) -> None:
        self._since_s.pop(key, None)
        self._slow.discard(key)
        if isinstance(result, Failure):
            self._log.failure("while looking for the site of {key}", result, key=key)
            result = self._names.alone(key)
        if key in self._asked:
            entries, patience = self._asked.pop(key)
            patience.cancel()
            self._tell(entries, result)
        self.go()

    def _tell(self, entries: Iterable[Entry], site: Site) -> None:
        for entry in entries:
            self.load -= entry.weight
            entry.site = site
            self._found(entry)

    def withdraw(self, wanted: Callable[[Entry], bool]) -> list[Entry]:
        """Take out what is ``wanted``; look-ups go on."""
        out = self._waiting.take_out(wanted)
        for entries, _ in self._asked.values():
            out += [entry for entry in entries if wanted(entry)]
            entries[:] = [entry for entry in entries if not wanted(entry)]
        self.load -= sum(entry.weight for entry in out)
        return out
