"""The figures of a run as a file: JSON, written by ``run.py --json`` and read back here."""

import json
from collections.abc import Mapping
from typing import Any

from cells import Cell, Scenario
from large import Memory
from rounds import Run, Series


def series_of(record: Mapping[str, Any]) -> list[Series]:
    """Return the series of a record that ``run.record`` made."""
    return [
        Series(
            server=one["server"],
            cell=Cell(
                Scenario(one["cell"]["scenario"]), one["cell"]["clients"], one["cell"]["size"]
            ),
            runs=[Run(**run) for run in one["runs"]],
            latencies_ms=one["latencies_ms"],
            peak_mb=one["peak_mb"],
        )
        for one in record["series"]
    ]


def memory_of(record: Mapping[str, Any]) -> Memory | None:
    """Return what the large message took, if it was measured."""
    return Memory(**record["large"]) if record["large"] else None


def read(text: str) -> tuple[Mapping[str, Any], list[Series], Memory | None]:
    """Return what the machine was, the series and the large message's memory."""
    record = json.loads(text)
    return record["machine"], series_of(record), memory_of(record)
