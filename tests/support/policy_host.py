"""A policy host of MTA-STS on loopback: the standard library's HTTPS server, in a thread."""

import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PATH = "/.well-known/mta-sts.txt"
POLICY = b"version: STSv1\r\nmode: enforce\r\nmx: mx.there.test\r\nmax_age: 604800\r\n"


class PolicyHost:
    """Answers with ``status``, ``headers`` and ``body``, which may change at any time."""

    def __init__(
        self, certificate: Path, key: Path, *, address: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.status = 200
        self.headers = {"Content-Type": "text/plain; charset=utf-8"}
        self.body = POLICY
        self.bodies: dict[str, bytes] = {}  # by host, instead
        self.asked: list[tuple[str, str]] = []  # host and path
        self.before: Callable[[], object] = lambda: None  # is called before each answer
        self.let_go = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 20

            def do_GET(self) -> None:
                outer.asked.append((self.headers["Host"], self.path))
                outer.before()
                body = outer.bodies.get(self.headers["Host"], outer.body)
                self.send_response(outer.status)
                for name, value in {"Content-Length": str(len(body)), **outer.headers}.items():
                    if value:
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server = ThreadingHTTPServer((address, port), Handler)
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stall(self) -> None:
        """Say nothing until it is over."""
        self.before = lambda: self.let_go.wait(20)

    def close(self) -> None:
        self.let_go.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
