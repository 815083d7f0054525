"""Loopback ports for a run's servers."""

import socket
import time
from collections.abc import Callable

HOST = "127.0.0.1"


class NotUp(Exception):
    """A server did not answer in time."""


def free_ports(count: int) -> list[int]:
    """Return ports that were free a moment ago; they are held together so as to differ."""
    held = []
    try:
        for _ in range(count):
            held.append(socket.create_server((HOST, 0)))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


def wait_for_port(port: int, alive: Callable[[], bool], limit_s: float = 30.0) -> None:
    """Wait until something accepts connections on ``port``; ``NotUp`` if ``alive`` ends first."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end and alive():
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise NotUp(f"nothing listens on {HOST}:{port}")
