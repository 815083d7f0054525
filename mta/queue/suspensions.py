"""What is suspended, asked about each entry before it is dialled.

A suspension that names an address of ours keeps mail from going out from there.  A message has one
address of each family: where all that it may go out from are suspended it waits, and where one is,
it is dialled by the other family alone (``sources``).  Whether its hosts have an address of that
family, the attempt finds out; if not, the message comes back and waits as well (``waiting``).
``mta.mail.restraint.keeping_back`` says the same for those who ask, and a test holds them together.

All of it is answered from memory, and where nothing is suspended nobody asks.
"""

from collections.abc import Callable, Iterable, Iterator
from math import inf

from mta.mail.envelope import Recipient
from mta.mail.restraint import Restraint
from mta.queue.blocks import Block
from mta.queue.entry import Entry

_OPEN_MS = 86_400_000  # how far ahead mail is put whose restraint has no end

_Key = tuple[str, str, str]  # scope, name, address of ours; "": any, or of what is decided: ours

RouteOf = Callable[[str, str, str], str]
"""``(sender, domain, chosen)``: the name of the route."""


class Suspensions:
    """Those in force at one moment."""

    def __init__(
        self,
        found: Iterable[Restraint],
        sources_of: Callable[[Entry], tuple[str, ...]],
        route_of: RouteOf | None,
        now_ms: Callable[[], int],
    ) -> None:
        """``sources_of`` says the addresses of ours that an entry goes out from."""
        self._now_ms = now_ms
        self._by: dict[_Key, Restraint] = {
            ("decided", one.site_key, one.source)
            if one.site_key
            else (one.scope, one.name, one.source): one
            for one in found
            if one.verb == "suspend"
        }
        # Whether any of them names an address of ours
        self.by_source = any(one.by_source for one in self._by.values())
        self._sources_of = sources_of
        self._route_of = route_of

    def __bool__(self) -> bool:
        return bool(self._by)

    def decided(self, site_key: str, source: str) -> bool:
        """Tell whether a rule has suspended the site for an address of ours already."""
        found = self._by.get(("decided", site_key, source))
        return found is not None and found.holds(self._now_ms())

    def blocked(self, entry: Entry) -> Block | None:
        """Say what keeps ``entry``, or some of its recipients, from being dialled."""
        one = self._first(self._whole(entry, ""))
        if one is not None:
            return _block(one, self._now_ms())
        barred = self._barred(entry)
        return _of(entry, lambda to: self._keeps(entry, to, barred), self._now_ms())

    def sources(self, entry: Entry) -> frozenset[str]:
        """Return the addresses of ours that ``entry``, which is not blocked, must not go out
        from."""
        if not self.by_source:
            return frozenset()
        barred = dict(self._barred(entry))
        for to in entry.job.recipients:
            barred |= self._barred_for(entry, to)
        return frozenset(barred)

    def waiting(self, entry: Entry) -> Block | None:
        """Say what ``entry`` waits for, whose hosts are reached by a suspended address only."""
        barred = self._barred(entry)

        def keeps(to: Recipient) -> Restraint | None:
            return _earliest((barred | self._barred_for(entry, to)).values())

        return _of(entry, keeps, self._now_ms())

    def _keeps(self, entry: Entry, to: Recipient, barred: dict[str, Restraint]) -> Restraint | None:
        """Return what keeps one recipient of ``entry`` back."""
        one = self._first((("domain", to.domain, ""),))
        if one is not None or not self.by_source:
            return one
        theirs = barred | self._barred_for(entry, to)
        return _earliest(theirs.values()) if len(theirs) == len(self._own(entry)) else None

    def _barred(self, entry: Entry) -> dict[str, Restraint]:
        """Return from which addresses of ours ``entry`` is not to go out, and why."""
        if not self.by_source:
            return {}
        found = ((one, self._first(self._whole(entry, one))) for one in self._own(entry))
        decided = (
            (one, self._first((("decided", entry.site.base, one),))) for one in self._own(entry)
        )
        return {source: one for source, one in (*found, *decided) if one is not None}

    def _barred_for(self, entry: Entry, to: Recipient) -> dict[str, Restraint]:
        """Return the same for one recipient's domain."""
        found = (
            (one, self._first((("domain", to.domain, one),))) for one in self._own(entry) if one
        )
        return {source: one for source, one in found if one is not None}

    def _own(self, entry: Entry) -> tuple[str, ...]:
        return self._sources_of(entry)

    def _whole(self, entry: Entry, source: str) -> Iterator[_Key]:
        """Yield what ``entry`` may be suspended by as a whole, by hand."""
        job = entry.job
        yield "source" if source else "all", source, source
        yield "site", entry.site.base, source
        yield "site", entry.site.name, source
        if job.envelope.origin.login:
            yield "login", job.envelope.origin.login, source
        if self._route_of is not None:
            first = job.recipients[0]
            route = self._route_of(job.envelope.sender, first.domain, first.route)
            yield "route", route, source

    def _first(self, keys: Iterable[_Key]) -> Restraint | None:
        for key in keys:
            one = self._by.get(key)
            if one is not None and one.holds(self._now_ms()):
                return one
        return None


def _of(entry: Entry, keeps: Callable[[Recipient], Restraint | None], now_ms: int) -> Block | None:
    """Make the block of the recipients that the first of what ``keeps`` says is about."""
    free = []
    first = None
    for recipient in entry.job.recipients:
        found = keeps(recipient)
        if found is None:
            free.append(recipient)
        elif first is None or first is found:
            first = found
        else:
            free.append(recipient)  # another one's: asked about again
    return None if first is None else _block(first, now_ms, tuple(free))


def _earliest(found: Iterable[Restraint]) -> Restraint | None:
    """Return the one that ends first: then mail can go out from that address."""
    return min(found, key=lambda one: inf if one.until_ms is None else one.until_ms, default=None)


def _block(one: Restraint, now_ms: int, free: tuple[Recipient, ...] = ()) -> Block:
    until_ms = now_ms + _OPEN_MS if one.until_ms is None else one.until_ms
    return Block(until_ms, one.words, one.id, one.expires, free)
