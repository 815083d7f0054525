"""One message of 50 MB through our relay: how much memory above idle does it take?"""

import time
from dataclasses import dataclass

import measure
from cells import Cell, Scenario
from relay import Relay
from rounds import Sinks, run_once

LARGE = Cell(Scenario.RELAY, 1, 50 * 1024 * 1024)
_ORDINARY = Cell(Scenario.RELAY, 5, 10 * 1024)
_REST_S = 1.0


@dataclass(frozen=True, slots=True)
class Memory:
    """Megabytes (2**20) that the process had at rest and at its peak, and how long it took."""

    idle_mb: float
    peak_mb: float
    seconds: float

    @property
    def above_idle_mb(self) -> float:
        """What the message took."""
        return self.peak_mb - self.idle_mb


def measure_large(relay: Relay, sinks: Sinks) -> Memory:
    """Warm the service up with ordinary messages, let it rest, send the large one."""
    try:
        relay.start()
        run_once(_ORDINARY, relay, sinks, 50)
        time.sleep(_REST_S)
        idle = measure.memory_mb(relay.pid, "VmRSS")
        measure.forget_peak(relay.pid)
        run = run_once(LARGE, relay, sinks, 1)
        return Memory(idle, measure.memory_mb(relay.pid, "VmHWM"), run.seconds)
    finally:
        relay.stop()
