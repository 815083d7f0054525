"""Why a recipient that is queued is not delivered yet: what stands in the way now, and what next.

The first thing that stands in the way is the answer; what would be in the way if that were not is
said beside it.  Pure.
"""

from mta.admin.reason import Block, Reason, command, last_attempt
from mta.admin.render import span
from mta.admin.render import visible as v
from mta.admin.surroundings import Surroundings, slow
from mta.mail.outcome import Outcome, Tls
from mta.mail.restraint import Marks, Restraint
from mta.spool.history import Trace, TracedAttempt, TracedRecipient

_SOON_MS = 1000  # what was put off for its site is due when that is dialled again


def in_hand(trace: Trace, one: TracedRecipient, around: Surroundings) -> Reason:
    """Say what becomes of what a process has in hand."""
    node = one.node or ""
    if node not in around.running:
        return _orphaned(node, one, around)
    words = f"an attempt is under way, or about to begin, at {v(node)}"
    mail = around.marks(trace, one)
    besides = list(suspensions(trace, one, around))
    if around.suspended(mail):
        besides.append("what is under way is let finish, and nothing is begun")
    for who, site in around.at_site(mail):
        if who == node:
            busy = f"{site.running} of {site.window} deliveries are under way"
            besides.append(v(f"at site {site.name} {busy}, {site.waiting} recipients wait there"))
    for text, _ in slow(mail, around):
        besides.append(text)
    return Reason("active", "", words, None, (), besides=tuple(besides))


def _orphaned(node: str, one: TracedRecipient, around: Surroundings) -> Reason:
    """Say who goes on with what a process has left."""
    words = f"the process that had it in hand ({v(node)}) is gone"
    if around.no_service is not None:
        text, unblock = around.no_service
        then = "the next one that runs takes it over"
        return Reason("queued", "no service", f"{words}, and {text}; {then}", None, unblock)
    until_ms = around.gone.get(node)
    if until_ms is None or until_ms <= around.now_ms:
        return Reason("queued", "no service", f"{words}; another one takes it over", None, ())
    words += f"; another one takes it over when its lease ends, {around.at(until_ms)}"
    return Reason("queued", "no service", words, until_ms, ())


def suspensions(trace: Trace, one: TracedRecipient, around: Surroundings) -> tuple[str, ...]:
    """Say what is suspended that a recipient is part of."""
    mail = around.marks(trace, one)
    return (*(v(it.words) for it in around.suspended(mail)), *around.partly(mail))


def waits(trace: Trace, one: TracedRecipient, around: Surroundings) -> Reason:
    """Say what keeps a recipient that nobody has in hand."""
    release_ms = trace.envelope.asked.release_ms
    if release_ms is not None and release_ms > around.now_ms:
        words = f"its sender wants it held until {around.at(release_ms)}"
        return Reason("queued", "sender's wish", words, release_ms, ())
    mail, due = around.marks(trace, one), one.next_attempt_ms
    if suspended := _suspended(mail, one, around):
        return _restrained(suspended, due, around)
    if around.no_service is not None:
        words, unblock = around.no_service
        when = "when a service runs"
        when += f", {around.at(due)} at the earliest" if due > around.now_ms else ""
        return Reason("queued", "no service", words, due, unblock, when)
    slowed = list(slow(mail, around))
    block, words, next_ms = _obstacle(trace, one, mail, around)
    besides = [*around.partly(mail), *(text for text, _ in slowed)]
    if unsited := around.unsited(mail):
        besides.append(unsited)
    alone = around.left_alone(mail)
    if alone is not None and alone.text != words:
        last = last_attempt(trace, one.recipient.number)
        known = last is not None and alone.text.endswith(v(last.outcome.reply))
        besides.append(alone.brief if known else alone.text)
    retry = [command("retry", trace, one)]
    if block == "TLS" and not trace.envelope.require_tls:
        besides.append(
            "it goes by itself when that is mended; a [[tls_policy]] with observe = true lets it"
            " go before that (docs/tls.rst)"
        )
    if block == "budget":
        besides.insert(
            0, "a larger budget or another route ('mta queue reroute') lets it go sooner"
        )
        retry = []
    unblock = (*retry, *(end for _, end in slowed))
    return Reason("queued", block, words, next_ms, unblock, "", tuple(besides))


def _obstacle(
    trace: Trace, one: TracedRecipient, mail: Marks, around: Surroundings
) -> tuple[Block, str, int]:
    """Say what mail waits for that nobody has decided on: the block, words, until when."""
    due, now_ms = one.next_attempt_ms, around.now_ms
    if (budget := around.budget(mail)) is not None:
        return "budget", budget.text, max(due, budget.until_ms)
    last, alone = last_attempt(trace, one.recipient.number), around.left_alone(mail)
    if alone is not None and (last is None or max(due, now_ms) < alone.until_ms + _SOON_MS):
        return "suspended", alone.text, max(due, alone.until_ms)
    if due <= now_ms:
        return "turn", _turn(due, mail, around), due
    if last is None:
        return "turn", "no attempt has been made yet", due
    return *_met(last), due


def _suspended(mail: Marks, one: TracedRecipient, around: Surroundings) -> list[Restraint]:
    """Return the suspensions in force; first what it was put back for, if that still holds."""
    found = around.suspended(mail)
    put_back = one.restraint
    if put_back is None or one.next_attempt_ms <= around.now_ms:
        return found
    same = [it for it in around.restraints if it.id == put_back.id]
    return [*(same or [put_back]), *(it for it in found if it.id != put_back.id)]


def _restrained(found: list[Restraint], due: int, around: Surroundings) -> Reason:
    ends = [one.until_ms for one in found if one.until_ms is not None]
    open_ended = len(ends) < len(found)
    verbs = ("throttle revoke" if one.cause else "resume" for one in found)
    unblock = [f"mta {verb} {one.id}" for verb, one in zip(verbs, found, strict=True)]
    besides = [v(one.words) for one in found[1:]]
    if around.no_service is not None:
        words, more = around.no_service
        besides.append(words)
        unblock += more
    return Reason(
        "queued",
        "restraint",
        v(found[0].words),
        None if open_ended else max(due, *ends),
        tuple(unblock),
        "when that is ended" if open_ended else "",
        tuple(besides),
    )


def _turn(due: int, mail: Marks, around: Surroundings) -> str:
    """Say before whom mail waits that is due."""
    words = f"it has been due for {span(around.now_ms - due)}, and waits for its turn"
    said = [
        f"{site.waiting} recipients wait for site {site.name} at {node}, {site.running} of"
        f" {site.window} deliveries are under way"
        + (f" ({' '.join(site.reason.split())})" if site.reason else "")
        for node, site in around.at_site(mail)
    ]
    if said:
        return f"{words}: {v('; '.join(said))}"
    return f"{words}: the service, or its destination, has other mail in hand"


def _met(last: TracedAttempt) -> tuple[Block, str]:
    """Say what the last attempt met with."""
    outcome = last.outcome
    where = v(outcome.peer.host) if outcome.peer is not None else "the destination"
    if last.cause == "not attempted" or outcome.text.startswith("delivery suspended"):
        return "suspended", "its destination fails and is left alone for a while"
    if _too_open(outcome):
        return "TLS", _private(outcome, where)
    if outcome.command in _MET:
        block, words = _MET[outcome.command]
        return block, words.format(where=where)
    if outcome.maybe_delivered:
        return "connection", f"the line to {where} was lost after the final dot: it may be there"
    if not outcome.remote:
        return "connection", f"the session with {where} broke off"
    return "peer", f"{where} does not take it for now"


def _too_open(outcome: Outcome) -> bool:
    """Tell whether we have said no, because a session would not have been private enough."""
    return not outcome.remote and (outcome.command == "TLS policy" or outcome.enhanced == "4.7.5")


def _private(outcome: Outcome, where: str) -> str:
    if outcome.command == "TLS policy":
        return f"{where} is not dialled: no session there would be as private as is required"
    tls = outcome.peer.tls if outcome.peer is not None else Tls()
    why = f"{tls.required}: {tls.required_why}" if tls.required_why else tls.required
    words = f"the session with {where} was not as private as is required"
    return f"{words} ({v(why)})" if why else words


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
