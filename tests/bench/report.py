"""``python tests/bench/report.py FIGURES.json``: the tables of docs/performance.rst, to paste.

``--svg FILE`` draws the plot from the same figures.  Bounds are those of today's
``targets.py``, not of the day of the run.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import figures
import plot
import table
import targets


def tables(text: str, style: str) -> str:
    """Return what a page needs: the machine, the figures, the verdicts, the notes."""
    machine, series, memory = figures.read(text)
    about = (
        f"Measured {machine['at']}: {machine['cores']} cores, Python {machine['python']}, "
        f"{machine['system']}, load average before {machine['load']:.1f}.\n"
    )
    verdicts = table.verdicts(targets.judge(series, memory), style)
    notes = "\n".join(table.notes(series)) + "\n"
    return "\n".join([about, table.render(series, style), verdicts, notes])


def main(arguments: Sequence[str]) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Tables and plot of figures that run.py wrote")
    parser.add_argument("figures", type=Path)
    parser.add_argument("--format", choices=table.FORMATS, default="rst")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write the plot there")
    options = parser.parse_args(arguments)
    text = options.figures.read_text()
    print(tables(text, options.format), end="")
    if options.svg:
        options.svg.write_text(plot.render(figures.read(text)[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
