"""``mta why DOMAIN``: how many wait, since when, why, when it goes on, and what would help."""

from shlex import quote
from typing import Any

from mta.admin.causes import cause
from mta.admin.reason import Reason
from mta.admin.reasons import reason
from mta.admin.render import Column, note, say, span, table, visible
from mta.admin.surroundings import Surroundings
from mta.mail.queue_id import time_of
from mta.spool import history, standing
from mta.spool.schema import WAITING, State
from mta.spool.standing import Finished, Standing

_CAUSES = 10
_NO_RETRY = ("no service", "restraint", "budget")  # it would come to nothing
_OF_ALL = ("no service", "restraint", "suspended", "budget")  # what is not one message's
_COLUMNS = (Column("RECIPIENTS", "right"), Column("STATE", style="bold"), Column("LAST REPLY"))


def tell_domain(conn: Any, domain: str, around: Surroundings, *, quiet: bool) -> bool:
    """Write the answer about ``domain``; False if nothing is known of it.

    ``quiet``: then nothing need be said, for something else of that name is known.
    """
    found = standing.of_domain(conn, domain)
    waiting = found.stuck + found.fresh
    if not waiting:
        finished = standing.finished_of_domain(conn, domain)
        if quiet and not finished.states:
            return False
        return _tell_finished(finished, domain, around)
    since = ""
    if found.oldest is not None:
        since = f", the oldest for {span(around.now_ms - time_of(found.oldest))}"
    say(
        f"{visible(domain)}: {_recipients(waiting)} wait{'' if waiting > 1 else 's'}{since};"
        f" {found.stuck} after an attempt or held, {found.fresh} new, {found.in_hand} in hand"
    )
    why, alone_ms = of_oldest(conn, found, around)
    if why is not None and why.block in _OF_ALL:
        say(f"why:           {why.text}")
    for text in () if why is None else why.besides:
        say(f"also:          {text}")
    _causes(found)
    held = sum(one.recipients for one in found.causes if one.state is State.HELD)
    if found.next_attempt_ms is not None:
        say(f"next attempt:  {_next(max(found.next_attempt_ms, alone_ms), why, around)}")
    for command in () if why is None else why.unblock:
        if not command.startswith("mta queue"):
            say(f"do:            {command}")
    say(f"what they are:  mta queue list --domain {quote(visible(domain))}")
    if found.stuck > held and (why is None or why.block not in _NO_RETRY):
        say(f"to try it now:  mta queue retry --domain {quote(visible(domain))}")
    if held:
        say(f"to release it:  mta queue release --domain {quote(visible(domain))}")
    return True


def of_oldest(conn: Any, found: Standing, around: Surroundings) -> tuple[Reason | None, int]:
    """Return why the oldest recipient that waits does, for what blocks a domain blocks it, too.

    And the moment before which nobody dials its site; 0: there is none.
    """
    trace = None if found.oldest is None else history.trace(conn, found.oldest)
    if trace is None:
        return None, 0
    around.look_up([trace])
    those = (one for one in trace.recipients if one.recipient.domain == found.domain)
    waiting = next((one for one in those if one.state in WAITING), None)
    if waiting is None:
        return None, 0
    alone = around.left_alone(around.marks(trace, waiting))
    return reason(trace, waiting, around), 0 if alone is None else alone.until_ms


def _next(next_ms: int, why: Reason | None, around: Surroundings) -> str:
    if why is not None and why.block in _OF_ALL:
        if why.when:
            return why.when
        next_ms = max(next_ms, why.next_attempt_ms or 0)
    return "as soon as it is its turn" if next_ms <= around.now_ms else around.at(next_ms)


def _causes(found: Standing) -> None:
    merged = _merged(found)
    rows = [(str(number), state, words) for (state, words), number in merged.items()]
    if rows:
        table(_COLUMNS, rows[:_CAUSES])
    if len(rows) > _CAUSES:
        say(f"and {len(rows) - _CAUSES} rarer causes")
    if found.stuck > standing.SAMPLE:
        say(f"(causes and next attempt: of the oldest {standing.SAMPLE})")


def _merged(found: Standing) -> dict[tuple[str, str], int]:
    """Count replies that differ in nothing but ids and numbers as one."""
    merged: dict[tuple[str, str], int] = {}
    for one in found.causes:
        words = visible(cause(one.code, one.enhanced, one.text)) or "(no attempt has ended)"
        key = (one.state.value, words)
        merged[key] = merged.get(key, 0) + one.recipients
    return dict(sorted(merged.items(), key=lambda item: -item[1]))


def _tell_finished(found: Finished, domain: str, around: Surroundings) -> bool:
    if not found.states:
        note(f"nothing waits for {visible(domain)}, and none of the newest {standing.NEWEST}")
        note("recipients in this spool was there.  'mta trace ADDRESS' looks through all of them.")
        return False
    states = ", ".join(f"{number} {state.value}" for state, number in found.states.items())
    newest = (
        "" if found.newest is None else f", the last accepted {around.at(time_of(found.newest))}"
    )
    say(f"{visible(domain)}: nothing waits; of the newest mail {states}{newest}")
    if found.newest is not None:
        say(f"the last one: mta why {found.newest}")
    return True


def _recipients(number: int) -> str:
    return f"{number} recipient{'' if number == 1 else 's'}"


def domain_record(conn: Any, domain: str, around: Surroundings) -> dict[str, Any]:
    """Make the answer for programs."""
    found = standing.of_domain(conn, domain)
    why, _ = of_oldest(conn, found, around)
    finished = standing.finished_of_domain(conn, domain)
    return {
        "domain": domain,
        "known": bool(found.stuck or found.fresh or finished.states),
        "waiting": found.stuck + found.fresh,
        "stuck": found.stuck,
        "new": found.fresh,
        "in_hand": found.in_hand,
        "oldest": found.oldest,
        "oldest_ms": None if found.oldest is None else time_of(found.oldest),
        "next_attempt_ms": found.next_attempt_ms,
        "why_oldest": None
        if why is None
        else {
            "blocked_by": why.block,
            "reason": why.text,
            "besides": list(why.besides),
            "next_attempt_ms": why.next_attempt_ms,
            "unblock": list(why.unblock),
        },
        "causes": [
            {"state": state, "cause": words, "recipients": number}
            for (state, words), number in _merged(found).items()
        ],
        "finished": {state.value: number for state, number in finished.states.items()},
    }
