"""A delivery that stops before MAIL: the very walk, seen by somebody who takes notes.

Everything is decided where delivery decides it: routes, senders, hosts, what TLS has to come
to, addresses, shaping, and what a failure means.  This module only looks on, and ends the walk
where a message would begin to be told: at the address that would be dialled, or, if it is to
``connect``, after EHLO, STARTTLS and log-in, with QUIT.  A Maildir is looked at and not written.

The outcome is that of an attempt: delivered where nothing stands in the way as far as it went,
deferred, or failed, with the words that a real attempt would have had.

Does not know: what a host says to MAIL, RCPT and the content; what the queue has in mind
(turns, back-off, suspensions): whoever asks has to ask the spool for that.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from errno import EACCES
from typing import Any, TypeAlias

from twisted.internet.defer import CancelledError

from mta.delivery.attempt import Attempt
from mta.delivery.connection import Connection
from mta.delivery.contact import Contact
from mta.delivery.delivery import Delivery
from mta.delivery.mailboxes import Mailboxes
from mta.delivery.maildir import Place, may_be_made
from mta.delivery.opening import Opening, Site
from mta.delivery.outgoing import Outgoing, Way
from mta.delivery.road import HostOnRoad, Road, Tried
from mta.delivery.routes import Mx, Route, Smarthost, Smarthosts
from mta.delivery.securing import DaneFacts, StsFacts
from mta.delivery.session import Message, Session
from mta.delivery.settings import DeliverySettings
from mta.delivery.transcript import Recorder
from mta.delivery.trouble import Trouble
from mta.delivery.walk import Walk
from mta.dns.answers import DnsTemporary
from mta.dns.mx import MailHost, NoSuchDomain
from mta.mail.envelope import Job, Recipient
from mta.mail.outcome import CUT_OFF, Blame, Outcome, Peer, Verdict
from mta.mail.security import Dane, Requirement, Skip
from mta.mail.shape import Shape
from mta.security.facts import Sts
from mta.security.judgement import fallen_short
from mta.smtp.replies import Reply
from mta.tls.peer_certificate import peer_certificate

NOT_DIALLED = "a connection would be tried"
READY = "a session is ready for MAIL"


class _HeardDane:
    """DANE's facts, and which of them were given last."""

    def __init__(self, dane: DaneFacts) -> None:
        self._dane = dane
        self.last: Dane | None = None

    @property
    def off(self) -> str:
        """Why nothing is known now; "" if it is."""
        return self._dane.off

    async def facts(self, host: str, port: int) -> Dane:
        """Return DANE's facts about a host."""
        self.last = await self._dane.facts(host, port)
        return self.last


class _HeardSts:
    """MTA-STS's facts, and which of them were given last."""

    def __init__(self, sts: StsFacts) -> None:
        self._sts = sts
        self.last: Sts | None = None

    @property
    def on(self) -> bool:
        """Policies are looked at."""
        return self._sts.on

    async def facts(self, domain: str, host: str, *, certain: bool = False) -> Sts | None:
        """Return what the domain's policy says of a host."""
        self.last = await self._sts.facts(domain, host, certain=certain)
        return self.last

    async def renewed(self, domain: str, lines: tuple[str, ...]) -> bool:
        """Tell whether another policy is in force, after a look."""
        return await self._sts.renewed(domain, lines)


class _Opening(Opening):
    """Opens sessions, and keeps what they have come to and what certificates say."""

    tried: list[Tried]

    async def open(
        self,
        site: Site,
        address: str,
        settings: DeliverySettings,
        requirement: Requirement,
        record: Recorder | None = None,
    ) -> Connection:
        """Return a connection that MAIL could be sent on."""
        tried = Tried(address)
        self.tried.append(tried)
        try:
            connection = await super().open(site, address, settings, requirement, record)
        except Trouble as trouble:
            tried.trouble = str(trouble)
            tried.tls = trouble.tls or fallen_short(requirement, tried.trouble)
            raise
        tried.tls = connection.tls
        if connection.transport is not None:
            tried.source = getattr(connection.transport.getHost(), "host", "")
        tried.keywords = tuple(sorted(connection.client.extensions.keywords))
        return connection

    async def _shake_hands(self, connection: Connection, site: Site) -> None:
        transport = connection.transport
        try:
            await super()._shake_hands(connection, site)
        finally:
            self.tried[-1].certificate = peer_certificate(transport)


_Heard: TypeAlias = tuple[_HeardDane | None, _HeardSts | None]


class _LookedAt(Mailboxes):
    """Maildirs that are not written."""

    async def _store(self, job: Job, recipient: Recipient, where: Place, host_name: str) -> str:
        try:
            where.path.stat()
        except FileNotFoundError:
            may_be_made(where)
            return "the mailbox would be made, and the message written"
        if not os.access(where.path, os.W_OK | os.X_OK):
            raise OSError(EACCES, "it is not writable for who asks")
        return "the message would be written"


class _Walk(Walk):
    """The walk, which tells ``road`` what it finds."""

    def __init__(self, road: Road, heard: _Heard, connect: bool, *how: Any) -> None:
        super().__init__(*how)
        self._road = road
        self._dane, self._sts = heard
        self._dials = connect
        self._host: HostOnRoad
        self.reached = ""  # how far it has come, in the words of an outcome
        self.contact = Contact()

    async def visit(self, site: Site, host: MailHost, domain: str) -> None:
        """Try one host."""
        self._host = HostOnRoad(host.name, site.port, host)
        self._road.hosts.append(self._host)
        if isinstance(self._opening, _Opening):
            self._opening.tried = self._host.tried
        await super().visit(site, host, domain)

    async def _required(self, site: Site, host: MailHost, domain: str) -> Requirement | Skip:
        for one in (self._dane, self._sts):
            if one is not None:
                one.last = None
        found = await super()._required(site, host, domain)
        self._host.required = found
        self._host.dane = self._dane.last if self._dane is not None else None
        self._host.sts = self._sts.last if self._sts is not None else None
        return found

    async def _addresses(self, host: str) -> Sequence[str]:
        try:
            found = await super()._addresses(host)
        except (DnsTemporary, NoSuchDomain) as error:
            self._host.trouble = str(error)
            raise
        self._host.addresses = tuple(found)
        return found

    async def _dial(self, site: Site, addresses: Sequence[str], began: float) -> None:
        if self.reached:
            return  # the message would be gone by now: other hosts are only looked up
        if self._dials:
            await super()._dial(site, addresses, began)
        else:
            tls = fallen_short(self._requirement, "")
            self.contact = Contact(
                Peer(site.host, addresses[0], site.port, tls, source=site.source(addresses[0]))
            )
            self.reached = NOT_DIALLED
            self.talked += 1  # nothing has been learned against the host

    async def _talk(self, connection: Connection, site: Site, connect_s: float) -> bool:
        session = Session(connection, site, self._seconds, connect_s, self._now_ms)
        try:
            able = session.able(self._attempt, self._message)
            self.contact = session.contact()
            await connection.quit()
        except BaseException:
            connection.abort()
            raise
        self.talked += 1
        if able:
            self.reached = READY
        return True

    def ends_well(self) -> None:
        """As far as it went, nothing stands in the way: say so of everybody who is left."""
        reply = Reply(0, "2.0.0", (self.reached,))
        for number in list(self._attempt.left):
            outcome = self.contact.outcome(
                number, Verdict.DELIVERED, reply, "rehearsal", Blame.NONE
            )
            self._attempt.settle(outcome)


class Rehearsal(Delivery):
    """Rehearses jobs, one at a time."""

    _openings = _Opening
    _stores = _LookedAt

    def __init__(
        self,
        reactor: Any,
        settings: DeliverySettings,
        *others: Any,
        connect: bool,
        dane: DaneFacts | None = None,
        sts: StsFacts | None = None,
        **more: Any,
    ) -> None:
        """The arguments are those of ``Delivery``; without ``connect`` nobody is dialled."""
        heard_dane = None if dane is None else _HeardDane(dane)
        heard_sts = None if sts is None else _HeardSts(sts)
        settings = replace(settings, transcripts="all" if connect else "none")
        super().__init__(reactor, settings, *others, dane=heard_dane, sts=heard_sts, **more)
        self._heard = (heard_dane, heard_sts)
        self._connects = connect
        self.roads: list[Road] = []
        self._walks: list[_Walk] = []  # of the road under way: one, or none

    async def rehearse(self, job: Job) -> list[Road]:
        """Return the roads of ``job``, as a rule one, each with its outcomes.

        What has been found until it is cancelled is in ``roads``.
        """
        self.roads = []
        outcomes = await self.deliver(job)
        if any(one.text == CUT_OFF for one in outcomes):
            raise CancelledError
        for outcome in outcomes:
            for road in self.roads:
                if any(one.number == outcome.recipient for one in road.recipients):
                    road.outcomes.append(outcome)
        return self.roads

    async def _bring(
        self,
        job: Job,
        route: Route,
        domain: str,
        recipients: list[Recipient],
        settings: DeliverySettings,
    ) -> list[Outcome]:
        sender = job.envelope.sender
        self.roads.append(Road(tuple(recipients), sender, route, domain, settings))
        return await super()._bring(job, route, domain, recipients, settings)

    async def _hosts(
        self, target: Mx | Smarthost | Smarthosts, domain: str, way: Way | None
    ) -> Sequence[MailHost]:
        found = await super()._hosts(target, domain, way)
        self.roads[-1].all_hosts = tuple(found)
        return found

    async def _send(self, attempt: Attempt, *what: Any) -> None:
        self._walks = []
        await super()._send(attempt, *what)
        for walk in self._walks:
            if walk.reached:
                walk.ends_well()

    def _walk(
        self,
        attempt: Attempt,
        message: Message,
        how: tuple[DeliverySettings, Shape, Outgoing],
        *more: Any,
    ) -> Walk:
        road = self.roads[-1]
        road.settings, road.shape, road.outgoing = how
        means = (self._means, attempt, message, how, *more)
        walk = _Walk(road, self._heard, self._connects, *means)
        self._walks.append(walk)
        return walk
