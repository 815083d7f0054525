"""Delivery: one job in, one outcome for each of its recipients out.

The way: route → hosts → addresses → session, until nobody is left or no host is; from the host
on it is the business of ``walk``, and mail for a Maildir that of ``mailboxes``.  What a failure
on the way means is decided in ``attempt``; nothing here writes to the spool but ``doubt``, where a
route asks for it.  Concurrency is the scheduler's: each job uses one connection at a time.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from mta.delivery import doubt, nowhere, senders
from mta.delivery.attempt import Attempt
from mta.delivery.counting import Count, Counting
from mta.delivery.mailboxes import Mailboxes
from mta.delivery.opening import Opening, Reactor, Site
from mta.delivery.outgoing import Outgoing, Way
from mta.delivery.pool import Pool
from mta.delivery.routes import (
    DEFAULT_ROUTE,
    Discard,
    Maildir,
    Missing,
    Mx,
    Refuse,
    Route,
    Smarthost,
    Smarthosts,
)
from mta.delivery.securing import DaneFacts, Securing, StsFacts, secured_by
from mta.delivery.session import Message, prepare
from mta.delivery.settings import DeliverySettings
from mta.delivery.shaped import Shapes
from mta.delivery.smarthosts import Counts, Failover, Wait, budgeted, with_tokens
from mta.delivery.token import Tokens
from mta.delivery.transcript import Recorder
from mta.delivery.walk import Exchangers, Means, Walk
from mta.dns.answers import DnsTemporary
from mta.dns.mx import MailHost, MailLoop, NoSuchDomain, NullMx
from mta.mail.envelope import Job, Recipient
from mta.mail.events import Emit, Note
from mta.mail.outcome import CUT_OFF, Outcome, Verdict
from mta.mail.security import Requirement
from mta.mail.shape import Shape
from mta.shaping.rules import Shaping
from mta.tls.level import ClientTls


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Delivery:
    """Sends jobs.  Nothing it returns fails, except by being cancelled."""

    _log = Logger()
    # A rehearsal has its own
    _openings: type[Opening] = Opening
    _stores: type[Mailboxes] = Mailboxes

    def __init__(  # noqa: PLR0913 - the composition root names every part it joins
        self,
        reactor: Reactor,
        settings: DeliverySettings,
        exchangers: Exchangers,
        tls: ClientTls,
        emit: Emit,
        *,
        dane: DaneFacts | None = None,
        sts: StsFacts | None = None,
        now_ms: Callable[[], int] = _wall_ms,
    ) -> None:
        """``dane`` answers for DANE; None: nobody validates DNSSEC here.  ``sts``: for MTA-STS."""
        self._dane = dane
        self._sts = sts
        self._now_ms = now_ms
        self._reactor = reactor
        self._settings = settings
        self._exchangers = exchangers
        self._emit = emit
        self._shapes = Shapes()
        self._pool = Pool(reactor)
        self._opening = self._openings(reactor, tls, self._pool.dismiss)
        self._tokens = Tokens(reactor, lambda: self._opening.tls, emit)
        self._opening.tokens = self._tokens
        self._means = Means(self._pool, self._opening, exchangers, reactor.seconds, now_ms)
        self._mailboxes = self._stores(reactor)
        self._failover = Failover(reactor.seconds, now_ms)
        self._take(settings)
        self._count: Count | None = None
        self._marking: Callable[[Job], doubt.Marker] | None = None

    def use(self, settings: DeliverySettings, tls: ClientTls) -> None:
        """Take new settings and authorities; attempts that begin from now on follow them."""
        self._settings = settings
        self._shapes = Shapes()
        self._opening.tls = tls
        self._take(settings)

    def _take(self, settings: DeliverySettings) -> None:
        self._failover.down_s = settings.smarthost_down_s
        self._budgeted = budgeted(settings.routes.targets)
        self._tokens.keep(with_tokens(settings.routes.targets))

    def count_with(self, counts: Counts) -> None:
        """Count budgets by the day there, where all processes do."""
        self._failover.counts = counts

    def mark_with(self, marking: Callable[[Job], doubt.Marker]) -> None:
        """Write down by this whose final dot is about to be sent, where a route has to know."""
        self._marking = marking

    def in_doubt(self, sender: str, recipient: Recipient, to: str) -> Outcome | None:
        """Return what becomes of what a process that has ended since has sent, perhaps, to ``to``.

        As the route says now; None: it is sent again.
        """
        route = self._settings.routes.choose(sender, recipient.domain, recipient.route)
        return doubt.process_ended(route.on_unknown, recipient.number, to)

    @property
    def has_budgets(self) -> bool:
        """Whether ``wait`` can ever have an answer."""
        return bool(self._budgeted)

    def wait(self, destination: str) -> Wait | None:
        """Return until when mail there has to wait for a budget of its smarthosts; None: it hasn't.

        ``destination`` is as the method of that name returns it.
        """
        target = self._budgeted.get(destination)
        return None if target is None else self._failover.wait(target)

    def count(self, count: Count | None) -> None:
        """Tell ``count`` of every TLS session with a mail exchanger from now on; None: nobody."""
        self._count = count
        self._opening.counting = count is not None

    @property
    def idle(self) -> int:
        """How many connections are kept for the next message."""
        return self._pool.idle

    @property
    def shaping(self) -> Shaping:
        """What is said about sites."""
        return self._settings.shaping

    def destination(self, sender: str, domain: str, chosen: str = "") -> str:
        """Return the key under which mail from ``sender`` to ``domain`` is gathered.

        ``chosen``: the route that an operator wants for it.
        """
        if not domain:  # an alias, about which there is only to report
            return "alias:"
        return self._settings.routes.destination(sender, domain, chosen)

    def route_of(self, sender: str, domain: str, chosen: str = "") -> str:
        """Name the route that such mail takes."""
        return self._settings.routes.choose(sender, domain, chosen).name

    def sources_of(self, sender: str, domain: str, chosen: str, message_id: str) -> tuple[str, ...]:
        """Return the addresses of ours that a message goes out from; "": whichever the system
        takes."""
        route = self._settings.routes.choose(sender, domain, chosen)
        return (route.outgoing or self._settings.outgoing).sources(message_id)

    @property
    def has_sources(self) -> bool:
        """Whether any mail goes out from an address that the configuration names."""
        all_of_them = (self._settings.outgoing, *self._settings.routes.outgoings)
        return any(one.ipv4 or one.ipv6 for one in all_of_them)

    def deliver(self, job: Job) -> Deferred[list[Outcome]]:
        """Make one attempt.  Cancelling it closes its connection at once.

        An attempt that had begun gives outcomes all the same: what was final by then, and
        ``CUT_OFF`` for everybody else, with what had been said.
        """
        return Deferred.fromCoroutine(self._deliver(job, self._settings))

    def stop(self) -> Deferred[None]:
        """Say good-bye on all idle connections; those in use are their jobs' business."""
        self._mailboxes.stop()
        self._tokens.stop()
        return self._pool.stop()

    async def _deliver(self, job: Job, settings: DeliverySettings) -> list[Outcome]:
        outcomes: list[Outcome] = []
        try:
            await self._by_turns(job, settings, outcomes)
        except CancelledError as error:
            if isinstance(error, _CutOff):
                outcomes += error.outcomes
            if not outcomes:
                raise
            # What has been delivered must not be sent again because of the others
            outcomes += senders.interrupted(job.recipients, outcomes)
        return outcomes

    async def _by_turns(
        self, job: Job, settings: DeliverySettings, outcomes: list[Outcome]
    ) -> None:
        for route, domain, recipients in _by_route(job, settings):
            if recipients[0].role.reported_only:
                outcomes += nowhere.expanded(recipients)
                continue
            if senders.plain(recipients, route):
                outcomes += await self._bring(job, route, domain, recipients, settings)
                continue
            envelope, now_ms = job.envelope, self._now_ms()
            groups = senders.by_sender(envelope, recipients, route, settings.addresses, now_ms)
            for sender, some in groups.items():
                renamed = replace(job, envelope=senders.told(envelope, sender, some))
                told = "" if sender == envelope.sender else sender
                try:
                    made = await self._bring(renamed, route, domain, some, settings)
                except _CutOff as cut:
                    cut.outcomes = [replace(one, sender=told) for one in cut.outcomes]
                    raise
                outcomes += [replace(one, sender=told) for one in made]

    async def _bring(
        self,
        job: Job,
        route: Route,
        domain: str,
        recipients: list[Recipient],
        settings: DeliverySettings,
    ) -> list[Outcome]:
        """Bring the message to where the route leads."""
        match route.target:
            case Discard():
                return nowhere.discarded(route, recipients)
            case Refuse():
                return nowhere.refused(route.target, recipients)
            case Missing():
                return nowhere.missing(route, recipients)
            case Maildir():
                there = (route.target, settings.host_name)
                return await self._mailboxes.deliver(job, recipients, *there)
            case Mx() | Smarthost() | Smarthosts():
                attempt = Attempt(recipients, route.on_unknown)
                if route.on_unknown != "retry" and self._marking is not None:
                    attempt.marker = self._marking(job)
                keep = settings.transcripts
                record = None if keep == "none" else Recorder(self._reactor.seconds)
                try:
                    await self._send(attempt, job, route, domain, (settings, record))
                except CancelledError:
                    raise _CutOff(_so_far(attempt, record)) from None
                return _with_transcript(attempt.outcomes(), record, every=keep == "all")

    async def _send(
        self,
        attempt: Attempt,
        job: Job,
        route: Route,
        domain: str,
        how: tuple[DeliverySettings, Recorder | None],
    ) -> None:
        (settings, record), target = how, route.target
        assert isinstance(target, Mx | Smarthost | Smarthosts)
        try:
            message = prepare(attempt, job.envelope, job.body)
            asked = (self._dane, self._sts)
            secured = secured_by(settings.security, route.name, target, job.envelope, *asked)
            outgoing = route.outgoing or settings.outgoing
            way = whole = outgoing.way(job.envelope.id)
            if job.suspended:
                outgoing = outgoing.without(job.suspended, job.envelope.id)
                way = outgoing.way(job.envelope.id)
            hosts = await self._hosts(target, domain, way)
            shaped = self._shapes.of(settings, hosts, domain, route, whole)
            walk = self._walk(attempt, message, (*shaped, outgoing), secured, record)
            if self._count is not None and isinstance(target, Mx) and not domain.startswith("["):
                walk.counting = Counting(self._count, domain)
            some = hosts[: settings.max_hosts]
            if isinstance(target, Smarthosts):
                await self._failover.along(walk, some, way)
                return
            await walk.along([(Site(host.name, target, way), host) for host in some], domain)
        except CancelledError:
            raise
        except (DnsTemporary, NoSuchDomain, NullMx, MailLoop) as error:
            attempt.no_hosts(error)
            if record is not None:
                record.fails(f"DNS: no host for {domain}: {error}")
        except Exception as error:
            self._log.failure("while delivering {id}", id=job.envelope.id)
            text = f"{job.envelope.id}: {type(error).__name__}: {error}"
            self._emit(Note("error", "delivery", text))
            attempt.our_fault(error)
            if record is not None:
                record.fails(f"a fault of ours: {type(error).__name__}: {error}")

    def _walk(
        self,
        attempt: Attempt,
        message: Message,
        how: tuple[DeliverySettings, Shape, Outgoing],
        secured: Requirement | Securing,
        record: Recorder | None,
    ) -> Walk:
        return Walk(self._means, attempt, message, how, secured, record)

    async def _hosts(
        self, target: Mx | Smarthost | Smarthosts, domain: str, way: Way | None
    ) -> Sequence[MailHost]:
        """Return the hosts, best first; among equals those to whom a connection is open."""
        if isinstance(target, Smarthosts):
            return self._failover.order(target)
        if isinstance(target, Smarthost):
            return (MailHost(target.host, 0),)
        if domain.startswith("["):
            return (MailHost(domain, 0),)
        hosts = await self._exchangers.hosts(domain)
        best = hosts[0].preference
        return sorted(
            hosts,
            key=lambda h: (
                h.preference,
                h.preference > best or Site(h.name, target, way) not in self._pool,
            ),
        )


class _CutOff(CancelledError):
    """Cancelled on the way to the hosts; ``outcomes`` is what had come of it."""

    def __init__(self, outcomes: list[Outcome]) -> None:
        super().__init__()
        self.outcomes = outcomes


def _so_far(attempt: Attempt, record: Recorder | None) -> list[Outcome]:
    """Close an attempt that was cancelled; what was said is worth keeping."""
    if record is not None:
        record.fails(CUT_OFF)
    return _with_transcript(attempt.cut_off(), record, every=True)


def _with_transcript(
    outcomes: list[Outcome], record: Recorder | None, *, every: bool
) -> list[Outcome]:
    """Put the transcript with the outcomes, if not everybody got the message at once."""
    if record is None:
        return outcomes
    clean = not record.trouble and all(one.verdict is Verdict.DELIVERED for one in outcomes)
    if clean and not every:
        return outcomes
    text = record.text()
    return [replace(one, transcript=text) for one in outcomes]


def _by_route(job: Job, settings: DeliverySettings) -> Iterable[tuple[Route, str, list[Recipient]]]:
    """Gather the recipients by where the routes say *now* that they go: as a rule, one group."""
    groups: dict[tuple[str, str], tuple[Route, str, list[Recipient]]] = {}
    for recipient in job.recipients:
        if recipient.role.reported_only:
            groups.setdefault(("", ""), (DEFAULT_ROUTE, "", []))[2].append(recipient)
            continue
        route = settings.routes.choose(job.envelope.sender, recipient.domain, recipient.route)
        domain = recipient.domain if isinstance(route.target, Mx) else ""
        group = groups.setdefault((route.name, domain), (route, domain, []))
        group[2].append(recipient)
    return groups.values()
