"""``mta status``: is a service running, and how is the queue?

What runs is what has a lease in the spool that has not run out.  A process that was
killed shows as silent when its lease ends, or as dead at once if its host is this one.
"""

import os
import socket
from typing import Any

import click

from mta.admin import records, refusals
from mta.admin.exits import Exit
from mta.admin.invocation import Invocation, pass_invocation
from mta.admin.queue_commands import totals
from mta.admin.render import Column, json_line, moment, say, span, table, visible
from mta.admin.restraints import restraint_record, tell
from mta.policy.limits import DAY_MS
from mta.spool import accounts, alarms, history, leases, listing, restraints
from mta.spool.filters import Filter
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
        nodes = leases.everyone(conn)
        found = listing.summary(conn, now_ms)
        due = listing.count(conn, Filter(state=State.QUEUED, max_next_ms=0), now_ms)
        active = listing.in_hand(conn)
        everyone = accounts.everyone(conn)
        raised = alarms.everybodys(conn)
        held = restraints.holding(conn, now_ms)
        waiting = restraints.waiting(conn) if held else {}
        unanswered = history.unanswered(conn, now_ms - DAY_MS)
        refused = refusals.counted(conn, now_ms) if wanted else []
    disabled = sum(one.disabled for one in everyone)
    there = {node.name for node in nodes if alive(node, now_ms)}
    raised = [one for one in raised if one.node in there]
    running = bool(there)
    ended = Exit.DONE if running else Exit.UNAVAILABLE
    if as_json:
        summary = {k: v for k, v in records.summary(found).items() if k != "domains"}
        json_line(
            {
                "running": running,
                "nodes": [_record(node, now_ms) for node in nodes],
                "queue": {
                    **summary,
                    "queued": found.count(State.QUEUED),
                    "held": found.count(State.HELD),
                    "active": active,
                    "due": due,
                },
                "alarms": [
                    {"node": a.node, "name": a.name, "text": a.text, "since_ms": a.since_ms}
                    for a in raised
                ],
                "restraints": [
                    restraint_record(one) | {"waiting": waiting.get(one.id, 0)} for one in held
                ],
                "unanswered": {state.value: number for state, number in unanswered.items()},
                "accounts": {"enabled": len(everyone) - disabled, "disabled": disabled},
                **({"refusals": refusals.records(refused)} if wanted else {}),
            }
        )
        return ended
    if nodes:
        table(_COLUMNS, [_cells(node, invocation) for node in nodes])
    if not running:
        say("no service is running")
    for alarm in raised:
        since = moment(alarm.since_ms, invocation.zone)
        say(f"alarm since {since}: {visible(alarm.node)}: {visible(alarm.text)}")
    tell(held, waiting, invocation)
    say()
    say(f"{totals(found, now_ms)}; {active} active, {due} due")
    if unanswered:
        became = ", ".join(f"{number} {state.value}" for state, number in unanswered.items())
        say(f"in the last day without an answer after the final dot: {became}")
    say(f"accounts: {len(everyone) - disabled} enabled, {disabled} disabled")
    if wanted:
        refusals.show(refused)
    return ended


def alive(node: Node, now_ms: int) -> bool:
    """Tell whether a process is there, as far as can be seen from here."""
    return node.lease_until_ms > now_ms and not _known_dead(node)


def _known_dead(node: Node) -> bool:
    """Tell whether the process is one of this machine's and is gone."""
    pid = node.about.get("pid", "")
    if node.about.get("host") != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # somebody else's: it is there
        return False
    return False


def _cells(node: Node, invocation: Invocation) -> tuple[str, ...]:
    now_ms = invocation.now_ms()
    left = node.lease_until_ms - now_ms
    return (
        visible(node.name),
        "running" if alive(node, now_ms) else "dead" if _known_dead(node) else "silent",
        visible(node.about.get("pid", "-")),
        visible(node.about.get("host", "-")),
        moment(node.started_ms, invocation.zone),
        f"{span(left)} left" if left > 0 else f"ended {span(-left)} ago",
    )


def _record(node: Node, now_ms: int) -> dict[str, Any]:
    return {
        "name": node.name,
        "alive": alive(node, now_ms),
        "started_ms": node.started_ms,
        "lease_until_ms": node.lease_until_ms,
        "about": dict(node.about),
    }
