"""Reports are posted to real HTTPS servers of the Internet, and never to hosts inside."""

import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from dane_cases import issue
from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from mta.dns.answers import DnsTemporary
from mta.tls.level import ClientTls
from mta.tlsrpt.posting import Posting, is_public
from mta.tlsrpt.ways import NotTaken


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1",
        "0.0.0.0", "224.0.0.1", "255.255.255.255", "192.0.2.1",
        "::1", "::", "fe80::1", "fd00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "2002:7f00:1::", "2002:a00:1::1", "64:ff9b::10.0.0.1", "2001:db8::1",
    ],
)  # fmt: skip
def test_addresses_inside(address: str) -> None:
    """Attack: a domain wants its reports posted to our metadata service, router, or ourselves."""
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["9.9.9.9", "2620:fe::fe", "::ffff:9.9.9.9", "64:ff9b::909:909"]
)
def test_addresses_of_the_internet(address: str) -> None:
    """Everybody else's server may be told."""
    assert is_public(address)


class Collector:
    """An HTTPS server that keeps what is posted; ``status`` is its answer."""

    def __init__(self, name: str = "reports.test") -> None:
        self.posted: list[tuple[str, str, bytes]] = []
        self.status = 201
        self.body = b"thanks"
        self.headers: dict[str, str] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 20

            def do_POST(self) -> None:
                octets = self.rfile.read(int(self.headers["Content-Length"]))
                outer.posted.append((self.path, self.headers["Content-Type"], octets))
                self.send_response(outer.status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body)

            do_GET = do_POST

            def log_message(self, *args: Any) -> None:
                pass

        directory, issued = Path(mkdtemp()), issue(name)
        (directory / "crt").write_bytes(issued.pem)
        (directory / "key").write_bytes(issued.key_pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(directory / "crt", directory / "key")
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.url = f"https://reports.test:{self._server.server_port}/v1/tlsrpt"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class ToAServer(TestCase):
    """The client against a real server on loopback."""

    timeout = 60

    def setUp(self) -> None:
        self.collector = Collector()
        self.addCleanup(self.collector.close)
        self.found: list[str] | Exception = ["127.0.0.1"]

    def posting(self, *, private: bool = True) -> Posting:
        async def addresses(host: str) -> list[str]:
            assert host == "reports.test"
            if isinstance(self.found, Exception):
                raise self.found
            return self.found

        return Posting(reactor, ClientTls([issue("ca", ca=True).pem]), addresses, private=private)

    async def refused(self, url: str, *, private: bool = True) -> str:
        with pytest.raises(NotTaken) as caught:
            await self.posting(private=private)(url, b"report")
        return str(caught.value)

    async def test_posted(self) -> None:
        """The octets arrive as they are, with their media type (RFC 8460 §5.4, §6.5).

        The certificate is nobody's (§3: that is no reason not to report).
        """
        assert await self.posting()(self.collector.url, b"\x1f\x8b report") == "HTTP status 201"
        assert self.collector.posted == [
            ("/v1/tlsrpt", "application/tlsrpt+gzip", b"\x1f\x8b report")
        ]

    async def test_refused(self) -> None:
        """Anything but a 2xx is a failure, to be tried again."""
        self.collector.status = 503
        assert await self.refused(self.collector.url) == "HTTP status 503"

    async def test_redirects_are_not_followed(self) -> None:
        """Attack: 307 to a place inside."""
        inside = Collector()
        self.addCleanup(inside.close)
        self.collector.status = 307
        self.collector.headers = {"Location": inside.url}
        assert await self.refused(self.collector.url) == "HTTP status 307"
        assert inside.posted == []

    async def test_an_endless_answer(self) -> None:
        """Attack: the answer's body is not even read."""
        self.collector.body = b"x" * 20_000_000
        assert await self.posting()(self.collector.url, b"report") == "HTTP status 201"

    async def test_hosts_inside_are_not_dialled(self) -> None:
        """Attack: the name leads to an address of ours, or is one; half of them is left out."""
        for found in (["127.0.0.1"], ["10.0.0.1", "::1", "::ffff:127.0.0.1"]):
            self.found = found
            text = await self.refused(self.collector.url, private=False)
            assert text.startswith("reports.test is not on the public Internet")
        port = self.collector.url.split(":")[2].split("/")[0]
        for host in ("127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"):
            text = await self.refused(f"https://{host}:{port}/", private=False)
            assert "is not on the public Internet" in text
        assert self.collector.posted == []

    async def test_no_server(self) -> None:
        """A host that cannot be found, or refuses the connection, is tried again."""
        self.found = DnsTemporary("SERVFAIL")
        assert await self.refused(self.collector.url) == "DNS: SERVFAIL"
        self.found = ["127.0.0.1"]
        self.collector.close()
        assert "connect" in (await self.refused(self.collector.url)).lower()
