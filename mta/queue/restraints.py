"""The restraints in force, as all processes of the spool share them, and those that we decide on.

Read again whenever one begins or is ended anywhere, which the scheduler's poll sees within a
second.  As long as there is none, the main road knows nothing of them.

What rules ask for is counted here, in memory, each process for itself: so many replies of one
site's, by one rule, within its window.  A decision is written to the spool first, and holds when
it has been read from there, so that it survives us and holds for all.

Nothing is begun before the restraints have been read once (``known``): what was suspended when
the last process ended is suspended when the next one starts.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mta.causes.rules import Action, Facts, Finding, Rules
from mta.mail.events import Emit, Note, Restrained
from mta.mail.outcome import Outcome, Verdict
from mta.mail.restraint import Restraint
from mta.mail.site import Site
from mta.queue.active import ActiveSet
from mta.queue.blocks import Block
from mta.queue.entry import Entry
from mta.spool import restraints
from mta.spool.database import Database
from mta.spool.restraints import Wanted

_COUNTED = 10_000  # rules at sites
_OPEN_MS = 86_400_000  # how far ahead mail is put whose restraint has no end
_SAMPLE = 300  # characters of a reply
_SAMPLES = 10  # kept with a decision

RouteOf = Callable[[str, str, str], str]
"""``(sender, domain, chosen)``: the name of the route."""

SourcesOf = Callable[[str, str, str, str], tuple[str, ...]]
"""``(sender, domain, chosen, message id)``: the addresses of ours that it goes out from."""

_FROM = " from "  # between the key of a site and a source address that is slower there


class Restraints:
    """Blocks and slows down; counts what rules are about."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        now_ms: Callable[[], int],
        database: Database,
        active: ActiveSet,
        emit: Emit,
    ) -> None:
        self._clock = clock
        self._now_ms = now_ms
        self._database = database
        self._active = active
        self._emit = emit
        self.known = False
        self.route_of: RouteOf | None = None  # set before work begins, where there are routes
        self.sources_of: SourcesOf | None = None  # the same, where source addresses can be said
        self._change: int | None = None
        self._holding: dict[int, Restraint] = {}
        self._by: dict[tuple[str, str, str], Restraint] = {}
        self._by_source = False  # some of them are about one source address
        self._slow: list[Restraint] = []
        self._seen: dict[tuple[str, str, str], deque[tuple[float, str]]] = {}
        self._deciding: set[tuple[str, str]] = set()

    async def look(self, change: int | None) -> None:
        """Read them again if ``change``, the spool's counter, is another one; see what is over.

        None: it is not known, and they are read in any case.
        """
        if change is None or change != self._change:
            found = await self._database.read(restraints.holding, self._now_ms())
            self._change = change
            await self._take(found)
            self.known = True
        elif self._holding:
            now_ms = self._now_ms()
            still = [one for one in self._holding.values() if one.holds(now_ms)]
            if len(still) < len(self._holding):
                await self._take(still)
            elif self._slow:
                self._set_pace(now_ms)

    async def _take(self, found: Iterable[Restraint]) -> None:
        before, self._holding = self._holding, {one.id: one for one in found}
        gone = [one for id_, one in before.items() if id_ not in self._holding]
        self._by = {
            (one.scope, one.site_key or one.name, one.source): one
            for one in self._holding.values()
            if one.verb == "suspend"
        }
        self._slow = [one for one in self._holding.values() if one.verb == "slow"]
        self._by_source = any(source for _, _, source in self._by)
        self._active.site_of = self._site_of if any(one.source for one in self._slow) else None
        self._active.blocked = self.blocked if self._by else None
        self._set_pace(self._now_ms())
        if self._holding.keys() - before.keys():
            self._active.line_up_again()
        for one in self._holding.values():
            if one.id not in before:
                self._emit(Restrained(one, begins=True, already=not self.known))
        if gone:
            ended = await self._database.read(restraints.named, [one.id for one in gone])
            for one in gone:
                self._emit(Restrained(ended.get(one.id, one), begins=False))

    def _set_pace(self, now_ms: int) -> None:
        """Tell the sites how slow they are; it wears off."""
        levels: dict[str, int] = {}
        for one in self._slow:
            key = one.site_key + (f"{_FROM}{one.source}" if one.source else "")
            levels[key] = max(levels.get(key, 0), one.level_at(now_ms))
        self._active.sites.slow_down(levels)

    def blocked(self, entry: Entry) -> Block | None:
        """Say what keeps ``entry``, or some of its recipients, from being dialled."""
        now_ms = self._now_ms()
        by, job = self._by, entry.job
        for key in self._whole(entry):
            one = by.get(key)
            if one is not None and one.holds(now_ms):
                return _block(one, now_ms)
        free = []
        first = None
        for recipient in job.recipients:
            found = by.get(("domain", recipient.domain, ""))
            if found is None or not found.holds(now_ms):
                free.append(recipient)
            elif first is None or first is found:
                first = found
            else:
                free.append(recipient)  # another one's: asked about again
        return None if first is None else _block(first, now_ms, tuple(free))

    def _whole(self, entry: Entry) -> Iterable[tuple[str, str, str]]:
        job, key = entry.job, _base(entry)
        yield "all", "", ""
        yield "site", key, ""
        yield "site", entry.site.name, ""
        for source in self._sources(entry) if self._by_source else ():
            yield "site", key, source
        if job.envelope.origin.login:
            yield "login", job.envelope.origin.login, ""
        if self.route_of is not None:
            first = job.recipients[0]
            yield "route", self.route_of(job.envelope.sender, first.domain, first.route), ""

    def _sources(self, entry: Entry) -> tuple[str, ...]:
        if self.sources_of is None:
            return ()
        envelope, first = entry.job.envelope, entry.job.recipients[0]
        return self.sources_of(envelope.sender, first.domain, first.route, envelope.id)

    def _site_of(self, entry: Entry) -> Site:
        """Give mail from a source address that is slower at its site a line of its own."""
        key, sources = _base(entry), self._sources(entry)
        for one in self._slow:
            if one.source in sources and one.site_key == key:
                return replace(entry.site, key=f"{key}{_FROM}{one.source}")
        return entry.site

    def observe(self, entry: Entry, outcomes: Iterable[Outcome], rules: Rules) -> None:
        """Count what rules are about; one attempt is one sample, however many recipients."""
        for outcome in outcomes:
            if outcome.verdict is Verdict.DELIVERED:
                continue
            found = rules.find(Facts.of(outcome))
            if found.action is not None:
                self._count(entry, outcome, found, found.action)
                return

    def _count(self, entry: Entry, outcome: Outcome, found: Finding, action: Action) -> None:
        if len(self._seen) >= _COUNTED:
            self._seen.clear()
        site_key, source = _base(entry), outcome.peer.source if outcome.peer is not None else ""
        if source and source not in self._sources(entry):
            source = ""  # chosen by the system: nothing can be said to it alone
        key, deciding = (found.rule, site_key, source), (action.verb, site_key + source)
        samples = self._seen.setdefault(key, deque(maxlen=action.samples))
        now_s = self._clock.seconds()
        samples.append((now_s, f"{outcome.reply[:_SAMPLE]}"))
        while now_s - samples[0][0] > action.window_s:
            samples.popleft()
        if len(samples) < action.samples or deciding in self._deciding:
            return
        said = tuple(text for _, text in samples)[-_SAMPLES:]
        del self._seen[key]
        wanted = Wanted(
            action.verb,
            site_key,
            entry.site.name,
            source,
            found.cause.value,
            found.rule,
            said,
            int(action.for_s * 1000),
        )
        self._deciding.add(deciding)
        Deferred.fromCoroutine(self._decide(wanted)).addErrback(
            lambda failure: self._log.failure("while deciding on a restraint", failure)
        )

    async def _decide(self, wanted: Wanted) -> None:
        try:
            await self._database.write(restraints.impose, wanted, self._now_ms())
            await self.look(None)
        except CancelledError:
            raise
        except Exception as error:
            text = f"{wanted.verb} of site {wanted.site} is not written, and does not hold: {error}"
            self._emit(Note("warning", "queue", text))
        finally:
            self._deciding.discard((wanted.verb, wanted.site_key + wanted.source))


def _base(entry: Entry) -> str:
    """Return the key of the site, whatever line it has."""
    return entry.site.key.partition(_FROM)[0]


def _block(one: Restraint, now_ms: int, free: tuple[object, ...] = ()) -> Block:
    until_ms = now_ms + _OPEN_MS if one.until_ms is None else one.until_ms
    return Block(until_ms, one.words, one.id, one.expires, free)  # type: ignore[arg-type]
