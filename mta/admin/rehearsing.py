"""What would become of one message: acceptance, signature and delivery, asked of their own code.

``mta.inbound.rehearsal`` says what submission answers, by the policy at work (``mta.gate``),
``mta.dkim`` which keys sign, and ``mta.delivery.rehearsal`` walks the road.  Nothing is decided
here.

Knows the configuration as it is written now, DNS as it answers now, and of the spool what clients
have used up, suppressed addresses and MTA-STS policies: nothing is taken from the caches of a
running service.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError

from mta.admin.accepting import Accepting, Bringer
from mta.admin.asking import resolver
from mta.config import Settings, build, build_tls
from mta.config.build_milters import milters
from mta.delivery.rehearsal import Rehearsal
from mta.delivery.road import Road
from mta.delivery.routes import Route
from mta.delivery.sites import SiteFinder
from mta.dkim.keys import Key
from mta.dkim.store import KeyUnusable
from mta.dns.answers import Answer, DnsTemporary, NoSuchName
from mta.dns.dane import DaneLookup
from mta.dns.mx import MailExchangers
from mta.dns.resolver import Resolver
from mta.dns.validation import State, Validation
from mta.dnsbl.lists import Lists
from mta.dnsbl.zone import Blocklist
from mta.inbound.rehearsal import Asked, Others, Submitted
from mta.mail.address import domain_of, split
from mta.mail.envelope import Envelope, Job, MemoryBody, Recipient
from mta.mail.events import Note
from mta.mail.outcome import Verdict
from mta.mail.queue_id import new_queue_id
from mta.mail.restraint import Marks, barred
from mta.mail.shape import Shape
from mta.mail.site import Site
from mta.milter.settings import MilterSettings
from mta.policy.addresses import Addresses
from mta.spool import restraints
from mta.spool.errors import SpoolUnavailable
from mta.sts.fetch import PolicyFetch
from mta.sts.policies import Policies, Spool

MOST = 20  # addresses behind an alias whose roads are walked


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked."""

    address: str
    sender: str
    login: str = ""  # "": it comes from outside, or from a trusted network
    connect: bool = False
    timeout_s: float = 30.0
    listener: str = ""  # its name; "": one that fits
    client: str = ""  # IP address; "": one that fits
    size: int = 0  # octets
    filters: bool = False  # filters and lists of clients are asked


@dataclass(frozen=True, slots=True)
class Refused:
    """It would not be accepted at all."""

    stage: str  # "connection", or the command that is refused
    code: int
    reply: str  # what the client is told
    reason: str  # what it is not told

    @property
    def enhanced(self) -> str:
        """The enhanced status code; "" if there is none."""
        words = self.reply.split(maxsplit=2)
        return words[1] if len(words) > 1 and words[1].count(".") == 2 else ""

    @property
    def text(self) -> str:
        """The reply without its codes."""
        return self.reply.removeprefix(str(self.code)).lstrip().removeprefix(self.enhanced).lstrip()


@dataclass(frozen=True, slots=True)
class Said:
    """One answer of DNS."""

    name: str
    rdtype: str
    records: tuple[str, ...] = ()
    authenticated: bool = False
    ttl: int = 0
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class FromSources:
    """What holds for a site where mail goes out from some addresses of ours."""

    sources: tuple[str, ...]  # "": whichever the system takes
    site: Site
    shape: Shape


@dataclass(slots=True)
class Walked:
    """A road, and what is known of it before it is walked."""

    road: Road
    destination: str
    site: Site
    passed_over: list[tuple[Route, str]]
    # What holds for the addresses of ours that it may go out from, one of each family
    from_sources: tuple[FromSources, ...] = ()

    @property
    def shape(self) -> Shape:
        """What shapes the site; where there are several source addresses, what is for them all."""
        return self.from_sources[0].shape if len(self.from_sources) == 1 else self.site.shape


@dataclass(slots=True)
class Explanation:
    """All that was found out."""

    question: Question
    sender: str  # as it is accepted
    by: Bringer
    said_to_client: list[tuple[str, str]] = field(default_factory=list)  # command, reply
    remarks: list[str] = field(default_factory=list)  # what acceptance makes of the addresses
    refused: Refused | None = None
    held: str = ""  # why it is accepted and kept
    filters: list[MilterSettings] = field(default_factory=list)  # that see it
    lists: list[Blocklist] = field(default_factory=list)  # that the client is looked up in
    left_out: int = 0  # more addresses behind an alias
    keys: tuple[Key, ...] = ()  # that would sign
    unsigned: str = ""  # why none does
    walked: list[Walked] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    servers: tuple[str, ...] = ()
    validation: State | None = None  # None: the resolver is not said to validate
    notes: list[str] = field(default_factory=list)
    timed_out: bool = False

    @property
    def verdict(self) -> Verdict:
        """The worst that would become of any recipient."""
        if self.refused is not None:
            return Verdict.FAILED if self.refused.code >= 500 else Verdict.DEFERRED
        verdicts = {one.verdict for walked in self.walked for one in walked.road.outcomes}
        if Verdict.FAILED in verdicts:
            return Verdict.FAILED
        done = not (self.timed_out or self.held) and verdicts <= {Verdict.DELIVERED}
        return Verdict.DELIVERED if done else Verdict.DEFERRED


class _Heard:
    """A resolver, and all that it has said."""

    def __init__(self, behind: Resolver) -> None:
        self._behind = behind
        self.said: dict[tuple[str, str], Said] = {}

    def lookup(self, name: str, rdtype: str) -> Deferred[Answer]:
        """Look up, and take note."""
        asked = self._behind.lookup(name, rdtype)
        return asked.addCallbacks(self._answered, self._failed, (name, rdtype), {}, (name, rdtype))

    def _answered(self, answer: Answer, name: str, rdtype: str) -> Answer:
        records = tuple(map(_shown, answer.records))
        self.said[name, rdtype] = Said(name, rdtype, records, answer.authenticated, answer.ttl)
        return answer

    def _failed(self, failure: Any, name: str, rdtype: str) -> Any:
        if failure.check(NoSuchName, DnsTemporary):
            missing = failure.check(NoSuchName)
            text = "no such name" if missing else str(failure.value)
            self.said[name, rdtype] = Said(name, rdtype, trouble=text)
        return failure


def _shown(record: Any) -> str:
    return record if isinstance(record, str) else f"{record.preference} {record.exchange or '.'}"


class Rehearsing:
    """Explains one question."""

    def __init__(
        self,
        settings: Settings,
        tables: Addresses | None,
        question: Question,
        now_ms: int,
        spool: Spool,
    ) -> None:
        """``tables`` are those of ``mta.config.build_addresses``; ``spool`` is read and, if it is
        written to, does nothing.  ``ValueError`` if there is no such listener."""
        self._spool = spool
        self._settings = settings
        self._tables = tables
        self._question = question
        self._now_ms = now_ms
        self._accepting = Accepting(settings, tables, spool)
        by = self._accepting.bringer(
            question.address, question.login, question.listener, question.client
        )
        self.found = Explanation(question, question.sender, by)
        self._recipients: list[Recipient] = []
        self._delivery = build.delivery_settings(settings, tables)

    def _sign(self) -> None:
        """Find the keys for an author at the sender's domain."""
        found, login = self.found, self._question.login
        try:
            rules = build.signing_rules(self._settings)
        except (KeyUnusable, OSError) as error:
            found.unsigned = f"the keys cannot be read: {error}"
            return
        domain = split(found.sender)[1].lower()
        if not rules:
            found.unsigned = "there are no keys"
        elif not rules.wants(submission=bool(login)):
            found.unsigned = "only new mail is signed (dkim.relayed), and no login is given"
        else:
            found.keys = rules.keys(domain, self._now_ms / 1000)
            found.unsigned = "" if found.keys else f"there is no key for {domain or '<>'}"

    async def go(self, reactor: Any) -> list[Recipient]:
        """Find out all, bounded in time; return to whom it would go."""
        walking = Deferred.fromCoroutine(self._go(reactor))
        walking.addTimeout(self._question.timeout_s, reactor)
        try:
            await walking
        except TimeoutError:
            self.found.timed_out = True
        return self._recipients

    async def _go(self, reactor: Any) -> None:
        settings, found = self._settings, self.found
        behind = resolver(reactor, settings, validating=settings.dns.validating)
        found.servers = tuple(f"{host}:{port}" for host, port in build.dns_servers(settings))
        heard = _Heard(behind)
        dane = None
        if settings.dns.validating:
            state = found.validation = await self._tested(reactor, behind)
            dane = DaneLookup(heard, reactor.seconds, lambda: state.off)
        exchangers = MailExchangers(heard, frozenset({settings.host_name}))
        tls = build_tls.client_tls(settings)
        fetch = PolicyFetch(reactor, tls, exchangers.addresses)
        how = build_tls.sts(settings)
        rehearsal = Rehearsal(
            reactor,
            self._delivery,
            exchangers,
            tls,
            self._note,
            dane=dane,
            sts=Policies(reactor, heard, fetch, self._spool, self._note, how),
            connect=self._question.connect,
        )
        finder = SiteFinder(exchangers, reactor.seconds, self._delivery.shaping)
        try:
            self._recipients = await self._submit(reactor, exchangers, heard)
            for one in self._recipients[:MOST]:
                await self._one(rehearsal, finder, one)
        finally:
            found.said = list(heard.said.values())
            await rehearsal.stop()

    async def _submit(
        self, reactor: Any, exchangers: MailExchangers, heard: _Heard
    ) -> list[Recipient]:
        """Have it submitted, and see who signs it; return to whom it goes."""
        question, found, accepting = self._question, self.found, self._accepting
        by = found.by
        message = Asked(question.sender, question.address, question.login, by.client, question.size)
        routes = self._delivery.routes
        found.filters = accepting.filters(by, question.login)
        found.lists = accepting.lists(by, question.login)
        others = await self._others(reactor, heard) if question.filters else Others()
        to = (exchangers, routes.destination)
        submitted = await accepting.ask(reactor, *to, by, message, others)
        found.said_to_client = submitted.said
        recipients = self._accepted(submitted)
        if submitted.intake is not None:
            self._sign()
        return recipients

    async def _others(self, reactor: Any, heard: _Heard) -> Others:
        """Return filters to ask, and lists that have passed their test."""
        lists = Lists(reactor, heard, self.found.lists, self._grave)
        await lists.test()
        return Others(milters(self._settings, reactor), lists)

    async def _one(self, rehearsal: Rehearsal, finder: SiteFinder, recipient: Recipient) -> None:
        routes, sender = self._delivery.routes, self.found.sender
        passed_over = routes.passed_over(sender, recipient.domain)
        key = rehearsal.destination(sender, recipient.domain, recipient.route)
        site = finder.known(key) or await finder.find(key)
        envelope = self._envelope()
        suspended = await self._not_from(envelope, recipient, site)
        job = Job(envelope, (recipient,), MemoryBody((b"",)), key, suspended)
        try:
            await rehearsal.rehearse(job)
        finally:
            self.found.walked += [
                Walked(r, key, site, passed_over, self._from(finder, key, (site, r.route)))
                for r in rehearsal.roads
            ]

    async def _not_from(self, envelope: Envelope, to: Recipient, site: Site) -> frozenset[str]:
        """Return the addresses of ours that it would not go out from now."""
        route = self._delivery.routes.choose(envelope.sender, to.domain, to.route)
        sources = (route.outgoing or self._delivery.outgoing).sources(envelope.id)
        try:
            found = await self._spool.read(restraints.holding, self._now_ms)
        except SpoolUnavailable:
            return frozenset()
        login, key = self._question.login, site.base
        return barred(found or (), Marks(login, route.name, to.domain, key, site.name, sources))

    def _from(
        self, finder: SiteFinder, key: str, there: tuple[Site, Route]
    ) -> tuple[FromSources, ...]:
        """Return what holds for each of the addresses that mail may go out from."""
        site, route = there
        every = (route.outgoing or self._delivery.outgoing).all_sources
        if not self._delivery.shaping.by_source:
            return tuple(FromSources(some, site, site.shape) for some in every)
        return tuple(
            FromSources(some, finder.sourced(key, some), finder.shape(key, some)) for some in every
        )

    def _envelope(self) -> Envelope:
        made = self._now_ms
        return Envelope(new_queue_id(made), self.found.sender, 0, made, made + 86_400_000)

    async def _tested(self, reactor: Any, behind: Resolver) -> State:
        """Test the resolver as the service does."""
        probes = build_tls.probes(self._settings)
        return await Validation(reactor, behind, probes, 3600.0, lambda _: None).test()

    def _grave(self, event: Any) -> None:
        if isinstance(event, Note) and event.level != "info":
            self._note(event)

    def _note(self, event: Any) -> None:
        if isinstance(event, Note):
            self.found.notes.append(event.text)

    def _accepted(self, submitted: Submitted) -> list[Recipient]:
        """Take over what submission would make of it; return to whom it would go."""
        found, intake = self.found, submitted.intake
        if intake is None:
            reply = submitted.reply
            found.refused = Refused(submitted.stage, submitted.code, reply, submitted.reason)
            domain = domain_of(self._question.address)
            ours = self._tables is not None and self._tables.local.ours(domain)
            return [] if ours else [Recipient(0, self._question.address, domain, 1)]
        found.sender, found.held = intake.envelope.sender, intake.held
        found.remarks += [
            f"{one.verb}: {one.text}" for one in intake.remarks if one.verb != "header"
        ]
        goals = [one for one in intake.remaining if not one.role.reported_only]
        found.left_out = max(0, len(goals) - MOST)
        return [replace(one, attempts=1) for one in goals]
