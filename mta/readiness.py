"""Tell systemd when the service is ready, reloading or stopping (sd_notify(3)).

Trusts ``$NOTIFY_SOCKET`` as the service manager set it.  Without one, does nothing.
"""

import os
import socket
import time
from collections.abc import Mapping


def notify(state: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Send ``state`` ("READY=1", ...); return whether there was anybody to tell."""
    path = environ.get("NOTIFY_SOCKET", "")
    if not path:
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.sendto(state.encode(), address)
        except OSError:
            return False  # a manager that has gone away is no reason to stop
    return True


def reloading() -> str:
    """Return the state that announces a reload; systemd wants the monotonic time with it."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}"
