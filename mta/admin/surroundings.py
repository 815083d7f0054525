"""What holds around mail at one moment: processes, suspensions, sites that are left alone, budgets.

Read in one transaction for one answer.  By which way a piece of mail would go (``ways``) is asked
only where something of all that depends on it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import TYPE_CHECKING, Any

from mta.admin.invocation import Invocation
from mta.admin.processes import works
from mta.admin.queue_sites import from_sources
from mta.admin.reason import last_attempt
from mta.admin.render import moment, note, span
from mta.admin.render import visible as v
from mta.admin.shown_budgets import has_budgets
from mta.config.problems import ConfigError
from mta.mail.restraint import Marks, Restraint, barred, keeping_back
from mta.mail.site import Site, words_of
from mta.spool import alarms, leases, restraints, site_states
from mta.spool.history import Trace, TracedRecipient
from mta.spool.schema import State
from mta.spool.site_states import SiteState

if TYPE_CHECKING:
    from mta.admin.budgets import Budgets
    from mta.admin.ways import Ways


@dataclass(frozen=True, slots=True)
class Waits:
    """Until when something waits, and why, in words that are fit to be seen."""

    until_ms: int
    text: str
    brief: str = ""  # without the reason


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Everything; what is left out is not there."""

    now_ms: int
    zone: tzinfo | None
    running: Sequence[str]  # processes that work on mail, by name
    gone: Mapping[str, int] = field(default_factory=dict)  # others: when their leases end
    down: Sequence[str] = ()  # workers that a supervisor misses
    alarms: Mapping[str, str] = field(default_factory=dict)  # by what they are about
    restraints: Sequence[Restraint] = ()  # in force
    sites: Sequence[tuple[str, SiteState]] = ()  # each with the process that says it
    ways: "Ways | None" = None
    budgets: "Budgets | None" = None

    def at(self, at_ms: int) -> str:
        """Write a moment and how far it is."""
        left = at_ms - self.now_ms
        far = f"in {span(left)}" if left > 0 else f"{span(-left)} ago"
        return f"{moment(at_ms, self.zone)} ({far})"

    def look_up(self, traces: Iterable[Trace]) -> None:
        """Ask DNS for the sites of mail that was never tried, where something depends on them."""
        sited = any(one.scope == "site" for one in self.restraints) or self.sites
        if self.ways is None or not sited:
            return
        self.ways.look_up(
            self.ways.destination(trace.envelope, one.recipient)
            for trace in traces
            for one in trace.recipients
            if one.state is State.QUEUED and not _tried_at(trace, one)
        )

    def marks(self, trace: Trace, one: TracedRecipient) -> Marks:
        """Return what is known of a piece of mail."""
        if self.ways is None:
            return Marks(trace.envelope.origin.login, domain=one.recipient.domain)
        return self.ways.marks(trace.envelope, one.recipient, _tried_at(trace, one))

    def concerning(self, mail: Marks, verb: str) -> list[Restraint]:
        """Return the restraints of a kind that are about ``mail``."""
        return [one for one in self.restraints if one.verb == verb and one.concerns(mail)]

    def suspended(self, mail: Marks) -> list[Restraint]:
        """Return the suspensions that keep ``mail`` from being dialled."""
        return keeping_back(self.restraints, mail)

    def partly(self, mail: Marks) -> Iterator[str]:
        """Say what is suspended for one of the addresses of ours that ``mail`` may go out from."""
        keep = [one.id for one in self.suspended(mail)]
        not_from = barred(self.restraints, mail)
        others = words_of(one for one in mail.sources or () if one not in not_from)
        for one in self.concerning(mail, "suspend"):
            if one.id not in keep:
                yield v(f"{one.words}; it goes out from {others} where its hosts can be reached so")

    def unsited(self, mail: Marks) -> str:
        """Say which sites are suspended, if it is not known whether that of ``mail`` is; or ""."""
        if mail.site or mail.site_key:
            return ""
        names = [it.name for it in self.restraints if it.verb == "suspend" and it.scope == "site"]
        known = ", ".join(dict.fromkeys(names))
        return v(f"DNS does not say at which site; of sites suspended: {known}") if names else ""

    def at_site(self, mail: Marks) -> list[tuple[str, SiteState]]:
        """Return what processes say of the site of ``mail``."""
        found = [(node, one) for node, one in self.sites if _same_site(one, mail)]
        if mail.sources is None:
            return found
        theirs = [(node, one) for node, one in found if set(one.sources) <= set(mail.sources)]
        return [(node, one) for node, one in theirs if one.sources] or theirs

    def left_alone(self, mail: Marks) -> Waits | None:
        """Say that nobody dials the site of ``mail`` for a while; None: somebody may."""
        said = self.at_site(mail)
        waits = [(one.until_ms, node, one) for node, one in said if one.until_ms is not None]
        if not waits or len(waits) < len(said):
            return None
        until_ms, node, one = min(waits, key=lambda each: each[0])
        if until_ms <= self.now_ms:
            return None
        why = " ".join(one.reason.split())
        name = from_sources(one.name, one.sources)
        words = f"site {name} is left alone by {node} until {moment(until_ms, self.zone)}"
        return Waits(until_ms, v(f"{words}: {why}" if why else words), v(words))

    def budget(self, mail: Marks) -> Waits | None:
        """Say that mail has to wait for a budget of its smarthosts; None: it has not."""
        destination = f"smarthost:{mail.route}"
        alarm = self.alarms.get(destination)
        found = None if self.budgets is None else self.budgets.wait(destination)
        if found is not None:
            until = moment(found.until_ms, self.zone)
            return Waits(found.until_ms, v(f"{destination} waits until {until}: {found.reason}"))
        return None if alarm is None else Waits(self.now_ms, v(alarm))

    @property
    def no_service(self) -> tuple[str, tuple[str, ...]] | None:
        """Say that nobody works on mail, and what helps; None: somebody does."""
        if self.running:
            return None
        if self.down:
            words = f"no worker is up: {', '.join(map(v, self.down))}"
            return f"{words}; their supervisor starts them again", ("mta status",)
        words = "no service is running that uses this spool"
        return words, ("systemctl start mta", "mta status")


def _tried_at(trace: Trace, one: TracedRecipient) -> str:
    """Name the site of the last attempt; "" if there is none."""
    last = last_attempt(trace, one.recipient.number)
    return "" if last is None else last.site


def _same_site(one: SiteState, mail: Marks) -> bool:
    if mail.site_key:
        return Site(one.key, one.name, sources=one.sources).base == mail.site_key
    return mail.site != "" and one.name == mail.site


def surroundings(invocation: Invocation, conn: Any) -> Surroundings:
    """Return what holds now."""
    now_ms, nodes = invocation.now_ms(), leases.everyone(conn)
    running = [one.name for one in nodes if works(one, now_ms)]
    held = restraints.holding(conn, now_ms)
    said = {one.name: one.text for one in alarms.everybodys(conn) if one.node in running}
    sites = [
        (node.node, site)
        for node in site_states.everywhere(conn, now_ms)
        if node.node in running
        for site in node.sites
    ]
    ways = budgets = None
    if held or sites or said or has_budgets(invocation.settings):
        ways, budgets = _ways(invocation, conn)
    return Surroundings(
        now_ms,
        invocation.zone,
        running,
        {one.name: one.lease_until_ms for one in nodes if one.name not in running},
        sorted({name for one in nodes for name in one.down}),
        said,
        held,
        sites,
        ways,
        budgets,
    )


def _ways(invocation: Invocation, conn: Any) -> "tuple[Ways | None, Budgets | None]":
    from mta.admin.budgets import Budgets  # noqa: PLC0415 - the whole of delivery
    from mta.admin.ways import Ways  # noqa: PLC0415

    try:
        ways = Ways(invocation.settings)
    except ConfigError as error:
        note(f"routes and sites are not known: {error}")
        return None, None
    if not has_budgets(invocation.settings):
        return ways, None
    return ways, Budgets(ways.routes, conn, invocation.now_ms())


def slow(mail: Marks, around: Surroundings) -> Iterator[tuple[str, str]]:
    """Yield what slows ``mail`` down, in words, each with the command that ends it."""
    for one in around.concerning(mail, "slow"):
        level = one.level_at(around.now_ms)
        every = 1 << max(level - 1, 0)
        rate = "one delivery a second" if every == 1 else f"one delivery in {every} seconds"
        yield f"{v(one.words)} ({rate} at most)", f"mta throttle revoke {one.id}"
