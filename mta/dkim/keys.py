"""The keys that mail is signed with, as values: what they are, which are in force.

A domain has a key for each algorithm (RFC 8301, RFC 8463), each under a selector of its own.
Rotation is three states: *next* (its record is being published, nothing is signed with it),
*active*, *retired* (the record stays until mail signed with it has arrived everywhere).
A next key may carry the moment from which it is active; then the active one of its
algorithm retires by itself, without anybody touching a file.

Does not know: files (``store``), DNS.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

PrivateKey: TypeAlias = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

RSA_BITS = 2048  # RFC 8301 §3.2: signers SHOULD use at least so many
_STRING = 255  # octets in one string of a TXT record (RFC 1035 §3.3)
_PKCS1 = padding.PKCS1v15()
_SHA256 = Prehashed(hashes.SHA256())


class Algorithm(StrEnum):
    """The two that RFC 8301 and RFC 8463 leave; the value is that of the ``a=`` tag."""

    RSA = "rsa-sha256"
    ED25519 = "ed25519-sha256"

    @property
    def key_type(self) -> str:
        """The ``k=`` tag of the key record: "rsa" or "ed25519"."""
        return self.value.removesuffix("-sha256")


class KeyState(StrEnum):
    """Where a key stands in its rotation."""

    NEXT = "next"
    ACTIVE = "active"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Key:
    """A private key, and what it is for."""

    domain: str  # ``d=``: lower case, A-labels
    selector: str  # ``s=``
    private: PrivateKey
    state: KeyState = KeyState.ACTIVE
    created: datetime | None = None
    active_from: datetime | None = None  # of a next key: when it becomes active by itself

    @property
    def algorithm(self) -> Algorithm:
        """What it signs with."""
        rsa_key = isinstance(self.private, rsa.RSAPrivateKey)
        return Algorithm.RSA if rsa_key else Algorithm.ED25519

    @property
    def bits(self) -> int:
        """How long it is."""
        return self.private.key_size if isinstance(self.private, rsa.RSAPrivateKey) else 256

    @property
    def record_name(self) -> str:
        """The name of its TXT record (RFC 6376 §3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def record(self) -> str:
        """The text of its TXT record (RFC 6376 §3.6.1).

        For Ed25519 it has the 32 octets themselves, no ASN.1 (RFC 8463 §4).
        """
        public = self.private.public_key()
        if isinstance(public, ed25519.Ed25519PublicKey):
            octets = public.public_bytes_raw()
        else:
            octets = public.public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        return f"v=DKIM1; k={self.algorithm.key_type}; p={base64.b64encode(octets).decode()}"

    def sign(self, digest: bytes) -> bytes:
        """Sign a SHA-256 hash.  Ed25519 signs the hash as its message (RFC 8463 §3).

        RSA takes most of a millisecond, and lets other threads run meanwhile.
        """
        if isinstance(self.private, rsa.RSAPrivateKey):
            return self.private.sign(digest, _PKCS1, _SHA256)
        return self.private.sign(digest)

    def at(self, now: datetime) -> "Key":
        """Return the key with the state that it has at ``now``."""
        due = self.active_from is not None and self.active_from <= now
        if self.state is KeyState.NEXT and due:
            return replace(self, state=KeyState.ACTIVE)
        return self


def strings(record: str) -> tuple[str, ...]:
    """Split a record into the strings of a TXT record; a reader joins them (RFC 6376 §3.6.2.2)."""
    return tuple(record[at : at + _STRING] for at in range(0, len(record), _STRING))


def states(keys: Iterable[Key], now: datetime) -> list[Key]:
    """Return the keys with the states that they have at ``now``.

    A key that has become active by itself retires those of its domain and algorithm that
    were active before.
    """
    keys = list(keys)
    risen: dict[tuple[str, Algorithm], datetime] = {}
    for key in keys:
        if key.state is KeyState.NEXT and key.at(now).state is KeyState.ACTIVE:
            assert key.active_from is not None
            what = (key.domain, key.algorithm)
            risen[what] = max(key.active_from, risen.get(what, key.active_from))
    return [_replaced(key.at(now), risen.get((key.domain, key.algorithm))) for key in keys]


def _replaced(key: Key, since: datetime | None) -> Key:
    if since is None or key.state is not KeyState.ACTIVE or key.active_from == since:
        return key
    return replace(key, state=KeyState.RETIRED)


def in_force(keys: Iterable[Key], now: datetime) -> Iterator[Key]:
    """Yield the keys that sign at ``now``."""
    return (key for key in states(keys, now) if key.state is KeyState.ACTIVE)


def keys_for(by_domain: Mapping[str, tuple[Key, ...]], domain: str) -> tuple[Key, ...]:
    """Return the keys for a From domain: its own, or those of the nearest domain above it."""
    name = domain
    while name:
        found = by_domain.get(name)
        if found is not None:
            return found
        name = name.partition(".")[2]
    return ()
