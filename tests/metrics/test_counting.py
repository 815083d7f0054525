"""Events become figures, under labels that nobody outside can choose."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry

from mta.mail.envelope import Envelope, Origin, Recipient
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
from mta.mail.outcome import Outcome, Peer, Tls, TlsLevel, Verdict
from mta.mail.queue_id import new_queue_id
from mta.mail.restraint import Restraint
from mta.metrics.counting import Counting
from mta.metrics.families import Families

ORIGIN = Origin("smtps", "192.0.2.7", "app", "app7", "ESMTPSA", "TLSv1.3 TLS_AES")
ENVELOPE = Envelope(new_queue_id(1), "a@b.example", 1000, 2, 3, origin=ORIGIN)
PEER = Peer("mx.example", "192.0.2.9", tls=Tls(TlsLevel.DANE))


def counted(*events: Event) -> Callable[..., float | None]:
    """Count events; return what reads one value."""
    families = Families()
    emit = Counting(families)
    for event in events:
        emit(event)
    registry: CollectorRegistry = families.registry
    assert registry.get_sample_value("mta_metrics_faults_total") == 0
    return lambda name, **labels: registry.get_sample_value(name, labels)


def attempted(status: str, outcome: Outcome) -> Attempted:
    """An attempt that began 2 s after the arrival and took 3 s."""
    recipient = Recipient(0, "u@there.example", "there.example")
    return Attempted(ENVELOPE, recipient, outcome, status, 2.0, 5.0, None)


def test_no_answer_after_the_final_dot() -> None:
    """What may have been delivered is counted by what it counts as, and beforehand at nothing."""
    lost = Outcome(
        0, Verdict.DEFERRED, 0, "4.4.2", "lost", "end of data", peer=PEER, maybe_delivered=True
    )
    value = counted(attempted("deferred", lost))
    assert value("mta_deliveries_unanswered_total", result="deferred") == 1
    assert value("mta_deliveries_unanswered_total", result="sent") == 0


def test_an_accepted_message_counts_itself_its_recipients_and_its_octets() -> None:
    """Three figures, by listener; the first by TLS version as well."""
    two = (Recipient(0, "u@x.example", "x.example"), Recipient(1, "v@x.example", "x.example"))
    value = counted(Accepted(ENVELOPE, two))
    assert value("mta_accepted_messages_total", listener="smtps", tls="TLSv1.3") == 1
    assert value("mta_accepted_recipients_total", listener="smtps") == 2
    assert value("mta_accepted_bytes_total", listener="smtps") == 1000


def test_an_attempt_is_told_apart_by_result_cause_reply_and_tls() -> None:
    """A delivery and a deferral; the time of the attempt is without the time in the queue."""
    sent = Outcome(0, Verdict.DELIVERED, 250, "2.0.0", "ok", "end of data", peer=PEER)
    later = Outcome(0, Verdict.DEFERRED, 450, "4.7.1", "no", "RCPT", peer=PEER, cause="greylisted")
    nobody = Outcome(0, Verdict.DEFERRED, 0, "4.4.1", "refused", "connect", cause="connect")
    value = counted(
        attempted("sent", sent), attempted("deferred", later), attempted("deferred", nobody)
    )
    assert value("mta_deliveries_total", result="sent", cause="none") == 1
    assert value("mta_deliveries_total", result="deferred", cause="greylisted") == 1
    assert value("mta_replies_total", reply_class="2xx") == 1
    assert value("mta_replies_total", reply_class="4xx") == 1
    assert value("mta_replies_total", reply_class="none") == 1
    assert value("mta_attempts_tls_total", level="dane") == 2
    assert value("mta_attempt_duration_seconds_sum", result="sent") == 3
    assert value("mta_delivery_delay_seconds_sum") == 5


def test_what_a_client_says_becomes_no_label() -> None:
    """Attack: a client fills the monitor's memory with verbs, mechanisms and reasons it invents."""
    value = counted(
        Refused(ORIGIN, "XYZZY17", "500 5.5.2 What?", "no such command"),
        Refused(ORIGIN, "RCPT", "450 4.7.1 later", "limit: 17"),
        AuthenticationFailed(ORIGIN, "X-OWN", "x", "token is of yesterday 12:01"),
        Authenticated(ORIGIN, "PLAIN"),
        Disconnected(ORIGIN, "TLS: certificate unknown 4711", 0, 1, 2.5),
    )
    assert value("mta_refusals_total", listener="smtps", stage="other", reply_class="5xx") == 1
    assert value("mta_refusals_total", listener="smtps", stage="RCPT", reply_class="4xx") == 1
    login = {"listener": "smtps", "mechanism": "other", "result": "other"}
    assert value("mta_authentications_total", **login) == 1
    login = {"listener": "smtps", "mechanism": "PLAIN", "result": "success"}
    assert value("mta_authentications_total", **login) == 1
    assert value("mta_sessions_ended_total", listener="smtps", reason="TLS") == 1
    assert value("mta_session_seconds_total", listener="smtps") == 2.5


def test_every_other_event_counts_once() -> None:
    """Reports, verbs, restraints, alerts, notes."""
    slow = Restraint(1, "slow", "site", "x", "rate", 1)
    outcome = Outcome(0, Verdict.DELIVERED, 250, "2.0.0", "ok", "end of data")
    value = counted(
        Finished("A"),
        Reported("A", "B", "failure"),
        LeaseLost("A", 0, outcome),
        Ruled("A", "hold", "a rule"),
        Ruled("A", "examined", "fine", "milter rspamd"),
        Operated("hold", "anna", 7, 2, "A"),
        Restrained(slow, begins=True),
        Restrained(slow, begins=True, already=True),
        Restrained(slow, begins=False),
        Alert("compromise", "app7", "too much"),
        Note("error", "spool", "away"),
    )
    assert value("mta_finished_messages_total") == 1
    assert value("mta_reports_total", kind="failure") == 1
    assert value("mta_leases_lost_total") == 1
    assert value("mta_rulings_total", who="policy", verb="hold") == 1
    assert value("mta_rulings_total", who="milter", verb="examined") == 1
    assert value("mta_operated_recipients_total", verb="hold") == 7
    assert value("mta_restraints_begun_total", verb="slow") == 1
    assert value("mta_alerts_total", what="compromise") == 1
    assert value("mta_notes_total", level="error", part="spool") == 1


def test_the_first_of_its_kind_is_an_increase() -> None:
    """An alert on a series that begins at 1 would not ring at the first stolen password."""
    value = counted()
    assert value("mta_alerts_total", what="compromise") == 0
    assert value("mta_notes_total", level="error", part="spool") == 0
    assert value("mta_deliveries_total", result="bounced", cause="blocked-ip") == 0
    assert value("mta_reports_total", kind="failure") == 0
    assert value("mta_attempts_tls_total", level="dane") == 0


def test_an_event_that_cannot_be_counted_does_not_stop_mail() -> None:
    """It is counted as that, and nothing is raised."""
    families = Families()
    broken: Event = object()  # type: ignore[assignment]
    Counting(families)(broken)
    assert families.registry.get_sample_value("mta_metrics_faults_total") == 1
