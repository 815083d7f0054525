"""What would become of one message: acceptance, signature and delivery, asked of their own code.

``mta.inbound.addressing`` says what an address comes to, ``mta.dkim`` which keys sign, and
``mta.delivery.rehearsal`` walks the road.  Nothing is decided here.

Knows the configuration as it is written now, DNS as it answers now, and the MTA-STS policies in the
spool: nothing else is taken from the caches of a running service.
"""

from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError

from mta.admin.asking import resolver
from mta.config import Settings, build, build_tls
from mta.config.build_policy import policy
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
from mta.inbound.addressing import Client, Refusal, aim, is_srs
from mta.mail.address import domain_of, split
from mta.mail.envelope import Envelope, Job, MemoryBody, Recipient
from mta.mail.events import Note
from mta.mail.outcome import Verdict
from mta.mail.queue_id import new_queue_id
from mta.mail.shape import Shape
from mta.mail.site import Site
from mta.policy.addresses import Addresses
from mta.policy.matching import Subject
from mta.policy.senders import judge_sender
from mta.smtp.commands import Rcpt
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


@dataclass(frozen=True, slots=True)
class Refused:
    """It would not be accepted at all."""

    code: int
    enhanced: str
    text: str
    reason: str


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
    remarks: list[str] = field(default_factory=list)  # what acceptance makes of the addresses
    refused: Refused | None = None
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
        done = not self.timed_out and verdicts <= {Verdict.DELIVERED}
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
        """``tables`` are those of ``mta.config.build_addresses``; ``spool`` has the policies of
        MTA-STS."""
        self._spool = spool
        self._settings = settings
        self._tables = tables
        self._question = question
        self._now_ms = now_ms
        self.found = Explanation(question, question.sender)
        self._delivery = build.delivery_settings(settings, tables)

    def accept(self) -> list[Recipient]:
        """Return the recipients that acceptance would make; none if it would refuse."""
        self._sender()
        recipients = self._recipients() if self.found.refused is None else []
        for one in recipients:
            judged = policy(self._settings).recipients.judge(one.address)
            if judged is not None and judged.refuses:
                self._refuse(Refusal(judged.reply, judged.reason))
                return []
        return recipients

    def sign(self) -> None:
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

    async def walk(self, reactor: Any, recipients: list[Recipient]) -> None:
        """Walk the roads of ``recipients``, bounded in time."""
        walking = Deferred.fromCoroutine(self._walk(reactor, recipients))
        walking.addTimeout(self._question.timeout_s, reactor)
        try:
            await walking
        except TimeoutError:
            self.found.timed_out = True

    async def _walk(self, reactor: Any, recipients: list[Recipient]) -> None:
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
            for one in recipients[:MOST]:
                await self._one(rehearsal, finder, one)
        finally:
            found.said = list(heard.said.values())
            await rehearsal.stop()

    async def _one(self, rehearsal: Rehearsal, finder: SiteFinder, recipient: Recipient) -> None:
        routes, sender = self._delivery.routes, self.found.sender
        passed_over = routes.passed_over(sender, recipient.domain)
        key = rehearsal.destination(sender, recipient.domain, recipient.route)
        site = finder.known(key) or await finder.find(key)
        job = Job(self._envelope(), (recipient,), MemoryBody((b"",)), key)
        try:
            await rehearsal.rehearse(job)
        finally:
            self.found.walked += [
                Walked(r, key, site, passed_over, self._from(finder, key, (site, r.route)))
                for r in rehearsal.roads
            ]

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

    def _note(self, event: Any) -> None:
        if isinstance(event, Note):
            self.found.notes.append(event.text)

    def _sender(self) -> None:
        """See what becomes of the sender, and whether it may be used."""
        found, login = self.found, self._question.login
        rule = policy(self._settings).senders.rule_for(Subject("", "", login)) if login else None
        decision = judge_sender(rule, login, found.sender) if rule is not None else None
        if decision is not None:
            if decision.refuses:
                self._refuse(Refusal(decision.reply, decision.reason))
                return
            found.remarks.append(decision.reason)
            found.sender = decision.rewrite or found.sender
        if self._tables is not None and found.sender:
            told, by = self._tables.rewritten(found.sender, sender=True, submission=bool(login))
            if by:
                found.remarks.append(f"sender {found.sender} -> {told} by {', '.join(by)}")
                found.sender = told

    def _recipients(self) -> list[Recipient]:
        question, found = self._question, self.found
        address, tables = question.address, self._tables
        plain = Recipient(0, address, domain_of(address), 1)
        if tables is None:
            return [plain]
        client = Client(
            outside=not question.login,
            submission=bool(question.login),
            null_sender=not found.sender or is_srs(tables, address),
        )
        aimed = aim(tables, address, Rcpt(address), client, self._now_ms)
        if aimed is None:
            return [plain]
        if isinstance(aimed, Refusal):
            self._refuse(aimed)
            return []
        found.remarks += [f"{one.verb}: {one.text}" for one in aimed.remarks]
        found.left_out = max(0, len(aimed.goals) - MOST)
        return list(aimed.goals)

    def _refuse(self, refusal: Refusal) -> None:
        reply = refusal.reply
        self.found.refused = Refused(reply.code, reply.enhanced, reply.text, refusal.reason)
