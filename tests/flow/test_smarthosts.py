"""Several smarthosts in the real service: mail goes on to the next, and waits for a budget."""

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
  {{ host = "127.0.0.1", port = {first}, tls = "none", per_day = 1 }},
  {{ host = "127.0.0.1", port = {second}, tls = "none", per_day = 1 }},
]
"""


def test_budgets(receivers: Receivers, relays: Relays) -> None:
    """When the first's day is used up the next goes on; then mail waits, after a restart as well.

    No attempt is counted, everybody is told why, and the source address stands in the log.
    """
    first, second = receivers(), receivers()
    extra = ROUTE.format(first=first.port, second=second.port)
    relay = relays(free_port(), extra=extra)
    text = relay.config.read_text()
    bed = text.index("[[route]]")
    relay.config.write_text(text[:bed] + extra + text[bed : -len(extra)])
    relay.start()
    relay.send(["u@there.test"], "one")
    first.wait(1)
    relay.send(["u@there.test"], "two")
    second.wait(1)
    eventually(lambda: relay.log.count("status=sent") == 2)
    assert "source=127.0.0.2" in relay.log
    relay.send(["u@there.test"], "beyond")
    eventually(lambda: "budget used up: 127.0.0.1 (1 a day)" in relay.log)
    relay.stop()
    relay.start()
    relay.send(["u@there.test"], "beyond, too")
    eventually(lambda: "budget used up" in relay.mta("status").stdout)
    assert "budget used up" in relay.mta("why", "u@there.test").stdout
    assert "status=deferred" not in relay.log
    assert [len(one.envelopes) for one in (first, second)] == [1, 1]
    relay.stop()
