"""What the bench is asked to show, and whether it did."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from cells import TARGET_CLIENTS, TARGET_SIZE, Cell, Scenario
from large import Memory
from rounds import Series

_RATIOS = {Scenario.ACCEPT: 2.0, Scenario.RELAY: 2.0, Scenario.RELAY_TLS: 2.0}
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

    def __str__(self) -> str:
        found = "not measured" if self.found is None else f"{self.found:.4g} {self.unit}"
        word = {True: "ok", False: "missed", None: "?"}[self.met]
        sign = ">=" if self.at_least else "<="
        return f"{word:6}  {self.name}: {found} (asked for {sign} {self.bound:g} {self.unit})"


def ratio(ours: Series, other: Series) -> float:
    """How many times the other's messages a second we do: the median over the rounds."""
    return median(a.rate / b.rate for a, b in zip(ours.runs, other.runs, strict=True))


def cpu_ratio(ours: Series, other: Series) -> float:
    """What part of the other's processor time a message we need."""
    return ours.cpu_ms / other.cpu_ms


def judge(series: Sequence[Series], memory: Memory | None) -> list[Verdict]:
    """Hold the results against what was asked for."""
    found = {(one.cell, one.server): one for one in series}
    verdicts = []
    for scenario, bound in _RATIOS.items():
        cell = Cell(scenario, TARGET_CLIENTS, TARGET_SIZE)
        ours, other = found.get((cell, "ours")), found.get((cell, "postfix"))
        times = ratio(ours, other) if ours and other else None
        verdicts.append(Verdict(str(cell), bound, times, at_least=True, unit="x Postfix"))
    cell = Cell(Scenario.RELAY, TARGET_CLIENTS, TARGET_SIZE)
    ours = found.get((cell, "ours"))
    peak = ours.peak_mb if ours else None
    verdicts.append(Verdict(f"{cell}: peak memory", _PEAK_MB, peak, at_least=False, unit="MB"))
    above = memory.above_idle_mb if memory else None
    name = "one message of 50 MB: memory above idle"
    verdicts.append(Verdict(name, _ABOVE_IDLE_MB, above, at_least=False, unit="MB"))
    return verdicts
