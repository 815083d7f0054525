"""Rows and traces of the spool as JSON objects.  The field names are an interface: keep them.

Times are milliseconds UTC and end in ``_ms``, durations are seconds and end in ``_s``,
sizes are octets.  What is not there is null; what is empty is empty.
"""

from collections.abc import Sequence
from typing import Any

from mta.mail.envelope import DeliverBy, Envelope
from mta.mail.outcome import Outcome
from mta.spool.history import Trace, TracedAttempt, TracedRecipient
from mta.spool.listing import QueueRow
from mta.spool.summary import Summary
from mta.spool.transcripts import Transcript


def queue_row(row: QueueRow) -> dict[str, Any]:
    """One recipient in the queue."""
    last = row.last
    return {
        **_envelope(row.envelope),
        "number": row.recipient.number,
        "recipient": row.recipient.address,
        "domain": row.recipient.domain,
        "given": row.recipient.given,
        "notify": row.recipient.notify,
        "orcpt": row.recipient.orcpt,
        "route": row.recipient.route,
        "state": row.state.value,
        "active": row.active,
        "attempts": row.recipient.attempts,
        "next_attempt_ms": row.next_attempt_ms,
        "restraint": "" if row.restraint is None else row.restraint.words,
        "last": None
        if last is None
        else {
            "at_ms": last.at_ms,
            "host": last.host,
            "code": last.code,
            "enhanced": last.enhanced,
            "text": last.text,
            "category": last.category,
        },
    }


def summary(found: Summary) -> dict[str, Any]:
    """The queue at one moment."""
    return {
        "messages": found.messages,
        "recipients": found.recipients,
        "octets": found.octets,
        "estimated": found.estimated,  # messages and octets
        "oldest_ms": found.oldest_ms,
        "domains": [
            {
                "domain": one.domain,
                "state": one.state.value,
                "recipients": one.recipients,
                "oldest_ms": one.oldest_ms,
                "next_attempt_ms": one.next_attempt_ms,
            }
            for one in found.domains
        ],
    }


def trace(found: Trace, reports: Sequence[Trace]) -> dict[str, Any]:
    """The whole life of one message, with what is known of the reports about it."""
    origin = found.envelope.origin
    return {
        **_envelope(found.envelope),
        "finished_ms": found.finished_ms,
        "content_kept": found.octets_kept,
        "parent": found.parent,
        "origin": {
            "listener": origin.listener,
            "client_address": origin.client_address,
            "client_name": origin.client_name,
            "protocol": origin.protocol,
            "tls": origin.tls,
        },
        "recipients": [_recipient(one) for one in found.recipients],
        "attempts": [attempt(one) for one in found.attempts],
        "events": [
            {
                "at_ms": event.at_ms,
                "number": event.recipient,
                "verb": event.verb,
                "who": event.who,
                "text": event.text,
            }
            for event in found.events
        ],
        "reports": [
            {
                "id": report.envelope.id,
                "created_ms": report.envelope.created_ms,
                "recipients": [_recipient(one) for one in report.recipients],
            }
            for report in reports
        ],
    }


def transcript(found: Transcript) -> dict[str, Any]:
    """What was said in one attempt."""
    return {
        "started_ms": found.started_ms,
        "ended_ms": found.ended_ms,
        "node": found.node,
        "numbers": list(found.recipients),
        "lines": found.text.split("\n"),
    }


def _envelope(envelope: Envelope) -> dict[str, Any]:
    return {
        "id": envelope.id,
        "kind": envelope.kind.value,
        "sender": envelope.sender,
        "size": envelope.size,
        "message_id": envelope.message_id,
        "login": envelope.origin.login,
        "requires": list(envelope.requirements),
        "created_ms": envelope.created_ms,
        "expires_ms": envelope.expires_ms,
        "ret": envelope.asked.ret,
        "envid": envelope.asked.envid,
        "priority": envelope.asked.priority,
        "release_ms": envelope.asked.release_ms,
        "deliver_by": _deliver_by(envelope.asked.deliver_by),
    }


def _deliver_by(by: DeliverBy | None) -> dict[str, Any] | None:
    if by is None:
        return None
    return {"deadline_ms": by.deadline_ms, "mode": by.mode, "trace": by.trace}


def _recipient(one: TracedRecipient) -> dict[str, Any]:
    return {
        "number": one.recipient.number,
        "recipient": one.recipient.address,
        "domain": one.recipient.domain,
        "given": one.recipient.given,
        "owner": one.recipient.sender,
        "role": one.recipient.role.value,
        "notify": one.recipient.notify,
        "orcpt": one.recipient.orcpt,
        "route": one.recipient.route,
        "state": one.state.value,
        "node": one.node,
        "attempts": one.recipient.attempts,
        "delay_warned": one.recipient.warned,
        "next_attempt_ms": one.next_attempt_ms,
        "restraint": "" if one.restraint is None else one.restraint.words,
        "finished_ms": one.finished_ms,
    }


def attempt(one: TracedAttempt) -> dict[str, Any]:
    """One attempt for one recipient."""
    return {
        "number": one.outcome.recipient,
        "attempt": one.number,
        "node": one.node,
        "started_ms": one.started_ms,
        "ended_ms": one.ended_ms,
        "state": one.state.value,
        "cause": one.cause,
        "category": one.outcome.cause,
        "site": one.site,
        "next_attempt_ms": one.next_attempt_ms,
        **outcome(one.outcome),
    }


def outcome(outcome: Outcome) -> dict[str, Any]:
    """What came of an attempt."""
    peer = outcome.peer
    return {
        "verdict": outcome.verdict.value,
        "code": outcome.code,
        "enhanced": outcome.enhanced,
        "text": outcome.text,
        "command": outcome.command,
        "blame": outcome.blame.value,
        "maybe_delivered": outcome.maybe_delivered,
        "sender": outcome.sender,
        "connect_s": outcome.timing.connect,
        "transmit_s": outcome.timing.transmit,
        "peer": None
        if peer is None
        else {
            "host": peer.host,
            "address": peer.address,
            "port": peer.port,
            "source": peer.source,
            "use": peer.use,
            "tls": {
                "level": peer.tls.level.value,
                "version": peer.tls.version,
                "cipher": peer.tls.cipher,
                "why": peer.tls.why,
                "required": peer.tls.required,
                "required_why": peer.tls.required_why,
                "observed": peer.tls.observed,
            },
        },
    }
