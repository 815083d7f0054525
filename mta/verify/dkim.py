"""The signatures of one message, verified while it arrives (RFC 6376 §6).

The header is looked at once; the body is hashed as it comes, once for each canonical form in
use, whatever the number of signatures.  At the end the keys are brought and each signature
gets its result.

Trusts: nobody; a signature says who signed, and nothing about the content.  Does not do: the
signer's wish to be taken for unsigned while testing (``t=y``), ``z=``.  A signature over a part
of the body (``l=``) is not accepted unless the part is all: what was appended is not signed.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from mta.dkim.canonical import BodyHash, Form, field
from mta.verify.key_record import PublicKey, public_key
from mta.verify.results import Result
from mta.verify.signature_field import Signature, Unusable, claimed, failed, signature

Records: TypeAlias = tuple[bytes, ...] | str  # TXT records, or why they can't be had at present

_FIELD = re.compile(rb"^([!-9;-~]+)[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*", re.MULTILINE)
_PKCS1 = padding.PKCS1v15()
_SHA256 = Prehashed(hashes.SHA256())


class Verification:
    """One message: its header now, its body piece by piece, the keys in the end."""

    def __init__(self, header: bytes, *, now_s: float, most: int, first: str = "") -> None:
        """Look at ``most`` signatures, those of the domain ``first`` before others.

        ``header`` ends with the CRLF of its last field.
        """
        self._fields: dict[bytes, list[bytes]] = {}
        for match in _FIELD.finditer(header):
            self._fields.setdefault(match[1].lower(), []).append(match[0])
        self._strange = not header.count(b"\r\n") == header.count(b"\n") == header.count(b"\r")
        found = self._fields.get(b"dkim-signature", [])
        found = sorted(found, key=lambda one: not _is_of(one, first)) if first else found
        self._looked_at = [(one, self._read(one, now_s)) for one in found[:most]]
        forms = {one.body_form for _, one in self._looked_at if isinstance(one, Signature)}
        self._bodies: dict[Form, BodyHash] = {form: BodyHash(form) for form in forms}

    @property
    def signatures(self) -> list[Signature]:
        """Those whose keys are wanted."""
        return [one for _, one in self._looked_at if isinstance(one, Signature)]

    def feed(self, data: bytes) -> None:
        """Take the next piece of the body."""
        for body in self._bodies.values():
            body.feed(data)

    def finish(self, keys: Sequence[Records]) -> tuple[Result, ...]:
        """Return a result for each signature; ``keys`` belong to ``signatures``.

        Takes milliseconds, most of the time less; belongs into a thread.
        """
        if not self._looked_at:
            return (Result("dkim", "none"),)
        digests = {form: (body.digest(), body.octets) for form, body in self._bodies.items()}
        brought = iter(keys)
        results = []
        for octets, one in self._looked_at:
            if isinstance(one, Unusable):
                results.append(failed(octets, one))
            else:
                results.append(self._verdict(octets, one, next(brought), digests[one.body_form]))
        return tuple(results)

    def _read(self, octets: bytes, now_s: float) -> Signature | Unusable:
        if self._strange:  # BINARYMIME: who reads such a header how?
            return Unusable("the header has a bare CR or LF", "policy")
        try:
            return signature(octets, now_s)
        except Unusable as error:
            return error

    def _verdict(
        self, octets: bytes, one: Signature, records: Records, body: tuple[bytes, int]
    ) -> Result:
        said = (*claimed(octets), ("header.a", one.algorithm.value))
        if isinstance(records, str):
            return Result("dkim", "temperror", said, records)
        try:
            self._verify(one, public_key(records, one), octets, body)
        except Unusable as error:
            return Result("dkim", error.value, said, str(error))
        except InvalidSignature:
            return Result("dkim", "fail", said, "the signature is wrong")
        return Result("dkim", "pass", said)

    def _verify(
        self, one: Signature, key: PublicKey, octets: bytes, body: tuple[bytes, int]
    ) -> None:
        body_hash, length = body
        if one.length is not None and one.length < length:
            raise Unusable("it covers a part of the body", "policy")
        if one.length is not None and one.length > length:
            raise Unusable("the body is shorter than it was", "fail")
        if one.body_hash != body_hash:
            raise Unusable("the body has been changed", "fail")
        digest = self._digest(one, octets)
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(one.value, digest, _PKCS1, _SHA256)
        else:
            key.verify(one.value, digest)  # RFC 8463 §3

    def _digest(self, one: Signature, octets: bytes) -> bytes:
        """§5.4.2: fields of one name are taken from the bottom up, each once, not the signature."""
        hashed, left = hashlib.sha256(), {name: self._fields.get(name, []) for name in one.names}
        left = {name: [it for it in there if it is not octets] for name, there in left.items()}
        for name in one.names:
            if left[name]:
                hashed.update(field(left[name].pop(), one.header_form))
        hashed.update(field(one.unsigned, one.header_form).removesuffix(b"\r\n"))
        return hashed.digest()


def _is_of(octets: bytes, domain: str) -> bool:
    signer = dict(claimed(octets)).get("header.d", "").lower()
    return bool(signer) and (domain == signer or domain.endswith("." + signer))
