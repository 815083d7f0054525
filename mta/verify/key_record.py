"""A public key in DNS (RFC 6376 §3.6.1, RFC 8301, RFC 8463)."""

import base64
import binascii
from typing import TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from mta.dkim.keys import Algorithm
from mta.verify import tags
from mta.verify.signature_field import Signature, Unusable

PublicKey: TypeAlias = rsa.RSAPublicKey | ed25519.Ed25519PublicKey

RSA_LEAST = 1024  # RFC 8301 §3.2
RSA_MOST = 8192  # bits; verifying takes time that the owner of the key would choose


def public_key(records: tuple[bytes, ...], signature: Signature) -> PublicKey:
    """Return the key for ``signature`` among the TXT records of its name; else ``Unusable``.

    Of several records the first that is a key counts (§3.6.2.2 leaves it open).
    """
    problem = Unusable("there is no key")
    for record in records:
        try:
            return _public_key(record, signature)
        except Unusable as error:
            problem = error
    raise problem


def _public_key(record: bytes, signature: Signature) -> PublicKey:
    try:
        said = tags.read(record.decode("utf-8"))
    except (tags.Malformed, UnicodeDecodeError):
        raise Unusable("its key record cannot be read") from None
    if said.get("v", "DKIM1") != "DKIM1" or "p" not in said:
        raise Unusable("its key record is none")
    _check_use(said, signature)
    text = tags.without_space(said["p"])
    if not text:
        raise Unusable("its key has been revoked")
    try:
        octets = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Unusable("its key is not base64") from None
    return _ed25519(octets) if signature.algorithm is Algorithm.ED25519 else _rsa(octets)


def _check_use(said: dict[str, str], signature: Signature) -> None:
    if said.get("k", "rsa").lower() != signature.algorithm.key_type:
        raise Unusable("its key is for another algorithm")
    if "h" in said and "sha256" not in _list(said["h"]):
        raise Unusable("its key is not for SHA-256")
    if "s" in said and not {"*", "email"} & _list(said["s"]):
        raise Unusable("its key is not for mail")
    if "s" in _list(said.get("t", "")) and signature.user != signature.domain:
        raise Unusable("its key is not for subdomains")


def _list(text: str) -> set[str]:
    return set(tags.without_space(text).lower().split(":"))


def _ed25519(octets: bytes) -> PublicKey:
    try:
        return ed25519.Ed25519PublicKey.from_public_bytes(octets)
    except ValueError:
        raise Unusable("its key is not one of Ed25519") from None


def _rsa(octets: bytes) -> PublicKey:
    try:
        key = load_der_public_key(octets)
    except (ValueError, UnsupportedAlgorithm):
        raise Unusable("its key cannot be read") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise Unusable("its key is not one of RSA")
    if key.key_size < RSA_LEAST:
        raise Unusable(f"its key of {key.key_size} bits is too short", "policy")
    if key.key_size > RSA_MOST:
        raise Unusable(f"its key of {key.key_size} bits is too long", "policy")
    return key
