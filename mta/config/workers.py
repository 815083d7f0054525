"""Several worker processes: how many, what they are called, and what they cannot share."""

import os
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mta.config.section import Conflict

if TYPE_CHECKING:
    from mta.config.settings import Settings

_SHARED = ("tcp:", "tcp4:", "tcp6:", "unix:", "systemd:")
_TCP = re.compile(r"(tcp[46]?:(?:port=)?)(\d+)(?=:|\Z)")


def worker_nodes(settings: "Settings") -> list[str]:
    """Return the name of each worker in the spool; none where one process does everything.

    A name in the configuration has no "/", so that no other process is called so.
    """
    count = settings.workers
    if isinstance(count, str):
        count = len(os.sched_getaffinity(0))
    base = settings.queue.node or settings.host_name
    return [f"{base}/{number}" for number in range(1, count + 1)] if count > 1 else []


def monitor_endpoint(endpoint: str, number: int) -> str:
    """Return where the worker ``number``, from 1, listens for monitors: ports in a row."""
    return _TCP.sub(lambda found: f"{found[1]}{int(found[2]) + number - 1}", endpoint, count=1)


def unshared(endpoints: Sequence[str], monitor: str | None) -> Iterator[Conflict]:
    """Yield what processes cannot share, or not have each for itself."""
    for index, endpoint in enumerate(endpoints):
        if not endpoint.startswith(_SHARED):
            text = "workers share only tcp, tcp6, unix and systemd endpoints"
            yield Conflict(("listener", index, "endpoint"), text, ("workers",))
    if monitor is not None and not _TCP.match(monitor):
        text = "with several workers it must be a TCP port: each worker has one, in a row"
        yield Conflict(("metrics", "listen"), text, ("workers",))
