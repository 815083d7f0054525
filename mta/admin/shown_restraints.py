"""Suspensions and throttles, as commands show them beside other things."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mta.admin.invocation import Invocation
from mta.admin.render import moment, say, span, visible
from mta.mail.restraint import Restraint
from mta.spool import restraints


def in_force(conn: Any, now_ms: int) -> tuple[list[Restraint], dict[int, int]]:
    """Return what holds now, and how many recipients wait for which."""
    found = restraints.holding(conn, now_ms)
    return found, restraints.waiting(conn) if found else {}


def records(found: Sequence[Restraint], waiting: Mapping[int, int]) -> Iterator[dict[str, Any]]:
    """Make the answers for programs."""
    for one in found:
        yield record(one) | {"waiting": waiting.get(one.id, 0)}


def record(one: Restraint) -> dict[str, Any]:
    """Make the answer for programs."""
    values = {name: getattr(one, name) for name in Restraint.__slots__}
    return values | {"samples": list(one.samples)}


def tell(found: Sequence[Restraint], waiting: Mapping[int, int], of: Invocation) -> None:
    """Write for people what is in force."""
    for one in found:
        number = waiting.get(one.id, 0)
        held = f"; {number} wait{'s' if number == 1 else ''} for it" if number else ""
        say(f"{visible(one.words)} ({until(one, of)}{held})")


def until(one: Restraint, of: Invocation) -> str:
    """Say how long it holds."""
    if one.until_ms is None:
        return "until it is resumed"
    left_ms = one.until_ms - of.now_ms()
    return f"for {span(left_ms)}" if left_ms > 0 else f"over since {moment(one.until_ms, of.zone)}"
