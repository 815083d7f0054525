"""Why one recipient stands where it stands: what blocks it, what comes next, what would unblock it.

Made of the same rows as ``trace``; pure but for the moment and the running processes, which are
arguments.  Every text that comes from strangers goes through ``visible``.

Knowingly not known here: what a running service has in memory, such as which destinations it
leaves alone for a while; mail that is due and not yet in hand is said to wait for its turn.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from shlex import quote
from typing import Literal, TypeAlias

from mta.admin.render import address, moment, span
from mta.admin.render import visible as v
from mta.mail.outcome import Outcome
from mta.policy.brake import PREFIX
from mta.spool.history import Trace, TracedAttempt, TracedEvent, TracedRecipient
from mta.spool.schema import State

Block: TypeAlias = Literal[
    "",  # nothing: it is delivered, or on its way
    "hold",
    "brake",
    "sender's wish",
    "no service",
    "turn",
    "suspended",
    "budget",
    "restraint",
    "DNS",
    "TLS",
    "connection",
    "log-in",
    "route",
    "fault",
    "peer",
    "ended",
]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What holds for all: the moment, how moments are written, which processes run."""

    now_ms: int
    zone: tzinfo | None
    running: Sequence[str]  # names of nodes
    waiting: Mapping[str, str] = field(default_factory=dict)  # alarms, by destination
    route_of: Callable[[str, str, str], str] | None = None  # of sender, domain, and the one chosen

    def budget(self, trace: Trace, one: TracedRecipient) -> str:
        """Return for which budget of its smarthosts mail has to wait; "" if it has not."""
        if not self.waiting or self.route_of is None:
            return ""
        to = one.recipient
        route = self.route_of(trace.envelope.sender, to.domain, to.route)
        return self.waiting.get(f"smarthost:{route}", "")

    def at(self, at_ms: int) -> str:
        """Write a moment and how far it is."""
        left = at_ms - self.now_ms
        far = f"in {span(left)}" if left > 0 else f"{span(-left)} ago"
        return f"{moment(at_ms, self.zone)} ({far})"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one recipient is where it is."""

    state: str
    block: Block
    text: str  # what blocks it, or what has become of it
    next_attempt_ms: int | None
    unblock: tuple[str, ...]  # commands


def last_attempt(trace: Trace, number: int) -> TracedAttempt | None:
    """Return the last attempt for recipient ``number`` that has ended."""
    those = [one for one in trace.attempts if one.outcome.recipient == number]
    return those[-1] if those else None


def reason(trace: Trace, one: TracedRecipient, around: Surroundings) -> Reason:
    """Say why ``one`` of the recipients of ``trace`` stands as it does."""
    if one.state is State.HELD:
        return _held(trace, one)
    if one.state is not State.QUEUED:
        return _ended(trace, one, around)
    if one.node is not None:
        return _in_hand(one, around)
    return _waits(trace, one, around)


def unblocking(
    trace: Trace, those: Sequence[TracedRecipient], around: Surroundings
) -> tuple[str, ...]:
    """Return the commands that would unblock ``those``, about whom the same is to be said.

    The whole message is named only where they are all of its recipients.
    """
    if len(those) == len(trace.recipients):
        trace = replace(trace, recipients=tuple(those[:1]))
        those = those[:1]
    commands = (command for one in those for command in reason(trace, one, around).unblock)
    return tuple(dict.fromkeys(commands))


def _command(verb: str, trace: Trace, one: TracedRecipient) -> str:
    """Write a command for this recipient; for the whole message where it is the only one."""
    to = one.recipient.address
    # an address with * would be a pattern
    if len(trace.recipients) == 1 or not to.isprintable() or "'" in to or "*" in to:
        return f"mta queue {verb} {trace.envelope.id}"
    return f"mta queue {verb} {trace.envelope.id} --to '{to}'"


def _held(trace: Trace, one: TracedRecipient) -> Reason:
    event = _last_event(trace, one, "hold")
    release = _command("release", trace, one)
    if event is None:
        return Reason("held", "hold", "it is held", None, (release,))
    if event.text.startswith(PREFIX):
        login = quote(v(trace.envelope.origin.login))
        unblock = (f"mta brake show {login}", f"mta brake show {login} --release", release)
        return Reason("held", "brake", f"it is held: {v(event.text)}", None, unblock)
    why = f": {v(event.text)}" if event.text else ""
    if event.who == "delivery":  # nobody knows whether it arrived
        both = (release, _command("remove", trace, one))
        return Reason("held", "hold", f"it is held by the route{why}", None, both)
    return Reason("held", "hold", f"it is held by {v(event.who)}{why}", None, (release,))


def _last_event(trace: Trace, one: TracedRecipient, verb: str) -> TracedEvent | None:
    found = [
        event
        for event in trace.events
        if event.verb == verb and event.recipient in (None, one.recipient.number)
    ]
    return found[-1] if found else None


def _ended(trace: Trace, one: TracedRecipient, around: Surroundings) -> Reason:
    when = "" if one.finished_ms is None else around.at(one.finished_ms)
    match one.state:
        case State.DELIVERED:
            return Reason("delivered", "", f"the next hop took it {when}", None, ())
        case State.REMOVED:  # its content is gone, too
            event = _last_event(trace, one, "remove")
            who = f" by {v(event.who)}" if event is not None else ""
            return Reason("removed", "ended", f"it was removed{who} {when}", None, ())
    event = _last_event(trace, one, "bounce")
    told = f"; the sender was told ({', '.join(trace.reports)})" if trace.reports else ""
    if event is not None:
        words = f"given up by {v(event.who)} {when}: {v(event.text)}"
    elif one.state is State.EXPIRED:
        words = f"given up {when}: its time was over"
    else:
        words = f"given up {when}: it was refused for good"
    back = (_command("resurrect", trace, one),) if trace.octets_kept else ()
    return Reason(one.state.value, "ended", words + told, None, back)


def _in_hand(one: TracedRecipient, around: Surroundings) -> Reason:
    if one.node in around.running:
        words = f"an attempt is under way, or about to begin, at {v(one.node or '')}"
        return Reason("active", "", words, None, ())
    words = (
        f"the process that had it in hand ({v(one.node or '')}) is gone; the next one that runs"
        " takes it over"
    )
    unblock = () if around.running else _START
    return Reason("queued", "no service", words, one.next_attempt_ms, unblock)


_START = ("systemctl start mta", "mta status")


def _waits(trace: Trace, one: TracedRecipient, around: Surroundings) -> Reason:
    due = one.next_attempt_ms
    release_ms = trace.envelope.asked.release_ms
    if release_ms is not None and release_ms > around.now_ms:
        words = f"its sender wants it held until {around.at(release_ms)}"
        return Reason("queued", "sender's wish", words, release_ms, ())
    if one.restraint and due > around.now_ms:
        verb = "throttle revoke" if one.restraint.cause else "resume"
        unblock = (f"mta {verb} {one.restraint.id}",)
        return Reason("queued", "restraint", v(one.restraint.words), due, unblock)
    if not around.running:
        words = "no service is running that uses this spool"
        return Reason("queued", "no service", words, due, _START)
    last = last_attempt(trace, one.recipient.number)
    if due <= around.now_ms:
        since = span(around.now_ms - due)
        words = f"it has been due for {since}, and waits for its turn: the service, or its"
        words += " destination, has other mail in hand or is left alone for a while"
        return Reason("queued", "turn", words, due, (_command("retry", trace, one),))
    if said := around.budget(trace, one):
        return Reason("queued", "budget", v(said), due, ())
    block, words = _obstacle(last)
    return Reason("queued", block, words, due, (_command("retry", trace, one),))


def _obstacle(last: TracedAttempt | None) -> tuple[Block, str]:
    """Say what the last attempt met with."""
    if last is None:
        return "turn", "no attempt has been made yet"
    outcome = last.outcome
    where = v(outcome.peer.host) if outcome.peer is not None else "the destination"
    if last.cause == "not attempted" or outcome.text.startswith("delivery suspended"):
        return "suspended", "its destination fails and is left alone for a while"
    if outcome.command in _MET:
        block, words = _MET[outcome.command]
        return block, words.format(where=where)
    if outcome.maybe_delivered:
        return "connection", f"the line to {where} was lost after the final dot"
    if not outcome.remote:
        return "connection", f"the session with {where} broke off"
    return "peer", f"{where} does not take it for now"


_NO_SESSION: tuple[Block, str] = ("connection", "no session with {where}")
_MET: dict[str, tuple[Block, str]] = {
    "DNS": ("DNS", "DNS does not say where it goes"),
    "connect": _NO_SESSION,
    "connection": _NO_SESSION,
    "greeting": _NO_SESSION,
    "EHLO": _NO_SESSION,
    "HELO": _NO_SESSION,
    "STARTTLS": ("TLS", "{where} does not offer the TLS that is wanted"),
    "AUTH": ("log-in", "{where} does not accept our log-in"),
    "route": ("route", "its route does not lead anywhere"),
    "local": ("fault", "the attempt failed here, see the log"),
    "": ("fault", "the attempt was cut off here"),
}


def reply(outcome: Outcome) -> str:
    """Write what was answered, to what, by whom."""
    words = v(outcome.reply) or "no reply"
    to = f" ({'in reply to' if outcome.remote else 'at'} {v(outcome.command)})" * bool(
        outcome.command
    )
    peer = outcome.peer
    if peer is None or peer.host in words:
        return words + to
    return f"{words}{to}, {v(peer.host)}" + (f"[{v(peer.address)}]" if peer.address else "")


def names(trace: Trace, numbers: Sequence[int], most: int = 3) -> str:
    """Write the addresses of some recipients."""
    known = {one.recipient.number: one.recipient.address for one in trace.recipients}
    shown = ", ".join(address(known[number]) for number in numbers[:most])
    more = len(numbers) - most
    return f"{shown} and {more} more" if more > 0 else shown
