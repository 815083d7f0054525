"""One message on its way from host to host, and among the addresses of each.

For every host it is found out how private a session must be; a connection that waits for work
is preferred to a new one; addresses are tried in turn until one lets us in.  What a failure means,
and with that whether another host is tried, is decided in ``attempt``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from twisted.internet.defer import Deferred

from mta.delivery.attempt import Attempt
from mta.delivery.connection import Connection
from mta.delivery.contact import Contact
from mta.delivery.counting import Counting
from mta.delivery.opening import Opening, Site
from mta.delivery.outgoing import Outgoing, family_of, same_family
from mta.delivery.pool import Pool
from mta.delivery.routes import Smarthost
from mta.delivery.securing import Securing, is_address, of_smarthost
from mta.delivery.session import Message, Session
from mta.delivery.settings import DeliverySettings
from mta.delivery.shaped import at_least
from mta.delivery.transcript import Recorder, told
from mta.delivery.trouble import Trouble
from mta.dns.answers import DnsTemporary
from mta.dns.mx import MailHost, NoSuchDomain, NoUsableHost
from mta.mail.envelope import Recipient
from mta.mail.outcome import Peer, Timing
from mta.mail.security import ANYTHING, Published, Requirement, Skip, Source
from mta.mail.shape import Shape
from mta.security.facts import Where
from mta.security.judgement import fallen_short


class Exchangers(Protocol):
    """Where mail for a domain goes; ``mta.dns.mx.MailExchangers``."""

    def hosts(self, domain: str) -> Deferred[tuple[MailHost, ...]]:
        """Give the hosts of ``domain``, best first."""

    def addresses(self, host: str) -> Deferred[tuple[str, ...]]:
        """Give the IP addresses of ``host``."""


@dataclass(frozen=True, slots=True)
class Means:
    """What all walks share."""

    pool: Pool
    opening: Opening
    exchangers: Exchangers
    seconds: Callable[[], float]  # how long things take
    now_ms: Callable[[], int]  # the wall clock, of deadlines


class Walk:
    """One message on its way from host to host."""

    def __init__(
        self,
        means: Means,
        attempt: Attempt,
        message: Message,
        how: tuple[DeliverySettings, Shape, Outgoing],
        secured: Requirement | Securing,
        record: Recorder | None,
    ) -> None:
        """``secured`` is how private sessions must be, or says it of each host."""
        settings, self._shape, self._outgoing = how
        self.sessions = 0  # how many hosts have heard about the message
        self.talked = 0  # how many sessions there were, also with hosts that could not take it
        self.counting: Counting | None = None  # tells of TLS sessions, where they are counted
        self._record = record
        self._pool = means.pool
        self._opening = means.opening
        self._exchangers = means.exchangers
        self._seconds = means.seconds
        self._now_ms = means.now_ms
        self._until = self._seconds() + settings.timeouts.total
        self._attempt = attempt
        attempt.has_other_family = len(self._outgoing.families | self._outgoing.closed) > 1
        attempt.half_closed = self.half_closed = bool(self._outgoing.closed)
        self._message = message
        self._settings = settings
        self._secured = secured
        self._requirement = ANYTHING
        self._kept_to: Published | None = None  # a policy of MTA-STS that has stood in the way
        self._those: list[Recipient] | None = None  # whom it is about now, if not about all
        self._not_asked: list[Recipient] = []  # there was no room for them on a connection

    async def along(self, hosts: Sequence[tuple[Site, MailHost]], domain: str) -> None:
        """Try the hosts in their order.

        Once more, if hosts have been left alone, or have failed, because of a policy that the
        domain has replaced meanwhile (RFC 8461 §5.1).
        """
        await self._once(hosts, domain)
        kept_to, self._kept_to = self._kept_to, None
        if not self._attempt.left or kept_to is None or not isinstance(self._secured, Securing):
            return
        if await self._secured.replaced(kept_to):
            if self._record is not None:
                self._record.note(f"once more: {domain} has another MTA-STS policy now")
            await self._once(hosts, domain)

    async def _once(self, hosts: Sequence[tuple[Site, MailHost]], domain: str) -> None:
        for site, host in hosts:
            if self.over:
                return
            await self.visit(site, host, domain)

    @property
    def over(self) -> bool:
        """Whether no further host is to hear of the message in this attempt."""
        return not self._attempt.left or self.sessions >= self._settings.max_sessions

    async def visit(self, site: Site, host: MailHost, domain: str) -> None:
        """Try one host, on as many connections as its limits make necessary (RFC 9422)."""
        required = await self._required(site, host, domain)
        if isinstance(required, Skip):
            if required.source is Source.STS:
                self._kept_to = required.published
            self._attempt.not_tried(site.host, required)
            if self.counting is not None:
                self.counting.skipped(site.host, required)
            if self._record is not None:
                self._record.fails(f"{site.host} is not dialled: {required.why}")
            return
        self._requirement = required
        self._those, self._not_asked = None, []
        await self._connect(site)
        while self._not_asked and self._seconds() <= self._until:
            self._those, self._not_asked = self._not_asked, []
            await self._connect(site)

    async def _required(self, site: Site, host: MailHost, domain: str) -> Requirement | Skip:
        """Find out how private a session with one host must be, or why there is none."""
        found: Requirement | Skip
        if isinstance(site.target, Smarthost):
            found = of_smarthost(site.target)
        elif isinstance(self._secured, Requirement):
            found = self._secured
        else:
            where = Where(domain, host.name, host.signed, host.expanded)
            found = await self._secured.requirement(where, site.port)
        return at_least(found, self._shape)

    async def _connect(self, site: Site) -> None:
        """Use a connection that waits for work, or the host's addresses in turn."""
        requirement = self._requirement
        trouble = self._record is not None and self._record.trouble
        while (connection := self._pool.take(site, requirement)) is not None:
            if self._record is not None:
                _go_on(self._record, connection, site)
            if await self._talk(connection, site, 0.0):
                await self._other_family(site, connection.address)
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
        await self._dial(site, addresses, began)

    async def _dial(self, site: Site, addresses: Sequence[str], began: float) -> None:
        """Try addresses in turn until one lets us in, and talk there."""
        for address in addresses:
            if self._seconds() > self._until:
                return
            if await self._open(site, address, began):
                await self._other_family(site, address)
                return

    async def _open(self, site: Site, address: str, began: float) -> bool:
        """Send on a new connection; False if there is none."""
        requirement = self._requirement
        try:
            connection = await self._opening.open(
                site, address, self._settings, requirement, self._record
            )
        except Trouble as trouble:
            if self._record is not None:
                self._record.fails(f"no session: {trouble}")
            if self.counting is not None:
                self.counting.failed(requirement, site.host, address, trouble)
            why = str(trouble) if trouble.result else ""
            if trouble.result is not None and requirement.source is Source.STS:
                self._kept_to = requirement.published
            tls = trouble.tls or fallen_short(requirement, why)
            peer = Peer(site.host, address, site.port, tls, source=site.source(address))
            contact = Contact(peer, Timing(self._since(began)))
            self._attempt.site_fails(trouble, contact)
            return False
        await self._talk(connection, site, self._since(began))
        return True

    async def _other_family(self, site: Site, address: str) -> None:
        """Try the host by the other family, for whom it may have refused for our address."""
        attempt = self._attempt
        if not attempt.refused:
            return
        try:
            found = await self._found(site.host)
        except (DnsTemporary, NoUsableHost):  # what was heard counts
            found = ()
        usable = self._outgoing.arrange(found, self._message.envelope.id)
        others = [one for one in usable if not same_family(one, address)]
        if others and self._seconds() <= self._until:
            attempt.has_other_family, waiting = False, self._those
            self._those = [one for one in attempt.left.values() if one.number in attempt.refused]
            if self._record is not None:
                self._record.note("refused, perhaps for our address: once more by the other family")
            await self._open(site, others[0], self._seconds())
            attempt.has_other_family, self._those = True, waiting
        closed = self._outgoing.closed
        attempt.other_family_done(closed=any(family_of(one) in closed for one in found))

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
        if alive and self.counting is not None:
            self.counting.opened(self._requirement, site.host, connection)
        if alive:
            self._not_asked = session.not_asked
            if self._record is not None and self._attempt.left and not self._not_asked:
                self._record.trouble = True  # another host is to do what this one would not
        self.talked += alive
        self._pool.park(site, connection, self._settings)
        self.sessions += alive and connection.uses > uses
        return alive

    async def _addresses(self, host: str) -> Sequence[str]:
        """Return the addresses to try; the families come by turns."""
        found = await self._found(host)
        if found == ("",):
            return found
        addresses = self._outgoing.arrange(found, self._message.envelope.id)
        if not addresses:
            raise self._outgoing.nobody(host, found)
        return addresses[: self._settings.max_addresses]

    async def _found(self, host: str) -> Sequence[str]:
        """Return all addresses of ``host``; a socket has an empty one."""
        if host.startswith("/"):
            return ("",)
        if host.startswith("["):
            return (literal_address(host),)
        return (host,) if is_address(host) else await self._exchangers.addresses(host)

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


def literal_address(domain: str) -> str:
    """Return the IP address in an address literal (RFC 5321 §4.1.3).

    Raises ``NoSuchDomain`` if there is none in it.
    """
    address = domain.strip("[]").removeprefix("ipv6:")
    if not is_address(address):
        raise NoSuchDomain(f"{domain} is not an address")
    return address
