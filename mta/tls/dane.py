"""Does what a server has shown match a TLSA record?  (RFC 7671, RFC 7672 §3.)

*DANE-EE* (3): the server's own certificate, or its key, is the one; names, dates and issuers say
nothing (RFC 7672 §3.1.1).  *DANE-TA* (2): a certificate above it is the one; then chain and dates
are checked up to there, and the certificate must be for one of the names given (§3.1.2).  The
public authorities have no part in it.

The issuer is looked for in what the server has shown.  A record that holds the issuer whole
stands for it where the server does not show it; of one that holds a key whole, a certificate is
made up that has this key, for OpenSSL's verification to end at.

Trusts: the records; OpenSSL's verification of the chain.  Does not do: revocation.
Bounded: what is tried, as a peer chooses its records and what it shows.
"""

import datetime
from collections.abc import Iterator, Sequence
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256, SHA512, Hash
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL.crypto import X509, X509Store, X509StoreContext, X509StoreContextError, X509StoreFlags

from mta.mail.security import Flaw, Result, Tlsa
from mta.tls.identity import chain_error, chain_result, mismatch, names
from mta.tls.reasons import printable
from mta.tls.spki import public_key_info

_TA, _EE = 2, 3
_DIGESTS = {1: SHA256, 2: SHA512}
_LONGEST = 20  # certificates of a chain that are looked at
_MOST_ANCHORS = 30  # milliseconds each, and the peer and its DNS choose how many there are


def flaw(
    chain: Sequence[x509.Certificate], records: Sequence[Tlsa], wanted: Sequence[str]
) -> Flaw | None:
    """Return why no record speaks for the server; None if one does.

    ``chain`` is what the server has shown, its own certificate first; ``wanted`` are the names of
    which an issuer's certificate must have one.
    """
    try:
        return _flaw(chain[:_LONGEST], records, wanted)
    except Exception as error:  # whatever a hostile certificate makes a parser say
        text = printable(f"the certificate cannot be held against the TLSA records ({error})")
        return Flaw(Result.VALIDATION_FAILURE, text)


def _flaw(
    chain: Sequence[x509.Certificate], records: Sequence[Tlsa], wanted: Sequence[str]
) -> Flaw | None:
    if any(record.usage == _EE and _matches(record, chain[0]) for record in records):
        return None
    found: Flaw | None = None
    anchors = _anchors(chain, [record for record in records if record.usage == _TA])
    for number, anchor in enumerate(anchors):
        if number == _MOST_ANCHORS:
            text = "there are more records and certificates than are looked at"
            return Flaw(Result.VALIDATION_FAILURE, text)
        found = _chained(chain, anchor) or _named(chain[0], wanted)
        if found is None:
            return None
    if found is not None:
        return found
    shown = ", ".join(map(str, records[:3])) + ("..." if len(records) > 3 else "")
    text = f"the certificate matches none of the TLSA records ({shown})"
    return Flaw(Result.VALIDATION_FAILURE, text)


def _matches(record: Tlsa, certificate: x509.Certificate) -> bool:
    """RFC 6698 §2.1.2, §2.1.3."""
    whole = record.selector == 0
    selected = certificate.public_bytes(Encoding.DER) if whole else public_key_info(certificate)
    if record.matching:
        digest = Hash(_DIGESTS[record.matching]())
        digest.update(selected)
        selected = digest.finalize()
    return selected == record.data


def _anchors(
    chain: Sequence[x509.Certificate], records: Sequence[Tlsa]
) -> Iterator[x509.Certificate]:
    """Yield the certificates that the records make trust anchors."""
    for issuer in chain[1:]:
        if any(_matches(record, issuer) for record in records):
            yield issuer
    for record in records:
        if record.matching:
            continue
        if record.selector == 0:
            yield x509.load_der_x509_certificate(record.data)
        else:
            for certificate in chain:
                yield _made_up(record.data, certificate)


def _made_up(key: bytes, issued: x509.Certificate) -> x509.Certificate:
    """Return a certificate for a bare key, with the name of who has issued ``issued``.

    Its own signature is nobody's: that of a trust anchor is not looked at.
    """
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(issued.issuer)
        .issuer_name(issued.issuer)
        .public_key(load_der_public_key(key))  # type: ignore[arg-type]  # any kind of key
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=2))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .sign(_nobody(), SHA256())
    )


@cache
def _nobody() -> EllipticCurvePrivateKey:
    return generate_private_key(SECP256R1())


def _chained(chain: Sequence[x509.Certificate], anchor: x509.Certificate) -> Flaw | None:
    """Return why the chain does not lead to ``anchor``, whose own issuer does not matter."""
    store = X509Store()
    store.add_cert(X509.from_cryptography(anchor))
    store.set_flags(X509StoreFlags.PARTIAL_CHAIN)
    shown = [X509.from_cryptography(certificate) for certificate in chain]
    try:
        verified = X509StoreContext(store, shown[0], shown[1:]).get_verified_chain()
    except X509StoreContextError as error:
        code = int(error.errors[0])
        return Flaw(chain_result(code), chain_error(code))
    if len(verified) < 2:
        return Flaw(Result.VALIDATION_FAILURE, "the record is for an issuer, not for the server")
    if not _for_servers(chain[0]):
        return Flaw(Result.NOT_TRUSTED, "certificate is not meant for a TLS server")
    return None


def _for_servers(leaf: x509.Certificate) -> bool:
    try:
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return bool(
        {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(usage)
    )


def _named(leaf: x509.Certificate, wanted: Sequence[str]) -> Flaw | None:
    """RFC 7672 §3.2.2; a common name counts if there is no other."""
    wrong = [mismatch(leaf, name) for name in wanted]
    if not all(wrong):
        return None
    if not names(leaf):
        common = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        if any(str(one.value).lower() in wanted for one in common):
            return None
    return Flaw(Result.HOST_MISMATCH, wrong[0] if wrong else "no name is known for the host")
