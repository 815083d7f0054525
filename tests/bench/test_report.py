"""Tables, plot and verdicts from given figures: exact values."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

sys.path.append(str(Path(__file__).parent))

import plot
import pytest
import report
import table
import targets
from cells import MANY_CLIENTS, ONE_CLIENT, Cell, Scenario, only, quick
from rounds import Run, Series

ACCEPT = Cell(Scenario.ACCEPT, 20, 10240)
RELAY = Cell(Scenario.RELAY, 20, 10240)


def series(server: str, cell: Cell, rate: int, cpu_ms: float, p99_ms: float = 10.0) -> Series:
    return Series(server, cell, [Run(rate, 1.0, cpu_ms * rate, 0.1)], [p99_ms], None)


SERIES = [
    series("ours", ACCEPT, 2000, 0.5),
    series("postfix", ACCEPT, 500, 1.5),
    series("ours", MANY_CLIENTS, 1700, 0.5, 90.0),
    series("postfix", MANY_CLIENTS, 400, 1.5, 120.0),
    series("ours", RELAY, 1000, 1.0),
    series("postfix", RELAY, 400, 2.5),
]


def rows() -> dict[str, tuple[str, ...]]:
    return {row[0]: row[1:] for row in (one.row for one in targets.judge(SERIES, None))}


def test_each_bound_is_met_missed_or_not_measured() -> None:
    """What was asked for stands beside what was found, whichever way it went."""
    found = rows()
    assert found["accept, 20 clients, 10 KB"] == ("4 x Postfix", ">= 3", "met")
    assert found["relay, 20 clients, 10 KB"] == ("2.5 x Postfix", ">= 3", "MISSED")
    assert found["relay, 20 clients, 10 KB: CPU a message"] == (
        "0.4 x Postfix",
        "<= 0.333",
        "MISSED",
    )
    assert found["accept, 1 client, 10 KB"] == ("", ">= 1", "not measured")


def test_a_hundred_clients_are_held_against_our_twenty_and_postfix_s_latency() -> None:
    """Throughput is ours over ours; the 99th percentile is ours over Postfix's."""
    found = rows()
    assert found["accept, 100 clients, 10 KB"] == ("0.85 x ours at 20", ">= 0.9", "MISSED")
    assert found["accept, 100 clients, 10 KB: p99"] == ("0.75 x Postfix", "<= 1", "met")


def test_the_verdicts_are_a_table_of_restructured_text() -> None:
    """The page can take the lines as they are."""
    verdict = targets.Verdict("accept", 3.0, 3.5, at_least=True, unit="x Postfix")
    assert table.verdicts([verdict], "rst") == (
        "======  =============  =========  =======\n"
        "what            found  asked for  verdict\n"
        "======  =============  =========  =======\n"
        "accept  3.5 x Postfix  >= 3       met\n"
        "======  =============  =========  =======\n"
    )


def test_figures_written_to_a_file_give_the_same_tables() -> None:
    """Nothing is lost between the run and the report that is made of its file."""
    machine = {"at": "now", "cores": 2, "python": "3.11", "system": "Linux", "load": 0.25}
    record = {"machine": machine, "series": [asdict(one) for one in SERIES], "large": None}
    text = report.tables(json.dumps(record), "rst")
    assert text.startswith("Measured now: 2 cores, Python 3.11, Linux, load average before 0.2.\n")
    assert table.render(SERIES, "rst") in text
    assert table.verdicts(targets.judge(SERIES, None), "rst") in text


def test_bars_are_as_long_as_their_figures() -> None:
    """The most fills the panel, the others in proportion, in both panels."""
    drawn = plot.render(SERIES[:2])
    assert '<rect x="220" y="40" width="420.0" height="14" fill="#2b6cb0"/>' in drawn
    assert '<rect x="220" y="56" width="105.0" height="14" fill="#c05621"/>' in drawn
    assert '<rect x="220" y="40" width="140.0" height="14" fill="#2b6cb0"/>' in drawn
    assert ">2000 ours</text>" in drawn
    assert ">1.50 postfix</text>" in drawn


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("one client", [ONE_CLIENT]),
        ("100 clients", [MANY_CLIENTS]),
        ("accept", [ACCEPT, ONE_CLIENT, MANY_CLIENTS]),
        ("relay dkim", [Cell(Scenario.RELAY_DKIM, 20, 10240)]),
    ],
)
def test_cells_are_chosen_by_name(name: str, chosen: list[Cell]) -> None:
    """--only takes a kind of work, or one of the two cells with a name of their own."""
    assert only(quick(), [name]) == chosen
