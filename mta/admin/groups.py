"""``mta queue list --group-by``: the queue counted by domain, cause, sender, ...

The database counts; causes that differ only in ids and numbers are put together here.
"""

from collections.abc import Sequence
from typing import Any

import click

from mta.admin.causes import cause
from mta.admin.filters import Chosen
from mta.admin.invocation import Invocation
from mta.admin.render import Column, address, json_line, note, span, table, visible
from mta.mail.queue_id import time_of
from mta.spool import standing
from mta.spool.schema import State

Group = dict[str, Any]


def read_keys(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Read ``domain,cause``; a usage error names what there is."""
    del ctx, param
    if value is None:
        return ()
    keys = tuple(dict.fromkeys(part.strip() for part in value.split(",")))
    if wrong := [key for key in keys if key not in standing.KEYS]:
        raise click.BadParameter(f"{wrong[0]!r} is none of {', '.join(standing.KEYS)}")
    return keys


def list_groups(
    invocation: Invocation, chosen: Chosen, by: Sequence[str], limit: int, as_json: bool
) -> int:
    """Write the largest groups; return how many recipients were counted."""
    now_ms = invocation.now_ms()
    with invocation.reading() as conn:
        found = standing.groups(conn, chosen.filter, now_ms, by)
    groups = _merged(found, by)
    shown = groups[:limit] if limit else groups
    if as_json:
        for one in shown:
            json_line(one)
    elif shown:
        _draw(shown, by, now_ms)
    if len(shown) < len(groups):
        note(f"{len(shown)} groups shown of {len(groups)}: --limit 0 for all")
    if len(found) == standing.MOST_GROUPS:
        note(f"only the {standing.MOST_GROUPS} largest groups were looked at; narrow it by filters")
    return sum(one["recipients"] for one in groups)


def _merged(found: Sequence[Any], by: Sequence[str]) -> list[Group]:
    groups: dict[tuple[Any, ...], Group] = {}
    for row in found:
        values = {key: _value(row, key) for key in by}
        group = groups.get(tuple(values.values()))
        if group is None:
            group = groups[tuple(values.values())] = {
                **values,
                "recipients": 0,
                "oldest_ms": time_of(row.oldest),
                "next_attempt_ms": row.next_ms,
            }
        group["recipients"] += row.recipients
        group["oldest_ms"] = min(group["oldest_ms"], time_of(row.oldest))
        group["next_attempt_ms"] = min(group["next_attempt_ms"], row.next_ms)
    return sorted(groups.values(), key=lambda one: -one["recipients"])


def _value(row: Any, key: str) -> Any:
    if key in ("code", "category"):
        return getattr(row, f"last_{key}")
    if key != "cause":
        return getattr(row, key)
    said = cause(row.last_code, row.last_enhanced, row.last_text) if row.tried else "not tried yet"
    return f"held; {said}" if row.state == State.HELD else said


def _draw(groups: Sequence[Group], by: Sequence[str], now_ms: int) -> None:
    columns = [
        Column("RECIPIENTS", "right"),
        Column("OLDEST", "right"),
        Column("NEXT", "right"),
        *(Column(key.upper(), style="cyan") for key in by),
    ]
    rows = [
        (
            str(one["recipients"]),
            span(now_ms - one["oldest_ms"]),
            span(one["next_attempt_ms"] - now_ms) if one["next_attempt_ms"] > now_ms else "now",
            *(_shown(key, one[key]) for key in by),
        )
        for one in groups
    ]
    table(columns, rows)


def _shown(key: str, value: Any) -> str:
    if key == "sender":
        return address(value)
    return visible(str(value)) or "-"
