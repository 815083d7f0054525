"""Hosts with addresses of their own on one machine: network namespaces on two bridges.

Each host is on the *inside*, where the database is, and on the *outside*, where the world is; a
hub with both bridges stands for everything else.  A line that is cut swallows packets: nobody is
told.  A thread that has entered a host, and every thread and process that it starts there, is on
that host's network and on no other.
"""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

INSIDE, OUTSIDE = "10.213.1", "10.213.2"
_MAC = {INSIDE: "02:00:00:00:00:01", OUTSIDE: "02:00:00:00:00:02"}
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _ip(*arguments: str, within: str = "") -> None:
    where = ["-n", within] if within else []
    subprocess.run(["ip", *where, *arguments], check=True, capture_output=True, text=True)


class Network:
    """The hub and its hosts; ``host(n)`` has the addresses INSIDE.n and OUTSIDE.n."""

    def __init__(self) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root can make network namespaces")
        self._names: list[str] = []
        self.hub = self._make("hub")
        for net, bridge in ((INSIDE, "inside"), (OUTSIDE, "outside")):
            _ip("link", "add", bridge, "type", "bridge", within=self.hub)
            # Known to all: who is cut off hears nothing, not even that nobody is there
            _ip("link", "set", bridge, "address", _MAC[net], within=self.hub)
            _ip("addr", "add", f"{net}.1/24", "dev", bridge, within=self.hub)
            _ip("link", "set", bridge, "up", within=self.hub)

    def _make(self, kind: str) -> str:
        name = f"mta-{os.getpid()}-{kind}"
        try:
            _ip("netns", "add", name)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no network namespaces here: {getattr(error, 'stderr', error)}")
        self._names.append(name)
        _ip("link", "set", "lo", "up", within=name)
        return name

    def host(self, number: int) -> str:
        """Make a host; return its name."""
        name = self._make(f"n{number}")
        for net, bridge in ((INSIDE, "inside"), (OUTSIDE, "outside")):
            port = f"{bridge[:3]}{number}"
            _ip("link", "add", port, "type", "veth", "peer", "name", bridge, "netns", name,
                within=self.hub)  # fmt: skip
            _ip("link", "set", port, "master", bridge, "up", within=self.hub)
            _ip("addr", "add", f"{net}.{number}/24", "dev", bridge, within=name)
            _ip("link", "set", bridge, "up", within=name)
            _ip("neigh", "add", f"{net}.1", "lladdr", _MAC[net], "dev", bridge, "nud", "permanent",
                within=name)  # fmt: skip
        return name

    def cut(self, number: int, which: str, *, mend: bool = False) -> None:
        """Let the line of a host to the "inside" or the "outside" swallow all, or nothing more."""
        _ip("link", "set", f"{which[:3]}{number}", "up" if mend else "down", within=self.hub)

    def close(self) -> None:
        """Take everything away."""
        for name in self._names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)

    @staticmethod
    @contextmanager
    def on(host: str) -> Iterator[None]:
        """Be on ``host`` with this thread, and with what it starts meanwhile."""
        with (
            Path("/proc/thread-self/ns/net").open() as home,
            Path(f"/run/netns/{host}").open() as to,
        ):
            _enter(to.fileno())
            try:
                yield
            finally:
                _enter(home.fileno())


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
