"""``mta why DOMAIN``: how many wait, since when, why, when it goes on, and what would help."""

from shlex import quote
from typing import Any

from mta.admin.causes import cause
from mta.admin.reasons import Surroundings
from mta.admin.render import Column, note, say, span, table, visible
from mta.mail.queue_id import time_of
from mta.spool import standing
from mta.spool.schema import State
from mta.spool.standing import Finished, Standing

_CAUSES = 10
_COLUMNS = (Column("RECIPIENTS", "right"), Column("STATE", style="bold"), Column("LAST REPLY"))


def tell_domain(conn: Any, domain: str, around: Surroundings) -> bool:
    """Write the answer about ``domain``; False if nothing is known of it."""
    found = standing.of_domain(conn, domain)
    waiting = found.stuck + found.fresh
    if not waiting:
        return _tell_finished(standing.finished_of_domain(conn, domain), domain, around)
    since = ""
    if found.oldest is not None:
        since = f", the oldest for {span(around.now_ms - time_of(found.oldest))}"
    say(
        f"{visible(domain)}: {_recipients(waiting)} wait{'' if waiting > 1 else 's'}{since};"
        f" {found.stuck} after an attempt or held, {found.fresh} new, {found.in_hand} in hand"
    )
    if not around.running:
        say("no service is running that uses this spool: systemctl start mta")
    _causes(found)
    held = sum(one.recipients for one in found.causes if one.state is State.HELD)
    if found.next_attempt_ms is not None:
        due = found.next_attempt_ms <= around.now_ms
        when = "as soon as it is its turn" if due else around.at(found.next_attempt_ms)
        say(f"next attempt: {when}")
    say(f"what they are:  mta queue list --domain {quote(visible(domain))}")
    if found.stuck > held:
        say(f"to try it now:  mta queue retry --domain {quote(visible(domain))}")
    if held:
        say(f"to release it:  mta queue release --domain {quote(visible(domain))}")
    return True


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


def domain_record(conn: Any, domain: str) -> dict[str, Any]:
    """Make the answer for programs."""
    found = standing.of_domain(conn, domain)
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
        "causes": [
            {"state": state, "cause": words, "recipients": number}
            for (state, words), number in _merged(found).items()
        ],
        "finished": {state.value: number for state, number in finished.states.items()},
    }
