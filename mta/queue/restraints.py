"""The restraints in force, as all processes of the spool share them, and those that we decide on.

Read again whenever one begins or is ended anywhere, which the scheduler's poll sees within a
second.  As long as there is none, the main road knows nothing of them.

What rules ask for is counted in the spool, by all processes together (``samples``).  A decision is
written there first, and holds when it has been read from there, so that it survives us and holds
for all.

What rules have decided is about a site *from one address of ours*, or from those that the system
takes.  Where addresses are configured, mail from one that is slower has a line of its own at
its site.  A message that may go out from two, one of each family, is slowed down by what is said of
either: which of them it would be is not known before somebody is dialled.  What is suspended for
one of them alone does not keep it back (``suspensions``).

Nothing is begun before the restraints have been read once (``known``): what was suspended when
the last process ended is suspended when the next one starts.
"""

from collections.abc import Callable, Iterable

from twisted.internet.interfaces import IReactorTime

from mta.causes.rules import Action, Facts, Finding, Rules
from mta.mail.events import Emit, Restrained
from mta.mail.outcome import Outcome, Verdict
from mta.mail.restraint import Restraint
from mta.mail.site import Site
from mta.queue.active import ActiveSet
from mta.queue.entry import Entry
from mta.queue.samples import Samples
from mta.queue.sources import SourcesOf
from mta.queue.suspensions import RouteOf, Suspensions
from mta.spool import restraints
from mta.spool.database import Database
from mta.spool.restraints import Wanted
from mta.spool.samples import Wish

_SAMPLE = 300  # characters of a reply


class Restraints:
    """Blocks and slows down; counts what rules are about."""

    def __init__(
        self,
        clock: IReactorTime,
        now_ms: Callable[[], int],
        database: Database,
        active: ActiveSet,
        emit: Emit,
    ) -> None:
        self._now_ms = now_ms
        self._database = database
        self._active = active
        self._emit = emit
        self.known = False
        self.route_of: RouteOf | None = None  # set before work begins, where there are routes
        self._change: int | None = None
        self._holding: dict[int, Restraint] = {}
        self._suspensions = self._suspended()
        self._slow: list[Restraint] = []
        self._lines: dict[str, Site] = {}  # by their keys: those that are slower for a source
        self._samples = Samples(clock, now_ms, database, emit, lambda: self.look(None))
        self.stop = self._samples.stop

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
        self._suspensions = self._suspended()
        self._slow = [one for one in self._holding.values() if one.verb == "slow"]
        self._active.blocked = self._suspensions.blocked if self._suspensions else None
        by_source = self._suspensions.by_source
        self._active.source_blocks = self._suspensions if by_source else None
        self._line_up_by_source()
        if self._holding.keys() - before.keys():
            self._active.line_up_again()
        for one in self._holding.values():
            if one.id not in before:
                self._emit(Restrained(one, begins=True, already=not self.known))
        if gone:
            ended = await self._database.read(restraints.named, [one.id for one in gone])
            for one in gone:
                self._emit(Restrained(ended.get(one.id, one), begins=False))

    def _suspended(self) -> Suspensions:
        found, sources = self._holding.values(), self._active.sources
        return Suspensions(found, sources.of, self.route_of, self._now_ms)

    def use_sources(self, of: SourcesOf | None, *, shaped: bool) -> None:
        """Ask ``of`` from which of our addresses mail goes out; None: none is configured.

        ``shaped``: something is said about sites as they are for some of these addresses.
        """
        self._active.sources.use(of, shaped=shaped)
        self._line_up_by_source()

    def _line_up_by_source(self) -> None:
        """Let mail from addresses that are slower have lines of its own, if there are several."""
        by_source = bool(self._slow) and self._active.sources.configured
        self._active.site_of = self._site_of if by_source else None
        if not by_source:
            self._lines = {}
        self._set_pace(self._now_ms())

    def _set_pace(self, now_ms: int) -> None:
        """Tell the sites how slow they are; it wears off."""
        levels: dict[str, int] = {}
        for one in self._slow:
            level = one.level_at(now_ms)
            if not self._active.sources.configured:
                keys = [one.site_key] if not one.source else []
            else:
                keys = [key for key, site in self._lines.items() if _concerns(one, site)]
            for key in keys:
                levels[key] = max(levels.get(key, 0), level)
        self._active.sites.slow_down(levels)

    def _site_of(self, entry: Entry) -> Site:
        """Give mail from a source address that is slower at its site a line of its own."""
        site = entry.site
        slower = {one.source for one in self._slow if one.site_key == site.base}
        if not slower:
            return site
        apart = tuple(
            one for one in self._active.sources.of(entry) if one in slower or one in site.sources
        )
        if slower.isdisjoint(apart):
            return site
        site = site.reached_from(apart)
        if site.key not in self._lines:
            self._lines[site.key] = site
            self._set_pace(self._now_ms())
        return site

    def observe(self, entry: Entry, outcomes: Iterable[Outcome], rules: Rules) -> bool:
        """Count what rules are about; one attempt is one sample, however many recipients.

        Tell whether it is about an address of ours, so that it says nothing about the site: mail
        from the others goes on as if it had not been heard.
        """
        for outcome in outcomes:
            if outcome.verdict is Verdict.DELIVERED:
                continue
            found = rules.find(Facts.of(outcome))
            if found.action is not None:
                self._count(entry, outcome, found, found.action)
                return self._active.sources.configured
        return False

    def _count(self, entry: Entry, outcome: Outcome, found: Finding, action: Action) -> None:
        sources = self._active.sources.of(entry)
        source = outcome.peer.source if outcome.peer is not None else ""
        if source not in sources:  # chosen by the system, or there was no connection
            source = "" if "" in sources else sources[0]
        if action.verb == "suspend" and self._suspensions.decided(entry.site.base, source):
            return  # that is so already: what was under way ends
        wanted = Wanted(
            action.verb,
            entry.site.base,
            entry.site.name,
            source,
            found.cause.value,
            found.rule,
            (),
            int(action.for_s * 1000),
        )
        said = outcome.reply[:_SAMPLE]
        self._samples.add(wanted, Wish(action.samples, int(action.window_s * 1000)), said)


def _concerns(one: Restraint, site: Site) -> bool:
    return one.site_key == site.base and one.source in site.sources
