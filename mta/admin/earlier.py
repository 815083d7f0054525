"""The attempts before the last one, in few lines: replies that mean the same are told once."""

from collections.abc import Iterator

from mta.admin.causes import cause
from mta.admin.reason import reply
from mta.admin.render import span
from mta.admin.surroundings import Surroundings
from mta.spool.history import Trace, TracedAttempt

_MOST = 3  # lines


def earlier(trace: Trace, last: TracedAttempt, around: Surroundings) -> Iterator[str]:
    """Yield what became of the attempts before ``last``, the newest first."""
    groups: dict[tuple[str, ...], list[TracedAttempt]] = {}
    for one in reversed(trace.attempts):
        if one.outcome.recipient == last.outcome.recipient and one is not last:
            groups.setdefault(_kind(one), []).append(one)
    for kind, those in list(groups.items())[:_MOST]:
        words = "the same" if kind == _kind(last) else reply(those[0].outcome)
        yield f"    before:  {_when(those, around)}: {words}"
    if len(groups) > _MOST:
        yield f"             and others: mta trace {trace.envelope.id}"


def _kind(one: TracedAttempt) -> tuple[str, ...]:
    outcome = one.outcome
    host = "" if outcome.peer is None else outcome.peer.host
    return cause(outcome.code, outcome.enhanced, outcome.text), outcome.command, host


def _when(those: list[TracedAttempt], around: Surroundings) -> str:
    newest = span(around.now_ms - those[0].ended_ms)
    if len(those) == 1:
        return f"{newest} ago"
    return f"{len(those)} times, {span(around.now_ms - those[-1].ended_ms)} to {newest} ago"
