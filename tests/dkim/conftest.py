"""Keys, a DNS that has their records, and strangers who verify what was signed."""

from collections.abc import Callable, Sequence

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from mta.dkim.keys import Key
from mta.dkim.rules import Keyring, Rules
from mta.dkim.sign import SigningSettings

NOW_S = 1_764_028_800  # 2025-11-25 00:00:00 UTC

_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def rsa_key() -> Key:
    """An RSA key of example.org."""
    return Key("example.org", "r1", _RSA)


@pytest.fixture
def ed25519_key() -> Key:
    """An Ed25519 key of example.org."""
    return Key("example.org", "e1", ed25519.Ed25519PrivateKey.generate())


@pytest.fixture
def sign() -> Callable[..., bytes]:
    """Sign a whole message, given in pieces of some size."""

    def do(
        message: bytes,
        keys: Sequence[Key],
        settings: SigningSettings | None = None,
        size: int = 1 << 30,
        at_s: int = NOW_S,
    ) -> bytes:
        first = max(size, message.find(b"\r\n\r\n") + 4)
        whole = len(message) <= first
        begun = Rules(Keyring(keys), settings).begin(message[:first], at_s, whole=whole)
        assert begun is not None
        signing, _ = begun
        for at in range(first, len(message), size):
            signing.feed(message[at : at + size])
        return signing.finish() + message

    return do


@pytest.fixture
def verify() -> Callable[..., list[bool]]:
    """Ask dkimpy about each signature, top first."""

    def do(message: bytes, keys: Sequence[Key]) -> list[bool]:
        records = {key.record_name: key.record for key in keys}

        def lookup(name: bytes, timeout: int = 5) -> bytes | None:
            record = records.get(name.decode().rstrip("."))
            return None if record is None else record.encode()

        count = message.partition(b"\r\n\r\n")[0].count(b"DKIM-Signature:")
        return [_verifies(dkim.DKIM(message), number, lookup) for number in range(count)]

    return do


def _verifies(checked: dkim.DKIM, number: int, lookup: Callable[..., bytes | None]) -> bool:
    try:
        return bool(checked.verify(idx=number, dnsfunc=lookup))
    except dkim.ValidationError:  # how it tells that the body is another
        return False
