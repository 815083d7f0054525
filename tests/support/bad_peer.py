"""A receiving host that does each of a list of wrongs in turn, one for each connection."""

import socket
import struct
import threading
from collections import Counter

WRONGS = (
    "reset at once",
    "closes before the greeting",
    "greets with 421",
    "greets with 554",
    "greets as another protocol",
    "greets without an end of line",
    "greeting of endless lines",
    "closes at EHLO",
    "closes at MAIL",
    "451 at MAIL",
    "450 at RCPT",
    "closes at DATA",
    "closes in the middle of the data",
    "closes at the final dot",
    "451 at the final dot",
    "answers twice",
    "binary rubbish",
    "never answers the dot",
)
_REFUSALS = {"451 at MAIL": b"MAIL", "450 at RCPT": b"RCPT"}


class BadPeer:
    """Listens on ``address``; ``done`` counts the wrongs that somebody met."""

    def __init__(self, address: str, port: int) -> None:
        self.done: Counter[str] = Counter()
        self._number = 0
        self._socket = socket.create_server((address, port), backlog=100)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no more; connections that hang end with the process."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            wrong = WRONGS[self._number % len(WRONGS)]
            self._number += 1
            threading.Thread(target=self._meet, args=(connection, wrong), daemon=True).start()

    def _meet(self, connection: socket.socket, wrong: str) -> None:
        self.done[wrong] += 1
        connection.settimeout(60)
        with connection:
            try:
                if self._greet(connection, wrong):
                    self._talk(connection, wrong)
            except OSError:
                return

    def _greet(self, peer: socket.socket, wrong: str) -> bool:
        """Send a greeting; tell whether the session goes on."""
        if wrong == "reset at once":
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        greeting = {
            "closes before the greeting": b"",
            "greets with 421": b"421 4.3.2 not now\r\n",
            "greets with 554": b"554 5.3.2 no SMTP service here\r\n",
            "greets as another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "greets without an end of line": b"2" * 100_000,
            "greeting of endless lines": b"220-more\r\n" * 20_000,
            "binary rubbish": bytes(range(256)) * 8,
        }.get(wrong)
        peer.sendall(b"220 bad.test ESMTP\r\n" if greeting is None else greeting)
        return greeting is None

    def _talk(self, peer: socket.socket, wrong: str) -> None:
        lines = peer.makefile("rb")
        for line in lines:
            verb = line[:4].upper()
            if wrong == f"closes at {verb.decode('latin-1')}":
                return
            if verb == _REFUSALS.get(wrong):
                peer.sendall(wrong[:3].encode() + b" 4.3.0 later\r\n")
            elif verb == b"DATA":
                peer.sendall(b"354 go on\r\n")
                if not self._take(lines, peer, wrong):
                    return
            elif verb == b"QUIT":
                peer.sendall(b"221 bye\r\n")
                return
            else:
                peer.sendall(b"250 ok\r\n" * (2 if wrong == "answers twice" else 1))

    def _take(self, lines: "object", peer: socket.socket, wrong: str) -> bool:
        """Read a message, never take it; tell whether the session goes on."""
        for count, line in enumerate(lines):  # type: ignore[arg-type, var-annotated]
            if wrong == "closes in the middle of the data" and count == 5:
                return False
            if line == b".\r\n":
                break
        if wrong == "never answers the dot":
            threading.Event().wait(20)
        if wrong in ("closes at the final dot", "never answers the dot"):
            return False
        peer.sendall(b"451 4.3.0 later\r\n")
        return True
