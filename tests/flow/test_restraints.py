"""A receiver that has enough of us is sent less, and only it; a suspension holds over a restart."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from receiver import Receiver
from relay_process import Relay, eventually

pytestmark = pytest.mark.flow

Receivers = Callable[..., Receiver]
Relays = Callable[..., Relay]


def limiting(recipient: str) -> str | None:
    """Have enough of mail to "there", and take all other."""
    return "421 4.7.28 rate limit" if recipient.endswith("@there.test") else None


def throttles(relay: Relay) -> list[dict[str, Any]]:
    """Return what is in force."""
    listed = relay.mta("throttle", "list", "--json").stdout
    return [json.loads(line) for line in listed.splitlines()]


def test_a_rate_limit_slows_its_site_and_nobody_else(receivers: Receivers, relays: Relays) -> None:
    """421 4.7.28: the cause is in log and listing, the site is throttled, another one is not."""
    receiver = receivers(limiting)
    relay = relays(receiver.port)
    relay.start()
    for number in range(4):
        relay.send([f"u{number}@there.test"], "much")
    eventually(lambda: throttles(relay))
    [one] = throttles(relay)
    assert (one["verb"], one["cause"], one["rule"]) == ("slow", "rate-limited", "rate")
    assert one["samples"][-1].startswith("421 4.7.28")
    assert "cause=rate-limited" in relay.log
    relay.send(["v@home.test"], "little")
    receiver.wait(1)
    assert receiver.envelopes[0][1] == ("v@home.test",)
    groups = relay.mta("queue", "list", "--group-by", "category", "--json").stdout
    assert [json.loads(line)["category"] for line in groups.splitlines()] == ["rate-limited"]
    assert relay.mta("throttle", "revoke", str(one["id"])).returncode == 0
    eventually(lambda: f"slow {one['id']}: site mx.there.test: ended by" in relay.log)


def test_a_suspension_survives_and_a_resume_is_at_once(
    receivers: Receivers, relays: Relays
) -> None:
    """Suspended before a restart, not dialled after it; resumed, delivered within seconds."""
    receiver = receivers()
    relay = relays(receiver.port)
    relay.start()
    relay.mta("suspend", "--domain", "there.test", "--reason", "their wish")
    eventually(lambda: "suspend 1: domain there.test" in relay.log)
    relay.send(["u@there.test"], "held")
    relay.send(["v@home.test"], "free")
    receiver.wait(1)
    relay.stop()
    relay.start()
    eventually(lambda: "still in force" in relay.log)
    listed = json.loads(relay.mta("queue", "list", "--json").stdout)
    assert (listed["attempts"], listed["restraint"]) == (
        0,
        "domain there.test is suspended: their wish",
    )
    assert [one[1] for one in receiver.envelopes] == [("v@home.test",)]
    relay.mta("resume", "--domain", "there.test")
    receiver.wait(2)
    assert receiver.envelopes[1][1] == ("u@there.test",)
