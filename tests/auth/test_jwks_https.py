"""The key set over HTTPS, from a local server with real TLS."""

import json
import ssl
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, ClassVar

from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.trial.unittest import TestCase

from mta.auth import jwks
from mta.auth.jwks import KeysUnusable, from_https, parse
from mta.tls.certificates import self_signed
from mta.tls.level import ClientTls

KEY = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key(), as_dict=True)
SET = json.dumps({"keys": [{**KEY, "kid": "e"}]}).encode()


class Answers(BaseHTTPRequestHandler):
    """One path for each way that a server can be."""

    released: ClassVar[threading.Event] = threading.Event()

    def do_GET(self) -> None:
        status = {"/moved": 302, "/gone": 404}.get(self.path, 200)
        body = b"x" * (jwks.LARGEST + 1) if self.path == "/large" else SET
        if self.path == "/slow":
            self.released.wait(20)
        self.send_response(status)
        self.send_header("Location", "/keys")
        self.send_header("Content-Length", str(len(body) + 10 * (self.path == "/short")))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


class OverHttps(TestCase):
    """A server on a thread, the fetch on the real reactor."""

    timeout = 30

    def setUp(self) -> None:
        directory = Path(mkdtemp())
        self.certificate = directory / "certificate.pem"
        pem = self_signed("localhost", datetime.now(UTC))
        self.certificate.write_bytes(pem[0])
        (directory / "key.pem").write_bytes(pem[1])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, directory / "key.pem")
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]
        thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        thread.start()
        Answers.released.clear()
        self.addCleanup(thread.join)
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.addCleanup(Answers.released.set)

    def fetch(self, path: str, trust: Any = None, host: str = "localhost") -> Deferred[bytes]:
        url = f"https://{host}:{self.server.server_port}{path}"
        fetch = from_https(reactor, url, ClientTls(trust or self.certificate))
        return Deferred.fromCoroutine(fetch())

    @inlineCallbacks
    def test_keys(self) -> Any:
        """The server's keys, where its certificate verifies."""
        document = yield self.fetch("/keys")
        self.assertEqual(list(parse(document)), ["e"])

    @inlineCallbacks
    def test_attack_another_server(self) -> Any:
        """Attack: keys from a server whose certificate nobody vouches for, or for another name."""
        yield self.assertFailure(self.fetch("/keys", trust="system"), KeysUnusable)
        yield self.assertFailure(self.fetch("/keys", host="127.0.0.1"), KeysUnusable)

    @inlineCallbacks
    def test_what_is_no_answer(self) -> Any:
        """No redirects, no errors, nothing that is too large or cut short."""
        for path in ("/moved", "/gone", "/large", "/short"):
            yield self.assertFailure(self.fetch(path), KeysUnusable)

    @inlineCallbacks
    def test_attack_a_server_that_never_answers(self) -> Any:
        """Attack: log-ins held up by a server that says nothing."""
        self.patch(jwks, "TIMEOUT_S", 0.2)
        yield self.assertFailure(self.fetch("/slow"), KeysUnusable)
