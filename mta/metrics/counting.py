"""From events to counters: what ``mta.log`` writes out is counted here, and nothing else.

An ``Emit`` that never raises: an event that it cannot count is counted as that, and mail goes on.
Words that a peer may have chosen are brought down to known ones.
"""

from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

from mta.mail.cause import Cause
from mta.mail.events import (
    Accepted,
    Alert,
    Attempted,
    Authenticated,
    AuthenticationFailed,
    Disconnected,
    Event,
    Finished,
    LeaseLost,
    Note,
    Operated,
    Refused,
    Reported,
    Restrained,
    Ruled,
)
from mta.mail.outcome import TlsLevel
from mta.metrics.families import Families

OTHER = "other"
_STAGES = frozenset(
    (
        *("connect", "PROXY", "XCLIENT", "EHLO", "HELO", "STARTTLS", "AUTH", "MAIL", "RCPT"),
        *("DATA", "BDAT", "end of data", "RSET", "NOOP", "VRFY", "EXPN", "HELP", "QUIT"),
    )
)
_MECHANISMS = frozenset(
    (
        *("PLAIN", "LOGIN", "EXTERNAL", "OAUTHBEARER", "XOAUTH2"),
        *("SCRAM-SHA-1", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"),
    )
)
_FAILURES = frozenset(("credentials", "disabled", "blocked", "unavailable", "downgrade"))
_ENDINGS = frozenset(("quit", "lost", "timeout", "too many errors", "shutdown", "TLS"))
_CAUSES = frozenset(Cause)
_VERSIONS = frozenset(("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"))


class Counting:
    """Counts into ``families``."""

    _log = Logger()

    def __init__(self, families: Families) -> None:
        self._families = families
        self._failed = False
        _begin_at_zero(families)
        self._by_type: dict[type, Callable[[Any], None]] = {
            Accepted: self._accepted,
            Attempted: self._attempted,
            Finished: lambda _: families.finished.inc(),
            Reported: lambda event: families.reports.labels(event.kind).inc(),
            LeaseLost: lambda _: families.leases_lost.inc(),
            Refused: self._refused,
            Authenticated: lambda event: self._logged_in(event, "success"),
            AuthenticationFailed: self._not_logged_in,
            Disconnected: self._disconnected,
            Ruled: self._ruled,
            Operated: lambda event: families.operations.labels(event.verb).inc(event.recipients),
            Restrained: self._restrained,
            Alert: lambda event: families.alerts.labels(event.what).inc(),
            Note: lambda event: families.notes.labels(event.level, event.part).inc(),
        }

    def __call__(self, event: Event) -> None:
        """Count an event."""
        try:
            self._by_type[type(event)](event)
        except Exception:
            self._families.faults.inc()
            if not self._failed:  # once: each event may have the same fault
                self._failed = True
                self._log.failure("an event could not be counted")

    def _accepted(self, event: Accepted) -> None:
        families, envelope = self._families, event.envelope
        listener = envelope.origin.listener
        version = envelope.origin.tls.partition(" ")[0]
        tls = "none" if not version else _among(version, _VERSIONS)
        families.accepted_messages.labels(listener, tls).inc()
        families.accepted_recipients.labels(listener).inc(len(event.recipients))
        families.accepted_octets.labels(listener).inc(envelope.size)

    def _attempted(self, event: Attempted) -> None:
        families, outcome = self._families, event.outcome
        result = event.status
        cause = _among(outcome.cause, _CAUSES) if outcome.cause else "none"
        families.deliveries.labels(result, cause).inc()
        if outcome.maybe_delivered:
            families.unanswered.labels(result).inc()
        families.replies.labels(_class_of(outcome.code) if outcome.remote else "none").inc()
        if outcome.peer is not None and outcome.peer.address:
            families.tls.labels(outcome.peer.tls.level.value).inc()
        families.attempt_seconds.labels(result).observe(max(0.0, event.total_s - event.queued_s))
        if result == "sent":
            families.delivery_seconds.observe(max(0.0, event.total_s))

    def _refused(self, event: Refused) -> None:
        stage = _among(event.command, _STAGES)
        first = event.reply[:1]
        reply_class = f"{first}xx" if first in ("2", "4", "5") else "none"
        self._families.refusals.labels(event.origin.listener, stage, reply_class).inc()

    def _not_logged_in(self, event: AuthenticationFailed) -> None:
        self._logged_in(event, _among(event.reason, _FAILURES))

    def _logged_in(self, event: Authenticated | AuthenticationFailed, result: str) -> None:
        mechanism = _among(event.mechanism, _MECHANISMS)
        self._families.authentications.labels(event.origin.listener, mechanism, result).inc()

    def _disconnected(self, event: Disconnected) -> None:
        reason = _among(event.reason.partition(":")[0], _ENDINGS)
        self._families.sessions.labels(event.origin.listener, reason).inc()
        self._families.session_seconds.labels(event.origin.listener).inc(max(0.0, event.seconds))

    def _ruled(self, event: Ruled) -> None:
        self._families.rulings.labels(event.who.partition(" ")[0], event.verb).inc()

    def _restrained(self, event: Restrained) -> None:
        if event.begins and not event.already:
            self._families.restraints_begun.labels(event.restraint.verb).inc()


def _begin_at_zero(families: Families) -> None:
    """Have the series that alerts are made of, before anything has happened.

    A series that comes into the world with its first event at 1 has no increase: a monitor would
    not see that event, and of rare ones it is the only one.
    """
    families.alerts.labels("compromise")
    for verb in ("suspend", "slow"):
        families.restraints_begun.labels(verb)
    for kind in ("failure", "delay", "success"):
        families.reports.labels(kind)
    for part in ("delivery", "inbound", "policy", "queue", "service", "spool"):
        families.notes.labels("error", part)
    for result in ("sent", "deferred"):
        families.unanswered.labels(result)
    for result in ("deferred", "bounced"):
        for cause in _CAUSES:
            families.deliveries.labels(result, cause)
    for level in TlsLevel:
        families.tls.labels(level.value)


def _among(word: str, known: frozenset[str]) -> str:
    return word if word in known else OTHER


def _class_of(code: int) -> str:
    return f"{code // 100}xx" if 200 <= code < 600 else "none"
