"""``mta top``: the queue at work, live: sites, rates, windows, budgets, and what is stuck.

Running processes report only while somebody looks (``mta.queue.watch``).  Where none runs, what
waits in the spool is shown all the same.  A look that takes long is made less often.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from mta.admin import shown_budgets
from mta.admin.exits import Exit
from mta.admin.invocation import Invocation, pass_invocation
from mta.admin.processes import works
from mta.admin.queue_sites import from_sources
from mta.admin.render import Column, json_line, on_terminal, say, span, table, visible
from mta.admin.shown_restraints import in_force, records, tell
from mta.mail.queue_id import time_of
from mta.spool import leases, listing, watching

_WATCHED_MS = 15_000
_FRESH_MS = 5_000  # an older report is of another time
_WAIT_S = 3.0  # for the first report
_SPARE = 10  # a look may take a tenth of the time
_SITES = (
    Column("SITE", style="bold"),
    Column("NODE"),
    Column("MEMORY", "right"),
    Column("RUNNING", "right"),
    Column("WINDOW", "right"),
    Column("SENT/MIN", "right"),
    Column("DEFER/MIN", "right"),
    Column("FAIL/MIN", "right"),
    Column("STATE"),
)
_STUCK = (
    Column("STUCK AT", style="cyan"),
    Column("RECIPIENTS", "right"),
    Column("OLDEST", "right"),
)

Look = dict[str, Any]


@click.command()
@click.option("--once", is_flag=True, help="Show one moment and end.")
@click.option(
    "--interval", type=click.FloatRange(0.5, 60), default=2.0, show_default=True, help="Seconds."
)
@click.option(
    "--rows", type=click.IntRange(1, 100), default=15, show_default=True, help="Of each table."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each moment, a line.")
@pass_invocation
def top(invocation: Invocation, *, once: bool, interval: float, rows: int, as_json: bool) -> Exit:
    """Watch the queue at work: sites, rates a minute, windows, what is stuck and since when.

    Ctrl-C ends it.
    """
    began = time.monotonic()
    look = _look(invocation, rows)
    while once and look["nodes"] and not look["reports"] and time.monotonic() - began < _WAIT_S:
        time.sleep(0.25)
        look = _look(invocation, rows)
    _show(invocation, look, rows, as_json)
    while not once:
        took = look["took_s"]
        time.sleep(max(interval, took * _SPARE))
        look = _look(invocation, rows)
        if on_terminal() and not as_json:
            click.clear()
        _show(invocation, look, rows, as_json)
    return Exit.DONE


def _look(invocation: Invocation, rows: int) -> Look:
    began, now_ms = time.monotonic(), invocation.now_ms()
    with invocation.writing() as conn:
        watching.watch(conn, now_ms + _WATCHED_MS)
    with invocation.reading() as conn:
        alive = [one.name for one in leases.everyone(conn) if works(one, now_ms)]
        reports = watching.reports(conn, now_ms)
        number, oldest = watching.stuck_in_all(conn)
        stuck = watching.stuck(conn, rows)
        active = listing.in_hand(conn)
        held = in_force(conn, now_ms)
        budgets = shown_budgets.records(invocation, conn)
    fresh = {name: one for name, one in reports.items() if one["at_ms"] > now_ms - _FRESH_MS}
    return {
        "at_ms": now_ms,
        "took_s": time.monotonic() - began,
        "nodes": alive,
        "active": active,
        "stuck": number,
        "oldest_ms": None if oldest is None else time_of(oldest),
        "domains": [
            {"domain": one.domain, "recipients": one.recipients, "oldest_ms": time_of(one.oldest)}
            for one in stuck
        ],
        "reports": fresh,
        "budgets": list(budgets),
        "restraints": held,
    }


def _show(invocation: Invocation, look: Look, rows: int, as_json: bool) -> None:
    if as_json:
        json_line(look | {"restraints": list(records(*look["restraints"]))})
        return
    now_ms = look["at_ms"]
    oldest = (
        "" if look["oldest_ms"] is None else f", the oldest for {span(now_ms - look['oldest_ms'])}"
    )
    nodes = ", ".join(map(visible, look["nodes"])) or "no service is running"
    say(f"{nodes}; {look['active']} in hand, {look['stuck']} stuck or held{oldest}")
    for name, one in look["reports"].items():
        rates = _rates(one, one["sums"])
        say(f"{visible(name)}: {one['running']} deliveries at once; {_words(rates)} a minute")
    sites = [
        (name, report, site) for name, report in look["reports"].items() for site in report["sites"]
    ]
    if sites:
        say()
        busiest = sorted(sites, key=lambda one: (-sum(one[2]["counts"]), -one[2]["in_memory"]))
        table(_SITES, [_cells(*one) for one in busiest[:rows]])
    held, waiting = look["restraints"]
    if held:
        say()
        tell(held, waiting, invocation)
    if look["budgets"]:
        say()
        shown_budgets.draw(look["budgets"][:rows], now_ms)
    if look["domains"]:
        say()
        table(
            _STUCK,
            [
                (
                    visible(one["domain"]),
                    str(one["recipients"]),
                    span(now_ms - one["oldest_ms"]),
                )
                for one in look["domains"]
            ],
        )


def _cells(node: str, report: Mapping[str, Any], site: Mapping[str, Any]) -> tuple[str, ...]:
    held_ms = (site["until_ms"] or 0) - report["at_ms"]
    state = "failing" if site["failing"] else "ok"
    if held_ms > 0:
        state = f"held for {span(held_ms)}"
    why = f": {visible(' '.join(site['reason'].split()))}" if site["reason"] else ""
    return (
        visible(from_sources(site["name"], site.get("sources", ()))),
        visible(node),
        str(site["in_memory"]),
        str(site["running"]),
        str(site["window"]),
        *(_rate(one) for one in _rates(report, site["counts"])),
        state if state == "ok" else state + why,
    )


def _rates(report: Mapping[str, Any], counts: Sequence[int]) -> list[float]:
    """Return counts a minute since the process began to count."""
    minutes = max(report["at_ms"] - report["since_ms"], 1000) / 60_000
    return [one / minutes for one in counts]


_rate: Callable[[float], str] = "{:.0f}".format


def _words(rates: Sequence[float]) -> str:
    names = ("sent", "deferred", "failed")
    return ", ".join(f"{_rate(rate)} {name}" for rate, name in zip(rates, names, strict=True))
