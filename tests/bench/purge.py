"""A history of ten million attempts, purged in the background: does anybody notice?

``make purge`` fills a spool with five million messages that were finished long ago, two attempts
each, starts the service, and has fresh mail sent through it, in turn while it purges and while it
keeps everything (``spool.retention``, told by SIGHUP).  ``--postgresql`` does so on a private
server.  Also timed, on the full history: what an operator asks of it.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles

from filling import DONE, Content, Postgres, Sqlite
from installation import Figure, Installation
from million import show
from postgresql import PostgreSQL

_ATTEMPTS_EACH = 2
_KEPT, _PURGED = "1000d", "14d"


def oldest(one: Installation) -> int:
    """Return when the oldest message in the history was finished: it moves while it is purged."""
    return one.store.number("SELECT min(finished_ms) FROM messages WHERE finished_ms IS NOT NULL")


def looks(one: Installation) -> Iterator[Figure]:
    """Ask the history."""
    message_id = "<1.77@home.test>"
    yield one.command("trace", message_id)
    yield one.command("queue", "summary")
    yield one.command("status", expected=69)


def mail(one: Installation, rounds: int, messages: int) -> Iterator[Figure]:
    """Send fresh mail in turn while nothing is purged and while it is."""
    found: dict[str, list[tuple[float, float, float]]] = {_KEPT: [], _PURGED: []}
    purged, seconds = 0, 0.0
    time.sleep(3)
    for _ in range(rounds):
        for retention, said in found.items():
            one.keep(retention)
            time.sleep(1.0)
            before = oldest(one)
            if retention == _PURGED:
                _until(one, before)  # a duty of the housekeeping begins within a minute
            one.settled()
            before, begin = oldest(one), time.monotonic()
            load, relayed = one.send(messages)
            p99 = quantiles(load.latencies_ms, n=100)[98]
            said.append((messages / load.seconds, messages / relayed, p99))
            if retention == _PURGED:
                purged += oldest(one) - before  # one message was finished each millisecond
                seconds += time.monotonic() - begin
    for number, what in enumerate(("accept", "relay", "p99 of a message, ms")):
        without, beside = (median(one[number] for one in found[key]) for key in (_KEPT, _PURGED))
        said_ = f"without {without:.0f}, while purging {beside:.0f}: {beside / without:.2f}"
        yield Figure(what, 0.0, one.peak_mb(), said_)
    yield Figure("purged meanwhile", seconds, one.peak_mb(), f"{purged / seconds:.0f} messages/s")


def _until(one: Installation, before: int) -> None:
    end = time.monotonic() + 90
    while oldest(one) == before:
        if time.monotonic() > end:
            raise SystemExit("nothing is purged")
        time.sleep(0.2)


def _run(one: Installation, wanted: argparse.Namespace) -> None:
    begin = time.monotonic()
    one.store.fill(Content(wanted.attempts // _ATTEMPTS_EACH, DONE, True, _ATTEMPTS_EACH))
    print(f"filled in {time.monotonic() - begin:.0f} s, {one.store.mb():.0f} MB", flush=True)
    one.keep(_KEPT)
    title = f"a history of {wanted.attempts} attempts"
    show(title, looks(one))
    with one.running() as start:
        show(f"{title}: the service", [start, *mail(one, wanted.rounds, wanted.load)])


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--attempts", type=int, default=10_000_000)
    parser.add_argument("--load", type=int, default=10_000, help="messages of fresh mail")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", default="/dev/shm", help="where there is room for 10 GB")
    parser.add_argument("--postgresql", action="store_true", help="instead of SQLite")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=wanted.directory, prefix="mta-purge-") as name:
        directory = Path(name)
        if not wanted.postgresql:
            _run(Installation(directory, Sqlite(directory / "spool.sqlite")), wanted)
            return
        server = PostgreSQL(directory / "postgresql")
        try:
            _run(Installation(directory, Postgres(server.fresh())), wanted)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
