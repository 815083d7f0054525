"""Putting a server under load: smtp-source where it will do, our own clients elsewhere."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cells
from client import Result, Work
from net import HOST

_CLIENT = Path(__file__).with_name("client.py")
_LIMIT_S = 300


class LoadFailed(Exception):
    """The generator gave up: its own last words."""


@dataclass(frozen=True, slots=True)
class Load:
    """A run seen from its generator.

    ``begin`` and ``end`` are CLOCK_MONOTONIC seconds; ``core_share`` is the busiest
    generator process's share of one core: near 1, the figures are the generator's.
    """

    begin: float
    end: float
    core_share: float
    latencies_ms: tuple[float, ...] = ()

    @property
    def seconds(self) -> float:
        """How long it took until the last message was answered."""
        return self.end - self.begin


def throughput(cell: cells.Cell, port: int, messages: int) -> Load:
    """Send as fast as the server takes them."""
    if cell.scenario.secure or not shutil.which("smtp-source"):
        return own_clients(_work(cell, port, messages))
    return smtp_source(cell, port, messages)


def timed(cell: cells.Cell, port: int, messages: int) -> Load:
    """Send with our own clients, for the latencies; a relay's go to the timing sink."""
    work = _work(cell, port, messages)
    if (
        cell.scenario.relays and cell.scenario is not cells.Scenario.RELAY_TLS
    ):  # that by STARTTLS has one sink for both
        work = replace(work, recipient=f"recipient@{cells.TIMED_DOMAIN}")
    return own_clients(work)


def _work(cell: cells.Cell, port: int, messages: int) -> Work:
    secure = cell.scenario.secure
    return Work(
        host=HOST,
        port=port,
        clients=cell.clients,
        messages=messages,
        size=cell.size,
        recipient=f"recipient@{cell.scenario.domain}",
        per_connection=cell.scenario.per_connection,
        tls=secure,
        login=cells.LOGIN if secure else "",
        password=cells.PASSWORD if secure else "",
    )


def smtp_source(cell: cells.Cell, port: int, messages: int) -> Load:
    """Run Postfix's smtp-source; it connects anew for every message."""
    command = ["smtp-source", "-s", str(cell.clients), "-m", str(messages), "-l", str(cell.size)]
    command += ["-f", "sender@client.test", "-t", f"recipient@{cell.scenario.domain}"]
    command += [f"{HOST}:{port}"]
    begin = time.monotonic()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    words = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    end = time.monotonic()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise LoadFailed(words.strip()[-500:])
    return Load(begin, end, (usage.ru_utime + usage.ru_stime) / (end - begin))


def own_clients(work: Work) -> Load:
    """Run ``client.py`` in as many processes as there are cores (and clients)."""
    count = min(work.clients, os.cpu_count() or 1)
    parts = [
        replace(
            work,
            clients=work.clients // count + (number < work.clients % count),
            messages=work.messages // count + (number < work.messages % count),
        )
        for number in range(count)
    ]
    processes = [_start(part) for part in parts]
    try:
        results = [_collect(process) for process in _go(processes)]
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
            process.wait()
    begin, end = min(one.begin for one in results), max(one.end for one in results)
    share = max(one.cpu_s for one in results) / (end - begin)
    return Load(begin, end, share, tuple(ms for one in results for ms in one.latencies_ms))


def _start(work: Work) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, _CLIENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(asdict(work)) + "\n")
    process.stdin.flush()
    return process


def _go(processes: list[subprocess.Popen[str]]) -> list[subprocess.Popen[str]]:
    """Start the run when every process is ready."""
    for process in processes:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise LoadFailed("client.py did not start")
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return processes


def _collect(process: subprocess.Popen[str]) -> Result:
    words, _ = process.communicate(timeout=_LIMIT_S)
    if process.returncode != 0:
        raise LoadFailed(f"client.py ended with status {process.returncode}")
    result = Result(**json.loads(words))
    if result.error:
        raise LoadFailed(result.error)
    return result
