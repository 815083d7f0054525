"""``mta status``: is a service running, and how is the queue?

What runs is what has a lease in the spool that has not run out.  A process that was
killed shows as silent when its lease ends, or as dead at once where that can be seen from here.
"""

from dataclasses import dataclass
from typing import Any

import click

from mta import identity
from mta.admin import records, refusals
from mta.admin.exits import Exit
from mta.admin.invocation import Invocation, pass_invocation
from mta.admin.processes import alive, works
from mta.admin.queue_commands import totals
from mta.admin.render import Column, json_line, moment, say, span, table, visible
from mta.admin.shown_restraints import in_force, tell
from mta.admin.shown_restraints import records as restraint_records
from mta.mail.restraint import Restraint
from mta.policy.limits import DAY_MS
from mta.spool import accounts, alarms, history, leases, listing, summary
from mta.spool.leases import Node
from mta.spool.schema import State

_COLUMNS = (
    Column("NODE", style="bold"),
    Column("STATE"),
    Column("PID", "right"),
    Column("HOST"),
    Column("SINCE"),
    Column("LEASE"),
)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--refusals", "wanted", is_flag=True, help="Also what clients were refused.")
@pass_invocation
def status(invocation: Invocation, as_json: bool, wanted: bool) -> Exit:
    """Show whether the service runs, and how the queue is.

    Exit status 69 if no service runs that uses this spool.
    """
    now_ms = invocation.now_ms()
    with invocation.reading() as conn:
        facts = _facts(conn, now_ms)
        refused = refusals.counted(conn, now_ms) if wanted else None
    if as_json:
        more = {} if refused is None else {"refusals": refusals.records(refused)}
        json_line(_as_record(facts, now_ms) | more)
    else:
        _show(facts, now_ms, invocation)
        if refused is not None:
            refusals.show(refused)
    return Exit.DONE if facts.running else Exit.UNAVAILABLE


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the spool knows of its processes and its queue."""

    nodes: list[Node]
    there: frozenset[str]  # names of the processes that are alive
    running: bool  # whether any of them works on mail
    queue: summary.Summary
    due: int
    active: int
    alarms: list[alarms.Alarm]  # of processes that are alive
    held: list[Restraint]
    waiting: dict[int, int]  # recipients by the id of what they wait for
    unanswered: dict[State, int]
    enabled: int  # accounts
    disabled: int


def _facts(conn: Any, now_ms: int) -> _Facts:
    nodes = leases.everyone(conn)
    there = frozenset(node.name for node in nodes if alive(node, now_ms))
    held, waiting = in_force(conn, now_ms)
    everyone = accounts.everyone(conn)
    disabled = sum(one.disabled for one in everyone)
    return _Facts(
        nodes,
        there,
        any(works(node, now_ms) for node in nodes),
        summary.summary(conn),
        summary.due(conn, now_ms),
        listing.in_hand(conn),
        [one for one in alarms.everybodys(conn) if one.node in there],
        held,
        waiting,
        history.unanswered(conn, now_ms - DAY_MS),
        len(everyone) - disabled,
        disabled,
    )


def _as_record(facts: _Facts, now_ms: int) -> dict[str, Any]:
    found = facts.queue
    summary = {k: v for k, v in records.summary(found).items() if k != "domains"}
    return {
        "running": facts.running,
        "nodes": [_record(node, now_ms) for node in facts.nodes],
        "queue": {
            **summary,
            "queued": found.count(State.QUEUED),
            "held": found.count(State.HELD),
            "active": facts.active,
            "due": facts.due,
        },
        "alarms": [
            {"node": a.node, "name": a.name, "text": a.text, "since_ms": a.since_ms}
            for a in facts.alarms
        ],
        "restraints": list(restraint_records(facts.held, facts.waiting)),
        "unanswered": {state.value: number for state, number in facts.unanswered.items()},
        "accounts": {"enabled": facts.enabled, "disabled": facts.disabled},
    }


def _show(facts: _Facts, now_ms: int, invocation: Invocation) -> None:
    if facts.nodes:
        there = [_cells(node, invocation) for node in facts.nodes]
        table(_COLUMNS, sorted([*there, *_down(facts, now_ms)]))
    if not facts.running:
        say("no service is running")
    for alarm in facts.alarms:
        since = moment(alarm.since_ms, invocation.zone)
        say(f"alarm since {since}: {visible(alarm.node)}: {visible(alarm.text)}")
    tell(facts.held, facts.waiting, invocation)
    say()
    say(f"{totals(facts.queue, now_ms)}; {facts.active} active, {facts.due} due")
    if facts.unanswered:
        became = ", ".join(f"{number} {state.value}" for state, number in facts.unanswered.items())
        say(f"in the last day without an answer after the final dot: {became}")
    say(f"accounts: {facts.enabled} enabled, {facts.disabled} disabled")


def _cells(node: Node, invocation: Invocation) -> tuple[str, ...]:
    now_ms = invocation.now_ms()
    left = node.lease_until_ms - now_ms
    return (
        visible(node.name),
        _state(node, now_ms),
        visible(node.about.get("pid", "-")),
        visible(node.about.get("host", "-")),
        moment(node.started_ms, invocation.zone),
        f"{span(left)} left" if left > 0 else f"ended {span(-left)} ago",
    )


def _state(node: Node, now_ms: int) -> str:
    if alive(node, now_ms):
        return "supervising" if node.supervises else "running"
    return "dead" if identity.there(node.about) is False else "silent"


def _down(facts: _Facts, now_ms: int) -> list[tuple[str, ...]]:
    """Return the workers that their supervisor misses, as rows."""
    named = {node.name for node in facts.nodes}
    return [
        (visible(worker), "down", "-", visible(node.about.get("host", "-")), "-", "-")
        for node in facts.nodes
        if alive(node, now_ms)
        for worker in node.down
        if worker not in named
    ]


def _record(node: Node, now_ms: int) -> dict[str, Any]:
    return {
        "name": node.name,
        "alive": alive(node, now_ms),
        "state": _state(node, now_ms),
        "started_ms": node.started_ms,
        "lease_until_ms": node.lease_until_ms,
        "about": dict(node.about),
    }
