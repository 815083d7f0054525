"""Several smarthosts in the real service: one is dead, one has a budget, and mail waits for it."""

from collections.abc import Callable

import pytest
from receiver import Receiver
from relay_process import Relay, eventually, free_port

pytestmark = pytest.mark.flow

Receivers = Callable[..., Receiver]
Relays = Callable[..., Relay]

ROUTE = """
[[route]]
name = "paid"
source = ["127.0.0.2"]
ehlo = "out1.home.test"
smarthost = [
  {{ host = "127.0.0.1", port = {dead}, tls = "none" }},
  {{ host = "127.0.0.1", port = {port}, tls = "none", per_day = 2 }},
]
"""


def test_failover_and_budget(receivers: Receivers, relays: Relays) -> None:
    """The dead one is passed over; when the other's day is used up, mail waits, also for a restart.

    No attempt is counted, everybody is told why, and the source address stands in the log.
    """
    receiver = receivers()
    extra = ROUTE.format(dead=free_port(), port=receiver.port)
    relay = relays(free_port(), extra=extra)
    text = relay.config.read_text()
    bed = text.index("[[route]]")
    relay.config.write_text(text[:bed] + extra + text[bed : -len(extra)])
    relay.start()
    for number in range(2):
        relay.send(["u@there.test"], f"paid {number}")
    receiver.wait(2)
    eventually(lambda: relay.log.count("status=sent") == 2)
    assert f"relay=127.0.0.1[127.0.0.1]:{receiver.port}" in relay.log
    assert "source=127.0.0.2" in relay.log
    relay.send(["u@there.test"], "beyond")
    eventually(lambda: "budget used up: 127.0.0.1 (2 a day)" in relay.log)
    relay.stop()
    relay.start()
    relay.send(["u@there.test"], "beyond, too")
    eventually(lambda: relay.log.count("waits until") == 2)
    eventually(lambda: "budget used up" in relay.mta("status").stdout)
    assert "budget used up" in relay.mta("why", "u@there.test").stdout
    assert "status=deferred" not in relay.log
    assert len(receiver.envelopes) == 2
    relay.stop()
