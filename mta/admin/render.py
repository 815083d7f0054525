"""What people and programs see: plain aligned text, tables on a terminal, JSON lines.

Addresses and replies come from strangers.  ``visible`` makes every character that a
terminal might obey into an escape before it is printed; JSON goes out in ASCII, where
the encoder has done the same.  Rich is used on a terminal only, with ``Text`` cells,
so that square brackets in a reply are never read as markup.

It does not page, and it does not translate.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, Literal

import click
from rich.cells import cell_len

_LONG = 2_000  # steps that deserve a bar
_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"))


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a listing; ``width`` is the least, so that pages line up."""

    title: str
    align: Literal["left", "right"] = "left"
    width: int = 0
    style: str = ""  # rich style, used on a terminal only


def visible(text: str) -> str:
    """Return ``text`` with everything that is not printable made into an escape.

    Control characters, the C1 set, bidirectional overrides, line separators and lone
    surrogates would let a peer's reply rewrite the operator's screen.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    number = ord(char)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def address(text: str) -> str:
    """Return a sender or recipient as people read it; the null sender is ``<>``."""
    return visible(text) or "<>"


def span(milliseconds: int) -> str:
    """Return a length of time with its largest unit and, below ten of it, the next one."""
    rest = max(0, milliseconds)
    for index, (length, unit) in enumerate(_UNITS):
        if rest < length:
            continue
        whole, left = divmod(rest, length)
        if whole < 10 and index + 1 < len(_UNITS):
            smaller, name = _UNITS[index + 1]
            if left >= smaller:
                return f"{whole}{unit}{left // smaller}{name}"
        return f"{whole}{unit}"
    return "0s"


def seconds(value: float) -> str:
    """Return a duration of an attempt, in seconds with a sensible number of digits."""
    return f"{value:.3f}s" if value < 1 else f"{value:.1f}s"


def octets(size: int) -> str:
    """Return a size in octets, KiB, MiB or GiB, in at most five characters."""
    if size < 1024:
        return str(size)
    value, unit = size / 1024, "K"
    for larger in "MG":
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.1f}{unit}" if value < 9.95 else f"{value:.0f}{unit}"


def moment(at_ms: int, zone: tzinfo | None = None) -> str:
    """Return a moment to the second, with its offset from UTC (``Z`` where that is zero)."""
    when = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone)
    offset = when.strftime("%z")
    return when.strftime("%Y-%m-%d %H:%M:%S") + ("Z" if offset == "+0000" else offset)


def on_terminal() -> bool:
    """Tell whether standard output is a terminal."""
    return sys.stdout.isatty()


def say(text: str = "") -> None:
    """Write one line to standard output; the caller has made it ``visible``."""
    click.echo(text)


def note(text: str) -> None:
    """Write one line to standard error: what is not data."""
    click.echo(text, err=True)


def json_line(value: Mapping[str, Any]) -> None:
    """Write one JSON object on a line of its own, in ASCII."""
    click.echo(json.dumps(value, separators=(",", ":")))


@contextmanager
def progress(what: str, number: int) -> Iterator[Callable[[int], None]]:
    """Show a bar of ``number`` steps on standard error if it is a terminal; yields how to advance.

    What is short is done before anybody has seen a bar.
    """
    if not sys.stderr.isatty() or number < _LONG:
        yield lambda _steps: None
        return
    with click.progressbar(
        length=number, label=what, file=sys.stderr, show_pos=True, update_min_steps=100
    ) as bar:
        yield bar.update


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]], head: bool = True) -> None:
    """Write rows as a table: coloured on a terminal, aligned plain text elsewhere."""
    if on_terminal():
        _rich_table(columns, rows, head)
    else:
        _plain_table(columns, [tuple(row) for row in rows], head)


def _rich_table(columns: Sequence[Column], rows: Iterable[Sequence[str]], head: bool) -> None:
    from rich.console import Console  # noqa: PLC0415 - a quarter of the start, and for tables only
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    drawn = Table(box=None, pad_edge=False, show_header=head, header_style="bold")
    last = len(columns) - 1
    for number, column in enumerate(columns):
        drawn.add_column(
            column.title,
            justify=column.align,
            style=column.style or None,
            min_width=column.width or None,
            overflow="fold",
            no_wrap=number == 0,
            ratio=1 if number == last else None,
        )
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    Console(highlight=False, emoji=False, markup=False).print(drawn)


def _plain_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], head: bool) -> None:
    titles = [tuple(column.title for column in columns)] if head else []
    widths = [
        max([column.width, *(cell_len(row[number]) for row in (*titles, *rows))])
        for number, column in enumerate(columns)
    ]
    for row in (*titles, *rows):
        cells = [
            _padded(cell, width, column.align)
            for cell, width, column in zip(row, widths, columns, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())


def _padded(cell: str, width: int, align: str) -> str:
    fill = " " * (width - cell_len(cell))
    return fill + cell if align == "right" else cell + fill


def pairs(items: Iterable[tuple[str, str]]) -> None:
    """Write ``name: value`` lines with the values under one another."""
    listed = [(f"{name}:", value) for name, value in items if value]
    table((Column("", style="bold"), Column("")), listed, head=False)
