"""``mta trace``: where is my message, and why?"""

from typing import Any

import click

from mta.admin import records, transcripts
from mta.admin.exits import Exit
from mta.admin.invocation import Invocation, pass_invocation
from mta.admin.render import Column, address, json_line, moment, note, octets, table, visible
from mta.admin.story import Story
from mta.mail.queue_id import QueueId
from mta.spool import history
from mta.spool import transcripts as spooled
from mta.spool.history import Trace

_COLUMNS = (
    Column("ID", style="bold"),
    Column("ACCEPTED"),
    Column("SIZE", "right", 5),
    Column("FROM"),
    Column("TO", style="cyan"),
    Column("STATE"),
)


@click.command()
@click.argument("what", metavar="ID|ADDRESS|MESSAGE-ID")
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, help="Newest messages shown."
)
@click.option("--transcript", is_flag=True, help="What was said in each attempt.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each message, a line.")
@pass_invocation
def trace(
    invocation: Invocation, *, what: str, limit: int, transcript: bool, as_json: bool
) -> Exit:
    """Tell the whole life of a message, also after it has left.

    It is named by its queue id, the address of a recipient or the sender, or its Message-ID.
    Where several messages match they are listed, newest first.
    """
    with invocation.reading() as conn:
        found = history.find(conn, what, limit + 1)[::-1]
        more, found = len(found) > limit, found[:limit]
        traces = [one for one in (history.trace(conn, id_) for id_ in found) if one is not None]
        if as_json:
            for one in traces:
                json_line(_record(conn, one, transcript))
        elif len(traces) == 1 and not more:
            (one,) = traces
            if transcript:
                kept = spooled.of_message(conn, one.envelope.id)
                transcripts.tell(one, kept, invocation.zone)
            else:
                Story(one, reports(conn, one), invocation.now_ms(), invocation.zone).tell()
        elif traces:
            table(_COLUMNS, [_row(one, invocation) for one in traces])
            if transcript:
                note("several messages match: name one by its id, to see what was said")
        searched = not as_json and "@" in what and not what.startswith("<")
        if searched and len(traces) != 1 and history.has_older(conn):
            note(f"mail from it was looked for among the newest {history.SENDERS} messages")
    if not traces:
        note(f"nothing is known of {visible(what)}")
        return Exit.NOTHING
    if more:
        note(f"the newest {limit}; more with --limit")
    return Exit.DONE


def _record(conn: Any, found: Trace, transcript: bool) -> dict[str, Any]:
    record = records.trace(found, reports(conn, found))
    if transcript:
        kept = spooled.of_message(conn, found.envelope.id)
        record["transcripts"] = [records.transcript(one) for one in kept]
    return record


def reports(conn: Any, found: Trace) -> list[Trace]:
    """Return what is known of the reports about a message."""
    traced = (history.trace(conn, report) for report in found.reports)
    return [report for report in traced if report is not None]


def _row(found: Trace, invocation: Invocation) -> tuple[str, ...]:
    envelope = found.envelope
    first, *others = found.recipients
    more = f" and {len(others)} more" if others else ""
    states = dict.fromkeys(one.state.value for one in found.recipients)
    return (
        QueueId(envelope.id),
        moment(envelope.created_ms, invocation.zone),
        octets(envelope.size),
        address(envelope.sender),
        address(first.recipient.address) + more,
        ", ".join(states),
    )
