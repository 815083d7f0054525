"""The policy in the running service: spoofing, limits over a restart, holds, lists, reload."""

import json
import signal
import smtplib
from collections.abc import Callable

import pytest
from receiver import Receiver
from relay_process import Relay, eventually

pytestmark = pytest.mark.flow

POLICY = """
[[sender]]
name = "own"
addresses = ["app@home.test"]

[[limit]]
name = "few"
recipients_per_day = 3

[[hold]]
name = "there"
recipient_domains = ["mx.there.test"]

[recipients]
refuse_null_mx = true
refuse_unknown_domains = true
"""


def refused(relay: Relay, sender: str, recipient: str) -> bytes:
    """Return what a recipient (or the sender) is answered."""
    with relay.client() as client:
        client.ehlo()
        code, text = client.mail(sender)
        if code == 250:
            code, text = client.rcpt(recipient)
        return b"%d %s" % (code, text)


def test_policy_in_the_service(
    receivers: Callable[..., Receiver], relays: Callable[..., Relay]
) -> None:
    """What docs/policy.rst promises, seen by a client and by an operator."""
    receiver = receivers()
    relay = relays(receiver.port, POLICY)
    relay.start()
    assert refused(relay, "ceo@home.test", "u@there.test").startswith(b"550 5.7.1 ")
    text = "From: ceo@home.test\r\n\r\nPay at once.\r\n"
    with (
        pytest.raises(smtplib.SMTPDataError, match=r"From address is not permitted"),
        relay.client() as client,
    ):
        client.sendmail("app@home.test", ["u@there.test"], text)
    assert refused(relay, "app@home.test", "x@nomail.test").startswith(b"556 5.1.10 ")
    assert refused(relay, "app@home.test", "x@nowhere.test").startswith(b"550 5.1.2 ")

    relay.send(["u@there.test"], "one")
    relay.send(["u@mx.there.test"], "held")
    receiver.wait(1)
    (held,) = [json.loads(one) for one in relay.mta("queue", "list", "--json").stdout.splitlines()]
    assert held["state"] == "held"
    assert "hold rule there" in relay.mta("trace", held["id"]).stdout
    assert "(sender rule own: sender <ceo@home.test>" in relay.log

    relay.mta("suppress", "add", "gone@there.test", "--reason", "asked")
    eventually(lambda: refused(relay, "app@home.test", "gone@there.test").startswith(b"550 "))
    relay.send(["u@there.test"], "three")
    assert refused(relay, "app@home.test", "u@there.test").startswith(b"451 4.7.1 ")
    assert relay.stop() == 0
    relay.start()
    assert refused(relay, "app@home.test", "u@there.test").startswith(b"451 4.7.1 ")

    relay.config.write_text(relay.config.read_text().replace("per_day = 3", "per_day = 4"))
    relay.tell(signal.SIGHUP)
    eventually(lambda: "reloaded" in relay.log)
    assert refused(relay, "app@home.test", "u@there.test").startswith(b"250 ")
    assert "Traceback" not in relay.log
