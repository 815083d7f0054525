"""A message into a Maildir: where it goes, under which name, and how it survives a crash.

The octets go into ``tmp``, are synced, and get their name in ``new`` by a link, which is synced
too: a reader sees all of a message or nothing, and after ``keep`` has returned it is there
whatever happens to the machine.  The name is made of the time of arrival here, the queue id and
the number of the recipient, so it is the same at every attempt: if the process dies between the
link and the moment at which the queue has written that down, the next attempt finds the file, in
``new`` or in ``cur``, and writes no second one.  What a reader has moved into another folder or
removed by then, it does get again.

Distrusted: the address.  Its local part becomes one component of a path, or no mailbox at all.
Trusted: the directories above, and whoever may write there.  Everything here waits for the
disk: it belongs in a thread.

Knowingly not done: other owners than the user of the service, quotas of our own, subfolders.
"""

import os
import re
import unicodedata
from dataclasses import dataclass
from errno import EEXIST, ENOENT, EOPNOTSUPP, EPERM
from pathlib import Path
from threading import Lock

from mta.delivery.routes import Maildir
from mta.mail.address import split
from mta.mail.envelope import Envelope, Recipient

_COMPONENT_OCTETS = 255  # NAME_MAX of every file system in use
_ESCAPED = re.compile(r"\\(.)")
_FOLDERS = ("tmp", "new", "cur")
_PLACE = re.compile(r"\{(domain|local)\}")


class NoMailbox(Exception):
    """There is no such mailbox, and there will be none: permanent."""


@dataclass(frozen=True, slots=True)
class Place:
    """A Maildir.  ``base`` is what must be there before anything else is believed."""

    path: Path
    base: Path
    create: bool = False


def place(target: Maildir, recipient: Recipient) -> Place:
    """Return the Maildir of ``recipient``; ``NoMailbox`` if its address cannot name one."""
    local = _local(split(recipient.address)[0], target.delimiter)
    values = {"domain": _component(recipient.domain), "local": local}
    # In one pass: a local part may have braces of its own
    path = _PLACE.sub(lambda found: values[found[1]], target.path)
    if any(len(part.encode("utf-8")) > _COMPONENT_OCTETS for part in path.split("/")):
        raise NoMailbox("the address is too long to be a mailbox here")
    return Place(Path(path), base_of(target.path), target.create)


def base_of(template: str) -> Path:
    """Return the directory in ``template`` above everything that depends on the address."""
    return Path(_PLACE.split(template)[0] + "x").parent


def _local(local: str, delimiter: str) -> str:
    if len(local) > 1 and local[0] == local[-1] == '"':  # a quoted string is what it quotes
        local = _ESCAPED.sub(r"\1", local[1:-1])
    local = unicodedata.normalize("NFC", local).lower()
    if delimiter:
        local = local.partition(delimiter)[0]
    return _component(local)


def _component(text: str) -> str:
    """Return ``text`` if it is safe as one component of a path."""
    if not text or text.startswith(".") or "/" in text or not text.isprintable():
        raise NoMailbox("the address cannot be that of a mailbox here")
    return text


def stem(envelope: Envelope, recipient: Recipient) -> str:
    """Return what a delivery's name begins with, at whatever attempt and host: time, who."""
    seconds, ms = divmod(envelope.created_ms, 1000)
    return f"{seconds}.M{ms * 1000}Q{envelope.id}R{recipient.number}."


def top(sender: str, address: str) -> bytes:
    """Return the fields of the final delivery (RFC 5321 §4.4)."""
    return f"Return-Path: <{sender}>\nDelivered-To: {address}\n".encode()


def was_delivered(head: bytes, address: str) -> bool:
    """Tell whether the header in ``head`` says that ``address`` has had the message before."""
    header = head.partition(b"\r\n\r\n")[0].replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ")
    wanted = address.lower()
    for line in header.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"delivered-to":
            said = value.strip().decode("utf-8", "replace").lower()
            if said == wanted:
                return True
    return False


class Draft:
    """A message on its way into a Maildir.

    ``begin``, ``write`` for each chunk, ``keep``; ``abandon`` at any time, from any thread.
    All raise ``OSError``, ``begin`` also ``NoMailbox``.
    """

    def __init__(self, where: Place, stem: str, host_name: str, attempt: int) -> None:
        """``attempt`` is the number of this one: from the second on, it may be there already."""
        self.name = ""  # in the end
        self._where = where
        self._stem = stem
        self._host = host_name.replace("/", r"\057").replace(":", r"\072")
        self._attempt = attempt
        self._draft: Path | None = None
        self._file = -1
        self._octets = 0
        self._tail = b""
        self._abandoned = False
        self._lock = Lock()  # a delivery that is given up has a thread at work here perhaps

    def begin(self) -> bool:
        """Make ready; False if an earlier attempt has delivered it."""
        with self._lock:
            _prepare(self._where)
            if self._attempt > 1 and self._found():
                return False
            self._open()
            return True

    def write(self, chunk: bytes) -> None:
        """Append a chunk of the message; CRLF becomes LF."""
        with self._lock:
            self._check()
            chunk = self._tail + chunk
            self._tail = b"\r" if chunk.endswith(b"\r") else b""
            self._append(chunk[: len(chunk) - len(self._tail)].replace(b"\r\n", b"\n"))

    def write_top(self, fields: bytes) -> None:
        """Append header fields that have LF already."""
        with self._lock:
            self._check()
            self._append(fields)

    def keep(self) -> None:
        """Make it a message in ``new``; when this returns, it is one for good."""
        with self._lock:
            self._check()
            self._append(self._tail)
            os.fsync(self._file)
            self._close()
            self.name = f"{self._stem}{self._host},S={self._octets}"
            new = self._where.path / "new"
            assert self._draft is not None
            _move(self._draft, new / self.name)
            self._draft = None
            _sync(new)

    def abandon(self) -> None:
        """Leave nothing of it behind."""
        with self._lock:
            self._abandoned = True
            self._close()
            if self._draft is not None:
                self._draft.unlink(missing_ok=True)
                self._draft = None

    def _check(self) -> None:
        if self._abandoned:
            raise InterruptedError("the delivery was given up")

    def _close(self) -> None:
        if self._file >= 0:
            file, self._file = self._file, -1
            os.close(file)

    def _append(self, octets: bytes) -> None:
        view = memoryview(octets)
        while view:
            written = os.write(self._file, view)
            self._octets += written
            view = view[written:]

    def _open(self) -> None:
        self._check()
        name = f"{self._stem[:-1]}A{self._attempt}P{os.getpid()}.{self._host}"
        path = self._where.path / "tmp" / name
        path.unlink(missing_ok=True)  # of a run of ours that died in the middle
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o600)
        self._draft = path

    def _found(self) -> bool:
        """Look for what an earlier attempt has left, and make sure that it stays."""
        for folder in (self._where.path / "new", self._where.path / "cur"):
            for file in folder.iterdir():
                if file.name.startswith(self._stem):
                    _sync(folder)
                    self.name = file.name
                    return True
        return False


def _prepare(where: Place) -> None:
    """See to it that the Maildir is there, with its folders."""
    try:
        where.path.stat()
    except FileNotFoundError:
        _missing(where)
    made = [_made(where.path / folder) for folder in _FOLDERS]
    if any(made):
        _sync(where.path)


def _missing(where: Place) -> None:
    """Make the Maildir if that is wanted; else say for good that there is none."""
    may_be_made(where)
    path = where.base
    for part in where.path.relative_to(where.base).parts:
        above, path = path, path / part
        if _made(path):
            _sync(above)


def may_be_made(where: Place) -> None:
    """Raise ``NoMailbox`` unless a Maildir that is not there is to be made.

    Not where the whole tree is gone (``OSError``): that is a file system that is not mounted.
    """
    base = where.base
    if not base.is_dir() or not (where.create or any(base.iterdir())):
        raise OSError(ENOENT, "there are no mailboxes at all: a file system is not mounted?")
    if not where.create:
        raise NoMailbox("there is no such mailbox here")


def _made(path: Path) -> bool:
    """Make a directory that is its owner's alone; False if it was there."""
    try:
        path.mkdir(0o700)
    except FileExistsError:
        return False
    return True


def _move(draft: Path, path: Path) -> None:
    """Give ``draft`` its name without ever replacing a file: that would be this message."""
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        pass
    except OSError as error:
        if error.errno not in (EPERM, EOPNOTSUPP):
            raise
        if os.path.lexists(path):  # a file system without links
            raise OSError(EEXIST, "a file of that name is there") from None
        draft.rename(path)
        return
    draft.unlink()


def _sync(directory: Path) -> None:
    number = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
