"""A queue of a million deferred recipients: how long looking, acting and starting take.

Fills a spool by direct INSERTs, once with many domains and once with one dead site, and prints
tables of seconds and peak memory; ``--postgresql`` does so in a private PostgreSQL server.  Fresh
mail is sent in turn through an empty spool's service and the full one's: first while nothing
else happens there, then while verbs run through the whole queue.  A verb alone is run last and only
for ``--verb-s`` seconds: what counts there is recipients a second and that its transactions are
short (``tests/spool/test_large.py`` has their bound).
"""

import argparse
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles

from filling import MANY, ONE, Content, Postgres, Sqlite, Store
from installation import Figure, Installation
from load import Load
from postgresql import PostgreSQL


def show(title: str, figures: Iterable[Figure]) -> None:
    """Print a table."""
    print(f"\n{title}\n{'':44} {'seconds':>8} {'of CPU':>8} {'peak MB':>8}", flush=True)
    for one in figures:
        cpu = "" if one.cpu_s is None else f"{one.cpu_s:.2f}"
        row = f"{one.what:44} {one.seconds:8.2f} {cpu:>8} {one.memory_mb:8.0f}  {one.remark}"
        print(row.rstrip(), flush=True)


def looks(one: Installation, domain: str) -> Iterator[Figure]:
    """Look, with every command that an operator would look with."""
    yield one.command("--version")
    yield one.command("status", expected=69)  # no service runs
    yield one.command("queue", "list")
    yield one.command("queue", "summary")
    yield one.command("queue", "list", "--group-by", "domain,cause")
    yield one.command("queue", "list", "--group-by", "site,cause")
    yield one.command("why", domain)
    yield one.command("queue", "list", "--domain", domain)


def verbs(one: Installation, seconds: float) -> Iterator[Figure]:
    """Act on all of it, for so long, without a service."""
    for verb in ("hold", "release", "remove"):
        yield one.verb("queue", verb, "--all", "--yes", most_s=seconds)


class Mail:
    """Fresh mail through two services in turn, the empty one's first."""

    def __init__(self, empty: Installation, full: Installation, messages: int) -> None:
        self._both = empty, full
        self._messages = messages

    def figures(self, rounds: int, beside: Callable[[], None] = lambda: None) -> Iterator[Figure]:
        """Yield the medians; ``beside`` is called before each time it is the full one's turn."""
        found: list[list[tuple[Load, float]]] = [[], []]
        for _ in range(rounds):
            for number, one in enumerate(self._both):
                one.settled()
                if number:
                    beside()
                found[number].append(one.send(self._messages))
        peak = self._both[1].peak_mb()
        for what, seconds in (("accept", _accepting), ("relay", _relaying)):
            empty, full = (median(map(seconds, some)) for some in found)
            ratio = median(seconds(a) / seconds(b) for a, b in zip(found[0], found[1], strict=True))
            said = f"empty {self._messages / empty:.0f}/s, full {self._messages / full:.0f}/s,"
            yield Figure(what, full, peak, f"{said} ratio {ratio:.2f}")
        p99 = [median(_p99(load) for load, _ in some) for some in found]
        slowest = [max(max(load.latencies_ms) for load, _ in some) for some in found]
        said = f"empty {p99[0]:.0f} ms, full {p99[1]:.0f} ms;"
        said += f" slowest {slowest[0]:.0f} and {slowest[1]:.0f} ms"
        yield Figure("p99 of a message", p99[1] / 1000, peak, said)


def _accepting(one: tuple[Load, float]) -> float:
    return one[0].seconds


def _relaying(one: tuple[Load, float]) -> float:
    return one[1]


def _p99(load: Load) -> float:
    return quantiles(load.latencies_ms, n=100)[98]


@contextmanager
def acting(one: Installation) -> Iterator[Callable[[], None]]:
    """Hold the whole queue, and when that is done remove it; yield what makes sure of that.

    Not ``release``: what is due then is tried, and that takes its time from fresh mail by right.
    """
    verbs_, running = ["remove", "hold"], []

    def go_on() -> None:
        if not running or running[0].poll() is not None:
            running[:] = [one.begin("queue", verbs_.pop(), "--all", "--yes")]
            _wait_for_more(one)

    try:
        yield go_on
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
            process.wait()


def _wait_for_more(one: Installation) -> None:
    """Wait until a verb has begun to change something."""
    query = "SELECT max(id) FROM events"
    begin, end = one.store.number(f"SELECT coalesce(({query}), 0)"), time.monotonic() + 30
    while one.store.number(f"SELECT coalesce(({query}), 0)") == begin:
        if time.monotonic() > end:
            raise SystemExit("the verb does nothing")
        time.sleep(0.1)


def together(
    empty: Installation, full: Installation, title: str, wanted: argparse.Namespace
) -> None:
    """Measure the service of a full spool beside that of an empty one."""
    mail = Mail(empty, full, wanted.load)
    with empty.running(), full.running() as start:
        time.sleep(3)
        show(f"{title}: the service", [start, *mail.figures(wanted.rounds)])
        with acting(full) as go_on:
            before = time.monotonic(), full.store.number("SELECT count(*) FROM events")
            figures = list(mail.figures(wanted.rounds, go_on))
            changed = full.store.number("SELECT count(*) FROM events") - before[1]
        pace = changed / (time.monotonic() - before[0])
        verb = Figure("hold, meanwhile", 0.0, 0.0, f"{pace:.0f}/s")
        show(f"{title}: the service, while verbs run", [*figures, verb])
        begin = time.monotonic()
        os.kill(full.pid, signal.SIGTERM)
        while Path(f"/proc/{full.pid}/cmdline").read_bytes():
            time.sleep(0.01)
        show(f"{title}: the end", [Figure("stop", time.monotonic() - begin, 0.0)])


def _run(directory: Path, new: Callable[[str], Store], wanted: argparse.Namespace) -> None:
    def installed(name: str) -> Installation:
        (directory / name).mkdir()
        return Installation(directory / name, new(name))

    empty = installed("empty")
    for name, words, domain in (("many", MANY, "d7.example"), ("one", ONE, "dead.example")):
        if wanted.only and name not in wanted.only:
            continue
        full = installed(name)
        begin = time.monotonic()
        full.store.fill(Content(wanted.recipients, words))
        print(f"\nfilled in {time.monotonic() - begin:.0f} s,", f"{full.store.mb():.0f} MB")
        title = f"{wanted.recipients} deferred, {'5000 domains' if name == 'many' else 'one site'}"
        show(title, looks(full, domain))
        together(empty, full, title, wanted)
        show(f"{title}: verbs without a service", verbs(full, wanted.verb_s))
        shutil.rmtree(full.directory)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--recipients", type=int, default=1_000_000)
    parser.add_argument("--load", type=int, default=5_000, help="messages of fresh mail")
    parser.add_argument("--rounds", type=int, default=3, help="of fresh mail")
    parser.add_argument("--verb-s", type=float, default=15.0)
    parser.add_argument("--directory", default="/dev/shm", help="where there is room for 3 GB")
    parser.add_argument("--postgresql", action="store_true", help="instead of SQLite")
    parser.add_argument("only", nargs="*", metavar="many|one")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=wanted.directory, prefix="mta-million-") as name:
        directory = Path(name)
        if not wanted.postgresql:
            _run(directory, lambda one: Sqlite(directory / one / "spool.sqlite"), wanted)
            return
        server = PostgreSQL(directory / "postgresql")
        try:
            _run(directory, lambda _: Postgres(server.fresh()), wanted)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
