"""Render events as lines in the shape that Postfix gave the world.

Tools that read such logs (pflogsumm, fail2ban, an operator's grep) find what they
know: the queue id at the head of the line, ``to=<...>, relay=..., delay=...,
delays=a/b/c/d, dsn=..., status=... (reply)``, one line per recipient and attempt.

Trusts nothing that came from outside: whatever is not printable becomes ``?``, so
that neither a reply nor an address can forge a line (log injection).  A client's address
stands before anything that the client chose: a tool that takes the first ``[...]`` of a line
for it, as fail2ban does, cannot be made to ban somebody else.
Knowingly not done: looking up names of clients; like Postfix without them, ``client=`` says
``unknown`` unless a proxy has said the name, and what the client called itself stands in
``helo=``.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from mta.mail.envelope import Envelope, MessageKind, Origin, Recipient
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
from mta.mail.outcome import Outcome, Peer

Line = tuple[str, str]  # program ("smtpd"), text


def clean(text: str) -> str:
    """Return ``text`` with every character that is not printable replaced."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else "?" for char in text)


def lines(event: Event) -> tuple[Line, ...]:
    """Return the lines that stand for ``event``."""
    return _RENDER[type(event)](event)


def _client(origin: Origin) -> str:
    # The name is a proxy's word (XCLIENT), and cannot have a bracket in it
    return f"{origin.host_name or 'unknown'}[{clean(origin.client_address)}]"


def _proxy(origin: Origin) -> str:
    return f" proxy=[{clean(origin.proxy)}]" if origin.proxy else ""


def _helo(origin: Origin) -> str:
    return f" helo=<{clean(origin.client_name)}>" if origin.client_name else ""


def _duration(value: float) -> str:
    """Return seconds with two digits that count, as Postfix does, and never as ``1e+02``."""
    if value >= 9.95:
        return f"{value:.0f}"
    return f"{value:.2g}" if value >= 0.001 else "0"


def _accepted(event: Accepted) -> tuple[Line, ...]:
    envelope, origin = event.envelope, event.envelope.origin
    head = ("qmgr", _queued(event))
    if envelope.kind is MessageKind.DSN:
        return (head,)
    text = f"{envelope.id}: client={_client(origin)}, listener={origin.listener}"
    if origin.proxy:
        text += f", proxy=[{clean(origin.proxy)}]"
    text += f", proto={origin.protocol}"
    if origin.client_name:
        text += f", helo=<{clean(origin.client_name)}>"
    if envelope.requirements:
        text += f", requires={'/'.join(envelope.requirements)}"
    if origin.tls:
        text += f", tls={origin.tls.split(' ', 1)[0]}"
    if origin.login:
        text += f", sasl_username={clean(origin.login)}"
    return (
        ("smtpd", text),
        ("cleanup", f"{envelope.id}: message-id={clean(envelope.message_id)}"),
        head,
    )


def _queued(event: Accepted) -> str:
    envelope = event.envelope
    return (
        f"{envelope.id}: from=<{clean(envelope.sender)}>, size={envelope.size}, "
        f"nrcpt={len(event.recipients)} ({_where(envelope)})"
    )


def _where(envelope: Envelope) -> str:
    release_ms = envelope.asked.release_ms
    if release_ms is None:
        return "queue active"
    return f"held until {datetime.fromtimestamp(release_ms // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _relay(peer: Peer | None) -> str:
    if peer is None:
        return "none"
    return f"{clean(peer.host)}[{peer.address}]:{peer.port}" if peer.address else clean(peer.host)


def _tls(outcome: Outcome) -> str:
    peer = outcome.peer
    if peer is None or not peer.address:
        return ""
    facts = peer.tls
    text = f", tls={facts.level}/{facts.version}" if facts.version else f", tls={facts.level}"
    if facts.required_why:
        text += f", tls_required={facts.required} ({clean(facts.required_why)})"
    if facts.observed:
        text += f", tls_observed=({clean(facts.observed)})"
    return text


def _given(recipient: Recipient) -> str:
    """Return what the client named, where an alias has changed it: as Postfix does."""
    return f"orig_to=<{clean(recipient.given)}>, " if recipient.given else ""


def _attempted(event: Attempted) -> tuple[Line, ...]:
    outcome = event.outcome
    peer = outcome.peer
    timing = outcome.timing
    use = f", conn_use={peer.use}" if peer is not None and peer.use > 1 else ""
    place = f", source={peer.source}" if peer is not None and peer.source else ""
    place += f", site={clean(event.site)}" if event.site else ""
    if outcome.cause:
        place += f", cause={outcome.cause}"
    waited = max(event.total_s - event.queued_s - timing.connect - timing.transmit, 0.0)
    text = (
        f"{event.envelope.id}: to=<{clean(event.recipient.address)}>, {_given(event.recipient)}"
        f"relay={_relay(peer)}{use}, "
        f"delay={_duration(event.total_s)}, delays={_duration(event.queued_s)}/"
        f"{_duration(waited)}/{_duration(timing.connect)}/{_duration(timing.transmit)}"
        f"{_tls(outcome)}{place}, dsn={outcome.enhanced}, status={event.status} ({_said(outcome)})"
    )
    return (("smtp", text),)


def _said(outcome: Outcome) -> str:
    if not outcome.remote:
        return clean(outcome.text)
    host = outcome.peer.host if outcome.peer else "the peer"
    if outcome.code < 400:
        return clean(outcome.reply)
    return f"host {clean(host)} said: {clean(outcome.reply)} (in reply to {outcome.command})"


def _finished(event: Finished) -> tuple[Line, ...]:
    return (("qmgr", f"{event.id}: removed"),)


def _reported(event: Reported) -> tuple[Line, ...]:
    return (("bounce", f"{event.id}: sender {event.kind} notification: {event.report_id}"),)


def _lease_lost(event: LeaseLost) -> tuple[Line, ...]:
    text = (
        f"{event.id}: warning: lease lost, outcome for recipient {event.recipient} dropped: "
        f"{event.outcome.verdict} ({clean(event.outcome.reply)})"
    )
    return (("qmgr", text),)


def _refused(event: Refused) -> tuple[Line, ...]:
    text = f"NOQUEUE: reject: {event.command} from {_client(event.origin)}: {clean(event.reply)};"
    if event.sender or event.recipient:
        text += f" from=<{clean(event.sender)}>"
    if event.recipient:
        text += f" to=<{clean(event.recipient)}>"
    login = f" sasl_username={clean(event.origin.login)}" if event.origin.login else ""
    text += f"{_helo(event.origin)} listener={event.origin.listener}{login}{_proxy(event.origin)}"
    return (("smtpd", f"{text} ({clean(event.reason)})"),)


def _authenticated(event: Authenticated) -> tuple[Line, ...]:
    origin = event.origin
    text = f"client={_client(origin)}, sasl_method={clean(event.mechanism)}"
    return (("smtpd", f"{text}, sasl_username={clean(origin.login)}"),)


def _authentication_failed(event: AuthenticationFailed) -> tuple[Line, ...]:
    # The shape is a promise to fail2ban filters (docs/operation.rst): what the client has
    # chosen, its login, comes last, and what a proxy calls it does not come at all.
    text = (
        f"warning: unknown[{clean(event.origin.client_address)}]: "
        f"SASL {clean(event.mechanism)} authentication failed: {event.reason}, "
        f"sasl_username={clean(event.login)}"
    )
    return (("smtpd", text),)


def _disconnected(event: Disconnected) -> tuple[Line, ...]:
    text = (
        f"disconnect from {_client(event.origin)} ({clean(event.reason)}) "
        f"messages={event.messages} commands={event.commands} seconds={event.seconds:.1f}"
        f"{_proxy(event.origin)}"
    )
    return (("smtpd", text),)


def _ruled(event: Ruled) -> tuple[Line, ...]:
    program, _, name = event.who.partition(" ")
    said = f": {clean(event.text)}" if event.text else ""
    return ((program, f"{event.id}: {f'{name}: ' if name else ''}{event.verb}{said}"),)


def _operated(event: Operated) -> tuple[Line, ...]:
    recipients = f"{event.recipients} recipient{'' if event.recipients == 1 else 's'}"
    said = f": {clean(event.text)}" if event.text else ""
    if event.messages == 1:
        return (("qmgr", f"{event.id}: {event.verb} by {clean(event.who)}: {recipients}{said}"),)
    of = f"of {event.messages} messages, {event.id} the first"
    return (("qmgr", f"{event.verb} by {clean(event.who)}: {recipients} {of}{said}"),)


def _restrained(event: Restrained) -> tuple[Line, ...]:
    one = event.restraint
    if not event.begins:
        why = f"ended by {clean(one.ended_by)}" if one.ended_ms is not None else "its time is over"
        return (("qmgr", f"{one.verb} {one.id}: {clean(one.whom)}: {why}"),)
    again = "still in force, " if event.already else ""
    until = "until it is ended"
    if one.until_ms is not None:
        until = f"until {datetime.fromtimestamp(one.until_ms // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
    text = f"{one.verb} {one.id}: {clean(one.whom)}: {again}{until}, by {clean(one.who)}"
    if one.cause:
        text += f", cause={one.cause}, rule={clean(one.rule)}, level={one.was}->{one.level}"
        text += f", samples={len(one.samples)}"
    return (("qmgr", f"{text} ({clean(one.reason)})"),)


def _alert(event: Alert) -> tuple[Line, ...]:
    text = f"alert: {event.what}: login {clean(event.subject)}: {clean(event.text)}"
    return (("policy", text),)


def _note(event: Note) -> tuple[Line, ...]:
    level = "" if event.level == "info" else f"{event.level}: "
    return ((event.part, level + clean(event.text)),)


_RENDER: dict[type, Callable[..., tuple[Line, ...]]] = {
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
