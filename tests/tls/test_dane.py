"""TLSA records against what servers show: each usage, selector and matching type, good and bad."""

import datetime
import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mta.mail.outcome import TlsLevel
from mta.mail.security import Level, Requirement, Result, Tlsa
from mta.security.judgement import judge
from mta.tls.certificates import CertificateFiles, ServerCertificates
from mta.tls.dane import flaw
from mta.tls.level import ClientTls
from mta.tls.spki import public_key_info

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
NAMES = ("mx.example.org", "example.org")
DIGEST = {0: bytes, 1: lambda data: hashlib.sha256(data).digest()}
DIGEST[2] = lambda data: hashlib.sha512(data).digest()
SELECTORS = [0, 1]
MATCHINGS = [0, 1, 2]


def record(issued, usage, selector=1, matching=1):
    """Return the TLSA record of a certificate."""
    certificate = issued.certificate
    data = certificate.public_bytes(Encoding.DER)
    if selector:
        data = certificate.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
    return Tlsa(usage, selector, matching, DIGEST[matching](data))


def held(chain, *records, names=NAMES):
    """Hold what is shown against records."""
    return flaw([one.certificate for one in chain], records, names)


@pytest.fixture(scope="module")
def tree(make):
    """Return a root, an intermediate below it, and a server's certificate below that."""
    root = make("Root", authority=True)
    middle = make("Middle", by=root, authority=True)
    return root, middle, make("mx.example.org", by=middle)


@pytest.mark.parametrize("selector", SELECTORS)
@pytest.mark.parametrize("matching", MATCHINGS)
class Test_kinds:
    """Selector and matching type of both usages."""

    def test_ee(self, make, selector, matching):
        """RFC 7672 §3.1.1: neither names nor dates nor issuers matter; another key does."""
        old = make("other.example", begin=NOW - 9 * DAY, end=NOW - DAY)
        assert held([old], record(old, 3, selector, matching)) is None
        other = record(make("mx.example.org"), 3, selector, matching)
        assert held([old], other).result is Result.VALIDATION_FAILURE

    @pytest.mark.parametrize("anchor", [0, 1])
    def test_ta_shown(self, tree, selector, matching, anchor):
        """A root or an intermediate that the server shows; the root need not be trusted."""
        root, middle, leaf = tree
        anchored = record((root, middle)[anchor], 2, selector, matching)
        assert held([leaf, middle, root], anchored) is None

    def test_ta_of_another(self, make, tree, selector, matching):
        """Attack: an issuer of the same name with another key is another issuer."""
        root, middle, _ = tree
        impostor = make("Middle", authority=True)
        leaf = make("mx.example.org", by=impostor)
        for chain in ([leaf, middle, root], [leaf, impostor], [leaf]):
            assert held(chain, record(middle, 2, selector, matching)) is not None

    def test_ta_not_shown(self, tree, selector, matching):
        """An issuer that is in the record whole need not be shown; of a digest it must be."""
        root, middle, leaf = tree
        assert (held([leaf], record(middle, 2, selector, matching)) is None) == (matching == 0)
        whole = held([leaf, middle], record(root, 2, selector, matching))
        assert (whole is None) == (matching == 0)

    def test_the_servers_own_certificate_is_no_issuer(self, make, selector, matching):
        """A usage 2 record of a self-signed server's own certificate is not usage 3."""
        leaf = make("mx.example.org")
        assert held([leaf], record(leaf, 2, selector, matching)) is not None

    def test_over_the_wire(self, make, tree, handshake, write, selector, matching):
        """The whole handshake: reached, and what is missing, as delivery sees it."""
        root, middle, leaf = tree
        certificates = ServerCertificates([CertificateFiles(*write(leaf, middle, root))])
        stranger = make("mx.example.org")
        for good, bad in (
            (record(leaf, 3, selector, matching), record(stranger, 3, selector, matching)),
            (record(root, 2, selector, matching), record(stranger, 2, 0, 2)),
        ):
            for tlsa, level in ((good, TlsLevel.DANE), (bad, TlsLevel.ENCRYPTED)):
                requirement = Requirement(Level.DANE, names=NAMES, tlsa=(tlsa,))
                creator = ClientTls([stranger.pem]).creator("mx.example.org", requirement)
                client = creator.clientConnectionForTLS(None)
                client.set_connect_state()
                server = certificates.options().serverConnectionForTLS(None)
                server.set_accept_state()
                handshake(client, server)
                tls, missing = judge(requirement, creator.shown(client))
                assert (tls.level, missing is None) == (level, level is TlsLevel.DANE)


def test_names_of_a_chain(make, tree):
    """RFC 7672 §3.2.2: the host, or the domain; a wildcard may stand for one label."""
    _, middle, _ = tree
    anchored = record(middle, 2)
    for name in ("mx.example.org", "example.org", "*.example.org"):
        assert held([make(name, by=middle), middle], anchored) is None
    for name in ("mx.example.net", "*.org", "org", "a.mx.example.org"):
        found = held([make(name, by=middle), middle], anchored)
        assert found.result is Result.HOST_MISMATCH


def named(key, subject, issuer, by, *extensions):
    """Issue a certificate without the helper's extensions."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(by, hashes.SHA256())


def test_a_common_name_counts_without_others(make, tree):
    """RFC 7672 §3.2.2: old certificates have no other name."""
    _, middle, _ = tree
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = middle.certificate.subject
    other = x509.SubjectAlternativeName([x509.DNSName("else.example")])
    for extensions, good in (((), True), ((other,), False)):
        leaf = named(key, "MX.example.org", issuer, middle.key, *extensions)
        found = flaw([leaf, middle.certificate], [record(middle, 2)], NAMES)
        assert (found is None) is good


def test_not_for_servers(make, tree):
    """A certificate for clients alone proves no server; with usage 3 nobody asks."""
    _, middle, _ = tree
    key = ec.generate_private_key(ec.SECP256R1())
    alternative = x509.SubjectAlternativeName([x509.DNSName("mx.example.org")])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    leaf = named(key, "x", middle.certificate.subject, middle.key, alternative, usage)
    found = flaw([leaf, middle.certificate], [record(middle, 2)], NAMES)
    assert found.result is Result.NOT_TRUSTED
    digest = hashlib.sha256(public_key_info(leaf)).digest()
    assert flaw([leaf], [Tlsa(3, 1, 1, digest)], NAMES) is None


def test_dates_of_a_chain(make, tree):
    """With usage 2 the dates count, of the server's certificate and of those above."""
    root, middle, _ = tree
    for begin, end in ((NOW - 9 * DAY, NOW - DAY), (NOW + DAY, NOW + 9 * DAY)):
        leaf = make("mx.example.org", by=middle, begin=begin, end=end)
        assert held([leaf, middle], record(middle, 2)).result is Result.EXPIRED
        between = make("Between", by=root, authority=True, begin=begin, end=end)
        leaf = make("mx.example.org", by=between)
        assert held([leaf, between, root], record(root, 2)).result is Result.EXPIRED


def test_attack_an_issuer_that_is_no_authority(make, tree):
    """Attack: a server's certificate issues no others, though its own issuer is the one."""
    _, middle, leaf = tree
    forged = make("mx.example.org", by=leaf)
    assert held([forged, leaf, middle], record(middle, 2)) is not None
    assert held([forged, leaf, middle], record(leaf, 2)) is not None


def test_attack_an_issuer_shown_that_has_not_issued(make, tree):
    """Attack: to show the right issuer along with one's own certificate proves nothing."""
    root, middle, _ = tree
    mine = make("mx.example.org")
    for anchored in (record(root, 2), record(middle, 2, 0, 0), record(middle, 2, 1, 0)):
        assert held([mine, middle, root], anchored) is not None


def test_one_of_several(make, tree):
    """Roll-over: the record of the old key, of the new one, of the issuer: one suffices."""
    _, middle, leaf = tree
    other = record(make("x"), 3)
    assert held([leaf, middle], other, record(leaf, 3)) is None
    assert held([leaf, middle], other, record(middle, 2)) is None
    assert held([leaf, middle], record(make("y"), 2), other).result is Result.VALIDATION_FAILURE


def test_rubbish_is_no_exception(tree):
    """Whatever is in the records, the answer is a flaw."""
    _, middle, leaf = tree
    for bad in (Tlsa(2, 0, 0, b"x"), Tlsa(2, 1, 0, b""), Tlsa(3, 0, 1, b""), Tlsa(3, 1, 7, b"")):
        assert held([leaf, middle], bad) is not None


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
    ],
)
def test_the_key_is_taken_as_it_is(key):
    """Of short and of long certificates the same octets as the library encodes."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x" * 60)])
    alternative = x509.SubjectAlternativeName([x509.DNSName(f"{n}.example") for n in range(99)])
    for extensions in ((), (alternative,)):
        made = named(key, "x", name, key, *extensions)
        encoded = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        assert public_key_info(made) == encoded


def test_another_requirement_resumes_nothing(make, handshake, write):
    """Attack: a session begun under one set of records is not resumed under another."""
    leaf = make("mx.example.org")
    certificates = ServerCertificates([CertificateFiles(*write(leaf))])
    tls = ClientTls([leaf.pem])
    seen = []
    for tlsa in (record(leaf, 3), record(leaf, 3), record(leaf, 3, 0), record(make("x"), 3)):
        requirement = Requirement(Level.DANE, tlsa=(tlsa,))
        creator = tls.creator("mx.example.org", requirement)
        client = creator.clientConnectionForTLS(None)
        client.set_connect_state()
        server = certificates.options().serverConnectionForTLS(None)
        server.set_accept_state()
        handshake(client, server)
        vendor = judge(requirement, creator.shown(client))
        seen.append((vendor[0].level.value, client.get_session() is not None and reused(client)))
        client.shutdown()
    assert seen == [("dane", False), ("dane", True), ("dane", False), ("verified", False)]


def reused(connection):
    """Tell whether the session was resumed."""
    from OpenSSL import SSL

    return bool(vars(SSL)["_lib"].SSL_session_reused(connection._ssl))


def test_the_name_asked_for(make, handshake, write):
    """RFC 7672 §2.2.2: SNI is the TLSA base domain, where that is not the host's name."""
    certificates = ServerCertificates([CertificateFiles(*write(make("x.example")))])
    for sni, name in (("", b"mx.example.org"), ("real.example.org", b"real.example.org")):
        creator = ClientTls("system").creator("mx.example.org", Requirement(sni=sni))
        client = creator.clientConnectionForTLS(None)
        client.set_connect_state()
        server = certificates.options().serverConnectionForTLS(None)
        server.set_accept_state()
        handshake(client, server)
        assert server.get_servername() == name


def test_fingerprints(make, handshake, write):
    """The certificate's or its key's; another certificate is not let through."""
    leaf = make("x.example")
    certificates = ServerCertificates([CertificateFiles(*write(leaf))])
    der = leaf.certificate.public_bytes(Encoding.DER)
    for data, good in ((der, True), (public_key_info(leaf.certificate), True), (b"x", False)):
        known = frozenset({hashlib.sha256(data).hexdigest()})
        requirement = Requirement(Level.FINGERPRINT, fingerprints=known)
        creator = ClientTls("system").creator("mx.example.org", requirement)
        client = creator.clientConnectionForTLS(None)
        client.set_connect_state()
        server = certificates.options().serverConnectionForTLS(None)
        server.set_accept_state()
        handshake(client, server)
        tls, missing = judge(requirement, creator.shown(client))
        assert (tls.level is TlsLevel.FINGERPRINT) is (missing is None) is good


def test_many_keys_and_a_long_chain(tree):
    """Attack: fifty keys and twenty certificates, of which a thousand issuers could be made up."""
    root, middle, leaf = tree
    spki = public_key_info(root.certificate)
    others = [
        Tlsa(2, 1, 0, key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        for key in (ec.generate_private_key(ec.SECP256R1()).public_key() for _ in range(50))
    ]
    chain = [leaf, middle, *[root] * 18]
    assert held(chain, *others).text == "there are more records and certificates than are looked at"
    assert held(chain[:3], *others[:3], Tlsa(2, 1, 0, spki)) is None
