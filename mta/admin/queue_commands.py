"""``mta queue``: look at what waits.  The verbs that change it are in ``queue_verbs``."""

import sys
from collections.abc import Iterator
from itertools import islice

import click

from mta.admin import records
from mta.admin.exits import Exit, Failure
from mta.admin.filters import Chosen, filters, queue_id
from mta.admin.groups import list_groups, read_keys
from mta.admin.invocation import Invocation, pass_invocation
from mta.admin.program import Program
from mta.admin.queue_verbs import HOLD, RELEASE, REMOVE, RETRY, command_of
from mta.admin.render import (
    Column,
    address,
    json_line,
    note,
    octets,
    on_terminal,
    say,
    span,
    table,
    visible,
)
from mta.admin.story import Story
from mta.admin.trace import reports
from mta.mail.queue_id import QueueId
from mta.spool import history, listing
from mta.spool import summary as spool_summary
from mta.spool.listing import Position, QueueRow
from mta.spool.schema import State
from mta.spool.summary import Summary

_PAGE = 500  # rows fetched, and drawn, at a time
_FIRST = 50  # rows that people get unless they say otherwise
_LAST_RECIPIENT = 2**31 - 1

_COLUMNS = (
    Column("ID", width=17, style="bold"),
    Column("AGE", "right", 6),
    Column("SIZE", "right", 5),
    Column("FROM", width=20),
    Column("TO", width=20, style="cyan"),
    Column("TRIES", "right"),
    Column("NEXT", width=6),
    Column("LAST REPLY"),
)
_SUMMARY = (
    Column("DOMAIN", style="cyan"),
    Column("STATE", style="bold"),
    Column("RECIPIENTS", "right"),
    Column("OLDEST", "right"),
    Column("NEXT"),
)


_ELSEWHERE = {
    "bounce": ("mta.admin.bounces", "Give recipients up and send the sender a report."),
    "reroute": (
        "mta.admin.reroute",
        "Send waiting recipients by the route NAME from now on, beginning now.",
    ),
    "resurrect": (
        "mta.admin.resurrect",
        "Queue bounced and expired recipients again, while their content is kept.",
    ),
    "sites": (
        "mta.admin.queue_sites",
        "Show the sites that mail in memory waits for, those that are held up first.",
    ),
}
"""What brings more along than a listing needs, as in ``mta.admin.cli``."""


@click.group(cls=Program, elsewhere=_ELSEWHERE)
def queue() -> None:
    """Look at the queue, and change it."""


for _verb in (HOLD, RELEASE, RETRY, REMOVE):
    queue.add_command(command_of(_verb))


def _position(ctx: click.Context, param: click.Parameter, value: str | None) -> Position | None:
    """Read ``ID`` (all of it is behind us) or ``ID/NUMBER``."""
    del ctx, param
    if value is None:
        return None
    word, slash, number = value.partition("/")
    if slash and not (number.isascii() and number.isdigit()):
        raise click.BadParameter("is not ID or ID/NUMBER")
    return QueueId(queue_id(word)), int(number) if slash else _LAST_RECIPIENT


@queue.command("list")
@filters
@click.option(
    "--limit",
    type=click.IntRange(0),
    help="So many recipients at most, 0 for all.  [default: 50, with --json all]",
)
@click.option("--after", metavar="ID", callback=_position, help="Go on after this one.")
@click.option(
    "--group-by",
    "by",
    metavar="KEYS",
    callback=read_keys,
    help="Count instead, by some of: domain,site,category,cause,code,sender,login,state.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@pass_invocation
def list_(
    invocation: Invocation,
    *,
    chosen: Chosen,
    limit: int | None,
    after: Position | None,
    by: tuple[str, ...],
    as_json: bool,
) -> Exit:
    """List recipients in the order of arrival: those that wait, or those of --state.

    Behind the id, '*' means that an attempt is under way, '!' that it is held.  Exit status 1
    if there is a filter and nothing matches it.
    """
    if limit is None:
        limit = 0 if as_json else _FIRST
    now_ms = invocation.now_ms()
    if by and after is not None:
        raise click.UsageError("--group-by and --after exclude each other.")
    if by:
        shown = 0 if chosen.nothing else list_groups(invocation, chosen, by, limit, as_json)
    else:
        rows = iter(()) if chosen.nothing else _rows(invocation, chosen, now_ms, limit, after)
        shown = _write_json(rows, limit) if as_json else _draw(rows, now_ms, limit)
    if not shown and not as_json:
        whole = chosen.everything and after is None
        note("the queue is empty" if whole else "nothing matches")
    return Exit.DONE if shown or chosen.everything else Exit.NOTHING


def _write_json(rows: Iterator[QueueRow], limit: int) -> int:
    shown = 0
    for row in islice(rows, limit or None):
        json_line(records.queue_row(row))
        shown += 1
    return shown


def _rows(
    invocation: Invocation, chosen: Chosen, now_ms: int, limit: int, after: Position | None
) -> Iterator[QueueRow]:
    """Yield rows, one more than ``limit`` if there is one; each page is a transaction."""
    left = limit + 1 if limit else sys.maxsize
    while left > 0:
        size = min(left, _PAGE)
        with invocation.reading() as conn:
            found = listing.page(conn, chosen.filter, now_ms, size, after)
        yield from found
        if len(found) < size:
            return
        left -= size
        after = found[-1].position


def _draw(rows: Iterator[QueueRow], now_ms: int, limit: int) -> int:
    left = limit or sys.maxsize
    shown, last = 0, None
    while part := list(islice(rows, min(_PAGE, left))):
        table(_COLUMNS, [_cells(row, now_ms) for row in part], head=not shown)
        shown, left, last = shown + len(part), left - len(part), part[-1]
    if last is not None and next(rows, None) is not None:
        place = f"{last.envelope.id}/{last.recipient.number}"
        note(f"{shown} shown, there are more: --after {place}, or --limit 0 for all")
    return shown


def _cells(row: QueueRow, now_ms: int) -> tuple[str, ...]:
    held = row.state is State.HELD
    mark = "!" if held else "*" if row.active else ""
    last = row.last
    words = "" if last is None else f"{last.code or ''} {last.enhanced} {last.text}"
    if last is not None and last.category:
        words = f"{last.category}: {words}"
    if row.restraint:
        words = f"{row.restraint.words}; last: {words}" if words else row.restraint.words
    return (
        row.envelope.id + mark,
        span(now_ms - row.envelope.created_ms),
        octets(row.envelope.size),
        address(row.envelope.sender),
        address(row.recipient.address),
        str(row.recipient.attempts),
        _next(row, now_ms),
        _cut(visible(" ".join(words.split()))),
    )


def _next(row: QueueRow, now_ms: int) -> str:
    if row.state is State.HELD:
        return "held"
    if row.state is not State.QUEUED:
        return row.state.value
    if row.active:
        return "active"
    if row.restraint:
        return "suspended"
    if row.next_attempt_ms <= now_ms:
        return "now"
    release_ms = row.envelope.asked.release_ms
    held = release_ms is not None and release_ms > now_ms
    return span(row.next_attempt_ms - now_ms) + " (release)" * held


def _cut(text: str) -> str:
    """Shorten a reply to what a listing has room for; ``queue show`` has all of it."""
    if not on_terminal():
        return text
    return text if len(text) <= 200 else text[:199] + "…"


@queue.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@pass_invocation
def summary(invocation: Invocation, as_json: bool) -> None:
    """Count what waits, by domain and state, longest lists first."""
    now_ms = invocation.now_ms()
    with invocation.reading() as conn:
        found = spool_summary.summary(conn)
    if as_json:
        json_line(records.summary(found))
        return
    say(totals(found, now_ms))
    if found.domains:
        say()
        table(
            _SUMMARY,
            [
                (
                    visible(one.domain),
                    one.state.value,
                    str(one.recipients),
                    span(now_ms - one.oldest_ms),
                    "-"
                    if one.state is State.HELD
                    else span(one.next_attempt_ms - now_ms)
                    if one.next_attempt_ms > now_ms
                    else "now",
                )
                for one in found.domains
            ],
        )


def totals(found: Summary, now_ms: int) -> str:
    """Say in one line what waits."""
    if found.oldest_ms is None:
        return "the queue is empty"
    about = "about " if found.estimated else ""
    return (
        f"{about}{found.messages} message{'' if found.messages == 1 else 's'}"
        f" ({octets(found.octets)})"
        f" for {found.recipients} recipient{'' if found.recipients == 1 else 's'}:"
        f" {found.count(State.QUEUED)} queued, {found.count(State.HELD)} held;"
        f" oldest {span(now_ms - found.oldest_ms)}"
    )


@queue.command()
@click.argument("id_", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, as 'mta trace' has it.")
@pass_invocation
def show(invocation: Invocation, id_: str, as_json: bool) -> Exit:
    """Show one message: envelope, recipients, last replies, next attempts."""
    wanted = queue_id(id_)
    with invocation.reading() as conn:
        found = history.trace(conn, wanted)
        about = [] if found is None else reports(conn, found)
    if found is None:
        note(f"nothing is known of {wanted}")
        return Exit.NOTHING
    if as_json:
        json_line(records.trace(found, about))
    else:
        Story(found, about, invocation.now_ms(), invocation.zone).show()
    return Exit.DONE


@queue.command()
@click.argument("id_", metavar="ID")
@click.option("--raw", is_flag=True, help="Octets as they are, on a terminal too.")
@pass_invocation
def cat(invocation: Invocation, id_: str, raw: bool) -> None:
    """Write the content of a message to standard output, octet for octet.

    On a terminal control characters are shown as escapes, unless --raw is given.
    """
    wanted = queue_id(id_)
    escape = on_terminal() and not raw
    with invocation.reading() as conn:
        try:
            for chunk in listing.chunks(conn, wanted):
                _write(chunk, escape)
        except LookupError as error:
            raise Failure(Exit.NOTHING, str(error.args[0])) from error


def _write(chunk: bytes, escape: bool) -> None:
    if escape:
        text = chunk.decode("utf-8", "backslashreplace").replace("\r\n", "\n")
        chunk = "\n".join(
            "\t".join(visible(part) for part in line.split("\t")) for line in text.split("\n")
        ).encode()
    sys.stdout.buffer.write(chunk)
