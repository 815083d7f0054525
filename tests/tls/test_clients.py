"""What clients show us, and channel bindings: both ends of one connection agree."""

import datetime
from typing import Any

import pytest
from OpenSSL import SSL
from OpenSSL.crypto import X509

from mta.tls.certificates import (
    CertificateFiles,
    CertificateUnusable,
    Clients,
    ServerCertificates,
)
from mta.tls.clients import ClientCertificates, client_certificate, describe, written
from mta.tls.connections import channel_binding

REQUESTED, REQUIRED = ClientCertificates.REQUESTED, ClientCertificates.REQUIRED
BOTH = frozenset({REQUESTED, REQUIRED})
DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.now(datetime.UTC)


def reused(connection: Any) -> bool:
    """Whether the session was resumed."""
    return bool(vars(SSL)["_lib"].SSL_session_reused(connection._ssl))


def again(before: Any) -> Any:
    """The same client once more, with the session that it has kept."""
    before.shutdown()  # or OpenSSL takes the session for a bad one
    connection = SSL.Connection(before.get_context(), None)
    connection.set_session(before.get_session())
    connection.set_connect_state()
    return connection


def client(issued: Any = None, version: int = SSL.TLS1_3_VERSION) -> Any:
    """A client that verifies nothing, with a certificate or without."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(version)
    context.set_max_proto_version(version)
    if issued is not None:
        context.use_certificate(X509.from_cryptography(issued.certificate))
        context.use_privatekey(issued.key)
    connection = SSL.Connection(context, None)
    connection.set_connect_state()
    return connection


@pytest.fixture
def shown(make, write, authority, handshake, tmp_path):
    """Return a function: what a listener of a mode sees of a client's certificate."""
    place = tmp_path / "authority.pem"
    place.write_bytes(authority.pem)
    files = [CertificateFiles(*write(make("relay.example"))), CertificateFiles(*write(make("b.x")))]
    served = ServerCertificates(files, clients=Clients(BOTH, place))

    def _shown(mode, issued=None, version=SSL.TLS1_3_VERSION, sni=None):
        server = served.options(lambda: mode).serverConnectionForTLS(None)
        server.set_accept_state()
        other = client(issued, version)
        if sni:
            other.set_tlsext_host_name(sni)
        handshake(other, server)
        return client_certificate(server)

    return _shown


VERSIONS = pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])


@VERSIONS
@pytest.mark.parametrize("mode", [REQUESTED, REQUIRED])
@pytest.mark.parametrize("sni", [None, b"b.x"])
def test_verified(shown, make, authority, version, mode, sni):
    """A certificate of a client authority is known by all its marks, whatever SNI chooses."""
    issued = make("App7.example", by=authority)
    found = shown(mode, issued, version, sni)
    assert found.trouble == ""
    assert found.marks == [
        ("fingerprint", describe(issued.certificate).fingerprint),
        ("name", "dns:app7.example"),
        ("subject", "CN=App7.example"),
    ]


@VERSIONS
def test_attack_certificates_that_do_not_verify(shown, make, authority, version):
    """Attack: self-made, of another authority, or expired; none has a name, one no mark at all."""
    impostor, stranger = (make(n, authority=True) for n in ("Test Authority", "Other Authority"))
    expired = make("app7.example", by=authority, begin=NOW - 9 * DAY, end=NOW - DAY)
    for issued, pinnable in (
        (make("app7.example"), True),
        (make("app7.example", by=stranger), True),
        (make("app7.example", by=impostor), False),
        (expired, False),
    ):
        found = shown(REQUESTED, issued, version)
        assert found.trouble
        kinds = {kind for kind, _ in found.marks}
        assert kinds == ({"fingerprint"} if pinnable else set())
        with pytest.raises(SSL.Error):
            shown(REQUIRED, issued, version)


@VERSIONS
def test_without(shown, version):
    """Who shows none: let in where it is requested, not where it is required."""
    assert shown(REQUESTED, None, version) is None
    assert shown(ClientCertificates.NONE, None, version) is None
    with pytest.raises(SSL.Error):
        shown(REQUIRED, None, version)


def test_not_asked_for(shown, make, authority):
    """A listener that does not ask sees no certificate."""
    assert shown(ClientCertificates.NONE, make("app7.example", by=authority)) is None


@VERSIONS
def test_attack_resumption_past_verification(make, write, authority, handshake, tmp_path, version):
    """Attack: a session kept from before.  Every connection shows its certificate anew."""
    place = tmp_path / "authority.pem"
    place.write_bytes(authority.pem)
    files = [CertificateFiles(*write(make("relay.example")))]
    served = ServerCertificates(files, clients=Clients(BOTH, place))
    one = client(make("app7.example", by=authority), version)
    for _ in range(2):
        server = served.options(lambda: REQUESTED).serverConnectionForTLS(None)
        server.set_accept_state()
        handshake(one, server)
        assert not reused(server)
        assert client_certificate(server).trouble == ""
        if one.get_session() is None:
            return
        one = again(one)


def test_reload(make, write, authority, handshake, tmp_path):
    """Other authorities come into force with a reload, and unreadable ones leave the old."""
    place = tmp_path / "authority.pem"
    place.write_bytes(authority.pem)
    files = [CertificateFiles(*write(make("relay.example")))]
    served = ServerCertificates(files)
    issued = make("app7.example", by=authority)

    def trouble():
        server = served.options(lambda: REQUESTED).serverConnectionForTLS(None)
        server.set_accept_state()
        handshake(client(issued), server)
        return client_certificate(server).trouble

    served.reload(files, Clients(BOTH, place))
    assert trouble() == ""
    with pytest.raises(CertificateUnusable):
        served.reload(files, Clients(BOTH, tmp_path / "absent.pem"))
    assert trouble() == ""
    served.reload(files, Clients())  # a session that began before may still ask
    assert trouble() != ""


def test_written():
    """Domains are compared in lower case, the rest as it is."""
    assert written("dns", "A.Example") == "dns:a.example"
    assert written("email", "Ann@A.Example") == "email:Ann@a.example"
    assert written("uri", "spiffe://A/b") == "uri:spiffe://A/b"


def server_of(make, write):
    certificates = ServerCertificates([CertificateFiles(*write(make("relay.example")))])

    def connection():
        server = certificates.options().serverConnectionForTLS(None)
        server.set_accept_state()
        return server

    return connection


def test_tls_exporter(make, write, handshake):
    """RFC 9266: both ends of a TLS 1.3 connection have the same 32 octets, another has others."""
    connection, seen = server_of(make, write), set()
    for _ in range(2):
        server, other = connection(), client()
        handshake(other, server)
        binding = channel_binding(server)
        assert binding.type == "tls-exporter"
        assert len(binding.data()) == 32
        assert binding.data() == other.export_keying_material(b"EXPORTER-Channel-Binding", 32)
        seen.add(binding.data())
    assert len(seen) == 2


def test_tls_unique(make, write, handshake):
    """RFC 5929 §3: the first Finished message, which in a resumed session is the server's."""
    connection, other = server_of(make, write), client(None, SSL.TLS1_2_VERSION)
    for resumed in (False, True):
        server = connection()
        handshake(other, server)
        assert reused(server) is resumed
        binding = channel_binding(server)
        assert binding.type == "tls-unique"
        mine, peers = other.get_finished(), other.get_peer_finished()
        assert binding.data() == (peers if resumed else mine)
        other = again(other)


def test_in_the_clear():
    """Without TLS there is neither."""
    assert channel_binding(object()) is None
    assert client_certificate(object()) is None
