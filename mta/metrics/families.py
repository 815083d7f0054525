"""Every metric of the program, in a registry of its own: names, labels, units (docs/metrics.rst).

Cardinality is bounded: a label is a listener of the configuration or a word of a closed list,
never a domain, a login, an address or anything that a peer has said.
"""

import platform
from dataclasses import dataclass, field

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    ProcessCollector,
)

from mta import __version__
from twisted import __version__ as twisted_version

_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_DELAYS = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400)
_COMMITS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(slots=True)
class Families:
    """All of them; ``registry`` is what a scrape writes out."""

    registry: CollectorRegistry = field(
        default_factory=lambda: CollectorRegistry(auto_describe=True)
    )
    accepted_messages: Counter = field(init=False)
    accepted_recipients: Counter = field(init=False)
    accepted_octets: Counter = field(init=False)
    refusals: Counter = field(init=False)
    authentications: Counter = field(init=False)
    sessions: Counter = field(init=False)
    session_seconds: Counter = field(init=False)
    inbound: Gauge = field(init=False)
    deliveries: Counter = field(init=False)
    unanswered: Counter = field(init=False)
    replies: Counter = field(init=False)
    tls: Counter = field(init=False)
    attempt_seconds: Histogram = field(init=False)
    delivery_seconds: Histogram = field(init=False)
    finished: Counter = field(init=False)
    reports: Counter = field(init=False)
    leases_lost: Counter = field(init=False)
    rulings: Counter = field(init=False)
    operations: Counter = field(init=False)
    restraints_begun: Counter = field(init=False)
    alerts: Counter = field(init=False)
    notes: Counter = field(init=False)
    running: Gauge = field(init=False)
    in_memory: Gauge = field(init=False)
    idle: Gauge = field(init=False)
    queue: Gauge = field(init=False)
    claimed: Gauge = field(init=False)
    due: Gauge = field(init=False)
    oldest: Gauge = field(init=False)
    restraints: Gauge = field(init=False)
    brakes: Gauge = field(init=False)
    alarms: Gauge = field(init=False)
    sampled: Gauge = field(init=False)
    commit_seconds: Histogram = field(init=False)
    commit_writes: Histogram = field(init=False)
    ready: Gauge = field(init=False)
    faults: Counter = field(init=False)

    def __post_init__(self) -> None:
        """Make them all."""
        self._accepting()
        self._delivering()
        self._happening()
        self._queueing()
        self._process()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(name, text, labels, registry=self.registry, buckets=buckets)

    def _accepting(self) -> None:
        counter = self._counter
        self.accepted_messages = counter(
            "mta_accepted_messages_total", "Messages answered 250.", "listener", "tls"
        )
        self.accepted_recipients = counter(
            "mta_accepted_recipients_total", "Their recipients.", "listener"
        )
        self.accepted_octets = counter(
            "mta_accepted_bytes_total", "Their octets, header and body.", "listener"
        )
        self.refusals = counter(
            "mta_refusals_total", "Commands refused.", "listener", "stage", "reply_class"
        )
        self.authentications = counter(
            "mta_authentications_total", "Log-ins.", "listener", "mechanism", "result"
        )
        self.sessions = counter(
            "mta_sessions_ended_total", "Inbound sessions that have ended.", "listener", "reason"
        )
        self.session_seconds = counter(
            "mta_session_seconds_total", "How long these sessions lasted, added up.", "listener"
        )
        self.inbound = self._gauge(
            "mta_inbound_connections", "Inbound sessions that are open.", "listener"
        )

    def _delivering(self) -> None:
        counter = self._counter
        self.deliveries = counter(
            "mta_deliveries_total", "Attempts, one for each recipient.", "result", "cause"
        )
        self.unanswered = counter(
            "mta_deliveries_unanswered_total", "Attempts without a word after the dot.", "result"
        )
        self.replies = counter(
            "mta_replies_total", "Next hops' last words on a recipient.", "reply_class"
        )
        self.tls = counter(
            "mta_attempts_tls_total", "Attempts that reached a host, by what TLS came to.", "level"
        )
        self.attempt_seconds = self._histogram(
            "mta_attempt_duration_seconds", "Beginning to end of an attempt.", _SECONDS, "result"
        )
        self.delivery_seconds = self._histogram(
            "mta_delivery_delay_seconds", "From arrival, or release, to delivery.", _DELAYS
        )
        self.running = self._gauge("mta_attempts_running", "Attempts under way.")
        self.idle = self._gauge("mta_outbound_idle_connections", "Connections kept for more mail.")

    def _happening(self) -> None:
        counter = self._counter
        self.finished = counter("mta_finished_messages_total", "Messages with nobody left.")
        self.reports = counter("mta_reports_total", "Reports to senders, queued.", "kind")
        self.leases_lost = counter("mta_leases_lost_total", "Outcomes dropped: not ours any more.")
        self.rulings = counter(
            "mta_rulings_total", "What policy and filters did to accepted mail.", "who", "verb"
        )
        self.operations = counter(
            "mta_operated_recipients_total", "Recipients that operators changed.", "verb"
        )
        self.restraints_begun = counter(
            "mta_restraints_begun_total", "Suspensions and throttles that began.", "verb"
        )
        self.alerts = counter("mta_alerts_total", "Alerts, such as of a braked login.", "what")
        self.notes = counter("mta_notes_total", "What the service said of itself.", "level", "part")

    def _queueing(self) -> None:
        gauge = self._gauge
        self.queue = gauge("mta_queue_recipients", "Recipients that wait, of the spool.", "state")
        self.claimed = gauge("mta_queue_claimed_recipients", "Recipients in some process's hands.")
        self.due = gauge("mta_queue_due_recipients", "Due, and in nobody's hands.")
        self.oldest = gauge("mta_queue_oldest_age_seconds", "Age of the oldest waiting message.")
        self.restraints = gauge("mta_restraints", "Suspensions and throttles in force.", "verb")
        self.brakes = gauge("mta_brakes", "Logins that are braked.")
        self.alarms = gauge("mta_alarms", "Alarms that processes have raised.")
        self.sampled = gauge(
            "mta_queue_sample_timestamp_seconds", "When the spool was last asked; 0: not yet."
        )
        self.in_memory = gauge("mta_active_recipients", "Recipients in this process's memory.")

    def _process(self) -> None:
        self.commit_seconds = self._histogram(
            "mta_commit_duration_seconds", "From a batch's first statement to its end.", _COMMITS
        )
        self.commit_writes = self._histogram(
            "mta_commit_writes", "Writes that shared one transaction.", _BATCHES
        )
        self.ready = self._gauge("mta_ready", "What /readyz would say: 1 or 0.")
        self.faults = self._counter("mta_metrics_faults_total", "Events that were not counted.")
        build = self._gauge("mta_build_info", "Always 1.", "version", "python", "twisted")
        build.labels(__version__, platform.python_version(), twisted_version).set(1)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
