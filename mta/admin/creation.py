"""Files and directories made together: all of them in the end, or none.

Each is created exclusively and with its final mode from the first moment, so that a key
is at no time readable by others, and what somebody else has put there is never touched.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mta.admin.exits import Exit, Failure


class Creation:
    """What has been made so far."""

    def __init__(self) -> None:
        self.made: list[Path] = []

    def directory(self, path: Path, mode: int = 0o755) -> None:
        """Make a directory that must not exist; its missing parents too."""
        for parent in reversed(path.parents):
            if not parent.exists():
                self._mkdir(parent, 0o755)
        self._mkdir(path, mode)

    def file(self, path: Path, content: bytes, mode: int) -> None:
        """Make a file that must not exist."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self.made.append(path)
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(descriptor, mode)
            stream.write(content)

    def undo(self) -> None:
        """Take away what was made, with all that has been put into directories of ours."""
        for path in reversed(self.made):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def _mkdir(self, path: Path, mode: int) -> None:
        path.mkdir(mode=mode)
        self.made.append(path)


@contextmanager
def all_or_nothing() -> Iterator[Creation]:
    """Undo everything if the block fails; a file in the way becomes status 73."""
    creation = Creation()
    try:
        yield creation
    except BaseException as error:
        creation.undo()
        if isinstance(error, OSError) and not isinstance(error, PermissionError):
            raise Failure(Exit.CANNOT_CREATE, f"{error.filename}: {error.strerror}") from error
        raise
