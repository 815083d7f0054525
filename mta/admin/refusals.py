"""``mta status --refusals``: what clients were refused, this hour and in the last 24.

From the counters in the spool, where every process adds its own once a second.
"""

from typing import Any, NamedTuple

from mta.admin.render import Column, say, table, visible
from mta.mail.refusal import PREFIX, Refusal, of_counter
from mta.spool import counters

HOUR_MS = 3_600_000

_COLUMNS = (
    Column("LISTENER", style="bold"),
    Column("STAGE"),
    Column("REPLY"),
    Column("THIS HOUR", "right"),
    Column("24 HOURS", "right"),
    Column("REASON"),
)


class Counted(NamedTuple):
    """One kind of refusal, and how often."""

    kind: Refusal
    this_hour: int
    day: int


def counted(conn: Any, now_ms: int) -> list[Counted]:
    """Return what was refused, the most frequent first."""
    hour = now_ms - now_ms % HOUR_MS
    day = counters.sums(conn, PREFIX, hour - 23 * HOUR_MS)
    recent = counters.sums(conn, PREFIX, hour)
    found = [
        Counted(kind, recent.get(name, 0), number)
        for name, number in day.items()
        if (kind := of_counter(name)) is not None
    ]
    return sorted(found, key=lambda one: (-one.day, one.kind))


def show(refusals: list[Counted]) -> None:
    """Show them as a table."""
    say()
    if not refusals:
        say("nothing was refused in the last 24 hours")
        return
    table(_COLUMNS, [_cells(one) for one in refusals])


def records(refusals: list[Counted]) -> list[dict[str, object]]:
    """Return them for JSON."""
    return [{**one.kind._asdict(), "this_hour": one.this_hour, "day": one.day} for one in refusals]


def _cells(one: Counted) -> tuple[str, ...]:
    kind = one.kind
    return (
        visible(kind.listener), visible(kind.stage), visible(kind.reply),
        str(one.this_hour), str(one.day), visible(kind.reason),
    )  # fmt: skip
