"""What a client asks for reaches the next hop: smtplib, one relay, and another that has it all.

No other server has DELIVERBY, MT-PRIORITY, REQUIRETLS and BINARYMIME together, so the next hop
is our own; what it has been told is read from its spool.
"""

import json
import os
import subprocess
from collections.abc import Callable
from email.message import EmailMessage
from email.policy import SMTPUTF8
from functools import partial
from typing import Any

import pytest
from relay_process import BIN, LOGIN, Relay, eventually, free_port

pytestmark = pytest.mark.flow

_ONWARD = """
[[route]]
name = "onward"

[route.smarthost]
host = "relay.test"
port = {port}
login = "{login}"
password_file = "{password}"

"""
_HOLD = """
[[hold]]
name = "all"
"""


@pytest.fixture
def chain(relays: Callable[..., Relay]) -> tuple[Relay, Relay]:
    """A relay that hands everything to another one, over verified TLS; that one holds it."""
    second = relays(free_port(), extra=_HOLD)
    second.start()
    password = second.directory / "password"
    onward = _ONWARD.format(port=second.smtps_port, login=LOGIN, password=password)
    certificate = second.directory / "certificate.pem"
    names = {'host_name = "relay.test"': 'host_name = "first.test"'}
    first = relays(free_port(), extra=f'[tls]\ntrust = "{certificate}"\n', **names)
    text = first.config.read_text()
    at = text.index("[[route]]")
    first.config.write_text(text[:at] + onward + text[at:])
    first.start()
    return first, second


def told(relay: Relay, count: int) -> list[dict[str, Any]]:
    """What a relay knows of so many messages that it holds, in their order."""

    def listed() -> list[dict[str, Any]]:
        said = relay.mta("queue", "list", "--json", check=False).stdout
        return [json.loads(line) for line in said.splitlines()]

    eventually(lambda: len(listed()) >= count)
    return listed()


def logged(relay: Relay, words: str) -> bool:
    """Whether the log has them."""
    return words in relay.log


def octets(relay: Relay, id: str) -> bytes:
    """A message as the spool has it."""
    done = subprocess.run(
        [BIN / "mta", "queue", "cat", id], check=True, capture_output=True,
        env={**os.environ, "MTA_CONFIG": str(relay.config)},
    )  # fmt: skip
    return done.stdout


def test_all_that_was_asked_for(chain: tuple[Relay, Relay]) -> None:
    """DSN, DELIVERBY in both modes, MT-PRIORITY, SMTPUTF8, REQUIRETLS and BINARYMIME arrive."""
    first, second = chain
    message = EmailMessage(policy=SMTPUTF8)
    message["From"], message["To"], message["Subject"] = (
        "app@home.test",
        "\u00fc@there.test",
        "\u00fc",
    )
    message.set_content("Hello.\n")
    with first.client() as client:
        client.ehlo()
        for wanted in ("dsn", "deliverby", "mt-priority", "smtputf8", "requiretls", "binarymime"):
            assert client.has_extn(wanted) or wanted in client.esmtp_features, wanted
        client.sendmail(
            "app@home.test", ["\u00fc@there.test"], message.as_bytes(),
            ["RET=HDRS", "ENVID=order+2B7", "BY=3600;NT", "MT-PRIORITY=3", "SMTPUTF8",
             "BODY=8BITMIME"],
            ["NOTIFY=SUCCESS,DELAY", "ORCPT=utf-8;\\x{FC}@there.test"],
        )  # fmt: skip
        content = b"Subject: bits\r\nFrom: app@home.test\r\n\r\na\rb\nc\0\r\n"
        asked = "MAIL FROM:<app@home.test> BODY=BINARYMIME REQUIRETLS BY=7200;R NOTHING"
        for command, code in (
            (asked, 555),
            (asked.removesuffix(" NOTHING"), 250),
            ("RCPT TO:<v@there.test> NOTIFY=NEVER", 250),
        ):
            assert client.docmd(command)[0] == code
        client.send(b"BDAT %d LAST\r\n" % len(content) + content)
        assert client.getreply()[0] == 250
    by_sender = {(one["sender"], one["recipient"]): one for one in told(second, 3)}
    one = by_sender["app@home.test", "\u00fc@there.test"]
    assert (one["ret"], one["envid"], one["priority"]) == ("HDRS", "order+2B7", 3)
    assert (one["notify"], one["orcpt"]) == ("SUCCESS,DELAY", "utf-8;\\x{FC}@there.test")
    assert one["requires"] == ["SMTPUTF8"]
    assert (one["deliver_by"]["mode"], one["deliver_by"]["trace"]) == ("N", True)
    assert 3_500_000 < one["deliver_by"]["deadline_ms"] - one["created_ms"] <= 3_600_000
    other = by_sender["app@home.test", "v@there.test"]
    assert other["requires"] == ["BINARYMIME", "REQUIRETLS"]
    assert (other["notify"], other["deliver_by"]["mode"]) == ("NEVER", "R")
    assert other["expires_ms"] == other["deliver_by"]["deadline_ms"]
    assert octets(second, other["id"]).endswith(b"\r\n\r\na\rb\nc\0\r\n")
    # Of the two hops the first is traced, for T asks for it: by a report as urgent as the message
    report = by_sender["", "app@home.test"]
    assert report["priority"] == 3
    for relay in (first, second):
        eventually(partial(logged, relay, "requires=BINARYMIME/REQUIRETLS"))
        eventually(partial(logged, relay, "proto=UTF8SMTPSA"))
    assert "sasl_method=SCRAM-SHA-256-PLUS" in second.log
