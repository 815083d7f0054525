"""Delivery: one job in, one outcome for each of its recipients out.

The walk: route → hosts → addresses → session, until nobody is left or no host is; mail for a
Maildir is ``mailboxes``' business.  What a failure on the way means is decided in ``attempt``;
nothing here writes to the spool.  Concurrency is the scheduler's: each job uses one connection
at a time.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from mta.delivery import nowhere, senders
from mta.delivery.attempt import Attempt, Contact
from mta.delivery.connection import Connection
from mta.delivery.mailboxes import Mailboxes
from mta.delivery.opening import Opening, Reactor, Site
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
)
from mta.delivery.securing import DaneFacts, Securing, is_address, secured_by
from mta.delivery.session import Message, Session, prepare
from mta.delivery.settings import DeliverySettings
from mta.delivery.transcript import Recorder, told
from mta.delivery.trouble import Trouble
from mta.dns.answers import DnsTemporary
from mta.dns.mx import MailHost, MailLoop, NoSuchDomain, NoUsableHost, NullMx
from mta.mail.envelope import Job, Recipient
from mta.mail.events import Emit, Note
from mta.mail.outcome import Outcome, Peer, Timing, Verdict
from mta.mail.security import ANYTHING, Requirement, Skip
from mta.security.facts import Where
from mta.security.judgement import fallen_short
from mta.tls.level import ClientTls


class Exchangers(Protocol):
    """Where mail for a domain goes; ``mta.dns.mx.MailExchangers``."""

    def hosts(self, domain: str) -> Deferred[tuple[MailHost, ...]]:
        """Give the hosts of ``domain``, best first."""

    def addresses(self, host: str) -> Deferred[tuple[str, ...]]:
        """Give the IP addresses of ``host``."""


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Delivery:
    """Sends jobs.  Nothing it returns fails, except by being cancelled."""

    _log = Logger()

    def __init__(
        self,
        reactor: Reactor,
        settings: DeliverySettings,
        exchangers: Exchangers,
        tls: ClientTls,
        emit: Emit,
        *,
        dane: DaneFacts | None = None,
        now_ms: Callable[[], int] = _wall_ms,
    ) -> None:
        """``dane`` answers for DANE; None: nobody validates DNSSEC here."""
        self._dane = dane
        self._now_ms = now_ms
        self._reactor = reactor
        self._settings = settings
        self._exchangers = exchangers
        self._emit = emit
        self._pool = Pool(reactor)
        self._opening = Opening(reactor, tls, self._pool.dismiss)
        self._mailboxes = Mailboxes(reactor)

    def use(self, settings: DeliverySettings, tls: ClientTls) -> None:
        """Take new settings and authorities; attempts that begin from now on follow them."""
        self._settings = settings
        self._opening.tls = tls

    def destination(self, sender: str, domain: str, chosen: str = "") -> str:
        """Return the key under which mail from ``sender`` to ``domain`` is gathered.

        ``chosen``: the route that an operator wants for it.
        """
        if not domain:  # an alias, about which there is only to report
            return "alias:"
        return self._settings.routes.destination(sender, domain, chosen)

    def deliver(self, job: Job) -> Deferred[list[Outcome]]:
        """Make one attempt.  Cancelling it closes its connection at once."""
        return Deferred.fromCoroutine(self._deliver(job, self._settings))

    def stop(self) -> Deferred[None]:
        """Say good-bye on all idle connections; those in use are their jobs' business."""
        self._mailboxes.stop()
        return self._pool.stop()

    async def _deliver(self, job: Job, settings: DeliverySettings) -> list[Outcome]:
        outcomes: list[Outcome] = []
        try:
            await self._by_turns(job, settings, outcomes)
        except CancelledError:
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
                made = await self._bring(renamed, route, domain, some, settings)
                told = "" if sender == envelope.sender else sender
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
            case Mx() | Smarthost():
                attempt = Attempt(recipients)
                keep = settings.transcripts
                record = None if keep == "none" else Recorder(self._reactor.seconds)
                await self._send(attempt, job, route, domain, (settings, record))
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
        assert isinstance(target, Mx | Smarthost)
        try:
            message = prepare(attempt, job.envelope, job.body)
            secured = secured_by(settings.security, route.name, target, job.envelope, self._dane)
            walk = _Walk(self, attempt, message, settings, secured, record)
            for host in (await self._hosts(target, domain))[: settings.max_hosts]:
                if not attempt.left or walk.sessions >= settings.max_sessions:
                    return
                await walk.visit(Site(host.name, target), host, domain)
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

    async def _hosts(self, target: Mx | Smarthost, domain: str) -> Sequence[MailHost]:
        """Return the hosts, best first; among equals those to whom a connection is open."""
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
                h.preference > best or Site(h.name, target) not in self._pool,
            ),
        )


class _Walk:
    """One message on its way from host to host."""

    def __init__(
        self,
        delivery: Delivery,
        attempt: Attempt,
        message: Message,
        settings: DeliverySettings,
        secured: Requirement | Securing,
        record: Recorder | None,
    ) -> None:
        """``secured`` is how private sessions must be, or says it of each host."""
        self.sessions = 0  # how many hosts have heard about the message
        self._record = record
        self._pool = delivery._pool
        self._opening = delivery._opening
        self._exchangers = delivery._exchangers
        self._seconds = delivery._reactor.seconds
        self._now_ms = delivery._now_ms
        self._until = self._seconds() + settings.timeouts.total
        self._attempt = attempt
        self._message = message
        self._settings = settings
        self._secured = secured
        self._requirement = ANYTHING
        self._those: list[Recipient] | None = None  # whom it is about now, if not about all
        self._not_asked: list[Recipient] = []  # there was no room for them on a connection

    async def visit(self, site: Site, host: MailHost, domain: str) -> None:
        """Try one host, on as many connections as its limits make necessary (RFC 9422)."""
        required = self._secured
        if not isinstance(required, Requirement):
            where = Where(domain, host.name, host.signed, host.expanded)
            found = await required.requirement(where, site.port)
            if isinstance(found, Skip):
                self._attempt.not_tried(site.host, found)
                if self._record is not None:
                    self._record.fails(f"{site.host} is not dialled: {found.why}")
                return
            required = found
        self._requirement = required
        self._those, self._not_asked = None, []
        await self._connect(site)
        while self._not_asked and self._seconds() <= self._until:
            self._those, self._not_asked = self._not_asked, []
            await self._connect(site)

    async def _connect(self, site: Site) -> None:
        """Use a connection that waits for work, or the host's addresses in turn."""
        requirement = self._requirement
        trouble = self._record is not None and self._record.trouble
        while (connection := self._pool.take(site, requirement)) is not None:
            if self._record is not None:
                _go_on(self._record, connection, site)
            if await self._talk(connection, site, 0.0):
                return
            if self._record is not None:
                self._record.trouble = trouble  # that an idle connection has ended is none
        began = self._seconds()
        try:
            addresses = await self._addresses(site.host)
        except (DnsTemporary, NoUsableHost) as error:
            self._attempt.host_unknown(site.host, error, configured=site.configured)
            if self._record is not None:
                self._record.fails(f"{site.host}: {error}")
            return
        for address in addresses:
            if self._seconds() > self._until:
                return
            try:
                connection = await self._opening.open(
                    site, address, self._settings, requirement, self._record
                )
            except Trouble as trouble:
                if self._record is not None:
                    self._record.fails(f"no session: {trouble}")
                why = str(trouble) if trouble.result else ""
                tls = trouble.tls or fallen_short(requirement, why)
                peer = Peer(site.host, address, site.port, tls)
                contact = Contact(peer, Timing(self._since(began)))
                self._attempt.site_fails(trouble, contact)
            else:
                await self._talk(connection, site, self._since(began))
                return

    async def _talk(self, connection: Connection, site: Site, connect_s: float) -> bool:
        """Send on ``connection``; False if it had been dead before."""
        session = Session(connection, site, self._seconds, connect_s, self._now_ms)
        uses = connection.uses
        try:
            limit = self._settings.recipients_per_transaction
            alive = await session.send(self._attempt, self._message, limit, self._those)
        except BaseException:
            connection.abort()
            raise
        if alive:
            self._not_asked = session.not_asked
            if self._record is not None and self._attempt.left and not self._not_asked:
                self._record.trouble = True  # another host is to do what this one would not
        self._pool.park(site, connection, self._settings)
        self.sessions += alive and connection.uses > uses
        return alive

    async def _addresses(self, host: str) -> Sequence[str]:
        """Return the addresses to try; the families come by turns."""
        if host.startswith("/"):  # a unix socket
            return ("",)
        if host.startswith("["):
            return (literal_address(host),)
        if is_address(host):
            return (host,)
        return (await self._exchangers.addresses(host))[: self._settings.max_addresses]

    def _since(self, began: float) -> float:
        return float(self._seconds() - began)


def _go_on(record: Recorder, connection: Connection, site: Site) -> None:
    """Let ``record`` hear of a connection that has served other messages before."""
    connection.record = record
    if connection.secrets is not None:
        record.beware(connection.secrets)
    where = site.socket or f"{site.host}[{connection.address}]:{site.port}"
    record.note(
        f"connection to {where} used again,"
        f" for the message after {connection.uses}; {told(connection.tls)}"
    )


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


def literal_address(domain: str) -> str:
    """Return the IP address in an address literal (RFC 5321 §4.1.3).

    Raises ``NoSuchDomain`` if there is none in it.
    """
    address = domain.strip("[]").removeprefix("ipv6:")
    if not is_address(address):
        raise NoSuchDomain(f"{domain} is not an address")
    return address


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
