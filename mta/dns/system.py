"""The system's own DNS servers, from ``resolv.conf`` (5)."""

import ipaddress
from pathlib import Path

_PORT = 53
_LOCAL = ("127.0.0.1", _PORT)  # what the C library asks where the file names nobody


def system_servers(path: Path = Path("/etc/resolv.conf")) -> tuple[tuple[str, int], ...]:
    """Return the ``nameserver`` lines of ``path`` as addresses with ports.

    A missing or empty file means a server on this host, as it does for the C library;
    a line that is no address is passed over.  Raises ``OSError`` if it can't be read.
    """
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return (_LOCAL,)
    found = []
    for line in lines:
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver" and _is_address(words[1]):
            found.append((words[1], _PORT))
    return tuple(found) or (_LOCAL,)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
