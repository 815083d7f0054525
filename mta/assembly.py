"""The parts of a relay, built from settings and joined; the composition root.

Every part is made here and nowhere else, and gets what it needs as arguments.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from mta.auth.credentials import Accounts
from mta.config import build as values
from mta.config import build_tls
from mta.config.build_addresses import addresses as addresses_of
from mta.config.build_incoming import blocklists, dnsbl_test_s, verify_settings
from mta.config.build_metrics import metrics
from mta.config.build_milters import milters as milters_of
from mta.config.build_policy import policy as policy_of
from mta.config.build_tls_report import tls_reports
from mta.config.settings import Settings
from mta.delivery.delivery import Delivery
from mta.delivery.doubt import Marker
from mta.delivery.sites import SiteFinder
from mta.descriptors import Descriptors
from mta.dkim.signer import Signer
from mta.dns.dane import DaneLookup
from mta.dns.mx import MailExchangers
from mta.dns.resolver import Resolver
from mta.dns.validation import State, Validation
from mta.dnsbl.lists import Lists
from mta.gate.gate import Gate
from mta.inbound.listener import Inbound
from mta.inbound.refusals import KEEP_MS, Refusals
from mta.log.mail_log import MailLog
from mta.mail.events import Note
from mta.parts import Parts
from mta.policy.addresses import Addresses
from mta.policy.limits import HOUR_MS
from mta.queue.budgets import Budgets
from mta.queue.scheduler import Scheduler
from mta.spool import alarms, dotted
from mta.spool.clock import SpoolClock
from mta.spool.database import Database
from mta.spool.listening import Listener
from mta.sts.fetch import PolicyFetch
from mta.sts.policies import Policies
from mta.sts.renewal import Renewal
from mta.tls.certificates import ServerCertificates
from mta.tls.level import ClientTls
from mta.verify.message import Verifier

_OVER = {
    alarms.ROOM: "new mail has room again",
    alarms.DESCRIPTORS: "there are descriptors for new clients again",
}


@dataclass(frozen=True, slots=True)
class _Common:
    """What nearly every part is given."""

    reactor: Any
    settings: Settings
    log: MailLog
    database: Database
    clock: SpoolClock
    ours: Addresses | None

    @property
    def node(self) -> str:
        """The name of this process in the spool."""
        return values.node_name(self.settings)


@dataclass(frozen=True, slots=True)
class _Outward:
    """What knows the world: names, policies, and the way there."""

    resolver: Resolver
    exchangers: MailExchangers
    validation: Validation | None
    tls: ClientTls
    sts: Renewal
    delivery: Delivery


def build(reactor: Any, settings: Settings, *, foreground: bool) -> Parts:
    """Build every part; opens no file but certificates and secrets, starts no thread."""
    log = MailLog(reactor)
    database = Database(settings.spool.url, reactor, emit=log, min_free=settings.spool.min_free)
    clock = SpoolClock(reactor, log, settings.spool.url)
    common = _Common(reactor, settings, log, database, clock, addresses_of(settings))
    database.when_short = partial(_tell_of_room, common)
    accounts = Accounts(database, reactor)
    accounts.use(values.tokens(settings, reactor))
    certificates = _certificates(settings)
    out = _outward(common)
    delivery = out.delivery
    signer = Signer(reactor, values.signing_rules(settings))
    names = SiteFinder(out.exchangers, reactor.seconds, delivery.shaping)
    scheduler = _scheduler(common, delivery, signer, names)
    reports = tls_reports(
        reactor, settings, out.tls, database, out.resolver, signer, emit=log, queued=scheduler.kick
    )
    delivery.count(reports.count)
    gate = Gate(
        reactor, database, out.exchangers, delivery.destination, policy_of(settings), log,
        clock.now_ms,
    )  # fmt: skip
    delivery.count_with(gate.shared.counts)
    budgets = Budgets(reactor, gate.now_ms, database, common.node, log, delivery.wait)
    lists = Lists(reactor, out.resolver, blocklists(settings), log, dnsbl_test_s(settings))
    verifier = Verifier(reactor, out.resolver, verify_settings(settings))
    descriptors = Descriptors(reactor)
    descriptors.told = partial(_alarm, common, alarms.DESCRIPTORS)
    inbound = Inbound(
        reactor,
        values.inbound_settings(settings, common.ours),
        database=database,
        handover=scheduler,
        accounts=accounts,
        certificates=certificates,
        emit=Refusals(log, _shared(gate)),
        signer=signer,
        gate=gate,
        lists=lists,
        verifier=verifier,
        now_ms=clock.now_ms,
        room=database.room.has,
        crowded=descriptors.short,
    )
    inbound.filter(milters_of(settings, reactor))
    return Parts(
        reactor, settings, foreground, log, database, accounts, certificates, delivery, names,
        scheduler, inbound, signer, gate, lists, verifier, out.validation, budgets, out.sts,
        reports, metrics(reactor, settings, log, database, inbound, scheduler, delivery),
        _listener(common, scheduler), clock, descriptors,
    )  # fmt: skip


def _certificates(settings: Settings) -> ServerCertificates | None:
    """Return what the listeners show, if any of them speaks TLS."""
    pairs = values.certificate_files(settings)
    if not pairs:
        return None
    return ServerCertificates(pairs, clients=values.clients(settings), minimum=settings.tls.minimum)


def _outward(common: _Common) -> _Outward:
    """Build the resolver, what stands on it, and delivery."""
    reactor, settings = common.reactor, common.settings
    resolver = Resolver(
        reactor,
        values.dns_servers(settings),
        timeout_s=settings.dns.timeout.total_seconds(),
        attempts=settings.dns.attempts,
        validating=settings.dns.validating,
        cache_size=settings.dns.cache_size,
    )
    exchangers = MailExchangers(resolver, frozenset({settings.host_name}))
    validation = _validation(common, resolver)
    dane = None
    if validation is not None:
        dane = DaneLookup(resolver, reactor.seconds, lambda: validation.state.off)
    tls = build_tls.client_tls(settings)
    fetch = PolicyFetch(reactor, tls, exchangers.addresses)
    policies = Policies(
        reactor, resolver, fetch, common.database, common.log, build_tls.sts(settings)
    )
    sts = Renewal(reactor, common.database, policies, common.log)
    delivery = Delivery(
        reactor,
        values.delivery_settings(settings, common.ours),
        exchangers,
        tls,
        common.log,
        dane=dane,
        sts=sts.policies,
    )
    mark = partial(common.database.write_together, dotted.mark)
    delivery.mark_with(partial(Marker, mark, common.clock.now_ms))
    return _Outward(resolver, exchangers, validation, tls, sts, delivery)


def _scheduler(common: _Common, delivery: Delivery, signer: Signer, names: SiteFinder) -> Scheduler:
    scheduler = Scheduler(
        common.reactor,
        common.database,
        delivery.deliver,
        delivery.destination,
        values.queue_settings(common.settings, common.ours),
        common.node,
        common.log,
        now_ms=common.clock.now_ms,
        signer=signer,
        names=names,
        spool_clock=common.clock,
        in_doubt=delivery.in_doubt,
    )
    scheduler.restraints.route_of = delivery.route_of
    return scheduler


def _listener(common: _Common, scheduler: Scheduler) -> Listener | None:
    """Return what hears of other processes' work; on SQLite there is nobody."""
    url = common.settings.spool.url
    if url.startswith("sqlite"):
        return None
    listener = Listener(url, common.reactor, lambda: look(), common.log)  # noqa: PLW0108 - is bound below
    look = scheduler.listen(lambda: listener.listening)
    return listener


def _validation(common: _Common, resolver: Resolver) -> Validation | None:
    """Return what tests the resolver, if that is said to validate."""
    settings, log, database = common.settings, common.log, common.database
    if not settings.dns.validating:
        return None

    def tell(state: State) -> None:
        log(Note(state.level, "dns", state.alarm or "the resolver validates DNSSEC again"))
        said = database.write(alarms.put, common.node, "dns", state.alarm, common.clock.now_ms())
        said.addErrback(lambda failure: log(Note("warning", "dns", failure.getErrorMessage())))

    every_s = settings.dns.test_every.total_seconds()
    return Validation(common.reactor, resolver, build_tls.probes(settings), every_s, tell)


def _tell_of_room(common: _Common, why: str) -> None:
    """Raise the alarm that new mail is refused for want of room, or with "" take it back."""
    text = f"new mail is refused (452) for want of room: {why}" if why else ""
    _alarm(common, alarms.ROOM, text)


def _alarm(common: _Common, name: str, text: str) -> None:
    """Raise an alarm, in the log and for ``mta status``; or with "" take it back."""
    level, over = ("error", "") if text else ("info", _OVER[name])
    common.log(Note(level, "service", text or over))
    now_ms = common.clock.now_ms()
    said = common.database.write(alarms.put, common.node, name, text, now_ms)
    said.addErrback(lambda failure: common.log(Note("warning", "spool", str(failure.value))))


def _shared(gate: Gate) -> Callable[[str], None]:
    """Return what adds one to a counter that all processes share."""

    def add(name: str) -> None:
        gate.shared.counts.add(name, HOUR_MS, 1, gate.now_ms(), KEEP_MS)

    return add
