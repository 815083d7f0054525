"""``mta retry-plan``: when mail that is put off is tried again, and how that has worked.

The replay reads the attempts that the spool still has; what it can and cannot know stands in
``mta.queue.replay`` and is said with the answer.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from mta.admin.invocation import Invocation, pass_invocation
from mta.admin.ranges import span_ms
from mta.admin.render import Column, json_line, moment, note, say, span, table
from mta.queue.replay import History, Moment, Replay, replay, timeline
from mta.queue.retry import RetrySchedule
from mta.spool import deferrals
from mta.spool.deferrals import Retried
from mta.spool.schema import State

_SHOWN = 8  # repetitions of the last step; the others are counted
_TIMELINE = (
    Column("ATTEMPT", "right"),
    Column("AFTER", "right", style="bold"),
    Column("WITH JITTER"),
    Column("WHAT"),
)
_STEPS = (Column("ATTEMPT", "right"), Column("DELIVERED", "right"), Column("HALF OF THEM WITHIN"))


@click.command("retry-plan")
@click.option("--schedule", metavar="STEPS", help="Instead of retry.steps: '5m,15m,1h,4h'.")
@click.option("--simulate", metavar="SPAN", help="Lay it over the deferrals of so long: '30d'.")
@click.option("--route", metavar="NAME", default="", help="Only mail that this route would take.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@pass_invocation
def retry_plan(
    invocation: Invocation, schedule: str | None, simulate: str | None, route: str, as_json: bool
) -> None:
    """Show when mail that is put off is tried again, is late, and is given up.

    With --simulate: how many of those that were put off were delivered at which attempt, and
    what the schedule would have changed.
    """
    if route and simulate is None:
        raise click.UsageError("--route is about the history: it needs --simulate.")
    retry = invocation.settings.retry
    jitter = float(retry.jitter)
    steps = tuple(one.total_seconds() for one in retry.steps)
    planned = RetrySchedule(_steps(schedule) if schedule else steps, jitter)
    expiry_ms = round(retry.expiry.total_seconds() * 1000)
    plan = timeline(planned, expiry_ms)
    record: dict[str, Any] = {
        "steps_s": list(planned.steps),
        "jitter": jitter,
        "expiry_ms": expiry_ms,
        "delay_warning_ms": _warning_ms(invocation),
        "attempts": [asdict(one) for one in plan],
    }
    if not as_json:
        table(_TIMELINE, _rows(plan, planned, _warning_ms(invocation), expiry_ms))
    if simulate is not None:
        record["history"] = _simulate(invocation, planned, _span(simulate), route, as_json)
    if as_json:
        json_line(record)


def _steps(text: str) -> tuple[float, ...]:
    try:
        steps = tuple(span_ms(one.strip()) / 1000 for one in text.split(","))
        return RetrySchedule(steps).steps
    except ValueError as error:
        raise click.UsageError(f"--schedule: {error}") from None


def _span(text: str) -> int:
    try:
        return span_ms(text)
    except ValueError as error:
        raise click.UsageError(f"--simulate: {error}") from None


def _warning_ms(invocation: Invocation) -> int | None:
    warning = invocation.settings.retry.delay_warning
    return None if warning is None else round(warning.total_seconds() * 1000)


def _rows(
    plan: Sequence[Moment], planned: RetrySchedule, warning_ms: int | None, expiry_ms: int
) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = []
    steady = len(planned.steps) + 1 + _SHOWN  # from here on only the last step repeats
    warned = warning_ms is None
    for one in plan:
        last = one is plan[-1]
        if not warned and warning_ms is not None and one.after_ms >= warning_ms:
            warned = True
            rows.append(("", span(warning_ms), "", "from here on the sender is told of the delay"))
        if one.attempt > steady and not last:
            continue
        if last and one.attempt > steady + 1:
            step = span(round(planned.steps[-1] * 1000))
            rows.append(("...", "", "", f"{one.attempt - steady - 1} more, every {step}"))
        window = f"{span(one.earliest_ms)} to {span(one.latest_ms)}" if one.after_ms else ""
        what = "when it is accepted" if one.attempt == 1 else "the last one" if last else ""
        rows.append((str(one.attempt), span(one.after_ms), window, what))
    rows.append(("", span(expiry_ms), "", "given up"))
    return rows


def _simulate(
    invocation: Invocation, planned: RetrySchedule, back_ms: int, route: str, quiet: bool
) -> dict[str, Any]:
    with invocation.reading() as conn:
        found = deferrals.retried(conn, invocation.now_ms() - back_ms)
    wanted = _of_route(invocation, found.recipients, route) if route else found.recipients
    whole = [one for one in wanted if one.whole and len(one.attempts_ms) > 0]
    histories = [
        History(one.attempts_ms, one.expires_ms, one.state is State.DELIVERED)
        for one in whole
        if one.state is not State.DELIVERED or len(one.attempts_ms) > 1
    ]
    replayed = replay(histories, planned)
    record = {
        "looked_at_attempts": found.looked_at,
        "back_to_ms": found.back_to_ms,
        "put_off": len(wanted),
        "incomplete": len(wanted) - len(whole),
        "states": _states(wanted),
        "delivered_at": _delivered_at(whole),
        "replay": asdict(replayed),
    }
    if not quiet:
        _tell(invocation, record, replayed)
    return record


def _of_route(invocation: Invocation, found: Sequence[Retried], route: str) -> tuple[Retried, ...]:
    """Return those that the route would take now: which one did take them is not on record."""
    from mta.config.build import routes  # noqa: PLC0415 - the whole of delivery

    all_routes = routes(invocation.settings)
    names = {one.name for one in invocation.settings.route} | {"default"}
    if route not in names:
        raise click.UsageError(f"there is no route {route!r}: {', '.join(sorted(names))}")
    return tuple(one for one in found if all_routes.choose(one.sender, one.domain).name == route)


def _states(found: Sequence[Retried]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for one in found:
        counts[one.state.value] = counts.get(one.state.value, 0) + 1
    return counts


def _delivered_at(found: Sequence[Retried]) -> list[dict[str, int]]:
    """Count deliveries by the number of the attempt, with the time since the first one."""
    waits: dict[int, list[int]] = {}
    for one in found:
        if one.state is State.DELIVERED and len(one.attempts_ms) > 1:
            wait = one.attempts_ms[-1] - one.attempts_ms[0]
            waits.setdefault(len(one.attempts_ms), []).append(wait)
    return [
        {"attempt": number, "delivered": len(some), "median_ms": sorted(some)[len(some) // 2]}
        for number, some in sorted(waits.items())
    ]


def _tell(invocation: Invocation, record: dict[str, Any], found: Replay) -> None:
    if record["back_to_ms"] is None:
        note("there are no attempts on record in that time")
        return
    say()
    states = ", ".join(f"{number} {state}" for state, number in record["states"].items())
    since = moment(record["back_to_ms"], invocation.zone)
    say(
        f"since {since} ({record['looked_at_attempts']} attempts looked through):"
        f" {record['put_off']} recipients were put off" + (f": {states}" if states else "")
    )
    if record["delivered_at"]:
        rows = [
            (str(one["attempt"]), str(one["delivered"]), span(one["median_ms"]))
            for one in record["delivered_at"]
        ]
        table(_STEPS, rows)
    if record["incomplete"]:
        say(f"{record['incomplete']} are left out: their first attempt is not on record any more")
    say()
    say("with the schedule above, jitter left out:")
    delivered = found.earlier + found.same + found.later + found.lost
    say(f"  of {delivered} that were delivered after all")
    say(f"    {found.earlier} perhaps earlier, at best {span(found.earlier_ms)} all together")
    say(f"    {found.same} at the same time")
    say(f"    {found.later} later, at least {span(found.later_ms)} all together")
    say(f"    {found.lost} would have been given up before they were taken")
    say(f"  attempts: {found.attempts} were made, {found.fewest} to {found.most} would have been")
    say("Perhaps: nobody asked between the last refusal and the success.  That attempts change")
    say("nothing is taken for granted: greylisting and limits on rates do not work that way.")
