"""Measuring one cell: every server in turn, again and again, on the same work.

The processor's own speed wanders, so servers take turns and ratios are formed between
neighbouring runs.  Each cell starts its servers afresh, with empty spools.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import median
from typing import Protocol

import load
import measure
from cells import Cell, Scenario
from sink import Sink

_WARM_UP = 200
_LATENCY_SHARE = 0.25  # of a throughput run's messages


class Server(Protocol):
    """What is measured: started with an empty spool, loaded, stopped."""

    name: str
    secure: bool
    plain_port: int
    tls_port: int

    @property
    def pid(self) -> int: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def peak_mb(self) -> float | None: ...
    def cpu_ms(self) -> float: ...


class Unsigned(Exception):
    """Mail arrived without the signature whose cost is measured."""


@dataclass(frozen=True, slots=True)
class Run:
    """One throughput run; ``core_share`` is the load generator's, of one core."""

    messages: int
    seconds: float
    cpu_ms: float
    core_share: float

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds


@dataclass(slots=True)
class Series:
    """All runs of one server in one cell."""

    server: str
    cell: Cell
    runs: list[Run] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)
    peak_mb: float | None = None

    @property
    def rate(self) -> float:
        """Messages a second, median."""
        return median(run.rate for run in self.runs)

    @property
    def cpu_ms(self) -> float:
        """The server's processor milliseconds a message, median."""
        return median(run.cpu_ms / run.messages for run in self.runs)

    @property
    def core_share(self) -> float:
        """The generator's share of one core, at its busiest."""
        return max(run.core_share for run in self.runs)

    def latency_ms(self, share: float) -> float | None:
        """Return the latency that ``share`` of the messages did not exceed."""
        if not self.latencies_ms:
            return None
        ordered = sorted(self.latencies_ms)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


@dataclass(frozen=True, slots=True)
class Sinks:
    """The sinks of a run of the bench."""

    counting: Sink
    timing: Sink
    private: Sink  # by STARTTLS; counts and times

    def counts(self, scenario: Scenario) -> Sink:
        """Return the sink that the mail of a throughput run ends in."""
        return self.private if scenario is Scenario.RELAY_TLS else self.counting

    def times(self, scenario: Scenario) -> Sink:
        """Return the sink that says how old its mail is."""
        return self.private if scenario is Scenario.RELAY_TLS else self.timing

    def stop(self) -> None:
        """End them all."""
        for sink in (self.counting, self.timing, self.private):
            sink.stop()


@dataclass(frozen=True, slots=True)
class Effort:
    """How often and how long to measure."""

    rounds: int
    seconds: float


def measure_cell(
    cell: Cell, servers: Sequence[Server], sinks: Sinks, effort: Effort
) -> list[Series]:
    """Start the servers, load them in turns, stop them; one series for each."""
    able = [server for server in servers if server.secure or not cell.scenario.secure]
    series = [Series(server.name, cell) for server in able]
    try:
        _together([server.start for server in able])
        rates = [run_once(cell, server, sinks, _WARM_UP).rate for server in able]
        for _ in range(effort.rounds):
            for number, server in enumerate(able):
                messages = max(int(rates[number] * effort.seconds), 2 * cell.clients)
                series[number].runs.append(run_once(cell, server, sinks, messages))
                rates[number] = series[number].rate
        for one, server in zip(series, able, strict=True):
            one.peak_mb = server.peak_mb()  # before the generator changes
            messages = max(int(one.runs[-1].messages * _LATENCY_SHARE), 2 * cell.clients)
            one.latencies_ms = _latencies(cell, server, sinks, messages)
    finally:
        _together([server.stop for server in able])
    return series


def _together(steps: Sequence[Callable[[], None]]) -> None:
    """Take the steps at the same time and wait for all; raises what one has raised."""
    with ThreadPoolExecutor(len(steps)) as threads:
        for done in [threads.submit(step) for step in steps]:
            done.result()


def run_once(cell: Cell, server: Server, sinks: Sinks, messages: int) -> Run:
    """Send ``messages``; processor time counts until the server has come to rest."""
    sink = sinks.counts(cell.scenario)
    before, arrived = server.cpu_ms(), sink.count
    loaded = load.throughput(cell, _port(cell, server), messages)
    end = loaded.end
    if cell.scenario.relays:
        end = max(end, sink.wait_for(arrived + messages))
    after = measure.wait_until_idle(server.cpu_ms)
    return Run(messages, end - loaded.begin, after - before, loaded.core_share)


def _latencies(cell: Cell, server: Server, sinks: Sinks, messages: int) -> list[float]:
    """Return milliseconds from a message's begin to its 250; in a relay to its arrival."""
    sink = sinks.times(cell.scenario)
    arrived, signed = sink.count, sink.signed
    sink.take_ages_ms()
    loaded = load.timed(cell, _port(cell, server), messages)
    if not cell.scenario.relays:
        return list(loaded.latencies_ms)
    sink.wait_for(arrived + messages)
    if cell.scenario.signs and sink.signed - signed < messages:
        raise Unsigned(f"{server.name}: {sink.signed - signed} of {messages} had a signature")
    return sink.take_ages_ms()


def _port(cell: Cell, server: Server) -> int:
    return server.tls_port if cell.scenario.secure else server.plain_port
