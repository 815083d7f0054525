"""``mta trace --transcript``: what was said in each attempt, or what can be said of it shortly.

An attempt that brought the message to all of its recipients at once has no transcript, unless
the configuration wants one of each: sizes, counts and durations are in the history.
"""

from collections.abc import Iterator, Sequence
from datetime import tzinfo
from itertools import groupby

from mta.admin.render import address, moment, octets, say, seconds
from mta.admin.render import visible as v
from mta.spool.history import Trace, TracedAttempt
from mta.spool.transcripts import Transcript

_SHOWN = 3  # addresses of one attempt


def tell(trace: Trace, kept: Sequence[Transcript], zone: tzinfo | None) -> None:
    """Write all attempts of a message in the order of their beginnings."""
    if not trace.attempts:
        say("no attempt has ended yet")
    entries = [(one.started_ms, [_head(trace, one, zone), *one.text.split("\n")]) for one in kept]
    told = {(one.started_ms, one.node, number) for one in kept for number in one.recipients}
    entries += list(_summaries(trace, told, zone))
    for number, (_, lines) in enumerate(sorted(entries, key=lambda entry: entry[0])):
        if number:
            say()
        for line in lines:
            say(v(line))


def _head(trace: Trace, one: Transcript, zone: tzinfo | None) -> str:
    return f"{moment(one.started_ms, zone)}, by {one.node}, {_to(trace, one.recipients)}:"


def _summaries(
    trace: Trace, told: set[tuple[int, str, int]], zone: tzinfo | None
) -> Iterator[tuple[int, list[str]]]:
    """Yield a line for each attempt of which there is no transcript."""
    left = [
        one
        for one in trace.attempts
        if (one.started_ms, one.node, one.outcome.recipient) not in told
    ]
    for _, same in groupby(sorted(left, key=_transaction), key=_transaction):
        some = list(same)
        first = some[0]
        to = _to(trace, [one.outcome.recipient for one in some])
        when = f"{moment(first.started_ms, zone)}, by {first.node}, {to}"
        yield first.started_ms, [f"{when}: {_summary(trace, first)}"]


def _transaction(one: TracedAttempt) -> tuple[object, ...]:
    peer = one.outcome.peer
    where = ("", "", 0, 0) if peer is None else (peer.host, peer.address, peer.port, peer.use)
    return (one.started_ms, one.node, *where, one.outcome.reply)


def _summary(trace: Trace, one: TracedAttempt) -> str:
    outcome, size = one.outcome, octets(trace.envelope.size)
    if outcome.peer is None:
        return f"{outcome.reply or 'nothing was said'} (no transcript is kept)"
    peer = outcome.peer
    use = f", transaction {peer.use} of the connection" if peer.use > 1 else ""
    return (
        f"{outcome.verdict.value}, {peer.where}{use}, {size} octets,"
        f" connect {seconds(outcome.timing.connect)}, transmit {seconds(outcome.timing.transmit)},"
        f" {outcome.reply} (no transcript is kept)"
    )


def _to(trace: Trace, numbers: Sequence[int]) -> str:
    known = {one.recipient.number: one.recipient.address for one in trace.recipients}
    shown = [address(known.get(number, f"recipient {number}")) for number in numbers[:_SHOWN]]
    more = f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else ""
    return f"to {', '.join(shown)}{more}"
