"""``mta queue sites``: how the sites are that mail waits for, as the running processes say.

With the budgets of smarthosts, as all processes have counted them.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import click

from mta.admin import shown_budgets
from mta.admin.exits import Exit
from mta.admin.invocation import Invocation, pass_invocation
from mta.admin.render import Column, json_line, note, say, span, table, visible
from mta.admin.shown_restraints import in_force, records, tell
from mta.mail.site import words_of
from mta.spool import site_states
from mta.spool.site_states import NodeSites, SiteState

_COLUMNS = (
    Column("SITE", style="cyan"),
    Column("RUNNING", "right"),
    Column("WAITING", "right"),
    Column("PER MIN", "right"),
    Column("HELD FOR", "right"),
    Column("WHY"),
)


@click.command()
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="One JSON object a line for each site, restraint and budget.",
)
@pass_invocation
def sites(invocation: Invocation, as_json: bool) -> Exit:
    """Show the sites that mail in memory waits for, those that are held up first.

    RUNNING is deliveries under way, of so many that the site may have now.  A site is all domains
    with the same mail exchangers, or what [[shaping]] has made one; "from" an address of ours
    where it is shaped, or throttled, for that one.  What the processes say is some seconds old.
    Below are what is suspended and slowed down, and the budgets of smarthosts: what they may be
    sent in a second and in any 24 hours, what of that is used and left, and when there is more.
    Exit status 1 if there is nothing to show.
    """
    now_ms = invocation.now_ms()
    with invocation.reading() as conn:
        found = site_states.everywhere(conn, now_ms)
        held, waiting = in_force(conn, now_ms)
        budgets = shown_budgets.records(invocation, conn)
    if as_json:
        restrained = ({"restraint": one} for one in records(held, waiting))
        for record in (*_records(found), *restrained, *({"budget": one} for one in budgets)):
            json_line(record)
    else:
        _draw(found, now_ms)
        if held:
            say()
            tell(held, waiting, invocation)
        if budgets:
            say()
            shown_budgets.draw(budgets, now_ms)
    return Exit.DONE if budgets or held or any(one.sites for one in found) else Exit.NOTHING


def _records(found: list[NodeSites]) -> Iterator[dict[str, Any]]:
    for node in found:
        for one in node.sites:
            yield site_record(node.node, one) | {"at_ms": node.at_ms}


def site_record(node: str, one: SiteState) -> dict[str, Any]:
    """Make the answer for programs about one site of one process."""
    return {
        "node": node,
        "key": one.key,
        "name": one.name,
        "window": one.window,
        "running": one.running,
        "waiting": one.waiting,
        "per_minute": one.per_minute,
        "until_ms": one.until_ms,
        "reason": one.reason,
        "shaping": list(one.shaping),
        "sources": list(one.sources),
    }


def _draw(found: list[NodeSites], now_ms: int) -> None:
    if not any(one.sites for one in found):
        note("no site has anything to do")
        return
    for node in found:
        if node.sites:
            say(f"{visible(node.node)}, {span(max(now_ms - node.at_ms, 0))} ago:")
            table(_COLUMNS, [_cells(one, now_ms) for one in node.sites])


def from_sources(site: str, sources: Sequence[str]) -> str:
    """Name a site, and the addresses of ours that it is meant from, if it is so."""
    return f"{site} from {words_of(sources)}" if sources else site


def _cells(one: SiteState, now_ms: int) -> tuple[str, ...]:
    held = one.until_ms is not None and one.until_ms > now_ms
    return (
        visible(from_sources(one.name, one.sources)),
        f"{one.running}/{one.window}",
        str(one.waiting),
        f"{one.per_minute:g}",
        span(one.until_ms - now_ms) if held and one.until_ms is not None else "-",
        visible(" ".join(one.reason.split())),
    )
