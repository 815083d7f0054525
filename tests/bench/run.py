"""``make bench``: how fast is the relay, and how fast is Postfix on the same work?

Both servers are durable as they come: a 250 after the final dot means that the message
is on the disk.  Postfix is a private instance, if it is installed and we are root.  Only
ratios and processor time a message are worth comparing between machines and days.

``make bench BENCH='--quick'`` takes three minutes, the default about eight, ``--full`` twenty.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import cells
import large
import load
import net
import plot
import postfix
import sink
import table
import targets
from measure import Unmeasurable
from places import Places
from postgresql import PostgreSQL
from relay import Relay
from rounds import Effort, Series, Server, Sinks, Unsigned, measure_cell

_FAULTS = (
    load.LoadFailed, sink.Lost, net.NotUp, Unmeasurable, Unsigned, RuntimeError, OSError,
    subprocess.SubprocessError,
)  # fmt: skip

_BUSY = " (the machine had other work: the figures flatter whoever has fewer processes)"


class Bench:
    """One run: its servers and sinks, what it found, and what failed to run."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._places = Places(options.directory, net.free_ports(3), keep=options.keep)
        self._database = PostgreSQL(self._places.fresh("data")) if options.postgresql else None
        self._relay = Relay(self._places, self._database)
        self.servers: list[Server] = [self._relay]
        self.alone = "not asked for" if options.no_postfix else postfix.why_not()
        if not self.alone:
            self.servers.append(postfix.Postfix(self._places))
        self.signers: list[Server] = [Relay(self._places, self._database, signing=True)]
        self.no_signer = self.alone or postfix.why_not_signing()
        if not self.no_signer:
            self.signers.append(postfix.Postfix(self._places, signing=True))
        self.load = os.getloadavg()[0]  # of others: nothing of ours runs yet
        self.series: list[Series] = []
        self.memory: large.Memory | None = None
        self.failures: list[str] = []

    def run(self, chosen: Sequence[cells.Cell]) -> None:
        """Measure the cells and the large message."""
        effort = Effort(self._options.rounds, self._options.seconds)
        try:
            places = self._places
            sinks = Sinks(
                sink.Sink(places.sink_port, timing=False),
                sink.Sink(places.timed_port, timing=True),
                sink.Sink(places.private_port, timing=True, pair=places.sink_pair),
            )
            try:
                for cell in chosen:
                    self._try(str(cell), lambda cell=cell: self._cell(cell, sinks, effort))
                if not self._options.only:
                    self._try("one message of 50 MB", lambda: self._large(sinks))
            finally:
                sinks.stop()
        finally:
            if self._database:
                self._database.stop()
            kept = self._places.close()
            if kept:
                say(f"spools and logs: {kept}")

    def _try(self, what: str, work: Callable[[], None]) -> None:
        """Do one part; when it fails, say so and go on with the next."""
        try:
            work()
        except _FAULTS as fault:
            self.failures.append(f"{what}: {type(fault).__name__}: {fault}")
            say(self.failures[-1])

    def _cell(self, cell: cells.Cell, sinks: Sinks, effort: Effort) -> None:
        if cell.scenario.signs and self.no_signer and not self._options.no_postfix:
            say(f"{cell}: left out, {self.no_signer}")
            return
        servers = self.signers if cell.scenario.signs else self.servers
        found = measure_cell(cell, servers, sinks, effort)
        self.series += found
        say(f"{cell}: " + ", ".join(f"{one.server} {one.rate:.0f}/s" for one in found))

    def _large(self, sinks: Sinks) -> None:
        self.memory = large.measure_large(self._relay, sinks)
        say(f"one message of 50 MB: {self.memory.seconds:.1f} s")


def say(words: str) -> None:
    """Tell a waiting person how far we are."""
    print(words, file=sys.stderr, flush=True)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], prog="make bench")
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument(
        "--quick", action="store_true", help="only 10 KB, at 20 clients; accept at 1 and 100, too"
    )
    extent.add_argument("--full", action="store_true", help="every size and number of clients")
    names = ", ".join(cells.NAMES)
    parser.add_argument("--only", action="append", choices=cells.NAMES,
                        metavar="SCENARIO", help=f"one of: {names} (may be repeated)")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=3, help="runs of each server in a cell")
    parser.add_argument("--seconds", type=float, help="aim of one run (2, quick: 1.5)")
    parser.add_argument("--no-postfix", action="store_true", help="measure ours alone")
    parser.add_argument("--postgresql", action="store_true",
                        help="our spool in PostgreSQL instead of SQLite")  # fmt: skip
    parser.add_argument("--directory", help="where the spools are (default: the temporary one)")
    parser.add_argument("--keep", action="store_true", help="leave the spools and logs there")
    parser.add_argument("--format", choices=table.FORMATS, default="plain")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the figures there")
    parser.add_argument("--assert", dest="insist", action="store_true",
                        help="status 1 when a target is missed or not measured")  # fmt: skip
    options = parser.parse_args(arguments)
    options.seconds = options.seconds or (1.5 if options.quick else 2.0)
    return options


def choose(options: argparse.Namespace) -> list[cells.Cell]:
    """Return the cells that the options ask for."""
    extent = cells.quick if options.quick else cells.full if options.full else cells.usual
    return cells.only(extent(), options.only or [])


def about(bench: Bench) -> dict[str, object]:
    """Return what the figures depend on."""
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cores": os.cpu_count(),
        "load": bench.load,
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def record(bench: Bench, verdicts: Sequence[targets.Verdict]) -> dict[str, object]:
    """Return all figures for a program to read."""
    return {
        "machine": about(bench),
        "series": [asdict(one) for one in bench.series],
        "large": asdict(bench.memory) if bench.memory else None,
        "targets": [{**asdict(one), "met": one.met} for one in verdicts],
        "failures": bench.failures,
    }


def report(bench: Bench, verdicts: Sequence[targets.Verdict], style: str) -> None:
    """Print what was found."""
    machine = about(bench)
    print(f"\n{machine['cores']} cores, Python {machine['python']}, {machine['system']}")
    print(f"Load average before: {bench.load:.1f}" + (_BUSY if bench.load > 0.5 else ""))
    print("\n" + table.render(bench.series, style))
    for words in table.notes(bench.series):
        print(words)
    if bench.alone:
        print(f"Ours alone, without Postfix: {bench.alone}.")
    elif bench.no_signer:
        print(f"No cell with DKIM: {bench.no_signer}.")
    print()
    print(table.verdicts(verdicts, style))
    for words in bench.failures:
        print(f"FAILED  {words}")


def main(arguments: Sequence[str]) -> int:
    """Run the bench; 1 when something failed to run (or, if asked so, missed its target)."""
    options = parse(arguments)
    bench = Bench(options)
    bench.run(choose(options))
    verdicts = targets.judge(bench.series, bench.memory)
    report(bench, verdicts, options.format)
    if options.json:
        options.json.write_text(json.dumps(record(bench, verdicts), indent=1))
    if options.svg:
        options.svg.write_text(plot.render(bench.series))
    missed = options.insist and any(one.met is not True for one in verdicts)
    return 1 if bench.failures or missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
