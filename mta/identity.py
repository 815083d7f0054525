"""Which process is meant, beyond its number, and whether it is there.

A number alone says little.  Another process may have got it since; on another machine, before this
one was started again, or in another container, it was somebody else's, and host names are not as
different as they should be.  So a process says of itself when it began, and under which kernel and
in which name space of process numbers it has the number that it has.

Trusts what processes of this program have written into the spool.  Where there is no /proc, and of
a version that did not say as much, the name of the host has to do.
"""

import os
import socket
from collections.abc import Mapping
from pathlib import Path

About = Mapping[str, str]

_PROC = Path("/proc")
_ENDED = ("Z", "X")  # states in which it only waits to be noticed
_KNOWN_BY = ("pid", "host", "kernel", "born")


def oneself() -> dict[str, str]:
    """Return by what this process is known."""
    pid = os.getpid()
    found = {"pid": str(pid), "host": socket.gethostname()}
    kernel, state = _kernel(), _state(pid)
    return found | {"kernel": kernel, "born": state[1]} if kernel and state else found


def is_oneself(about: About) -> bool:
    """Tell whether this process is meant."""
    mine = oneself()
    return all(about.get(word) == mine.get(word) for word in _KNOWN_BY)


def is_here(about: About) -> bool:
    """Tell whether the process has its number where we have ours."""
    kernel = about.get("kernel")
    return kernel == _kernel() if kernel else about.get("host") == socket.gethostname()


def there(about: About) -> bool | None:
    """Tell whether the process is there; None: that cannot be seen from here."""
    number = about.get("pid", "")
    if not number.isdigit() or not is_here(about):
        return None
    state = _state(int(number))
    if state is not None:
        return state[0] not in _ENDED and about.get("born", state[1]) == state[1]
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, and /proc does not show it to us
        return True
    return True


def _kernel() -> str:
    """Return the run of the kernel and the name space of numbers; "" where that is not told."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot}/{(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return ""


def _state(pid: int) -> tuple[str, str] | None:
    """Return the state of a process and when it began, in ticks; None where that is not told."""
    try:
        said = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    # After the name, which may have anything in it (proc(5))
    words = said.rpartition(b")")[2].decode("ascii").split()
    return words[0], words[19]
