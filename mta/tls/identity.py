"""Does a certificate belong to the host that was dialled?  (RFC 9525, service_identity.)

Only names and addresses in subjectAltName count; a common name proves nothing.  Whether
the certificate can be trusted at all is a question for the chain, answered elsewhere.
Everything quoted from a certificate is made printable: it was written by the peer.
"""

import ipaddress

import service_identity
from cryptography import x509
from OpenSSL import SSL
from service_identity.cryptography import (
    verify_certificate_hostname,
    verify_certificate_ip_address,
)

from mta.mail.security import Result
from mta.tls.reasons import printable

_SHOWN = 3

_CODES = SSL.X509VerificationCodes
_CHAIN_ERRORS = {
    _CODES.ERR_UNABLE_TO_GET_ISSUER_CERT: "issuer certificate not found",
    _CODES.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "unknown certificate authority",
    _CODES.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE: "unknown certificate authority",
    _CODES.ERR_CERT_SIGNATURE_FAILURE: "certificate signature is wrong",
    _CODES.ERR_CERT_NOT_YET_VALID: "certificate is not yet valid",
    _CODES.ERR_CERT_HAS_EXPIRED: "certificate has expired",
    _CODES.ERR_DEPTH_ZERO_SELF_SIGNED_CERT: "self-signed certificate",
    _CODES.ERR_SELF_SIGNED_CERT_IN_CHAIN: "self-signed certificate in the chain",
    _CODES.ERR_CERT_CHAIN_TOO_LONG: "certificate chain is too long",
    _CODES.ERR_CERT_REVOKED: "certificate was revoked",
    _CODES.ERR_INVALID_CA: "an issuer is not a certificate authority",
    _CODES.ERR_PATH_LENGTH_EXCEEDED: "certificate chain is longer than an authority allows",
    _CODES.ERR_INVALID_PURPOSE: "certificate is not meant for a TLS server",
    _CODES.ERR_CERT_UNTRUSTED: "certificate is not trusted",
    _CODES.ERR_CERT_REJECTED: "certificate is rejected",
    _CODES.ERR_UNHANDLED_CRITICAL_EXTENSION: "certificate has an unknown critical extension",
    _CODES.ERR_PERMITTED_VIOLATION: "name is outside what the authority may certify",
    _CODES.ERR_EXCLUDED_VIOLATION: "name is outside what the authority may certify",
    66: "certificate's key is too weak",  # X509_V_ERR_EE_KEY_TOO_SMALL
    67: "an authority's key is too weak",  # X509_V_ERR_CA_KEY_TOO_SMALL
    68: "a signature in the chain is too weak",  # X509_V_ERR_CA_MD_TOO_WEAK
}


def chain_error(code: int) -> str:
    """Say what OpenSSL's verification error ``code`` means."""
    return _CHAIN_ERRORS.get(code, f"certificate verification error {code}")


def chain_result(code: int) -> Result:
    """Return the word that TLS reports have for OpenSSL's verification error ``code``."""
    expired = code in (_CODES.ERR_CERT_HAS_EXPIRED, _CODES.ERR_CERT_NOT_YET_VALID)
    return Result.EXPIRED if expired else Result.NOT_TRUSTED


def host_key(host: str) -> str:
    """Return ``host`` as it is compared: lower case, no final dot, no brackets."""
    return host.removeprefix("[").removesuffix("]").rstrip(".").lower()


def is_address(host: str) -> bool:
    """Whether ``host`` is an IP address and not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def mismatch(certificate: x509.Certificate, host: str) -> str:
    """Say why ``certificate`` does not speak for ``host``; ``""`` when it does.

    ``host`` is as ``host_key`` gives it.  Never raises: a certificate that can't be
    read does not speak for anybody.
    """
    check = verify_certificate_ip_address if is_address(host) else verify_certificate_hostname
    try:
        check(certificate, host)
    except service_identity.VerificationError:
        return printable(f"certificate is for {_shown(certificate)}, not for {host}")
    except service_identity.CertificateError as error:
        return printable(f"certificate names no host ({error})")
    except Exception as error:  # whatever a hostile certificate makes a parser say
        return printable(f"certificate's names are unreadable ({error})")
    return ""


def names(certificate: x509.Certificate) -> list[str]:
    """Return the host names in subjectAltName, in lower case; raises what parsing raises."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [name.lower() for name in extension.value.get_values_for_type(x509.DNSName)]


def _shown(certificate: x509.Certificate) -> str:
    found = names(certificate)
    shown = ", ".join(found[:_SHOWN])
    if not found:
        return "no host name"
    return shown if len(found) <= _SHOWN else f"{shown} and {len(found) - _SHOWN} more"
