"""TLS going out: what is recorded, what is refused, what is resumed."""

import datetime

import pytest
from OpenSSL import SSL
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.test.iosim import connectedServerAndClient

from mta.mail.outcome import Tls, TlsLevel
from mta.mail.security import ANYTHING, Level, Requirement
from mta.security.judgement import judge
from mta.tls.certificates import CertificateFiles, CertificateUnusable, ServerCertificates
from mta.tls.level import ClientTls, describe
from mta.tls.reasons import VerificationFailed, is_tls_failure, tls_reason

VERIFY = Requirement(Level.VERIFY)


def result(creator, transport, requirement=ANYTHING):
    """Return what is recorded of a handshake."""
    return judge(requirement, creator.shown(transport))[0]


NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


@pytest.fixture
def server(write):
    """Return a function: the server's side of a connection, showing a certificate."""

    def _server(issued, *chain):
        certificates = ServerCertificates([CertificateFiles(*write(issued, *chain))])

        def side():
            connection = certificates.options().serverConnectionForTLS(None)
            connection.set_accept_state()
            return connection

        return side

    return _server


@pytest.fixture
def dial(handshake):
    """Return a function that shakes hands and returns result and client connection."""

    def _dial(tls, host, side, *, mandatory=False, requirement=None):
        requirement = requirement or (VERIFY if mandatory else ANYTHING)
        creator = tls.creator(host, requirement)
        client = creator.clientConnectionForTLS(None)
        client.set_connect_state()
        handshake(client, side)
        return result(creator, client, requirement), client

    return _dial


@pytest.mark.parametrize("mandatory", [False, True])
@pytest.mark.parametrize(
    ("names", "host"),
    [
        (["mx.example"], "mx.example"),
        (["mx.example"], "MX.Example."),
        (["*.example.org"], "mx.example.org"),
        (["xn--bcher-kva.example"], "xn--bcher-kva.example"),
        (["mx_1.example"], "mx_1.example"),
        (["192.0.2.1"], "192.0.2.1"),
        (["192.0.2.1"], "[192.0.2.1]"),
        (["2001:db8::1"], "2001:db8:0::1"),
    ],
)
def test_verified(make, authority, server, dial, names, host, mandatory):
    """Chain and name or address right: VERIFIED, both ways."""
    tls = ClientTls([authority.pem])
    found, _ = dial(tls, host, server(make(*names, by=authority))(), mandatory=mandatory)
    assert found.level is TlsLevel.VERIFIED
    assert (found.version, found.why) == ("TLSv1.3", "")
    assert found.cipher.startswith("TLS_")


@pytest.fixture
def wrong(make, authority, server):
    """Return a function: a server whose certificate is wrong in a named way, and the words."""

    def _wrong(fault):
        stranger = make("Stranger", authority=True)
        middle = make("Middle", by=authority, authority=True)
        host = make("evil.example", by=authority)
        table = {
            "wrong name": (
                [make("other.example", by=authority)],
                "certificate is for other.example, not for mx.example",
            ),
            "many names": (
                [make("a.b", "c.d", "e.f", "g.h", by=authority)],
                "certificate is for a.b, c.d, e.f and 1 more, not for mx.example",
            ),
            "wildcard too deep": (
                [make("*.a.mx.example", by=authority)],
                "certificate is for *.a.mx.example, not for mx.example",
            ),
            "expired": (
                [make("mx.example", by=authority, begin=NOW - 9 * DAY, end=NOW - DAY)],
                "certificate has expired",
            ),
            "not yet valid": (
                [make("mx.example", by=authority, begin=NOW + DAY)],
                "certificate is not yet valid",
            ),
            "unknown authority": (
                [make("mx.example", by=stranger)],
                "unknown certificate authority",
            ),
            "unknown authority, sent along": (
                [make("mx.example", by=stranger), stranger],
                "self-signed certificate in the chain",
            ),
            "self-signed": ([make("mx.example")], "self-signed certificate"),
            "not an authority": (
                [make("mx.example", by=host), host],
                "an issuer is not a certificate authority",
            ),
            "missing intermediate": (
                [make("mx.example", by=middle)],
                "unknown certificate authority",
            ),
            "no names": ([make(by=authority)], "certificate names no host"),
        }
        chain, words = table[fault]
        return server(*chain)(), words

    return _wrong


FAULTS = [
    "wrong name",
    "many names",
    "wildcard too deep",
    "expired",
    "not yet valid",
    "unknown authority",
    "unknown authority, sent along",
    "self-signed",
    "not an authority",
    "missing intermediate",
    "no names",
]


@pytest.mark.parametrize("fault", FAULTS)
def test_opportunistic_completes_and_records_why(authority, wrong, dial, fault):
    """Whatever the certificate says, the handshake completes and the finding is kept."""
    side, words = wrong(fault)
    found, _ = dial(ClientTls([authority.pem]), "mx.example", side)
    assert found.level is TlsLevel.ENCRYPTED
    assert found.version == "TLSv1.3"
    assert words in found.why
    assert found.why


@pytest.mark.parametrize("fault", FAULTS)
def test_mandatory_refuses_and_says_why(authority, wrong, dial, fault):
    """Where verification is required the handshake fails with the reason in words."""
    side, words = wrong(fault)
    with pytest.raises(SSL.Error) as caught:
        dial(ClientTls([authority.pem]), "mx.example", side, mandatory=True)
    assert isinstance(caught.value, VerificationFailed)
    assert is_tls_failure(caught.value)
    assert tls_reason(caught.value).startswith("certificate verify failed: ")
    assert words in tls_reason(caught.value)


def test_all_complaints_are_recorded(make, authority, server, dial):
    """An operator sees everything that is wrong at once, not one thing after the other."""
    side = server(make("other.example"))()
    found, _ = dial(ClientTls([authority.pem]), "mx.example", side)
    assert found.why == (
        "self-signed certificate; certificate is for other.example, not for mx.example"
    )


def test_attack_man_in_the_middle_with_a_valid_certificate_for_another_name(
    make, authority, server
):
    """Attack: an impostor with a certificate that the same authority issued for his own name.

    The client breaks off before it has sent its Finished, so the impostor gets no
    encrypted channel and not one octet of the session.
    """
    tls = ClientTls([authority.pem])
    client = tls.creator("mx.example", VERIFY).clientConnectionForTLS(None)
    client.set_connect_state()
    impostor = server(make("impostor.example", by=authority))()
    with pytest.raises(SSL.WantReadError):
        client.do_handshake()
    impostor.bio_write(client.bio_read(65536))
    with pytest.raises(SSL.WantReadError):
        impostor.do_handshake()
    client.bio_write(impostor.bio_read(65536))
    with pytest.raises(VerificationFailed, match=r"impostor\.example, not for mx\.example"):
        client.do_handshake()
    impostor.bio_write(client.bio_read(65536))
    with pytest.raises(SSL.Error):
        impostor.do_handshake()
    assert len(tls._way("", strict=True).sessions) == 0


def test_attack_line_breaks_in_a_certificate_do_not_reach_the_log(make, authority, server, dial):
    """Attack: a certificate name that would forge a line of the mail log."""
    side = server(make("a.example\n250 sent", by=authority))()
    found, _ = dial(ClientTls([authority.pem]), "mx.example", side)
    assert found.level is TlsLevel.ENCRYPTED
    assert found.why.isprintable()


def test_sni_is_sent_for_names_only(make, authority, server, dial):
    """RFC 6066 §3: the host name goes into SNI, an address does not."""
    for host, expected in (("MX.example.", b"mx.example"), ("192.0.2.1", None)):
        side = server(make("mx.example", "192.0.2.1", by=authority))()
        dial(ClientTls([authority.pem]), host, side)
        assert side.get_servername() == expected


def test_trust_from_a_file(make, authority, server, dial, tmp_path):
    """The authorities may come from a file of several PEM certificates."""
    path = tmp_path / "ca.pem"
    path.write_bytes(make("Other", authority=True).pem + authority.pem)
    found, _ = dial(ClientTls(path), "mx.example", server(make("mx.example", by=authority))())
    assert found.level is TlsLevel.VERIFIED


def test_trust_unusable(tmp_path):
    """A file without authorities is one clear line with its path, not silent distrust."""
    path = tmp_path / "ca.pem"
    with pytest.raises(CertificateUnusable, match=f"^{path}: No such file or directory$"):
        ClientTls(path)
    path.write_text("nothing")
    with pytest.raises(CertificateUnusable, match=f"^{path}: no usable PEM certificate in it$"):
        ClientTls(path)
    with pytest.raises(CertificateUnusable):
        ClientTls([])


def test_system_trust_knows_no_stranger(make, server, dial):
    """The system's authorities do not include the one that a test has just made."""
    side = server(make("mx.example"))()
    found, _ = dial(ClientTls("system"), "mx.example", side)
    assert found.why == "self-signed certificate"


def test_pinned_host_certificate(make, authority, server, dial):
    """A listed certificate is trusted as it is, even where it is no root."""
    leaf = make("mx.example", by=authority)
    found, _ = dial(ClientTls([leaf.pem]), "mx.example", server(leaf)(), mandatory=True)
    assert found.level is TlsLevel.VERIFIED


class Test_resumption:
    """A resumed session says what its full handshake found out, and nothing better."""

    @pytest.fixture
    def now(self):
        return [1000.0]

    def again(self, dial, tls, side, *, mandatory=False, host="mx.example"):
        found, client = dial(tls, host, side, mandatory=mandatory)
        resumed = not client.finding.seen
        client.shutdown()
        return found, resumed

    @pytest.mark.parametrize("mandatory", [False, True])
    @pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
    def test_verified_stays_verified(self, make, authority, server, dial, version, mandatory):
        """The second connection to a verified host is resumed and still verified."""
        tls = ClientTls([authority.pem])
        for way in (tls._way("", strict=False), tls._way("", strict=True)):
            way.context.set_max_proto_version(version)
        side = server(make("mx.example", by=authority))
        first = self.again(dial, tls, side(), mandatory=mandatory)
        second = self.again(dial, tls, side(), mandatory=mandatory)
        third = self.again(dial, tls, side(), mandatory=mandatory)
        assert [first[1], second[1], third[1]] == [False, True, True]
        assert {first[0].level, second[0].level, third[0].level} == {TlsLevel.VERIFIED}

    def test_unverified_stays_unverified(self, make, authority, server, dial):
        """A session begun with an unknown certificate does not become better by resuming."""
        tls = ClientTls([authority.pem])
        side = server(make("mx.example"))
        first, second = (self.again(dial, tls, side()) for _ in range(2))
        assert second[1]
        assert second[0].level is TlsLevel.ENCRYPTED
        assert second[0].why == first[0].why == "self-signed certificate"

    def test_attack_an_opportunistic_session_does_not_open_a_mandatory_connection(
        self, make, authority, server, dial
    ):
        """Attack: an impostor tolerated once tries to be resumed where proof is required."""
        tls = ClientTls([authority.pem])
        side = server(make("mx.example"))
        self.again(dial, tls, side())
        with pytest.raises(VerificationFailed):
            self.again(dial, tls, side(), mandatory=True)

    def test_attack_a_new_certificate_is_looked_at(self, make, authority, server, dial):
        """Attack: an impostor who does not know the session is found out by his certificate."""
        tls = ClientTls([authority.pem])
        self.again(dial, tls, server(make("mx.example", by=authority))())
        found, resumed = self.again(dial, tls, server(make("mx.example"))())
        assert not resumed
        assert found.why == "self-signed certificate"

    def test_other_hosts_do_not_share(self, make, authority, server, dial):
        """A session belongs to the name that was verified, not to the server."""
        tls = ClientTls([authority.pem])
        side = server(make("mx.example", by=authority))
        self.again(dial, tls, side())
        found, resumed = self.again(dial, tls, side(), host="mx2.example")
        assert not resumed
        assert found.level is TlsLevel.ENCRYPTED

    def test_a_finding_is_believed_for_an_hour(self, make, authority, server, dial, now):
        """Resuming does not prolong the belief in the certificate seen at first."""
        tls = ClientTls([authority.pem], clock=lambda: now[0])
        side = server(make("mx.example", by=authority))
        seen = []
        for now[0] in (0.0, 1800.0, 3599.0, 3601.0):
            seen.append(self.again(dial, tls, side())[1])
        assert seen == [False, True, True, False]

    def test_bounded(self, make, authority, server, dial):
        """However many hosts there are, the number of sessions kept is bounded."""
        tls = ClientTls([authority.pem])
        side = server(make("mx.example", by=authority))
        for number in range(140):
            self.again(dial, tls, side(), host=f"mx{number}.example")
        assert len(tls._way("", strict=False).sessions) == 128

    def test_a_broken_handshake_leaves_no_session(self, make, authority, server, dial):
        """Nothing is kept of a handshake that did not complete."""
        tls = ClientTls([authority.pem])
        client = tls.creator("mx.example").clientConnectionForTLS(None)
        client.set_connect_state()
        with pytest.raises(SSL.WantReadError):
            client.do_handshake()
        with pytest.raises(SSL.Error):
            client.shutdown()
        assert len(tls._way("", strict=False).sessions) == 0


class Recorder(Protocol):
    """Keeps what it hears."""

    def __init__(self):
        self.heard = b""
        self.reason = None

    def dataReceived(self, data):
        self.heard += data

    def connectionLost(self, reason):
        self.reason = reason


def over_twisted(creator, options):
    """Connect a client and a server through Twisted's TLS; return protocols and pump."""
    protocols = []

    def side(options, is_client):
        protocol = Recorder()
        protocols.append(protocol)
        factory = TLSMemoryBIOFactory(options, is_client, Factory.forProtocol(lambda: protocol))
        return lambda: factory.buildProtocol(None)

    _, _, pump = connectedServerAndClient(side(options, False), side(creator, True))
    pump.flush()
    server, client = protocols
    return client, server, pump


def test_twisted_transports(make, authority, write):
    """Result and description are read off the transport that Twisted gives a protocol."""
    issued = make("mx.example", by=authority)
    certificates = ServerCertificates([CertificateFiles(*write(issued))])
    creator = ClientTls([authority.pem]).creator("mx.example", VERIFY)
    client, server, _ = over_twisted(creator, certificates.options())
    expected = Tls(TlsLevel.VERIFIED, "TLSv1.3", "TLS_AES_256_GCM_SHA384", required="verify")
    assert result(creator, client.transport, VERIFY) == expected
    assert describe(server.transport) == "TLSv1.3 TLS_AES_256_GCM_SHA384"
    assert describe(client.transport) == "TLSv1.3 TLS_AES_256_GCM_SHA384"


def test_twisted_hands_over_the_reason(make, authority, write):
    """A refused handshake reaches ``connectionLost`` as a TLS failure with its reason."""
    certificates = ServerCertificates(
        [CertificateFiles(*write(make("other.example", by=authority)))]
    )
    creator = ClientTls([authority.pem]).creator("mx.example", VERIFY)
    client, server, _ = over_twisted(creator, certificates.options())
    assert is_tls_failure(client.reason)
    assert tls_reason(client.reason) == (
        "certificate verify failed: certificate is for other.example, not for mx.example"
    )
    assert server.heard == b""


def test_twisted_close_leaves_a_session(make, authority, write):
    """Closing a connection in order is enough for the next one to be resumed."""
    issued = make("mx.example", by=authority)
    certificates = ServerCertificates([CertificateFiles(*write(issued))])
    tls = ClientTls([authority.pem])
    for resumed in (False, True):
        creator = tls.creator("mx.example")
        client, _, pump = over_twisted(creator, certificates.options())
        assert result(creator, client.transport).level is TlsLevel.VERIFIED
        assert (not client.transport.getHandle().finding.seen) is resumed
        client.transport.loseConnection()
        pump.flush()


def test_in_the_clear():
    """Without TLS there is nothing to describe."""
    assert describe(StringTransport()) == ""
    assert ClientTls("system").creator("a.example").shown(StringTransport()) is None


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        (b"220 mx.example ESMTP\r\n", "the peer does not speak TLS here"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "no TLS version in common (at least TLS 1.2 is needed)"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "the peer refused the handshake: handshake failure"),
    ],
)
def test_reasons_of_failed_handshakes(heard, expected):
    """The usual failures are told in words, not in OpenSSL's."""
    client = ClientTls("system").creator("a.example").clientConnectionForTLS(None)
    client.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        client.do_handshake()
    client.bio_write(heard)
    with pytest.raises(SSL.Error) as caught:
        client.do_handshake()
    assert tls_reason(caught.value) == expected


def test_reasons_of_other_errors():
    """Any exception becomes one printable line of bounded length."""
    assert not is_tls_failure(ValueError("x"))
    assert not is_tls_failure(None)
    assert tls_reason(ValueError("a\r\nb")) == "a??b"
    assert tls_reason(SSL.Error([])) == "Error"
    assert tls_reason(SSL.SysCallError(-1, "Unexpected EOF")) == (
        "the peer closed the connection during the TLS handshake"
    )
    assert len(tls_reason(ValueError("x" * 5000))) == 300
