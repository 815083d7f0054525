"""Keys on disk: their modes, their states, and what is refused."""

import os
import stat
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from mta.dkim.keys import Key, KeyState, strings
from mta.dkim.store import KeyUnusable, path_of, read_keys, write_key

WHEN = datetime(2026, 11, 24, 8, 0, 0, tzinfo=UTC)


def pem(private) -> bytes:
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def put(directory: Path, content: bytes, mode: int = 0o600, name: str = "s.pem") -> Path:
    path = directory / "example.org" / name
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_there_and_back(tmp_path, request, rsa_key, ed25519_key) -> None:
    """What was written is read, with its state and times; nobody else may read the files."""
    directory = tmp_path / "keys"
    before = os.umask(0)
    request.addfinalizer(lambda: os.umask(before))
    keys = [
        replace(ed25519_key, state=KeyState.NEXT, created=WHEN, active_from=WHEN),
        replace(rsa_key, created=WHEN),
    ]
    for key in keys:
        path = write_key(directory, key)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    read = read_keys(directory)
    assert [(k.domain, k.selector, k.state, k.created, k.active_from) for k in read] == [
        ("example.org", "e1", KeyState.NEXT, WHEN, WHEN),
        ("example.org", "r1", KeyState.ACTIVE, WHEN, None),
    ]
    assert [k.record for k in read] == [k.record for k in keys]


def test_a_key_is_never_overwritten(tmp_path, ed25519_key) -> None:
    """A new key does not take the place of another; a new state does, in one step."""
    path = write_key(tmp_path, ed25519_key)
    with pytest.raises(FileExistsError):
        write_key(tmp_path, ed25519_key)
    write_key(tmp_path, replace(ed25519_key, state=KeyState.RETIRED), replacing=True)
    assert [path.name for path in path.parent.iterdir()] == ["e1.pem"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_keys(tmp_path)[0].state is KeyState.RETIRED


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o644, 0o640 | 0o020, 0o666])
def test_attack_a_key_that_others_can_read_or_change(tmp_path, rsa_key, mode) -> None:
    """It is refused, with the path, the mode and what to do."""
    path = put(tmp_path, pem(rsa_key.private), mode)
    with pytest.raises(KeyUnusable) as caught:
        read_keys(tmp_path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and f"{mode:04o}" in text and "chmod 600" in text
    path.chmod(0o640)
    assert len(read_keys(tmp_path)) == 1


def test_attack_a_directory_that_others_can_write_to(tmp_path, rsa_key) -> None:
    """Somebody else could put a key of theirs in the place of ours."""
    put(tmp_path, pem(rsa_key.private)).parent.chmod(0o777)
    with pytest.raises(KeyUnusable, match="everybody can write"):
        read_keys(tmp_path)


def test_keys_of_other_programs(tmp_path, rsa_key) -> None:
    """A plain PEM file is an active key; other files are left alone."""
    put(tmp_path, pem(rsa_key.private), name="mail.2024.pem")
    put(tmp_path, b"junk", name="mail.txt")
    put(tmp_path, b"junk", name=".hidden.pem")
    (key,) = read_keys(tmp_path)
    assert (key.selector, key.state, key.created) == ("mail.2024", KeyState.ACTIVE, None)
    assert read_keys(tmp_path / "nothing") == ()


REFUSED = {
    "junk": (lambda: b"junk", "no private key"),
    "short": (
        lambda: pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)),
        "1024 bits",
    ),
    "curve": (lambda: pem(ec.generate_private_key(ec.SECP256R1())), "only RSA and Ed25519"),
    "state": (lambda: b"State: asleep\n-----BEGIN ", "'asleep' is none of"),
    "time": (lambda: b"Active-From: soon\n-----BEGIN ", "'soon' is not a time"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(tmp_path, name) -> None:
    """What cannot sign is told in one line with its path (RFC 8301 §3.2 for short keys)."""
    make, words = REFUSED[name]
    content = make()
    if content.endswith(b"BEGIN "):
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        content = content.removesuffix(b"-----BEGIN ") + pem(key)
    path = put(tmp_path, content)
    with pytest.raises(KeyUnusable, match=words) as caught:
        read_keys(tmp_path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_unreadable(tmp_path, rsa_key) -> None:
    """A path that leads nowhere is one clear line too."""
    (tmp_path / "example.org").mkdir()
    (tmp_path / "example.org" / "s.pem").symlink_to(tmp_path / "gone")
    with pytest.raises(KeyUnusable, match="No such file"):
        read_keys(tmp_path)


def test_record(rsa_key) -> None:
    """An RSA record is longer than one string of a TXT record (RFC 6376 §3.6.2.2)."""
    parts = strings(rsa_key.record)
    assert len(parts) == 2 and max(map(len, parts)) == 255
    assert "".join(parts) == rsa_key.record
    assert rsa_key.record.startswith("v=DKIM1; k=rsa; p=MIIBIjANBg")
    assert rsa_key.record_name == "r1._domainkey.example.org"
    assert path_of(Path("/k"), rsa_key) == Path("/k/example.org/r1.pem")
    assert isinstance(rsa_key, Key)
