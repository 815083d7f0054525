"""A host falls silent in the middle: what was said is there after the service has stopped."""

import json
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, BinaryIO

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


class Hesitant:
    """A host that says nothing to the first final dot, and takes all that comes later."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.contents: list[bytes] = []  # of messages whose final dot has come
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                with connection, suppress(ConnectionResetError), connection.makefile("rb") as lines:
                    connection.sendall(b"220 hesitant.test ESMTP\r\n")
                    self._talk(connection, lines)

    def _talk(self, connection: socket.socket, lines: BinaryIO) -> None:
        content: list[bytes] | None = None
        for line in lines:
            if content is None:
                if line == b"DATA\r\n":
                    content = []
                refused = b"550 5.1.1 No such user\r\n"
                answers = {b"DATA": b"354 Go on\r\n", b"EHLO": b"250-h\r\n250 PIPELINING\r\n"}
                usual = refused if b"nobody@" in line else b"250 Ok\r\n"
                connection.sendall(answers.get(line[:4], usual))
            elif line != b".\r\n":
                content.append(line)
            else:
                self.contents.append(b"".join(content))
                content = None
                if len(self.contents) > 1:
                    connection.sendall(b"250 2.0.0 Taken\r\n")

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(10)


@pytest.fixture
def hesitant() -> Iterator[Hesitant]:
    host = Hesitant()
    yield host
    host.close()


@pytest.mark.parametrize(
    ("policy", "state", "times"),
    [("retry", "delivered", 2), ("hold", "held", 1), ("delivered", "delivered", 1)],
)
def test_killed_after_the_final_dot(
    hesitant: Hesitant, relays: Callable[..., Relay], policy: str, state: str, times: int
) -> None:
    """SIGKILL between the dot and its answer: the route's policy holds over the crash.

    Whoever was refused in the same transaction is not in doubt: that is asked again.
    """
    extra = f'on_unknown = "{policy}"\n[retry]\nsteps = ["1h"]\n'
    relay = relays(hesitant.port, extra=extra)
    relay.start()
    relay.send(["u@there.test", "nobody@there.test"], "killed")
    eventually(lambda: len(hesitant.contents) == 1)
    relay.stop(signal.SIGKILL)
    dotted = f"the final dot to mx.there.test[127.0.0.1]:{hesitant.port}"
    assert (dotted in relay.mta("why", "u@there.test").stdout) is (policy != "retry")
    assert dotted not in relay.mta("why", "nobody@there.test").stdout
    relay.start()

    def answer(address: str) -> dict[str, Any]:
        (line,) = relay.mta("why", address, "--json").stdout.splitlines()
        answers = json.loads(line)["answers"]
        return next(one for one in answers if one["recipient"] == address)

    eventually(lambda: answer("nobody@there.test")["state"] == "bounced")
    eventually(lambda: answer("u@there.test")["state"] == state)

    # Not the report about nobody, nor the lone dot where all have been refused (RFC 2920 §3.1)
    def sent() -> int:
        return len([one for one in hesitant.contents if one.endswith(b"\r\n\r\nHello.\r\n")])

    assert sent() == times
    last = answer("u@there.test")["last"]
    assert last["maybe_delivered"] is (policy != "retry")
    if policy == "retry":
        return
    words = {one: text for one, _, text in AFTER}[policy]
    words = f"ended before the answer was recorded; lost after the final dot: {words}"
    assert words in relay.mta("why", "u@there.test").stdout
    story = relay.mta("trace", "u@there.test").stdout
    assert words in story
    assert "may have been delivered, or twice" in story
    assert f"[127.0.0.1]:{hesitant.port}" in story
    assert "after the final dot" in relay.mta("status", check=False).stdout
    eventually(lambda: words in relay.log)
    if policy == "hold":  # released, it is sent: now somebody knows
        relay.mta("queue", "release", "--to", "u@there.test", "--yes")
        eventually(lambda: answer("u@there.test")["state"] == "delivered")
        assert sent() == 2
