"""Private keys on disk: ``DIRECTORY/DOMAIN/SELECTOR.pem``, one key in a file.

Above the PEM block stand lines with the state of the key (``State: next``); a plain PEM file, such
as other programs make, is an active key.  Whoever can read a key can sign as the
domain: a file that others can read or change, or that lies in a directory that others can
write to, is refused, and with it the whole set, so that an operator hears of it.

Trusts: the owner and the group of the files.  Does not do: encrypted keys, hardware modules.
"""

import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from mta.dkim.keys import RSA_BITS, Key, KeyState, PrivateKey
from mta.mail.address import ascii_domain

_BEGIN = b"-----BEGIN "
_LINE = re.compile(r"([A-Za-z-]+):[ \t]*(.*?)[ \t\r]*\Z")
_LABEL = r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?"
_SELECTOR = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\Z", re.IGNORECASE)  # RFC 6376 §3.1
_STAMP = "%Y-%m-%dT%H:%M:%SZ"


class KeyUnusable(Exception):
    """A key, or its directory, can't be used; one clear line with the path."""


def read_keys(directory: Path) -> tuple[Key, ...]:
    """Return all keys, sorted by domain and selector.  Without the directory there are none.

    Raises ``KeyUnusable`` for the first that cannot be used.
    """
    if not directory.exists():
        return ()
    try:
        return tuple(read_key(path) for path in _files(directory))
    except OSError as error:
        raise KeyUnusable(f"{error.filename}: {error.strerror}") from error


def _files(directory: Path) -> Iterator[Path]:
    _check_directory(directory)
    for below in sorted(directory.iterdir()):
        if below.is_dir():
            _check_directory(below)
            yield from sorted(path for path in below.glob("[!.]*.pem"))


def _check_directory(path: Path) -> None:
    if path.stat().st_mode & stat.S_IWOTH:
        raise KeyUnusable(f"{path}: everybody can write to this directory: chmod o-w it")


def read_key(path: Path) -> Key:
    """Read one key; its place says the domain and the selector."""
    mode = path.stat().st_mode
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise KeyUnusable(
            f"{path}: others can read or change this private key"
            f" (mode {stat.S_IMODE(mode):04o}): chmod 600 it"
        )
    text, begin, pem = path.read_bytes().partition(_BEGIN)
    about = _about(path, text.decode("ascii", "replace"))
    return Key(
        _domain(path),
        _selector(path),
        _private_key(path, begin + pem),
        _state(path, about.get("state", "active")),
        _moment(path, about.get("created")),
        _moment(path, about.get("active-from")),
    )


def _domain(path: Path) -> str:
    name = path.parent.name
    if not is_name(name):
        raise KeyUnusable(f"{path}: the directory {name!r} is not named for a domain")
    return ascii_domain(name)


def _selector(path: Path) -> str:
    if not is_name(path.stem):
        raise KeyUnusable(f"{path}: {path.stem!r} cannot be a selector")
    return path.stem


def is_name(text: str) -> bool:
    """Tell whether ``text`` can be a selector, or a domain in A-labels."""
    return len(text) <= 253 and _SELECTOR.match(text) is not None


def _about(path: Path, text: str) -> Mapping[str, str]:
    about = {}
    for line in text.splitlines():
        found = _LINE.match(line)
        if found is not None:
            about[found[1].lower()] = found[2]
    return about


def _state(path: Path, text: str) -> KeyState:
    try:
        return KeyState(text)
    except ValueError:
        known = ", ".join(KeyState)
        raise KeyUnusable(f"{path}: the state {text!r} is none of {known}") from None


def _moment(path: Path, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.strptime(text, _STAMP).replace(tzinfo=UTC)
    except ValueError:
        raise KeyUnusable(f"{path}: {text!r} is not a time such as 2026-11-24T08:00:00Z") from None


def _private_key(path: Path, pem: bytes) -> PrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, None)
    except TypeError:
        raise KeyUnusable(f"{path}: encrypted private keys are not supported") from None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyUnusable(f"{path}: no private key in PEM form: {error}") from None
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    if not isinstance(key, rsa.RSAPrivateKey):
        raise KeyUnusable(f"{path}: only RSA and Ed25519 keys sign mail (RFC 8301, RFC 8463)")
    if key.key_size < RSA_BITS:
        raise KeyUnusable(
            f"{path}: an RSA key of {key.key_size} bits is too short, {RSA_BITS} is the least"
        )
    return key


def path_of(directory: Path, key: Key) -> Path:
    """Return where a key belongs."""
    return directory / key.domain / f"{key.selector}.pem"


def write_key(directory: Path, key: Key, *, replacing: bool = False) -> Path:
    """Write a key, for its owner's eyes only from the first moment; return its path.

    New directories are made with mode 0700.  With ``replacing`` the file takes the place
    of the old one in one step and keeps its owner; else ``FileExistsError`` if one is there.
    What root makes belongs to the owner of the directory that it lies in.
    """
    path = path_of(directory, key)
    for one in (directory, path.parent):
        if not one.is_dir():
            one.mkdir(mode=0o700, parents=True)
            _give(one, one.parent.stat())
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}") if replacing else path
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(_text(key))
            stream.flush()
            os.fsync(stream.fileno())
        _give(new, (path if replacing else path.parent).stat())
        if replacing:
            new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    return path


def _give(path: Path, like: os.stat_result) -> None:
    if os.geteuid() == 0:
        os.chown(path, like.st_uid, like.st_gid)


def _text(key: Key) -> bytes:
    lines = [f"State: {key.state}"]
    if key.created is not None:
        lines.append(f"Created: {key.created.strftime(_STAMP)}")
    if key.active_from is not None:
        lines.append(f"Active-From: {key.active_from.strftime(_STAMP)}")
    pem = key.private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return "\n".join([*lines, ""]).encode("ascii") + pem
