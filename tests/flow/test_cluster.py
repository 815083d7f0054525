"""Three processes on one PostgreSQL: one dies, one is cut off past its lease; nothing is lost."""

import signal
import time
from collections import Counter
from collections.abc import Callable

import pytest
from load import Load, plain_listener
from receiver import Receiver
from relay_process import Relay, free_port

pytestmark = [pytest.mark.flow, pytest.mark.postgresql, pytest.mark.timeout(120)]

CLUSTER = """
[queue]
node = "{node}"
lease = "10s"
"""


def test_one_is_killed_and_one_is_cut_off_under_load(
    receivers: Callable[..., Receiver],
    relays: Callable[..., Relay],
    postgresql_outage: tuple[str, Callable[[], None], Callable[[], None]],
) -> None:
    """Whatever any of three answered 250 arrives; what comes twice is counted."""
    url, _, _ = postgresql_outage
    receiver = receivers()
    ports = [free_port() for _ in range(3)]
    nodes = [
        relays(receiver.port, plain_listener(port) + CLUSTER.format(node=f"n{number}"))
        for number, port in enumerate(ports)
    ]
    for node in nodes:
        if node is nodes[0]:
            node.use_spool(url)
        else:
            text = node.config.read_text()
            old = next(line for line in text.splitlines() if line.startswith("url = "))
            node.config.write_text(text.replace(old, f'url = "{url}"'))
        node.start()
    loads = [Load(port, ("there.test",)) for port in ports]
    try:
        time.sleep(1.5)  # some load first: the moment is any
        nodes[0].stop(signal.SIGKILL)
        nodes[1].tell(signal.SIGSTOP)
        time.sleep(12.0)  # longer than the lease
        nodes[1].tell(signal.SIGCONT)
        time.sleep(1.0)
    finally:
        for load in loads:
            load.stop()
    # each load counts from one: what several accepted must be there as often
    wanted = sum((Counter(load.accepted) for load in loads), Counter[str]())
    assert all(load.accepted for load in loads)
    deadline = time.monotonic() + 40
    while missing := wanted - receiver.subjects():
        assert time.monotonic() < deadline, f"lost: {missing}"
        time.sleep(0.5)
    twice = (receiver.subjects() - wanted).total()
    print(f"{wanted.total()} accepted, {twice} came more often")
    assert twice < wanted.total() / 2
