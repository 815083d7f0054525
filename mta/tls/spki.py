"""The public key of a certificate as octets, exactly as they are in it (RFC 5280 §4.1).

A key that is decoded and encoded again may come out otherwise, and would match no digest; and
there are kinds of key that nobody here can decode.
"""

from cryptography import x509

_VERSION = 0xA0  # [0], which may be absent
_BEFORE = 5  # serial number, signature, issuer, validity, subject


def public_key_info(certificate: x509.Certificate) -> bytes:
    """Return the SubjectPublicKeyInfo, DER.  Raises ``ValueError`` for what is no certificate."""
    octets = certificate.tbs_certificate_bytes
    at, _ = _span(octets, 0)
    if octets[at] == _VERSION:
        _, at = _span(octets, at)
    for _ in range(_BEFORE):
        _, at = _span(octets, at)
    _, end = _span(octets, at)
    return octets[at:end]


def _span(octets: bytes, at: int) -> tuple[int, int]:
    """Return where the content of the DER element at ``at`` begins and ends."""
    try:
        length, start = octets[at + 1], at + 2
        if length & 0x80:
            more = length & 0x7F
            length = int.from_bytes(octets[start : start + more], "big")
            start += more
    except IndexError:
        raise ValueError("a DER element is cut off") from None
    if start + length > len(octets):
        raise ValueError("a DER element is longer than what it is in")
    return start, start + length
