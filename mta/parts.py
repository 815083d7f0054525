"""All parts of a running relay: start, new settings, stop.

``mta.assembly`` builds and joins them, once; ``use`` puts new settings into force in all of them.
Nothing here decides anything about mail.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IListeningPort

from mta import turns
from mta.auth.credentials import Accounts
from mta.config import build as values
from mta.config import build_tls
from mta.config.build_addresses import addresses as addresses_of
from mta.config.build_incoming import blocklists, dnsbl_test_s, verify_settings
from mta.config.build_log import sinks
from mta.config.build_milters import milters as milters_of
from mta.config.build_policy import policy as policy_of
from mta.config.build_tls_report import tls_report
from mta.config.running import as_text
from mta.config.settings import Settings
from mta.delivery.delivery import Delivery
from mta.delivery.sites import SiteFinder
from mta.descriptors import Descriptors
from mta.dkim.signer import Signer
from mta.dns.validation import Validation
from mta.dnsbl.lists import Lists
from mta.gate.gate import Gate
from mta.inbound.listener import Inbound
from mta.inbound.settings import ListenerSettings, TlsMode
from mta.launch import EX_UNAVAILABLE, StartFailed
from mta.log.mail_log import MailLog, Stamp
from mta.log.sinks import Sink
from mta.mail.events import Note
from mta.ports import MONITOR, Inherited, adopt, adopted, bind, bound, place
from mta.queue.budgets import Budgets
from mta.queue.scheduler import Scheduler
from mta.spool import alarms, in_force
from mta.spool.clock import SpoolClock
from mta.spool.database import Database
from mta.spool.engine import prepare
from mta.spool.errors import SpoolUnavailable, SpoolUnusable
from mta.spool.listening import Listener
from mta.sts.renewal import Renewal
from mta.tls.certificates import CertificateUnusable, ServerCertificates
from mta.tlsrpt.reports import TlsReports
from mta.verify.message import Verifier

if TYPE_CHECKING:
    from mta.metrics.watched import Watched

SESSION_GRACE_S = 15.0  # for a message that is arriving when the service stops
DELIVERY_GRACE_S = 20.0  # for deliveries under way; systemd's TimeoutStopSec is above the sum


@dataclass
class Parts:
    """What runs.  ``log`` is the emit of everything."""

    reactor: Any
    settings: Settings
    foreground: bool
    log: MailLog
    database: Database
    accounts: Accounts
    certificates: ServerCertificates | None
    delivery: Delivery
    names: SiteFinder
    scheduler: Scheduler
    inbound: Inbound
    signer: Signer
    gate: Gate
    lists: Lists
    verifier: Verifier
    validation: Validation | None
    budgets: Budgets
    sts: Renewal
    tls_reports: TlsReports
    metrics: "Watched | None"
    listener: Listener | None
    clock: SpoolClock
    descriptors: Descriptors
    ports: list[IListeningPort] = field(default_factory=list)
    monitors: IListeningPort | None = None
    inherited: Inherited | None = None  # of a worker: what its supervisor has bound

    def listen(self) -> None:
        """Bind every listener, or take up what was inherited; ``StartFailed`` if that fails."""
        listeners, where = values.listeners(self.settings), self.settings.metrics.listen
        given = self.inherited
        if given is None:
            bound(self.reactor, listeners, self.inbound.factory, self.ports, self._opened)
        else:
            sockets = given.listeners
            adopted(
                self.reactor, listeners, self.inbound.factory, sockets, self.ports, self._opened
            )
        self.descriptors.install()
        turns.install()
        if self.metrics is not None and where is not None:
            from mta.metrics.web import site  # noqa: PLC0415 - only who wants it pays for it

            if given is None:
                self.monitors = bind(self.reactor, MONITOR, where, site(self.metrics))
            elif given.monitor is not None:
                self.monitors = adopt(self.reactor, given.monitor, site(self.metrics))

    def _opened(self, listener: ListenerSettings, port: Any) -> None:
        """Have clients told when no descriptor is left for them, where they would understand."""
        if listener.tls is not TlsMode.IMPLICIT:
            self.descriptors.speak(port.fileno())

    def start(self) -> None:
        """Check the spool, open the logs, start threads and the queue."""
        try:
            warning = prepare(self.settings.spool.url, migrate=self.settings.spool.upgrade_at_start)
            self.clock.load()
            self.gate.shared.load(self.settings.spool.url)
        except (SpoolUnusable, SpoolUnavailable) as error:
            raise StartFailed(str(error), EX_UNAVAILABLE) from error
        self._open_log()
        if warning:
            self.log(Note("warning", "spool", warning))
        self.database.start()
        self._tell_settings()
        self._write("service", alarms.begin)
        self.gate.shared.start()
        self.accounts.start()
        self.signer.start()
        if self.validation is not None:
            # What the last run knew of the resolver is found out anew
            self._write("dns", alarms.put, "dns", "", 0)
            self.validation.start()
        self.sts.start()
        self.verifier.start()
        self.lists.start()
        self.budgets.start()
        self._ask_before_dialling()
        self._tell_sources()
        self.scheduler.start()
        self.tls_reports.start()
        if self.listener is not None:
            self.listener.start()

    def _ask_before_dialling(self) -> None:
        """Let the queue keep what has to wait for a budget."""
        self.scheduler.wait_for(self.budgets.waits if self.delivery.has_budgets else None)

    def _tell_sources(self) -> None:
        """Let the queue know the addresses that mail goes out from, if any is configured."""
        of = self.delivery.sources_of if self.delivery.has_sources else None
        self.scheduler.restraints.use_sources(of, shaped=self.delivery.shaping.by_source)

    def _tell_settings(self) -> None:
        """Write down what is in force: "mta config diff" compares with it."""
        self._write("service", in_force.put, as_text(self.settings), self.clock.now_ms())

    def _write(self, part: str, fn: Callable[..., None], *arguments: object) -> None:
        """Write something about this process; that it fails is only said."""
        done = self.database.write(fn, values.node_name(self.settings), *arguments)
        done.addErrback(lambda failure: self.log(Note("warning", part, str(failure.value))))

    def _open_log(self) -> None:
        self.log.use(*sinks(self.settings, foreground=self.foreground))

    def use(self, settings: Settings) -> None:
        """Put new settings into force, all or none.

        Whatever can fail is done first: passwords, authorities, certificates and private keys
        are read and logs are opened, and only then does any part see anything new.
        """
        ours = addresses_of(settings)
        inbound = values.inbound_settings(settings, ours)
        delivery = values.delivery_settings(settings, ours)
        queue = values.queue_settings(settings, ours)
        policy = policy_of(settings)
        milters = milters_of(settings, self.reactor)
        tls = build_tls.client_tls(settings)
        rules = values.signing_rules(settings)
        tokens = values.tokens(settings, self.reactor)
        log_to = None
        if settings.log != self.settings.log:
            log_to = sinks(settings, foreground=self.foreground)
        try:
            self._renew_certificates(settings)
        except (CertificateUnusable, StartFailed):
            _close(log_to)
            raise
        if log_to is not None:
            self.log.use(*log_to)
        self.accounts.use(tokens, same_keys=settings.oauth == self.settings.oauth)
        self.settings = settings
        self.inbound.use(inbound)
        self.inbound.filter(milters)
        self.delivery.use(delivery, tls)
        self.sts.policies.use(build_tls.sts(settings), tls)
        self.tls_reports.use(tls_report(settings), tls)
        self.delivery.count(self.tls_reports.count)
        self.names.use(delivery.shaping)
        self._tell_sources()
        self.scheduler.use(queue)
        self._ask_before_dialling()
        self.signer.rules = rules
        self.gate.use(policy)
        self.verifier.settings = verify_settings(settings)
        self.lists.use(blocklists(settings), dnsbl_test_s(settings))
        self._tell_settings()

    def _renew_certificates(self, settings: Settings) -> None:
        pairs = values.certificate_files(settings)
        if self.certificates is not None and pairs:
            self.certificates.reload(pairs, values.clients(settings))
        elif any(one.tls != "none" for one in settings.listener):
            problem = "TLS where there was none: restart to use it"
            raise StartFailed(f"listener: {problem}", EX_UNAVAILABLE)

    def places(self) -> list[str]:
        """Return where clients can connect, as people write it."""
        return [place(port.getHost()) for port in self.ports]

    def warnings(self) -> tuple[str, ...]:
        """Return what an operator should know although it works."""
        expiring = self.certificates.warnings if self.certificates is not None else ()
        return (*expiring, *values.unsigned(self.settings), *self._unbound())

    def _unbound(self) -> list[str]:
        """Name the listeners that are new since the supervisor has bound its sockets."""
        there = None if self.inherited is None else self.inherited.listeners
        new = (
            [] if there is None else [o.name for o in self.settings.listener if o.name not in there]
        )
        return [f"listener {name} is new: restart to use it" for name in new]

    async def stop(self) -> None:
        """Stop in order; every step is bounded."""
        for port in self.ports:
            await maybeDeferred(port.stopListening)
        await self.inbound.shutdown(SESSION_GRACE_S)
        self.descriptors.stop()
        if self.listener is not None:
            self.listener.stop()
        await self.scheduler.stop(DELIVERY_GRACE_S)
        self.budgets.stop()
        if self.validation is not None:
            self.validation.stop()
        self.sts.stop()
        await self.delivery.stop()
        await self.tls_reports.stop()
        await self.gate.shared.stop()
        self.accounts.stop()
        self.signer.stop()
        self.lists.stop()
        self.verifier.stop()
        await self.database.stop()
        if self.monitors is not None:
            await maybeDeferred(self.monitors.stopListening)
        self.log(Note("info", "service", "stopped"))
        self.log.close()


def _close(log_to: tuple[list[tuple[Sink, Stamp]], list[Sink]] | None) -> None:
    if log_to is not None:
        for sink in (*(sink for sink, _ in log_to[0]), *log_to[1]):
            sink.close()
