"""A provider's limits hold for all processes of a spool together, and are used up by them.

That no more is begun than may be holds on any machine, and is held against what the spool has of
the beginnings: a receiver that is stopped for a moment sees many at once that were not.  How much
of a limit is used depends on the machine as well.  ``USED`` of it is more than who has most mail
would have of a limit that is divided for good, and less than a machine under heavy load gets done;
``docs/scaling.rst`` has what a quiet one does.
"""

import asyncio
import signal
import smtplib
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from load import plain_listener
from receiver import Receiver
from relay_process import Relay, eventually, free_port
from sqlalchemy import create_engine, text

pytestmark = [pytest.mark.flow, pytest.mark.timeout(180)]

HOST_NAME = 'host_name = "relay.test"'
LIMIT = 20
HELD = 6
USED = 0.6
SETTINGS = """
[queue]
node = "n{number}"
lease = "30s"

[[shaping]]
name = "provider"
domains = ["there.test"]
{limits}
"""


class Counting(Receiver):
    """Knows when each message was begun, and how many are under way at the same time."""

    def __init__(self, takes_s: float = 0.0) -> None:
        self.takes_s = takes_s
        self.now, self.most = 0, 0
        self.samples: list[tuple[float, int]] = []  # when, how many were under way then
        super().__init__()

    async def handle_DATA(self, *arguments: Any) -> str:
        self._changes(1)
        await asyncio.sleep(self.takes_s)
        self._changes(-1)
        return await super().handle_DATA(*arguments)

    def _changes(self, by: int) -> None:
        self.now += by
        self.most = max(self.most, self.now)
        self.samples.append((time.monotonic(), self.now))

    def times(self) -> list[float]:
        """When each came."""
        return [at for _, at in self.clients]

    def mean(self, from_s: float, to_s: float) -> float:
        """How many were under way in that time, on average."""
        total, at, count = 0.0, from_s, 0
        for when, after in self.samples:
            if when > from_s:
                total += (min(when, to_s) - at) * count if at < to_s else 0.0
                at = min(when, to_s)
            count = after
        return total / (to_s - from_s)


def fill(port: int, count: int, prefix: str) -> None:
    """Hand in so many messages over one connection."""
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        for number in range(count):
            to = f"{prefix}{number}@there.test"
            client.sendmail("app@home.test", [to], f"Subject: {to}\r\n\r\nHello.\r\n")


def fill_all(*those: tuple[int, int]) -> None:
    """Hand in messages at several ports at the same time."""
    threads = [
        threading.Thread(target=fill, args=(port, count, f"p{port}n")) for port, count in those
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def begun(url: str, least: int) -> list[float]:
    """When each attempt began, in seconds; of ``least`` of them, which may not be written yet."""
    eventually(lambda: len(_begun(url)) >= least)
    return _begun(url)


def _begun(url: str) -> list[float]:
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        with engine.connect() as connection:
            return [
                at / 1000 for (at,) in connection.execute(text("SELECT started_ms FROM attempts"))
            ]
    finally:
        engine.dispose()


def used(receiver: Counting) -> float:
    """How many arrived in a second on average, without what was at the beginning and the end."""
    times = receiver.times()
    steady = [t for t in times if t >= times[0] + 2][:-20]
    return len(steady) / (steady[-1] - steady[0])


def most_within(times: list[float], seconds: float) -> int:
    """How many there were in the fullest stretch of that length."""
    return max(sum(1 for t in times if at <= t < at + seconds) for at in times)


@pytest.fixture
def three(relays: Callable[..., Relay], postgresql_url: str) -> Callable[..., list[int]]:
    """Start three nodes on one PostgreSQL; return their ports."""

    def start(receiver: Receiver, limits: str) -> list[tuple[int, Relay]]:
        found = []
        for number in range(3):
            port = free_port()
            settings = SETTINGS.format(number=number, limits=limits)
            node = relays(receiver.port, plain_listener(port) + settings)
            node.use_spool(postgresql_url) if number == 0 else _share(node, postgresql_url)
            node.start()
            found.append((port, node))
        return found

    return start


def test_a_rate_holds_for_three_nodes_together(
    three: Callable[..., Any], postgresql_url: str
) -> None:
    """20 a second: never 10 % more, and used up however the work is divided."""
    receiver = Counting()
    try:
        nodes = three(receiver, f"messages_per_second = {LIMIT}")
        (one, _), (two, _), (last, victim) = nodes
        fill_all((one, 240), (two, 40), (last, 40))
        receiver.wait_until(lambda: len(receiver.envelopes) >= 150, timeout_s=60)
        victim.stop(signal.SIGKILL)
        receiver.wait_until(lambda: len(receiver.envelopes) >= 300, timeout_s=60)
    finally:
        receiver.close()
    times, rate = begun(postgresql_url, 300), used(receiver)
    second, five = most_within(times, 1.0), most_within(times, 5.0)
    print(f"\n{LIMIT} a second: {rate:.1f} on average, {second} in the fullest second, {five} in 5")
    assert rate >= USED * LIMIT
    assert five <= 1.1 * 5 * LIMIT
    assert second <= 1.3 * LIMIT


def test_connections_hold_for_three_nodes_together(three: Callable[..., Any]) -> None:
    """Six at the same time: never more, and in use though one has most mail."""
    receiver = Counting(takes_s=1.0)
    try:
        nodes = three(receiver, f"connections = {HELD}")
        (one, _), (two, _), (last, _) = nodes
        fill_all((one, 90), (two, 10), (last, 10))
        receiver.wait_until(lambda: len(receiver.envelopes) >= 104, timeout_s=90)
    finally:
        receiver.close()
    times = receiver.times()
    mean = receiver.mean(times[0] + 2, times[-1] - 2)
    print(f"\n{HELD} at the same time: {mean:.2f} on average, {receiver.most} at most")
    assert receiver.most <= 1.1 * HELD
    assert mean >= USED * HELD


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_rate_holds_for_workers_together(
    database: str, request: pytest.FixtureRequest, relays: Callable[..., Relay]
) -> None:
    """Two workers on one host, on either database: the same."""
    receiver, port = Counting(), free_port()
    try:
        settings = SETTINGS.format(number=1, limits=f"messages_per_second = {LIMIT}")
        workers = {HOST_NAME: f"workers = 2\n{HOST_NAME}"}
        node = relays(receiver.port, plain_listener(port) + settings, **workers)
        url = f"sqlite:///{node.directory}/spool/mta.sqlite"
        if database == "postgresql":
            url = request.getfixturevalue("postgresql_url")
            node.use_spool(url)
        node.start()
        fill_all(*[(port, 60)] * 4)
        receiver.wait_until(lambda: len(receiver.envelopes) >= 240, timeout_s=60)
    finally:
        receiver.close()
    times, rate = begun(url, 240), used(receiver)
    five = most_within(times, 5.0)
    print(f"\n{LIMIT} a second, two workers, {database}: {rate:.1f} on average, {five} in 5")
    assert rate >= USED * LIMIT
    assert five <= 1.1 * 5 * LIMIT


def _share(node: Relay, url: str) -> None:
    text = node.config.read_text()
    old = next(line for line in text.splitlines() if line.startswith("url = "))
    node.config.write_text(text.replace(old, f'url = "{url}"'))
