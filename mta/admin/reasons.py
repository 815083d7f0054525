"""Why one recipient stands where it stands: what blocks it, what comes next, what would unblock it.

Made of the same rows as ``trace``, and of what holds around it (``surroundings``); pure.  Every
text that comes from strangers goes through ``visible``.
"""

from collections.abc import Sequence
from dataclasses import replace
from shlex import quote

from mta.admin.reason import Reason, command, last_attempt
from mta.admin.render import visible as v
from mta.admin.surroundings import Surroundings
from mta.admin.waiting import in_hand, suspensions, waits
from mta.policy.brake import PREFIX
from mta.spool.history import Trace, TracedEvent, TracedRecipient
from mta.spool.schema import State


def reason(trace: Trace, one: TracedRecipient, around: Surroundings) -> Reason:
    """Say why ``one`` of the recipients of ``trace`` stands as it does."""
    if one.state is State.HELD:
        return replace(_held(trace, one), besides=suspensions(trace, one, around))
    if one.state is not State.QUEUED:
        return _ended(trace, one, around)
    found = waits(trace, one, around) if one.node is None else in_hand(trace, one, around)
    if not one.dotted_to:
        return found
    return replace(found, besides=(*found.besides, _in_doubt(one)))


def _in_doubt(one: TracedRecipient) -> str:
    words = f"the final dot to {v(one.dotted_to)} has been sent, or was about to be"
    return f"{words}; if no answer is ever recorded, on_unknown of the route says what follows"


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


def _held(trace: Trace, one: TracedRecipient) -> Reason:
    event = _last_event(trace, one, "hold")
    release = command("release", trace, one)
    if event is None:
        return Reason("held", "hold", "it is held", None, (release,))
    if event.text.startswith(PREFIX):
        login = quote(v(trace.envelope.origin.login))
        unblock = (f"mta brake show {login}", f"mta brake show {login} --release", release)
        return Reason("held", "brake", f"it is held: {v(event.text)}", None, unblock)
    why = f": {v(event.text)}" if event.text else ""
    if event.who == "delivery":  # nobody knows whether it arrived
        both = (release, command("remove", trace, one))
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
            last = last_attempt(trace, one.recipient.number)
            if last is not None and last.outcome.maybe_delivered:
                words = f"it counts as delivered since {when}: nobody knows whether it arrived"
                return Reason("delivered", "", words, None, ())
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
    back = (command("resurrect", trace, one),) if trace.octets_kept else ()
    return Reason(one.state.value, "ended", words + told, None, back)
