"""A certificate that signs itself, for a first installation, tests and the demo.

It is made so that a client can trust it as its own root, strict checkers included
(RFC 5280 §4.2): critical basicConstraints and keyUsage, key identifier, name in
subjectAltName.  Nobody else has a reason to trust it.
"""

import ipaddress
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_SKEW = timedelta(hours=1)  # clients' clocks may be behind


def self_signed(host_name: str, now: datetime, days: int = 3650) -> tuple[bytes, bytes]:
    """Return certificate and key (ECDSA P-256) for ``host_name``, both PEM.

    ``host_name`` is a name in ASCII or an IP address; ``now`` has a time zone.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    # X.520 ends a common name at 64 characters; the name that counts is in the extension.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host_name[:64])])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + timedelta(days=days))
    )
    for extension, critical in _extensions(host_name, key.public_key()):
        builder = builder.add_extension(extension, critical=critical)
    certificate = builder.sign(key, hashes.SHA256())
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


def _extensions(
    host_name: str, public_key: ec.EllipticCurvePublicKey
) -> list[tuple[x509.ExtensionType, bool]]:
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return [
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (usage, True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (x509.SubjectAlternativeName([_general_name(host_name)]), False),
        (x509.SubjectKeyIdentifier.from_public_key(public_key), False),
    ]


def _general_name(host_name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host_name))
    except ValueError:
        return x509.DNSName(host_name)
