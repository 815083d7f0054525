"""Who collects reports on TLS: an HTTPS server, and dkimpy's word on what came by mail."""

import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dkim
from dane_cases import issue
from relay_process import Relay


class Collector:
    """An HTTPS server of the standard library; ``posted`` is what it got: path, type, octets."""

    def __init__(self, directory: Path, host: str = "reports.test") -> None:
        self.posted: list[tuple[str, str, bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 20

            def do_POST(self) -> None:
                octets = self.rfile.read(int(self.headers["Content-Length"]))
                outer.posted.append((self.path, self.headers["Content-Type"], octets))
                self.send_response(201)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        issued = issue(host)
        file = directory / "https.pem"
        file.write_bytes(issued.key_pem + issued.pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = int(self._server.server_port)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def signed_by(relay: Relay, domain: str, octets: bytes) -> bool:
    """What dkimpy says of the first signature, with the record that ``relay`` would publish."""
    lines = relay.mta("dkim", "dns", domain).stdout.splitlines()
    known = {
        name: "".join(rest.split('"')[1::2]).encode()
        for name, found, rest in (line.partition(". IN TXT ( ") for line in lines)
        if found
    }
    octets = octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    message = dkim.DKIM(octets, tlsrpt=True)
    return bool(message.verify(dnsfunc=lambda name, timeout=5: known[name.decode().rstrip(".")]))
