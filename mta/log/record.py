"""Render events as JSON objects, one a line, with a versioned schema (docs/events.rst).

``type`` is of a closed vocabulary.  Members may be added to a type within a schema
version; none changes its meaning or goes away without a new version.
"""

from collections.abc import Callable
from typing import Any

from mta.mail.envelope import NOTHING, Envelope, Origin, Recipient
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
from mta.mail.outcome import Outcome

SCHEMA = 1

Record = dict[str, Any]

_ATTEMPT_TYPES = {
    "sent": "Delivery",
    "discarded": "Delivery",
    "deferred": "TransientFailure",
    "bounced": "Bounce",
    "expired": "Expiration",
}


def record(event: Event, now_ms: int) -> Record:
    """Return the JSON object for ``event``, which happened at ``now_ms``."""
    body = _RENDER[type(event)](event)
    return {"schema": SCHEMA, "type": body.pop("type"), "event_time_ms": now_ms, **body}


def _origin(origin: Origin) -> Record:
    return {
        "listener": origin.listener,
        "client_address": origin.client_address,
        "client_name": origin.client_name,
        "login": origin.login,
        "reception_protocol": origin.protocol,
        "reception_tls": origin.tls,
        **({"proxy_address": origin.proxy} if origin.proxy else {}),
        **({"client_host_name": origin.host_name} if origin.host_name else {}),
    }


def _envelope(envelope: Envelope) -> Record:
    return {
        "id": envelope.id,
        "sender": envelope.sender,
        "size": envelope.size,
        "created_time_ms": envelope.created_ms,
        "kind": envelope.kind,
        "message_id": envelope.message_id,
        "login": envelope.origin.login,
        "requires": list(envelope.requirements),
    }


def _outcome(outcome: Outcome) -> Record:
    peer = outcome.peer
    facts: Record = {
        "response": {
            "code": outcome.code,
            "enhanced_code": outcome.enhanced,
            "content": outcome.text,
            "command": outcome.command,
            "remote": outcome.remote,
        },
        "blame": outcome.blame,
        "maybe_delivered": outcome.maybe_delivered,
        "connect_s": round(outcome.timing.connect, 4),
        "transmit_s": round(outcome.timing.transmit, 4),
    }
    if outcome.sender:
        facts["sender_told"] = outcome.sender
    if peer is not None:
        facts["peer_name"] = peer.host
        facts["peer_address"] = peer.address
        facts["peer_port"] = peer.port
        facts["source_address"] = peer.source
        facts["connection_use"] = peer.use
        facts["tls_level"] = peer.tls.level
        facts["tls_version"] = peer.tls.version
        facts["tls_cipher"] = peer.tls.cipher
        facts["tls_why"] = peer.tls.why
        facts["tls_required"] = peer.tls.required
        facts["tls_required_why"] = peer.tls.required_why
        facts["tls_observed"] = peer.tls.observed
    return facts


def _accepted(event: Accepted) -> Record:
    return {
        "type": "Reception",
        **_origin(event.envelope.origin),
        **_envelope(event.envelope),
        "recipients": [recipient.address for recipient in event.recipients],
        **_asked(event),
    }


def _asked(event: Accepted) -> Record:
    """What the sender asked for beside delivery; nothing, as a rule."""
    asked, by = event.envelope.asked, event.envelope.asked.deliver_by
    facts: Record = {}
    if asked is not NOTHING:
        facts = {"ret": asked.ret, "envid": asked.envid, "priority": asked.priority}
        facts["release_ms"] = asked.release_ms
        facts["deliver_by_ms"] = by and by.deadline_ms
        facts["deliver_by_mode"] = by.mode if by else ""
    if any(one.notify for one in event.recipients):
        facts["notify"] = [one.notify for one in event.recipients]
    return facts


def _given(recipient: Recipient) -> Record:
    """What the client named, where an alias has changed it."""
    return {"orig_recipient": recipient.given} if recipient.given else {}


def _attempted(event: Attempted) -> Record:
    return {
        "type": _ATTEMPT_TYPES[event.status],
        **_envelope(event.envelope),
        "recipient": event.recipient.address,
        **_given(event.recipient),
        "status": event.status,
        "num_attempts": event.recipient.attempts,
        "queued_s": round(event.queued_s, 4),
        "delay_s": round(event.total_s, 4),
        "next_attempt_ms": event.next_attempt_ms,
        "site": event.site,
        "cause": event.outcome.cause,
        **_outcome(event.outcome),
    }


def _finished(event: Finished) -> Record:
    return {"type": "Finished", "id": event.id}


def _reported(event: Reported) -> Record:
    return {"type": "Report", "id": event.id, "report_id": event.report_id, "kind": event.kind}


def _lease_lost(event: LeaseLost) -> Record:
    number = event.recipient
    return {"type": "LeaseLost", "id": event.id, "number": number, **_outcome(event.outcome)}


def _refused(event: Refused) -> Record:
    return {
        "type": "Rejection",
        **_origin(event.origin),
        "command": event.command,
        "reply": event.reply,
        "reason": event.reason,
        "sender": event.sender,
        "recipient": event.recipient,
    }


def _authenticated(event: Authenticated) -> Record:
    return {"type": "Authentication", **_origin(event.origin), "mechanism": event.mechanism}


def _authentication_failed(event: AuthenticationFailed) -> Record:
    return {
        "type": "AuthenticationFailure",
        **_origin(event.origin),
        "mechanism": event.mechanism,
        "claimed_login": event.login,
        "reason": event.reason,
    }


def _disconnected(event: Disconnected) -> Record:
    return {
        "type": "Disconnection",
        **_origin(event.origin),
        "reason": event.reason,
        "messages": event.messages,
        "commands": event.commands,
        "seconds": round(event.seconds, 3),
    }


def _ruled(event: Ruled) -> Record:
    return {
        "type": "Ruling", "id": event.id, "verb": event.verb, "text": event.text, "who": event.who,
    }  # fmt: skip


def _operated(event: Operated) -> Record:
    return {
        "type": "Operation",
        "verb": event.verb,
        "who": event.who,
        "recipients": event.recipients,
        "messages": event.messages,
        "id": event.id,
        "text": event.text,
    }


def _restrained(event: Restrained) -> Record:
    one = event.restraint
    return {
        "type": "Restraint",
        "restraint": one.id,
        "begins": event.begins,
        "already": event.already,
        "verb": one.verb,
        "scope": one.scope,
        "name": one.name,
        "source": one.source,
        "cause": one.cause,
        "rule": one.rule,
        "reason": one.reason,
        "samples": list(one.samples),
        "was": one.was,
        "level": one.level,
        "since_ms": one.since_ms,
        "until_ms": one.until_ms,
        "who": one.who,
        "ended_by": one.ended_by,
    }


def _alert(event: Alert) -> Record:
    return {"type": "Alert", "what": event.what, "subject": event.subject, "text": event.text}


def _note(event: Note) -> Record:
    return {"type": "Note", "level": event.level, "part": event.part, "text": event.text}


_RENDER: dict[type, Callable[..., Record]] = {
    Accepted: _accepted,
    Attempted: _attempted,
    Finished: _finished,
    Reported: _reported,
    LeaseLost: _lease_lost,
    Refused: _refused,
    Authenticated: _authenticated,
    AuthenticationFailed: _authentication_failed,
    Disconnected: _disconnected,
    Ruled: _ruled,
    Operated: _operated,
    Restrained: _restrained,
    Alert: _alert,
    Note: _note,
}
