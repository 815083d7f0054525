"""``>1h``, ``<2d``, ``1h..2d``, ``>=3``: the ranges that filters are written in.

Both ends are inclusive whole numbers once read: milliseconds or counts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import click

from mta.config.units import parse_duration, parse_size


@dataclass(frozen=True, slots=True)
class Range:
    """Whole numbers from ``low`` to ``high``, both included; None is open."""

    low: int | None = None
    high: int | None = None


def span_ms(text: str) -> int:
    """Read a length of time such as ``90s``, ``1h30m`` or ``2d`` into milliseconds.

    Raises ``ValueError`` for anything else; a number without a unit means seconds to some
    and minutes to others.
    """
    return round(parse_duration(text) / timedelta(milliseconds=1))


def count(text: str) -> int:
    """Read a count; raises ``ValueError`` for anything but digits."""
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{text!r} is not a number")
    return int(text)


def octets(text: str) -> int:
    """Read a size such as ``10MiB``; raises ``ValueError``."""
    return parse_size(text)


def read_range(text: str, read: Callable[[str], int], *, exact: bool) -> Range:
    """Read a range whose ends ``read`` understands; ``exact`` allows a bare value too."""
    for sign, low, high in ((">=", 0, None), ("<=", None, 0), (">", 1, None), ("<", None, -1)):
        if text.startswith(sign):
            end = read(text[len(sign) :].strip())
            return Range(None if low is None else end + low, None if high is None else end + high)
    if ".." in text:
        first, _, last = text.partition("..")
        return _ordered(read(first.strip()), read(last.strip()), text)
    value = read(text)
    if not exact:
        raise ValueError(f"{text!r} is one point; say '>{text}', '<{text}' or 'from..to'")
    return Range(value, value)


def _ordered(low: int, high: int, text: str) -> Range:
    if low > high:
        raise ValueError(f"{text!r} runs backwards")
    return Range(low, high)


class RangeType(click.ParamType[Range]):
    """A click parameter that is a ``Range``."""

    def __init__(self, name: str, read: Callable[[str], int], *, exact: bool = False) -> None:
        self.name = name
        self._read = read
        self._exact = exact

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Range:
        """Turn what was typed into a ``Range``, or end with a usage error."""
        if isinstance(value, Range):
            return value
        try:
            return read_range(str(value).strip(), self._read, exact=self._exact)
        except ValueError as error:
            self.fail(str(error), param, ctx)


AGES = RangeType("range", span_ms)
COUNTS = RangeType("range", count, exact=True)
SIZES = RangeType("range", octets)
