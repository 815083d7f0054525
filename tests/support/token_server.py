"""A token endpoint on loopback: the standard library's HTTPS server, in a thread."""

import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs


class TokenServer:
    """Gives ``answers`` in turn, the last one for ever: a status and what goes out as JSON."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.answers: list[tuple[int, Any]] = []
        self.headers: dict[str, str] = {}
        self.asked: list[tuple[str, str, dict[str, list[str]]]] = []  # path, Authorization, form
        outer = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 20

            def do_POST(self) -> None:
                form = self.rfile.read(int(self.headers["Content-Length"])).decode()
                authorization = self.headers.get("Authorization", "")
                outer.asked.append((self.path, authorization, parse_qs(form)))
                status, said = outer.answer(outer.asked[-1][2])
                body = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.url = f"https://localhost:{self._server.server_port}/token"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def answer(self, form: dict[str, list[str]]) -> tuple[int, Any]:
        """Return status and what is said to ``form``."""
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
