"""A TLS connection that is fed by pieces reads what it would have read."""

import os
from datetime import UTC, datetime

import pytest
from OpenSSL import SSL

from mta.tls.certificates import CertificateFiles, ServerCertificates, self_signed
from mta.tls.frugal import PIECE, FrugalConnection

CONTENT = os.urandom(PIECE) * 7 + b"end"


class Pair:
    """A server's connection of ours and a client's, and the octets between them."""

    def __init__(self, directory):
        certificate, key = self_signed("relay.test", datetime.now(UTC))
        (directory / "certificate.pem").write_bytes(certificate)
        (directory / "key.pem").write_bytes(key)
        files = CertificateFiles(directory / "certificate.pem", directory / "key.pem")
        creator = ServerCertificates([files]).options()
        self.server = creator.serverConnectionForTLS(None)
        self.server.set_accept_state()
        self.client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
        self.client.set_connect_state()

    def to_server(self):
        """Take what the client has sent, all of it."""
        octets = b""
        while True:
            try:
                octets += self.client.bio_read(1 << 20)
            except SSL.WantReadError:
                return octets

    def begin(self):
        """Come as far as the client's last octets of the handshake, which are returned."""
        for one in (self.client, self.server):
            with pytest.raises(SSL.WantReadError):
                one.do_handshake()
            if one is self.client:
                self.server.bio_write(self.to_server())
        self.client.bio_write(self.server.bio_read(1 << 16))
        self.client.do_handshake()
        return self.to_server()

    def send(self, content):
        """Encrypt all of ``content``."""
        while content:
            content = content[self.client.send(content[: 1 << 14]) :]
        return self.to_server()


def read(connection):
    """All that can be read now, as Twisted reads."""
    found = b""
    while True:
        try:
            found += connection.recv(1 << 15)
        except SSL.WantReadError:
            return found


@pytest.fixture
def pair(tmp_path):
    return Pair(tmp_path)


def test_the_service_has_such_connections(pair):
    """What listeners get is what is tested here."""
    assert isinstance(pair.server, FrugalConnection)


@pytest.mark.parametrize("at_once", [1 << 20, 1 << 16, PIECE, PIECE + 1, 1000])
def test_all_is_read_however_it_comes(pair, at_once):
    """Pieces of the network's, larger and smaller than ours, give the same octets."""
    pair.server.bio_write(pair.begin())
    pair.server.do_handshake()
    octets, found = pair.send(CONTENT), b""
    for start in range(0, len(octets), at_once):
        pair.server.bio_write(octets[start : start + at_once])
        found += read(pair.server)
    assert found == CONTENT


def test_what_comes_right_behind_the_handshake_is_read(pair):
    """A client that sends its mail with the last octets of its handshake loses none of it."""
    last = pair.begin()
    pair.server.bio_write(last + pair.send(CONTENT))
    pair.server.do_handshake()
    assert read(pair.server) == CONTENT


def test_written_twice_before_it_is_read(pair):
    """What is written while a rest still waits comes behind that rest."""
    pair.server.bio_write(pair.begin())
    pair.server.do_handshake()
    pair.server.bio_write(pair.send(CONTENT))
    pair.server.bio_write(pair.send(b"more"))
    assert read(pair.server) == CONTENT + b"more"


def test_a_forged_record_is_no_end_of_the_loop(pair):
    """Octets that no key of the session has made end it, whatever waits behind them."""
    pair.server.bio_write(pair.begin())
    pair.server.do_handshake()
    pair.server.bio_write(b"\x17\x03\x03\x40\x00" + bytes(0x4000) + pair.send(CONTENT))
    with pytest.raises(SSL.Error):
        read(pair.server)
