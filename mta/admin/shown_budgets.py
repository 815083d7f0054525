"""Budgets of smarthosts, as commands show them.  What is heavy is imported where there are some."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mta.admin.invocation import Invocation
from mta.admin.render import Column, span, table, visible
from mta.config import Settings

if TYPE_CHECKING:
    from mta.delivery.smarthosts import Budget

_COLUMNS = (
    Column("BUDGET OF", style="cyan"),
    Column("SMARTHOST"),
    Column("PER SECOND", "right"),
    Column("PER DAY", "right"),
    Column("USED", "right"),
    Column("LEFT", "right"),
    Column("FREE IN", "right"),
)

Records = Sequence[Mapping[str, Any]]


def has_budgets(settings: Settings) -> bool:
    """Tell whether any smarthost has one."""
    return any(one.per_day or one.per_second for route in settings.route for one in route.smarthost)


def records(invocation: Invocation, conn: Any) -> Records:
    """Return all budgets as they stand."""
    if not has_budgets(invocation.settings):
        return []
    from mta.admin.budgets import Budgets  # noqa: PLC0415 - the whole of delivery
    from mta.config.build import visible_routes  # noqa: PLC0415

    budgets = Budgets(visible_routes(invocation.settings), conn, invocation.now_ms())
    return [record(of, one) for of, some in budgets.all().items() for one in some]


def record(of: str, one: "Budget") -> dict[str, Any]:
    """Make the answer for programs about a budget of the destination ``of``."""
    return {
        "of": of,
        "host": one.host,
        "port": one.port,
        "per_second": one.per_second or None,
        "per_day": one.per_day or None,
        "used": one.used if one.per_day else None,
        "left": one.left,
        "free_ms": one.free_ms,
    }


def draw(found: Records, now_ms: int) -> None:
    """Show them as a table."""
    table(_COLUMNS, [_cells(one, now_ms) for one in found])


def _cells(one: Mapping[str, Any], now_ms: int) -> tuple[str, ...]:
    counts = (one["per_second"], one["per_day"], one["used"], one["left"])
    wait_ms = one["free_ms"] - now_ms
    return (
        visible(one["of"]),
        f"{visible(one['host'])}:{one['port']}",
        *("-" if count is None else str(count) for count in counts),
        span(wait_ms) if wait_ms > 0 else "-",
    )
