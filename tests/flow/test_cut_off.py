"""A host falls silent in the middle: what was said is there after the service has stopped."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from relay_process import Relay, eventually

pytestmark = pytest.mark.flow


class Silent:
    """Greets, answers EHLO, and says nothing more."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.heard = b""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        connection, _ = self._server.accept()
        with connection, suppress(ConnectionResetError):
            connection.sendall(b"220 silent.test ESMTP\r\n")
            while octets := connection.recv(4096):
                if b"EHLO" not in self.heard:
                    connection.sendall(b"250-silent.test\r\n250 PIPELINING\r\n")
                self.heard += octets

    def close(self) -> None:
        self._server.close()
        self._thread.join(10)


@pytest.fixture
def silent() -> Iterator[Silent]:
    host = Silent()
    yield host
    host.close()


def test_stopped_in_the_middle(silent: Silent, relays: Callable[..., Relay]) -> None:
    """``mta trace --transcript`` shows the dialogue up to the command without an answer."""
    relay = relays(silent.port)
    relay.start()
    relay.send(["u@there.test"], "cut off")
    eventually(lambda: b"RCPT TO" in silent.heard)
    assert relay.stop() == 0
    told = relay.mta("trace", "u@there.test", "--transcript").stdout
    assert "the service is stopping" in relay.mta("trace", "u@there.test").stdout
    said = [
        found[1] for line in told.splitlines() if (found := re.match(r" +\d+\.\d{3} (.*)", line))
    ]
    assert said[:2] == [
        f"* connect to mx.there.test[127.0.0.1]:{silent.port}",
        "< 220 silent.test ESMTP",
    ]
    assert "> RCPT TO:<u@there.test>" in said
    assert said[-1] == "* the attempt was cut off"
