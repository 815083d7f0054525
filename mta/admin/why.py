"""``mta why``: one answer in a few lines about a message, an address, a domain or a site.

State, attempts and the last reply, what blocks it now, the next attempt, and the command that
would unblock it.  There is always an answer: of what is not known here it is said since when it
could have been forgotten, and where else to look.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import click

from mta.admin import records
from mta.admin.earlier import earlier
from mta.admin.exits import Exit
from mta.admin.invocation import Invocation, pass_invocation
from mta.admin.reason import Reason, last_attempt, names, reply
from mta.admin.reasons import reason, unblocking
from mta.admin.render import address, json_line, note, octets, say, span, visible
from mta.admin.suppressed import lines as lines_of
from mta.admin.suppressed import records as suppressions_of
from mta.admin.suppressed import suppressed
from mta.admin.surroundings import Surroundings, surroundings
from mta.admin.why_domain import domain_record, tell_domain
from mta.admin.why_site import about_site, site_records, tell_site
from mta.mail.address import ascii_domain
from mta.mail.queue_id import QueueId, is_queue_id, time_of
from mta.spool import history, standing
from mta.spool.history import Trace, TracedRecipient
from mta.spool.schema import State

_RECIPIENTS = 10  # different answers about one message
_COMMANDS = 3  # for one answer

Group = tuple[Reason, list[TracedRecipient]]


@click.command()
@click.argument("what", metavar="ID|ADDRESS|DOMAIN|SITE")
@click.option(
    "--limit", type=click.IntRange(1, 100), default=5, show_default=True, help="Newest messages."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each answer, a line.")
@pass_invocation
def why(invocation: Invocation, what: str, limit: int, as_json: bool) -> Exit:
    """Say where mail is, and why: a message, mail to and from an address, the queue of a domain
    or of a site (a provider's hosts, as 'trace' and the log name them).

    A message is named by its queue id or its Message-ID.  Exit status 1 if nothing is known.
    """
    what = what.strip().partition(" from ")[0]  # as "mta queue sites" calls some sites
    with invocation.reading() as conn:
        around = surroundings(invocation, conn)
        found = [history.trace(conn, id_) for id_ in _ids(conn, what, limit)]
        traces = [one for one in found if one is not None]
        around.look_up(traces)
        listed = suppressed(conn, what) if "@" in what else []
        known = bool(traces or listed)
        if as_json:
            if listed:
                json_line({"address": what, "suppressed": suppressions_of(listed)})
            for one in traces:
                json_line(_record(one, around))
        else:
            for line in lines_of(listed, around.now_ms):
                say(line)
            _tell_all(traces, around, what)
        if _is_domain(what):
            return _about_domain(conn, what, around, as_json)
    if not known:
        _unknown(invocation, what)
    return Exit.DONE if known else Exit.NOTHING


def _about_domain(conn: Any, what: str, around: Surroundings, as_json: bool) -> Exit:
    """Answer for a domain, and for the site of that name."""
    domain = _domain(what)
    site = about_site(conn, what if ":" in what else domain, around)
    listed = suppressed(conn, f"@{domain}")
    if as_json:
        record = domain_record(conn, domain, around) | site_records(site, around)
        record["suppressed"] = suppressions_of(listed)
        record["known"] = known = bool(record["known"] or site.known or listed)
        json_line(record)
        return Exit.DONE if known else Exit.NOTHING
    for line in lines_of(listed, around.now_ms):
        say(line)
    if site.known and not site.is_domain:
        tell_site(site, around)
        if ":" in what:  # no domain has such a name
            return Exit.DONE
    known = tell_domain(conn, domain, around, quiet=bool(site.known or listed))
    return Exit.DONE if known or site.known or listed else Exit.NOTHING


def _ids(conn: Any, what: str, limit: int) -> list[QueueId]:
    """Return the messages that are meant: one, or the newest to and from an address."""
    if is_queue_id(what.upper()):
        return [QueueId(what.upper())]
    if "@" not in what:
        return []
    if found := history.by_message_id(conn, what, limit):
        return found
    both = {*standing.to_address(conn, what, limit), *standing.from_address(conn, what, limit)}
    return sorted(both, reverse=True)[:limit]


def _is_domain(what: str) -> bool:
    return bool(what) and "@" not in what.lstrip("@") and not is_queue_id(what.upper())


def _domain(what: str) -> str:
    try:
        return ascii_domain(what.lstrip("@"))
    except ValueError:
        return what.lower()


def _tell_all(traces: Sequence[Trace], around: Surroundings, what: str) -> None:
    for number, one in enumerate(traces):
        if number:
            say()
        only = what if "@" in what else ""
        for line in _lines(one, around, only):
            say(line)


def _groups(trace: Trace, around: Surroundings, only: str = "") -> list[Group]:
    """Gather recipients about whom the same is to be said, those that wait first."""
    wanted = [
        one
        for one in trace.recipients
        if only.lower() in (one.recipient.address.lower(), one.recipient.given.lower())
    ]
    groups: dict[tuple[Any, ...], Group] = {}
    for one in wanted or trace.recipients:
        found = reason(trace, one, around)
        last = last_attempt(trace, one.recipient.number)
        said = "" if last is None else reply(last.outcome)
        key = (found.state, found.block, found.text, found.besides, found.next_attempt_ms, said)
        groups.setdefault(key, (found, []))[1].append(one)
    return sorted(groups.values(), key=lambda group: (group[0].block == "", group[0].state))


def _lines(trace: Trace, around: Surroundings, only: str) -> Iterator[str]:
    envelope = trace.envelope
    counts: dict[str, int] = {}
    for one in trace.recipients:
        counts[one.state.value] = counts.get(one.state.value, 0) + 1
    states = ", ".join(f"{number} {state}" for state, number in counts.items())
    many = f"{len(trace.recipients)} recipients: " if len(trace.recipients) > 1 else ""
    about = f", a report about {trace.parent}" if trace.parent else ""
    yield (
        f"{envelope.id} from {address(envelope.sender)}, {octets(envelope.size)} octets,"
        f" accepted {around.at(envelope.created_ms)}{about}: {many}{states}"
    )
    groups = _groups(trace, around, only)
    for found, those in groups[:_RECIPIENTS]:
        yield from _answer(trace, found, those, around)
    if len(groups) > _RECIPIENTS:
        yield f"  {len(groups) - _RECIPIENTS} more answers: mta trace {envelope.id}"


def _answer(
    trace: Trace, found: Reason, those: Sequence[TracedRecipient], around: Surroundings
) -> Iterator[str]:
    first = those[0]
    attempts = first.recipient.attempts
    tried = f", {attempts} attempt{'' if attempts == 1 else 's'}"
    yield f"  {names(trace, [one.recipient.number for one in those])}: {found.state}{tried}"
    yield f"    why:     {found.text}"
    for text in found.besides:
        yield f"    also:    {text}"
    if first.recipient.route:
        yield f"    route:   {visible(first.recipient.route)}, chosen by an operator"
    last = last_attempt(trace, first.recipient.number)
    if last is not None:
        cause = f"; {visible(last.cause)}" if last.cause else ""
        if last.outcome.cause:
            yield f"    cause:   {visible(last.outcome.cause)}"
        ago = span(around.now_ms - last.ended_ms)
        others = {*around.running, *around.gone} - {last.node}
        by = f", by {visible(last.node)}" if others else ""
        yield f"    last:    {reply(last.outcome)}, {ago} ago{by}{cause}"
        if last.outcome.maybe_delivered and "final dot" not in last.outcome.text:
            yield "             it may have been delivered: the line was lost after the final dot"
        yield from earlier(trace, last, around)
    if first.state is State.QUEUED and (found.when or found.next_attempt_ms is not None):
        yield f"    next:    {found.when or around.at(found.next_attempt_ms or 0)}"
        yield f"    expires: {around.at(trace.envelope.expires_ms)}"
    commands = unblocking(trace, those, around)
    for command in commands[:_COMMANDS]:
        yield f"    do:      {command}"
    if len(commands) > _COMMANDS:
        yield f"             and so on for {len(commands) - _COMMANDS} more"


def _record(trace: Trace, around: Surroundings) -> dict[str, Any]:
    """Make the answer for programs: the trace, and the reason for each recipient."""
    answers = []
    for one in trace.recipients:
        found = reason(trace, one, around)
        last = last_attempt(trace, one.recipient.number)
        answers.append(
            {
                "number": one.recipient.number,
                "recipient": one.recipient.address,
                "state": found.state,
                "attempts": one.recipient.attempts,
                "blocked_by": found.block,
                "reason": found.text,
                "next_attempt_ms": found.next_attempt_ms,
                "unblock": list(found.unblock),
                "besides": list(found.besides),
                "last": None if last is None else records.attempt(last),
                "attempts_made": [
                    records.attempt(it)
                    for it in trace.attempts
                    if it.outcome.recipient == one.recipient.number
                ],
            }
        )
    envelope = trace.envelope
    return {
        "id": envelope.id,
        "sender": envelope.sender,
        "created_ms": envelope.created_ms,
        "expires_ms": envelope.expires_ms,
        "finished_ms": trace.finished_ms,
        "answers": answers,
    }


def _unknown(invocation: Invocation, what: str) -> None:
    """Say what it means that nothing is known, and where else to look."""
    keep_ms = round(invocation.settings.spool.retention.total_seconds() * 1000)
    note(f"nothing is known of {visible(what)} in this spool ({invocation.spool}).")
    note(f"Finished mail is forgotten after {span(keep_ms)} (spool.retention).")
    if is_queue_id(what.upper()):
        age_ms = invocation.now_ms() - time_of(what.upper())
        old = f"was made {span(age_ms)} ago" if age_ms >= 0 else "was made by another clock"
        late = age_ms > keep_ms
        note(f"The id {old}: " + ("it may have been forgotten." if late else "it is not ours, or"))
        if not late:
            note("another relay's, or of another spool (--config).")
    elif "@" in what:
        note(f"Mail from it was looked for among the newest {standing.NEWEST} messages.")
        note("A client that has no 250 for its message was refused, or never came:")
        note("look for 'NOQUEUE: reject' in the log.")
