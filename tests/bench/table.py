"""The results as a table, for a terminal or for the documentation."""

from collections.abc import Sequence

from rounds import Series
from targets import Verdict, cpu_ratio, ratio

FORMATS = ("plain", "markdown", "rst")
BUSY = 0.7

_HEAD = (
    "scenario", "clients", "size", "server", "msg/s", "CPU ms/msg", "p50 ms", "p99 ms",
    "peak MB", "generator", "x msg/s", "x CPU",
)  # fmt: skip
_TEXT_COLUMNS = {"scenario", "server", "what", "asked for", "verdict"}
_VERDICTS = ("what", "found", "asked for", "verdict")


def render(series: Sequence[Series], style: str) -> str:
    """Return the table in one of ``FORMATS``; no rows, no table."""
    if not series:
        return ""
    others = {one.cell: one for one in series if one.server != "ours"}
    rows = [_row(one, others.get(one.cell)) for one in series]
    return _grid(_HEAD, rows, style)


def verdicts(judged: Sequence[Verdict], style: str) -> str:
    """Return what was asked for beside what was found, met or missed."""
    return _grid(_VERDICTS, [one.row for one in judged], style)


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]], style: str) -> str:
    """Lay out and rule one table."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [_line(head, row, widths, style) for row in (head, *rows)]
    return "\n".join(_ruled(head, lines, widths, style)) + "\n"


def notes(series: Sequence[Series]) -> list[str]:
    """Return what a reader of the figures has to know."""
    said = []
    busy = sorted({f"{one.cell} ({one.server})" for one in series if one.core_share > BUSY})
    if busy:
        said.append(f"* the load generator used > {BUSY:.0%} of a core: " + "; ".join(busy))
    said.append(
        "CPU: the server's own, children included. Latency: until the 250, "
        "in a relay until the message is at its sink. x: ours against Postfix."
    )
    return said


def _row(one: Series, other: Series | None) -> tuple[str, ...]:
    compared = other is not None and one.server == "ours"
    size = one.cell.size // 1024
    return (
        str(one.cell.scenario),
        str(one.cell.clients),
        f"{size} KB",
        one.server,
        f"{one.rate:.0f}",
        f"{one.cpu_ms:.2f}",
        _number(one.latency_ms(0.50)),
        _number(one.latency_ms(0.99)),
        _number(one.peak_mb),
        f"{one.core_share:.0%}" + ("*" if one.core_share > BUSY else ""),
        f"{ratio(one, other):.2f}" if compared and other else "",
        f"{cpu_ratio(one, other):.2f}" if compared and other else "",
    )


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _line(head: Sequence[str], row: Sequence[str], widths: Sequence[int], style: str) -> str:
    cells = [
        text.ljust(width) if name in _TEXT_COLUMNS else text.rjust(width)
        for name, text, width in zip(head, row, widths, strict=True)
    ]
    if style == "markdown":
        return "| " + " | ".join(cells) + " |"
    return "  ".join(cells).rstrip()


def _ruled(head: Sequence[str], lines: list[str], widths: Sequence[int], style: str) -> list[str]:
    """Put the rules in that the style wants."""
    if style == "markdown":
        marks = ["-" * width + ("" if name in _TEXT_COLUMNS else ":")
                 for name, width in zip(head, widths, strict=True)]  # fmt: skip
        return [lines[0], "| " + " | ".join(marks) + " |", *lines[1:]]
    rule = "  ".join(("=" if style == "rst" else "-") * width for width in widths)
    if style == "rst":
        return [rule, lines[0], rule, *lines[1:], rule]
    return [lines[0], rule, *lines[1:]]
