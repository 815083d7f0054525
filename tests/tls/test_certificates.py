"""Our own certificates: which one a client gets, and what a bad file comes to."""

import contextlib
import datetime
import ssl

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)
from OpenSSL import SSL

from mta.tls.certificates import (
    CertificateFiles,
    CertificateUnusable,
    ServerCertificates,
    self_signed,
)
from mta.tls.level import ClientTls, describe

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


def plain_client(sni: bytes | None = None, maximum: int = SSL.TLS1_3_VERSION) -> SSL.Connection:
    """A client that verifies nothing, as the peer of a server under test."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_VERSION)
    context.set_max_proto_version(maximum)
    context.set_cipher_list(b"ALL:@SECLEVEL=0")
    connection = SSL.Connection(context, None)
    if sni is not None:
        connection.set_tlsext_host_name(sni)
    connection.set_connect_state()
    return connection


def incoming(certificates: ServerCertificates) -> SSL.Connection:
    connection = certificates.options().serverConnectionForTLS(None)
    connection.set_accept_state()
    return connection


@pytest.fixture
def shown(handshake):
    """Return a function: the certificate that a client asking for a name is shown."""

    def _shown(certificates, sni):
        client = plain_client(sni)
        handshake(client, incoming(certificates))
        return client.get_peer_certificate(as_cryptography=True)

    return _shown


@pytest.mark.parametrize(
    ("sni", "expected"),
    [
        (None, "first"),
        (b"a.example", "first"),
        (b"b.example", "second"),
        (b"B.Example.", "second"),
        (b"any.c.example", "wild"),
        (b"mail.c.example", "exact"),
        (b"c.example", "first"),
        (b"deep.any.c.example", "first"),
        (b"unknown.example", "first"),
    ],
)
def test_sni_chooses(make, write, shown, sni, expected):
    """A client gets the certificate for the name it asks for, else the first one."""
    issued = {
        "first": make("a.example"),
        "second": make("x.example", "b.example"),
        "wild": make("*.c.example"),
        "exact": make("mail.c.example"),
    }
    certificates = ServerCertificates([CertificateFiles(*write(one)) for one in issued.values()])
    assert shown(certificates, sni) == issued[expected].certificate


def test_chain_is_sent(make, write, authority, handshake):
    """Intermediate certificates in the file reach the client."""
    middle = make("Middle", by=authority, authority=True)
    leaf = make("a.example", by=middle)
    certificates = ServerCertificates([CertificateFiles(*write(leaf, middle))])
    client = plain_client()
    handshake(client, incoming(certificates))
    chain = client.get_peer_cert_chain(as_cryptography=True)
    assert chain == [leaf.certificate, middle.certificate]


def test_key_in_the_same_file(make, tmp_path, shown):
    """Certificate and key may share a file, as some authorities deliver them."""
    issued = make("a.example")
    path = tmp_path / "both.pem"
    path.write_bytes(issued.key_pem + issued.pem)
    path.chmod(0o600)
    assert shown(ServerCertificates([CertificateFiles(path, path)]), None) == issued.certificate


def test_reload_reaches_new_connections_through_the_same_options(make, write, handshake):
    """A reload needs no new listener: the object handed out before serves the new files."""
    old, new = make("a.example"), make("a.example")
    certificates = ServerCertificates([CertificateFiles(*write(old))])
    options = certificates.options()
    certificates.reload([CertificateFiles(*write(new))])
    server = options.serverConnectionForTLS(None)
    server.set_accept_state()
    client = plain_client()
    handshake(client, server)
    assert client.get_peer_certificate(as_cryptography=True) == new.certificate


def test_reload_with_a_bad_file_keeps_the_old(make, write, shown):
    """Reload is all or nothing: one bad file among good ones changes nothing."""
    old, new, other = make("a.example"), make("a.example"), make("b.example")
    certificates = ServerCertificates([CertificateFiles(*write(old))])
    good, bad = CertificateFiles(*write(new)), CertificateFiles(*write(other))
    bad.key.write_text("rubbish")
    with pytest.raises(CertificateUnusable, match=f"^{bad.key}: no usable PEM private key in it$"):
        certificates.reload([good, bad])
    assert shown(certificates, b"a.example") == old.certificate


@pytest.mark.parametrize(
    "break_it",
    ["missing certificate", "missing key", "rubbish certificate", "wrong key", "encrypted key"],
)
def test_unusable_files_are_named(make, write, break_it):
    """Each fault is one line that begins with the path of the file at fault."""
    pair = CertificateFiles(*write(make("a.example")))
    if break_it == "missing certificate":
        pair.certificate.unlink()
        expected = f"{pair.certificate}: No such file or directory"
    elif break_it == "missing key":
        pair.key.unlink()
        expected = f"{pair.key}: No such file or directory"
    elif break_it == "rubbish certificate":
        pair.certificate.write_text("rubbish")
        expected = f"{pair.certificate}: no usable PEM certificate in it"
    elif break_it == "wrong key":
        pair.key.write_bytes(make("b.example").key_pem)
        expected = f"{pair.key}: the key does not belong to the certificate in {pair.certificate}"
    else:
        pair.key.write_bytes(
            make("a.example").key.private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
            )
        )
        expected = f"{pair.key}: the key is encrypted, and a service can't ask for its pass phrase"
    with pytest.raises(CertificateUnusable) as caught:
        ServerCertificates([pair])
    assert str(caught.value) == expected


def test_no_certificate():
    """A TLS listener without a certificate is a mistake in the configuration."""
    with pytest.raises(CertificateUnusable):
        ServerCertificates([])


def test_warnings(make, write, shown):
    """What is doubtful is said but served: refusing would stop more mail than it saves."""
    expired = make("a.example", begin=NOW - 9 * DAY, end=NOW - 2 * DAY)
    early = make("b.example", begin=NOW + DAY, end=NOW + 2 * DAY)
    first, second = CertificateFiles(*write(expired)), CertificateFiles(*write(early))
    second.key.chmod(0o644)
    certificates = ServerCertificates([first, second])
    assert certificates.warnings == (
        f"{first.certificate}: expired on {NOW - 2 * DAY:%Y-%m-%d}",
        f"{second.certificate}: not valid before {NOW + DAY:%Y-%m-%d}",
        f"{second.key}: everybody can read this private key",
    )
    assert shown(certificates, None) == expired.certificate


def test_good_files_have_no_warnings(make, write):
    """Nothing is said where there is nothing to say."""
    assert ServerCertificates([CertificateFiles(*write(make("a.example")))]).warnings == ()


@pytest.mark.parametrize("version", [SSL.TLS1_VERSION, SSL.TLS1_1_VERSION])
def test_old_versions_refused(make, write, handshake, version):
    """Attack: a downgrade to TLS 1.0 or 1.1 (RFC 8996); the handshake does not happen."""
    certificates = ServerCertificates([CertificateFiles(*write(make("a.example")))])
    with pytest.raises(SSL.Error):
        handshake(plain_client(maximum=version), incoming(certificates))


def test_tls_1_2_accepted_and_minimum_1_3_refuses_it(make, write, handshake):
    """TLS 1.2 is the default minimum, 1.3 can be asked for."""
    pair = CertificateFiles(*write(make("a.example")))
    client = plain_client(maximum=SSL.TLS1_2_VERSION)
    server = incoming(ServerCertificates([pair]))
    handshake(client, server)
    assert describe(server).startswith("TLSv1.2 ECDHE-ECDSA-AES")
    strict = ServerCertificates([pair], minimum="TLSv1.3")
    with pytest.raises(SSL.Error):
        handshake(plain_client(maximum=SSL.TLS1_2_VERSION), incoming(strict))


@pytest.mark.parametrize("maximum", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
def test_tickets_resume(make, write, handshake, maximum):
    """A client that comes back resumes by its ticket, with several certificates too."""
    pairs = [CertificateFiles(*write(make(name))) for name in ("a.example", "b.example")]
    certificates = ServerCertificates(pairs)
    first = plain_client(b"b.example", maximum)
    handshake(first, incoming(certificates))
    again = SSL.Connection(first.get_context(), None)
    again.set_tlsext_host_name(b"b.example")
    again.set_session(first.get_session())
    again.set_connect_state()
    server = incoming(certificates)
    handshake(again, server)
    assert SSL._lib.SSL_session_reused(again._ssl) == 1


def test_self_signed_is_its_own_root(tmp_path, handshake):
    """The certificate of ``mta init`` verifies, strictly, for a client that trusts it."""
    certificate, key = self_signed("mail.example.org", NOW)
    pair = CertificateFiles(tmp_path / "c.pem", tmp_path / "k.pem")
    pair.certificate.write_bytes(certificate)
    pair.key.write_bytes(key)
    pair.key.chmod(0o600)
    server = incoming(ServerCertificates([pair]))

    context = ssl.create_default_context(cafile=str(pair.certificate))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(received, sent, server_hostname="mail.example.org")
    for _ in range(5):
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        if sent.pending:
            server.bio_write(sent.read())
        with contextlib.suppress(SSL.WantReadError):
            server.do_handshake()
        with contextlib.suppress(SSL.WantReadError):
            received.write(server.bio_read(65536))
    assert client.version() == "TLSv1.3"
    assert client.getpeercert()["subjectAltName"] == (("DNS", "mail.example.org"),)


def test_self_signed_long_name_and_address():
    """A name beyond X.520's 64 characters and an address both make usable certificates."""
    for name in ("x" * 60 + ".example.org", "192.0.2.7", "2001:db8::7"):
        certificate, _ = self_signed(name, NOW, days=1)
        assert ClientTls([certificate]) is not None
