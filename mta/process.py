"""What the process needs before it works: a clock that never jumps, room for connections.

Twisted takes the wall clock for its timers.  One that is set back, by an administrator or
after a suspended machine has found its time again, would stop every timer of ours for as
long: time-outs, polling, the renewal of the lease.  One set forward would end all waits at once.
"""

import resource
import time
from typing import Any

_FILES = 65_536  # far above what all limits together allow, and a bound for a leak


def prepare(reactor: Any) -> None:
    """Give ``reactor`` the monotonic clock, and this process as many files as it may have."""
    reactor.seconds = time.monotonic
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
