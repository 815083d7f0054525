"""What the bench is asked to show, and whether it did."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from cells import MANY_CLIENTS, ONE_CLIENT, TARGET_CLIENTS, TARGET_SIZE, Cell, Scenario
from large import Memory
from rounds import Series

_RATIOS = {
    Cell(Scenario.ACCEPT, TARGET_CLIENTS, TARGET_SIZE): 3.0,
    ONE_CLIENT: 1.0,
    Cell(Scenario.RELAY, TARGET_CLIENTS, TARGET_SIZE): 3.0,
    Cell(Scenario.RELAY_TLS, TARGET_CLIENTS, TARGET_SIZE): 2.5,
    Cell(Scenario.RELAY_DKIM, TARGET_CLIENTS, TARGET_SIZE): 2.0,
    Cell(Scenario.SMTPS_1, TARGET_CLIENTS, TARGET_SIZE): 1.5,
    Cell(Scenario.SMTPS_10, TARGET_CLIENTS, TARGET_SIZE): 2.5,
}
_OF_20_CLIENTS = 0.9
_CPU_PART = 1 / 3
_PEAK_MB = 120.0
_ABOVE_IDLE_MB = 60.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target; ``found`` is None where it was not measured."""

    name: str
    bound: float
    found: float | None
    at_least: bool
    unit: str

    @property
    def met(self) -> bool | None:
        """Whether it was met; None: not measured."""
        if self.found is None:
            return None
        return self.found >= self.bound if self.at_least else self.found <= self.bound

    @property
    def row(self) -> tuple[str, str, str, str]:
        """What it is, what was found, what was asked for, and the verdict in a word."""
        sign = ">=" if self.at_least else "<="
        found = "" if self.found is None else f"{self.found:.3g} {self.unit}"
        word = {True: "met", False: "MISSED", None: "not measured"}[self.met]
        return self.name, found, f"{sign} {self.bound:.3g}", word


def ratio(ours: Series, other: Series) -> float:
    """How many times the other's messages a second we do: the median over the rounds."""
    return median(a.rate / b.rate for a, b in zip(ours.runs, other.runs, strict=True))


def cpu_ratio(ours: Series, other: Series) -> float:
    """What part of the other's processor time a message we need."""
    return ours.cpu_ms / other.cpu_ms


def judge(series: Sequence[Series], memory: Memory | None) -> list[Verdict]:
    """Hold the results against what was asked for; one verdict and more for every cell."""
    pairs = {one.cell: one for one in series if one.server == "ours"}
    others = {one.cell: one for one in series if one.server != "ours"}
    verdicts = []
    for cell, bound in _RATIOS.items():
        ours, other = pairs.get(cell), others.get(cell)
        times = ratio(ours, other) if ours and other else None
        verdicts.append(Verdict(str(cell), bound, times, at_least=True, unit="x Postfix"))
    relay = Cell(Scenario.RELAY, TARGET_CLIENTS, TARGET_SIZE)
    ours, other = pairs.get(relay), others.get(relay)
    part = cpu_ratio(ours, other) if ours and other else None
    name = f"{relay}: CPU a message"
    verdicts.append(Verdict(name, _CPU_PART, part, at_least=False, unit="x Postfix"))
    verdicts += _many_clients(pairs, others)
    peak = ours.peak_mb if ours else None
    verdicts.append(Verdict(f"{relay}: peak memory", _PEAK_MB, peak, at_least=False, unit="MB"))
    above = memory.above_idle_mb if memory else None
    name = "one message of 50 MB: memory above idle"
    verdicts.append(Verdict(name, _ABOVE_IDLE_MB, above, at_least=False, unit="MB"))
    return verdicts


def _many_clients(pairs: dict[Cell, Series], others: dict[Cell, Series]) -> list[Verdict]:
    """A crowd must neither slow us down nor wait longer for us than for Postfix."""
    ours, other = pairs.get(MANY_CLIENTS), others.get(MANY_CLIENTS)
    few = pairs.get(Cell(Scenario.ACCEPT, TARGET_CLIENTS, TARGET_SIZE))
    kept = ours.rate / few.rate if ours and few else None
    mine = ours.latency_ms(0.99) if ours else None
    theirs = other.latency_ms(0.99) if other else None
    late = mine / theirs if mine is not None and theirs else None
    of_few = f"x ours at {TARGET_CLIENTS}"
    return [
        Verdict(str(MANY_CLIENTS), _OF_20_CLIENTS, kept, at_least=True, unit=of_few),
        Verdict(f"{MANY_CLIENTS}: p99", 1.0, late, at_least=False, unit="x Postfix"),
    ]
