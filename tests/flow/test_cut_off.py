"""A host falls silent in the middle: what was said is there after the service has stopped."""

import json
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from relay_process import Relay, eventually

pytestmark = pytest.mark.flow


class Silent:
    """Greets, answers EHLO, and says nothing more; or only to the final dot."""

    def __init__(self, *, until_the_dot: bool = False) -> None:
        self._until_the_dot = until_the_dot
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
                elif self._until_the_dot and b"\r\nDATA\r\n" in octets:
                    connection.sendall(b"250 Ok\r\n250 Ok\r\n354 Go on\r\n")
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


AFTER = [
    ("retry", "queued", "the message may be delivered twice"),
    ("hold", "held", "it may have been delivered, and is held"),
    ("delivered", "delivered", "it counts as delivered"),
]


def test_stopped_after_the_final_dot(relays: Callable[..., Relay]) -> None:
    """The route's policy holds, and what is not known is told, counted, and there after a kill.

    Each policy has a service of its own, and all are stopped at once: they wait for their hosts.
    """
    hosts = [Silent(until_the_dot=True) for _ in AFTER]
    try:
        services = []
        for silent, (policy, _, _) in zip(hosts, AFTER, strict=True):
            extra = f'on_unknown = "{policy}"\n[retry]\nsteps = ["1h"]\n'
            services.append(relays(silent.port, extra=extra))
            services[-1].start()
            services[-1].send(["u@there.test"], "cut off")
        for silent in hosts:
            eventually(lambda silent=silent: silent.heard.endswith(b"\r\n.\r\n"))
        with ThreadPoolExecutor() as at_once:
            assert list(at_once.map(Relay.stop, services)) == [0] * len(services)
    finally:
        for silent in hosts:
            silent.close()
    for relay, (_, state, words) in zip(services, AFTER, strict=True):
        is_told(relay, state, f"the service is stopping; lost after the final dot: {words}")


def is_told(relay: Relay, state: str, in_doubt: str) -> None:
    """It is in the history, and still there after another start and a kill."""
    story = relay.mta("trace", "u@there.test").stdout
    assert in_doubt in story
    assert "may have been delivered, or twice" in story
    relay.start()
    relay.stop(signal.SIGKILL)
    answer = json.loads(relay.mta("why", "u@there.test", "--json", check=False).stdout)
    told = str(answer)
    assert in_doubt in told
    assert f"'state': '{state}'" in told
    assert "'maybe_delivered': True" in told
    assert "after the final dot" in relay.mta("status", check=False).stdout
