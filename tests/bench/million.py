"""A queue of a million deferred recipients: how long looking, acting and starting take.

Fills an SQLite spool by direct INSERTs, once with many domains and once with one dead site, and
prints a table of seconds and peak memory.  ``--recipients`` and ``--history`` set the sizes.  A
verb is run last and only for ``--verb-s`` seconds: what counts there is recipients a second and
that its transactions are short (``tests/spool/test_large.py`` has their bound).
"""

import argparse
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import Process
from pathlib import Path

import measure
from client import Work
from load import own_clients
from net import HOST, free_ports, wait_for_port
from sink import Sink
from sqlalchemy import Boolean, Float, Integer, LargeBinary, Table

from mta.mail.queue_id import new_queue_id
from mta.spool import engine, history
from mta.spool.schema import attempts, chunks, messages, recipients

_BIN = Path(sys.executable).parent
_STEP = 200  # as housekeeping has it
_CONFIGURATION = """\
host_name = "relay.test"
trusted_networks = ["127.0.0.0/8"]

[spool]
url = "sqlite:///{directory}/spool.sqlite"

[[listener]]
name = "plain"
endpoint = "tcp:{port}:interface={host}"
tls = "none"
auth = "none"

[[route]]
name = "sink"
recipient_domains = ["sink.test"]
smarthost = {{ host = "{host}", port = {sink}, tls = "none" }}

[[route]]
name = "dead"
smarthost = {{ host = "{host}", port = {dead}, tls = "none" }}

[log]
text = "{directory}/mail.log"
"""
_MANY = {"domain": "'d' || (i % 5000) || '.example'", "site": "'mx' || (i % 500) || '.example'"}
_ONE = {"domain": "'dead.example'", "site": "'mx.dead.example'"}


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table."""

    what: str
    seconds: float
    memory_mb: float
    remark: str = ""


class Spool:
    """One installation in a directory of its own, with a full spool and no service."""

    def __init__(self, directory: Path) -> None:
        """Write the configuration and make the empty spool."""
        self.directory = directory
        self.port, self.sink_port, dead = free_ports(3)
        self.configuration = directory / "mta.toml"
        self.configuration.write_text(
            _CONFIGURATION.format(
                directory=directory, port=self.port, host=HOST, sink=self.sink_port, dead=dead
            )
        )
        self.path = directory / "spool.sqlite"
        engine.prepare(f"sqlite:///{self.path}")

    def fill(self, number: int, words: dict[str, str], done: bool = False) -> None:
        """Insert messages of one recipient and one attempt: deferred, or delivered long ago."""
        task = Process(target=self._fill, args=(number, words, done))  # for its memory's sake
        task.start()
        task.join()
        if task.exitcode:
            raise SystemExit("the spool could not be filled")

    def _fill(self, number: int, words: dict[str, str], done: bool) -> None:
        conn = sqlite3.connect(self.path, isolation_level=None)
        conn.create_function("qid", 2, _queue_id, deterministic=True)
        conn.execute("PRAGMA synchronous = OFF")
        conn.execute("PRAGMA cache_size = -400000")
        conn.execute("BEGIN")
        for table in (messages, recipients, attempts, *(() if done else (chunks,))):
            values = _values(table, done) | {k: v for k, v in words.items() if k in table.c}
            conn.execute(
                "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
                f" INSERT INTO {table.name} ({', '.join(values)})"
                f" SELECT {', '.join(values.values())} FROM n",
                (number - 1,),
            )
        conn.execute("COMMIT")
        conn.close()

    def command(self, *arguments: str, most_s: float | None = None, expected: int = 0) -> Figure:
        """Run ``mta``; with ``most_s`` it is stopped after that time."""
        begin = time.monotonic()
        with (self.directory / "out").open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "mta", *arguments],
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, "MTA_CONFIG": str(self.configuration)},
            )
            if most_s is not None:
                _end_after(process, most_s)
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - begin
        remark = "" if process.returncode in (0, expected, -15) else f"status {process.returncode}"
        return Figure("mta " + " ".join(arguments), seconds, usage.ru_maxrss / 1024, remark)

    def number(self, sql: str) -> int:
        """Return what a query counts."""
        conn = sqlite3.connect(self.path)
        try:
            return int(conn.execute(sql).fetchone()[0])
        finally:
            conn.close()

    def verb(self, *arguments: str, most_s: float) -> Figure:
        """Run a verb for so long; say how many recipients a second it changed."""
        before = self.number("SELECT count(*) FROM events")
        found = self.command(*arguments, most_s=most_s)
        changed = self.number("SELECT count(*) FROM events") - before
        remark = f"{changed} changed, {changed / found.seconds:.0f}/s"
        return Figure(found.what, found.seconds, found.memory_mb, remark)

    def service(self, load: int) -> list[Figure]:
        """Start the service, send fresh mail through it, stop it."""
        sink = Sink(self.sink_port, timing=False)
        with (self.directory / "service.out").open("wb") as out:
            process = subprocess.Popen(
                [_BIN / "twistd", "-n", "--pidfile=", "mta", "--config", self.configuration],
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env={**os.environ, "PYTHONPATH": str(Path.cwd())},
            )
        try:
            begin = time.monotonic()
            wait_for_port(self.port, lambda: process.poll() is None)
            up = Figure("start", time.monotonic() - begin, _peak_mb(process.pid))
            time.sleep(3)
            begin = time.monotonic()
            work = Work(HOST, self.port, 20, load, 4096, "to@sink.test", 50, False, "", "")
            accepted = own_clients(work).seconds
            while sink.count < load and time.monotonic() - begin < 120:
                time.sleep(0.02)
            relayed = time.monotonic() - begin
            peak = _peak_mb(process.pid)
            begin = time.monotonic()
        finally:
            process.terminate()
            process.wait(60)
            sink.stop()
        return [
            up,
            Figure(f"accept {load}", accepted, peak, f"{load / accepted:.0f}/s"),
            Figure(f"relay {sink.count}", relayed, peak, f"{sink.count / relayed:.0f}/s"),
            Figure("stop", time.monotonic() - begin, peak),
        ]

    def purge(self, seconds: float) -> Figure:
        """Purge for so long, in the steps of the housekeeping, without its pauses."""
        spool = engine.create_engine(f"sqlite:///{self.path}")
        begin, longest, total = time.monotonic(), 0.0, 0
        while time.monotonic() - begin < seconds:
            step = time.monotonic()
            with engine.writing(spool) as conn:
                count = history.purge(conn, _BASE_MS, 1, _STEP)
            longest, total = max(longest, time.monotonic() - step), total + count
            if not count:
                break
        spool.dispose()
        took = time.monotonic() - begin
        remark = f"{total} purged, {total / took:.0f}/s; longest step {longest * 1000:.0f} ms"
        return Figure(f"purge, steps of {_STEP}", took, 0.0, remark)


def _end_after(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Stop a process that has not ended by then; it is still to be waited for."""
    end = time.monotonic() + seconds
    look = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while os.waitid(os.P_PID, process.pid, look) is None:
        if time.monotonic() > end:
            os.kill(process.pid, signal.SIGTERM)
            return
        time.sleep(0.02)


def _peak_mb(pid: int) -> float:
    return measure.memory_mb(pid, "VmHWM") or 0.0


_BASE_MS = time.time_ns() // 1_000_000
_LONG_AGO_MS = 40 * 86_400_000


def _queue_id(number: int, done: int) -> str:
    """Four hours ago, or forty days ago, and then one each ms."""
    at_ms = _BASE_MS - (_LONG_AGO_MS if done else 14_400_000) + number
    return new_queue_id(at_ms, lambda _bits: number)


def _values(table: Table, done: bool) -> dict[str, str]:
    """Return an SQL expression for each column that has to have a value."""
    values = {
        column.name: "X''"
        if isinstance(column.type, LargeBinary)
        else "0"
        if isinstance(column.type, (Integer, Float, Boolean))
        else "''"
        for column in table.c
        if not column.nullable
    }
    arrived = f"{_BASE_MS - (_LONG_AGO_MS if done else 14_400_000)} + i"
    if table is messages:
        values |= {
            "id": f"qid(i, {int(done)})",
            "sender": "'app' || (i % 100) || '@home.test'",
            "size": "4096",
            "kind": "'mail'",
            "created_ms": arrived,
            "expires_ms": f"{arrived} + 432000000",
            "message_id": f"'<{int(done)}.' || i || '@home.test>'",
            "login": "'app' || (i % 100)",
            "chunks": "1",
        }
    else:
        values["message_id"] = f"qid(i, {int(done)})"
    if table is recipients:
        values["address"] = "'user' || i || '@example'"
    if table is recipients and not done:
        values |= {
            "state": "'queued'",
            "attempts": "1",
            "next_attempt_ms": f"{_BASE_MS} + (i * 7919 % 14400) * 1000",
            "last_code": "451",
            "last_enhanced": "'4.7.1'",
            "last_text": "'Try again later, reason ' || char(65 + i % 20)",
            "last_ms": f"{arrived} + 1000",
            "last_category": "'greylisted'",
        }
    if table is attempts:
        values |= {"attempt": "1", "verdict": "'deferred'", "state": "'queued'", "code": "451"}
    if table is chunks:
        values["data"] = "zeroblob(200)"
    if done and table is not attempts:
        values["finished_ms"] = f"{arrived} + 1000"
    if done and table is recipients:
        values |= {"state": "'delivered'", "attempts": "1", "domain": "'done.example'"}
    return values


def _show(title: str, figures: Iterable[Figure]) -> None:
    print(f"\n{title}\n{'':44} {'seconds':>8} {'peak MB':>8}", flush=True)
    for one in figures:
        row = f"{one.what:44} {one.seconds:8.2f} {one.memory_mb:8.0f}  {one.remark}"
        print(row.rstrip(), flush=True)


def _looks(spool: Spool, domain: str) -> Iterator[Figure]:
    yield spool.command("--version")
    yield spool.command("status", expected=69)  # no service runs
    yield spool.command("queue", "list")
    yield spool.command("queue", "summary")
    yield spool.command("queue", "list", "--group-by", "domain,cause")
    yield spool.command("queue", "list", "--group-by", "site,cause")
    yield spool.command("why", domain)
    yield spool.command("queue", "list", "--domain", domain)


def _verbs(spool: Spool, seconds: float) -> Iterator[Figure]:
    for verb in ("hold", "release", "remove"):
        yield spool.verb("queue", verb, "--all", "--yes", most_s=seconds)


def _run(directory: Path, wanted: argparse.Namespace) -> None:
    if not wanted.only or "empty" in wanted.only:
        spool = Spool(_fresh(directory / "empty"))
        _show("an empty queue", spool.service(wanted.load))
    for name, words, domain in (("many", _MANY, "d7.example"), ("one", _ONE, "dead.example")):
        if wanted.only and name not in wanted.only:
            continue
        spool = Spool(_fresh(directory / name))
        begin = time.monotonic()
        spool.fill(wanted.recipients, words)
        print(f"\nfilled in {time.monotonic() - begin:.0f} s,", end=" ")
        print(f"{spool.path.stat().st_size / 1e6:.0f} MB")
        title = f"{wanted.recipients} deferred, {'5000 domains' if name == 'many' else 'one site'}"
        _show(title, _looks(spool, domain))
        _show(f"{title}: the service", spool.service(wanted.load))
        _show(f"{title}: verbs", _verbs(spool, wanted.verb_s))
        shutil.rmtree(spool.directory)
    if not wanted.only or "history" in wanted.only:
        spool = Spool(_fresh(directory / "history"))
        spool.fill(wanted.history, {}, done=True)
        _show(f"a history of {wanted.history} attempts", [spool.purge(wanted.verb_s)])


def _fresh(directory: Path) -> Path:
    directory.mkdir()
    return directory


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--recipients", type=int, default=1_000_000)
    parser.add_argument("--history", type=int, default=1_000_000)
    parser.add_argument("--load", type=int, default=2_000, help="messages of fresh mail")
    parser.add_argument("--verb-s", type=float, default=15.0)
    parser.add_argument("--directory", default="/dev/shm", help="where there is room for 3 GB")
    parser.add_argument("only", nargs="*", metavar="empty|many|one|history")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=wanted.directory, prefix="mta-million-") as directory:
        _run(Path(directory), wanted)


if __name__ == "__main__":
    main()
