"""A running service has told what it works by, at its start and at each reload."""

import signal
from collections.abc import Callable

import pytest
from receiver import Receiver
from relay_process import Relay, eventually

pytestmark = pytest.mark.flow

CLOSED = """
[[route]]
name = "closed"
recipient_domains = ["there.test"]
error = { code = 550, text = "Closed" }
"""
DIFF = ("config", "diff", "--against", "queue")


def test_a_change_is_seen_before_it_is_in_force(
    receivers: Callable[..., Receiver], relays: Callable[..., Relay]
) -> None:
    """Mail that waits would bounce by the changed file; after the reload nothing differs."""
    refusing = receivers(lambda _: "451 4.7.1 Later")
    relay = relays(refusing.port, extra='[retry]\nsteps = ["1h"]\n')
    relay.start()
    relay.send(["u@there.test"], "waits")
    assert relay.mta(*DIFF).returncode == 0
    text = relay.config.read_text()
    at = text.index("\n[[route]]")
    relay.config.write_text(text[:at] + CLOSED + text[at:])
    done = relay.mta(*DIFF, check=False)
    assert done.returncode == 1
    assert "closed: refused" in done.stdout
    assert "test-bed: to the mail exchangers" in done.stdout
    relay.tell(signal.SIGHUP)
    eventually(lambda: relay.mta(*DIFF, check=False).returncode == 0, step_s=0.5)
