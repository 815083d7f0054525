"""The worker's end of its two pipes: one to say how it is, one that closes with the supervisor.

Nothing is ever sent through the second.  When the supervisor is gone, however it went, the kernel
closes it, and the worker ends in order: its ports at once, then what is under way, within a
bound.  A thread waits for that, so that a reactor that hangs does not keep the process.
"""

import os
import time
from collections.abc import Callable
from threading import Thread

SAY = 3
HOLD = 4
FIRST_SOCKET = 5
END_S = 75.0  # above all bounds of an orderly stop together
BEAT = "WATCHDOG=1"
BEAT_S = 5.0  # how often a worker says that its reactor runs


def say(state: str) -> bool:
    """Tell the supervisor, as ``readiness.notify`` tells systemd; False if nobody listens."""
    try:
        os.write(SAY, f"{state}\n".encode())
    except OSError:  # gone, or it has not read for a long time
        return False
    return True


def hold(orphaned: Callable[[], None]) -> None:
    """Call ``orphaned()`` in another thread when the supervisor is gone, and end soon after."""
    for descriptor in (SAY, HOLD):
        os.set_inheritable(descriptor, False)
    os.set_blocking(SAY, False)

    def wait() -> None:
        while os.read(HOLD, 64):
            pass
        orphaned()
        time.sleep(END_S)
        os._exit(1)

    Thread(target=wait, name="supervisor", daemon=True).start()
