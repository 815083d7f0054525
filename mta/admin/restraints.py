"""``mta suspend``, ``mta resume``, ``mta throttle``: who is sent nothing, or less, for a time.

All of it is in the spool; every running service keeps to it within a second or two.  What waits
stays queued, uses up no attempt, and comes back at once when the restraint is ended.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import click

from mta.admin.exits import Exit
from mta.admin.invocation import Invocation, pass_invocation
from mta.admin.render import Column, json_line, moment, note, say, span, table, visible
from mta.admin.shown_restraints import record, until
from mta.admin.whom import ONE, doubts, scope_of, whom_options
from mta.config.units import parse_duration
from mta.mail.restraint import Restraint
from mta.spool import restraints

_SUSPENSIONS = (
    Column("NO", "right"),
    Column("WHOM", style="bold"),
    Column("STATE"),
    Column("SINCE"),
    Column("WAITING", "right"),
    Column("BY"),
    Column("REASON"),
)
_THROTTLES = (
    Column("NO", "right"),
    Column("VERB"),
    Column("SITE", style="bold"),
    Column("LEVEL"),
    Column("STATE"),
    Column("SINCE"),
    Column("WAITING", "right"),
    Column("CAUSE"),
    Column("LAST REPLY"),
)


def _duration(ctx: click.Context, param: click.Parameter, value: str | None) -> timedelta | None:
    del ctx, param
    try:
        return None if value is None else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.group(invoke_without_command=True)
@whom_options
@click.option("--reason", default="", help="Why; senders who ask, and reports, are told so.")
@click.option("--for", "for_", metavar="TIME", callback=_duration, help="End by itself: 30m, 2h.")
@click.option("--expire", is_flag=True, help="Let mail grow old, and be returned, meanwhile.")
@click.pass_context
def suspend(
    ctx: click.Context, /, *, reason: str, for_: timedelta | None, expire: bool, **whom: Any
) -> Exit:
    """Dial nobody for some mail, until 'mta resume' or for a time.  Nothing is lost.

    --source is for mail that goes out from that address of ours, all of it or what another
    option names; what has an address of the other family as well goes out from that.  What is
    under way is let finish; what waits stays in the queue, without growing old unless --expire
    says so.
    """
    scope = scope_of(whom)
    if ctx.invoked_subcommand is not None:
        if scope is not None or reason:
            raise click.UsageError("Options stand behind the command.")
        return Exit.DONE
    if scope is None:
        raise click.UsageError(ONE)
    if not reason.strip():
        raise click.UsageError("Give a --reason: somebody will ask.")
    invocation = ctx.ensure_object(Invocation)
    now_ms = invocation.now_ms()
    until_ms = None if for_ is None else now_ms + round(for_.total_seconds() * 1000)
    kind, name, source = scope
    wanted = Restraint(
        0,
        "suspend",
        kind,
        name,
        reason.strip(),
        now_ms,
        until_ms,
        source=source,
        who=invocation.who(),
        expires=expire,
    )
    for text in doubts(invocation, wanted):
        note(text)
    with invocation.writing() as conn:
        made = restraints.suspend(conn, wanted)
    how_long = "until it is resumed" if until_ms is None else f"for {span(until_ms - now_ms)}"
    say(f"suspension {made.id}: {visible(made.whom)}, {how_long}")
    return Exit.DONE


@suspend.command("list")
@click.option("--ended", is_flag=True, help="Those that are over as well, the newest first.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@pass_invocation
def list_suspensions(invocation: Invocation, ended: bool, as_json: bool) -> Exit:
    """List what is suspended, and how many recipients wait for it."""
    found, waiting = _found(invocation, by_rule=False, ended=ended)
    if not _records(found, waiting, as_json) and not found:
        note("nothing is suspended")
    elif not as_json:
        table(_SUSPENSIONS, [_suspension(one, waiting, invocation) for one in found])
    return Exit.DONE


def _suspension(one: Restraint, waiting: dict[int, int], of: Invocation) -> tuple[str, ...]:
    return (
        str(one.id),
        visible(one.whom),
        _state(one, of),
        moment(one.since_ms, of.zone),
        str(waiting.get(one.id, 0)),
        visible(one.who),
        visible(one.reason),
    )


@click.command()
@click.argument("numbers", nargs=-1, type=int, metavar="[NO...]")
@whom_options
@pass_invocation
def resume(invocation: Invocation, /, numbers: Sequence[int], **whom: Any) -> Exit:
    """End suspensions, by their numbers or by whom they are about; what waits is due at once.

    --all ends the suspension of all mail, not all suspensions.
    """
    scope = scope_of(whom)
    if (scope is None) == (not numbers):
        raise click.UsageError(f"Name numbers, or {ONE[5:]}")
    with invocation.writing() as conn:
        meant = [
            one
            for one in restraints.holding(conn, invocation.now_ms())
            if not one.cause and (one.id in numbers or (one.scope, one.name, one.source) == scope)
        ]
        count = restraints.end(
            conn, [one.id for one in meant], invocation.who(), invocation.now_ms()
        )
    for one in meant:
        say(f"resumed: {visible(one.whom)}")
    if not meant:
        note("no such suspension")
        return Exit.NOTHING
    say(f"recipients that waited and are due now: {count}")
    return Exit.DONE


@click.group()
def throttle() -> None:
    """See and revoke what replies have led to: sites that are sent less, or nothing, for a time."""


@throttle.command("list")
@click.option("--ended", is_flag=True, help="Those that are over as well, the newest first.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@pass_invocation
def list_throttles(invocation: Invocation, ended: bool, as_json: bool) -> Exit:
    """List the decisions that are in force, with what led to them."""
    found, waiting = _found(invocation, by_rule=True, ended=ended)
    if not _records(found, waiting, as_json) and not found:
        note("no site is throttled")
    elif not as_json:
        table(_THROTTLES, [_throttle(one, waiting, invocation) for one in found])
    return Exit.DONE


def _throttle(one: Restraint, waiting: dict[int, int], of: Invocation) -> tuple[str, ...]:
    return (
        str(one.id),
        one.verb,
        visible(one.name) + (f" from {visible(one.source)}" if one.source else ""),
        f"{one.was}->{one.level}, now {one.level_at(of.now_ms())}",
        _state(one, of),
        moment(one.since_ms, of.zone),
        str(waiting.get(one.id, 0)),
        f"{one.cause} ({visible(one.rule)}, {len(one.samples)} replies)",
        visible(one.samples[-1]) if one.samples else "-",
    )


@throttle.command()
@click.argument("numbers", nargs=-1, type=int, required=True, metavar="NO...")
@pass_invocation
def revoke(invocation: Invocation, numbers: Sequence[int]) -> Exit:
    """Take decisions back; what waits is due at once.  New replies can lead to them again."""
    with invocation.writing() as conn:
        meant = [
            one
            for one in restraints.holding(conn, invocation.now_ms())
            if one.cause and one.id in numbers
        ]
        restraints.end(conn, [one.id for one in meant], invocation.who(), invocation.now_ms())
    for one in meant:
        say(f"revoked: {one.verb} {visible(one.whom)}")
    if not meant:
        note("no such decision is in force")
    return Exit.DONE if meant else Exit.NOTHING


def _found(
    invocation: Invocation, *, by_rule: bool, ended: bool
) -> tuple[list[Restraint], dict[int, int]]:
    now_ms = invocation.now_ms()
    with invocation.reading() as conn:
        found = restraints.latest(conn, by_rule=by_rule)
        waiting = restraints.waiting(conn)
    return [one for one in found if ended or one.holds(now_ms)], waiting


def _records(found: Sequence[Restraint], waiting: dict[int, int], as_json: bool) -> bool:
    if as_json:
        for one in found:
            json_line(record(one) | {"waiting": waiting.get(one.id, 0)})
    return as_json


def _state(one: Restraint, of: Invocation) -> str:
    if one.ended_ms is not None:
        return f"ended by {visible(one.ended_by)} {moment(one.ended_ms, of.zone)}"
    return until(one, of)
