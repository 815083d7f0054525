"""The results as a picture: bars of ours and Postfix's, in SVG, for the documentation."""

from collections.abc import Callable, Sequence
from html import escape

from rounds import Series

_COLOURS = {"ours": "#2b6cb0", "postfix": "#c05621"}
_LABEL, _WIDTH, _BAR, _GAP, _TOP = 220, 420, 14, 12, 40
_TEXT = 'font-family="sans-serif" font-size="12"'


def render(series: Sequence[Series]) -> str:
    """Return a picture of two panels: messages a second, and processor time a message."""
    panels, height = [], 0
    for title, value, form in (
        ("messages a second (more is better)", lambda one: one.rate, "{:.0f}"),
        ("CPU milliseconds a message (less is better)", lambda one: one.cpu_ms, "{:.2f}"),
    ):
        lines, used = _panel(series, title, value, form)
        panels += [f'<g transform="translate(0,{height})">', *lines, "</g>"]
        height += used
    width = _LABEL + _WIDTH + 80
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}">'
    )
    paper = f'<rect width="{width}" height="{height}" fill="white"/>'
    return "\n".join([head, paper, *panels, "</svg>"]) + "\n"


def _panel(
    series: Sequence[Series], title: str, value: Callable[[Series], float], form: str
) -> tuple[list[str], int]:
    """Return one panel's elements and its height."""
    most = max((value(one) for one in series), default=0.0) or 1.0
    lines = [f'<text x="10" y="22" {_TEXT} font-weight="bold">{escape(title)}</text>']
    y, before = _TOP, None
    for one in series:
        if one.cell != before:
            y += _GAP if before is not None else 0
            lines.append(f'<text x="10" y="{y + 11}" {_TEXT}>{escape(str(one.cell))}</text>')
        before = one.cell
        length = value(one) / most * _WIDTH
        said = f"{form.format(value(one))} {one.server}"
        colour = _COLOURS.get(one.server, "#718096")
        lines += [
            f'<rect x="{_LABEL}" y="{y}" width="{length:.1f}" height="{_BAR}" fill="{colour}"/>',
            f'<text x="{_LABEL + length + 4:.1f}" y="{y + 11}" {_TEXT}>{escape(said)}</text>',
        ]
        y += _BAR + 2
    return lines, y + _GAP
