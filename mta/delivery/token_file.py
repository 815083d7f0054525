"""The file of a refresh token, shared with whoever else has it: our workers, other hosts, people.

Where a refresh token can be used once only, two processes that renew at the same moment would both
show the same one, and one of them, as a rule both, would be locked out for good.  So whoever
renews holds a lock on a file beside it (``.NAME.lock``, ``flock``), reads what the file says now,
and lets go when the new token is there.  The lock ends with the process that has it.

The file is replaced as a whole, with mode 0600; its owner stays.  Where it cannot be written, or
the lock cannot be made, everybody is alone with the token that he has.

Trusts: that ``flock`` holds among all who share the file, which over NFS depends on the mount.
"""

import fcntl
import os
from pathlib import Path
from tempfile import mkstemp

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

LOCKED_S = 30.0  # a request that another process has under way has 20 seconds
_AGAIN_S = 0.05


class FileTrouble(Exception):
    """There is no refresh token to be had from the file, or not now; one line."""


class RefreshFile:
    """One such file, and the newest token that is known."""

    def __init__(self, path: Path, clock: IReactorTime) -> None:
        """Nothing is read before it is asked for."""
        self.token = ""  # the newest one
        self.path = path
        self._clock = clock
        self._said = ""  # what was in the file when it was read or written

    async def lock(self) -> int | None:
        """Wait for our turn; return the descriptor to be closed afterwards, None without a lock.

        Raises ``FileTrouble`` if others keep it for too long.
        """
        try:
            descriptor = _opened(self.path.resolve())
        except OSError:  # nobody else can write there either
            return None
        until_s = self._clock.seconds() + LOCKED_S
        try:
            while not _locks(descriptor):
                if self._clock.seconds() >= until_s:
                    raise FileTrouble(f"another process has had {self.path} for {LOCKED_S:.0f} s")
                await deferLater(self._clock, _AGAIN_S)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def read(self) -> str:
        """Return the token to be shown; one that somebody else has put there goes before."""
        try:
            said = self.path.read_text("utf-8").strip()
        except OSError as error:
            if self.token:
                return self.token
            raise FileTrouble(f"{self.path} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise FileTrouble(f"{self.path} is not UTF-8") from None
        if said != self._said or not self.token:
            self._said = self.token = said
        if not self.token:
            raise FileTrouble(f"{self.path} is empty")
        return self.token

    def keep(self, token: str) -> None:
        """Use ``token`` from now on, and write it down; raises ``OSError`` if that cannot be."""
        self.token = token
        _replace(self.path.resolve(), token)
        self._said = token


def _opened(path: Path) -> int:
    """Open the file beside ``path`` that is locked; who owns the one owns the other."""
    name = path.parent / f".{path.name}.lock"
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, 0o600)
    try:
        was = path.stat()
        if os.geteuid() == 0 and os.fstat(descriptor).st_uid != was.st_uid:
            os.fchown(descriptor, was.st_uid, was.st_gid)  # root must not lock the service out
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _locks(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _replace(path: Path, text: str) -> None:
    """Replace what is in ``path`` at once; its owner stays.  Raises ``OSError``."""
    if not os.access(path, os.W_OK):
        raise PermissionError(0, "it is not writable")
    was = path.stat()
    number, temporary = mkstemp(prefix=f".{path.name}.", dir=path.parent)  # with mode 0600
    try:
        with os.fdopen(number, "w", encoding="utf-8") as stream:
            stream.write(f"{text}\n")
            stream.flush()
            os.fsync(stream.fileno())
            if was.st_uid != os.geteuid():  # an operator's command line must not lock us out
                os.fchown(stream.fileno(), was.st_uid, was.st_gid)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
