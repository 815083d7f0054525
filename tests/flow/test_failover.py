"""PostgreSQL with a standby: the first server is lost under load, the standby takes its place."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from load import plain_listener
from postgres import Postgres
from receiver import Receiver
from relay_process import Relay, eventually, free_port, free_ports
from witness import Witness

from mta.spool import alarms
from mta.spool.errors import SpoolUnavailable
from mta.spool.upgrade import upgrade

pytestmark = [pytest.mark.flow, pytest.mark.postgresql, pytest.mark.timeout(180)]

HERE = "127.0.0.1"
SETTINGS = """
[queue]
node = "n{number}"
lease = "15s"
"""


@pytest.fixture
def servers() -> Iterator[Callable[..., Postgres]]:
    """Start servers; all are gone afterwards."""
    made: list[Postgres] = []

    def start(**options: Any) -> Postgres:
        made.append(Postgres(HERE, free_port(), **options))
        return made[-1]

    yield start
    for one in reversed(made):
        one.close()


@pytest.fixture
def pair(servers: Callable[..., Postgres]) -> tuple[Postgres, Postgres]:
    """A server that answers no commit before its standby has it, and the standby."""
    first = servers()
    standby = servers(of=first)
    first.ask("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
    first.ask("SELECT pg_reload_conf()")
    state = "SELECT sync_state FROM pg_stat_replication"
    eventually(lambda: first.ask(state) == [("sync",)])
    return first, standby


def both(first: Postgres, standby: Postgres) -> str:
    """Return a URL that names both."""
    hosts = f"{HERE}:{first.port},{HERE}:{standby.port}"
    return f"postgresql://mta@{hosts}/postgres?target_session_attrs=read-write"


def test_the_standby_takes_over_under_load(
    pair: tuple[Postgres, Postgres],
    receivers: Callable[..., Receiver],
    relays: Callable[..., Relay],
) -> None:
    """The first server dies as by a power cut; 0 of what two nodes answered 250 is missing."""
    first, standby = pair
    receiver = receivers()
    ports = free_ports(2)
    nodes = [
        relays(receiver.port, plain_listener(port) + SETTINGS.format(number=number))
        for number, port in enumerate(ports)
    ]
    for node in nodes:
        node.use_spool(both(first, standby)) if node is nodes[0] else _share(node, nodes[0])
        node.start()
    loads = [Witness(port, prefix=f"p{port}-", pause_s=0.02) for port in ports]
    try:
        for load in loads:
            eventually(lambda load=load: len(load.accepted) > 100)  # type: ignore[misc]
        lost = time.monotonic()
        first.stop("immediate")
        time.sleep(3)  # as long as somebody takes to decide
        standby.promote()
        promoted, before = time.monotonic(), [len(load.accepted) for load in loads]
        for load, there in zip(loads, before, strict=True):
            eventually(lambda load=load, there=there: len(load.accepted) > there + 100, 60)  # type: ignore[misc]
        back_s = time.monotonic() - promoted
    finally:
        for load in loads:
            load.stop()
    wanted = set().union(*(load.recipients for load in loads))
    deadline = time.monotonic() + 60
    while (missing := wanted - set(_arrived(receiver))) and time.monotonic() < deadline:
        time.sleep(0.5)
    arrived = [one for one in _arrived(receiver) if one in wanted]
    twice = len(arrived) - len(set(arrived))
    print(f"\n{len(wanted)} accepted, {len(missing)} missing, {twice} twice")
    print(f"{sum(load.temporary for load in loads)} heard 4xx; the standby was promoted")
    print(
        f"  after {promoted - lost:.1f} s, 100 more were accepted by each {back_s:.1f} s after that"
    )
    assert missing == set()
    assert all(load.permanent == 0 for load in loads)


def test_a_server_that_is_restarted_under_load(
    servers: Callable[..., Postgres],
    receivers: Callable[..., Receiver],
    relays: Callable[..., Relay],
) -> None:
    """Three fast restarts: the node is back by itself, and nothing is missing."""
    server, receiver, port = servers(), receivers(), free_port()
    node = relays(receiver.port, plain_listener(port))
    node.use_spool(server.url)
    node.start()
    load = Witness(port, pause_s=0.02)
    try:
        for _ in range(3):
            there = len(load.accepted)
            eventually(lambda there=there: len(load.accepted) > there + 50, 60)  # type: ignore[misc]
            server.stop("fast")
            server.start()
        there = len(load.accepted)
        eventually(lambda: len(load.accepted) > there + 50, 60)
    finally:
        load.stop()
    receiver.wait_until(lambda: load.recipients <= set(_arrived(receiver)), timeout_s=60)
    assert load.permanent == 0
    assert node.stop(signal.SIGTERM) == 0


def test_a_commit_that_did_not_wait_for_the_standby_is_no_promise(
    servers: Callable[..., Postgres], open_spool: Callable[[str], Any]
) -> None:
    """Somebody ends the wait (pg_cancel_backend): the server says "committed", we say 451."""
    server = servers()
    upgrade(server.url)
    server.ask("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    server.ask("SELECT pg_reload_conf()")
    spool = open_spool(server.url)
    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    done = threading.Event()

    def keep_cancelling() -> None:
        while not done.wait(0.2):
            if server.ask(waiting):
                server.ask(cancel)

    canceller = threading.Thread(target=keep_cancelling)
    canceller.start()
    try:
        with pytest.raises(SpoolUnavailable, match="perhaps not on the standby"):
            spool.wait(spool.database.write(alarms.put, "n1", "x", "text", 1))
    finally:
        done.set()
        canceller.join()
        server.ask("ALTER SYSTEM RESET synchronous_standby_names")
        server.ask("SELECT pg_reload_conf()")


def _share(node: Relay, other: Relay) -> None:
    """Let ``node`` use the spool of ``other``."""
    line = next(one for one in other.config.read_text().splitlines() if one.startswith("url = "))
    text = node.config.read_text()
    old = next(one for one in text.splitlines() if one.startswith("url = "))
    node.config.write_text(text.replace(old, line))


def _arrived(receiver: Receiver) -> list[str]:
    return [one for _, to, _ in list(receiver.envelopes) for one in to]
