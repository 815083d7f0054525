"""From outside: Python's smtplib asks for reports, a hold, a deadline and a priority."""

import json
from collections.abc import Callable
from email.message import EmailMessage, Message

import pytest
from receiver import Receiver
from relay_process import Relay, eventually

pytestmark = pytest.mark.flow

Receivers = Callable[..., Receiver]
Relays = Callable[..., Relay]

CONTENT = b"From: app@home.test\r\nTo: u@there.test\r\nSubject: asked\r\n\r\nHello.\r\n"


def report_of(receiver: Receiver) -> EmailMessage:
    """The report among what has arrived."""
    (report,) = [m for m in receiver.messages() if m.get_content_type() == "multipart/report"]
    return report


def groups(report: EmailMessage) -> list[Message]:
    """Its field groups: the message's, then one for each recipient."""
    status = list(report.iter_parts())[1]
    payload = status.get_payload()
    assert isinstance(payload, list)
    return payload  # type: ignore[return-value]


def test_relayed_report(receivers: Receivers, relays: Relays) -> None:
    """The receiving host has no DSN: who asked for it hears "relayed", with his own names."""
    receiver = receivers()
    relay = relays(receiver.port)
    relay.start()
    with relay.client() as client:
        client.ehlo()
        assert client.has_extn("dsn")
        client.sendmail(
            "app@home.test",
            ["u@there.test"],
            CONTENT,
            ["RET=HDRS", "ENVID=order+2B7"],
            ["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;first+2Bu@home.test"],
        )
    receiver.wait(2)
    assert {one[1][0]: one[0] for one in receiver.envelopes} == {
        "u@there.test": "app@home.test",
        "app@home.test": "",
    }
    of_message, of_recipient = groups(report_of(receiver))
    assert of_message["Original-Envelope-Id"] == "order+7"
    assert of_recipient["Original-Recipient"] == "rfc822; first+u@home.test"
    assert of_recipient["Action"] == "relayed"
    assert of_recipient["Status"] == "2.0.0"


def test_never_is_respected_to_the_end(receivers: Receivers, relays: Relays) -> None:
    """A recipient with NOTIFY=NEVER that fails is in the history, and nobody is told."""
    receiver = receivers(lambda to: "550 5.1.1 No such user" if "nobody" in to else None)
    relay = relays(receiver.port)
    relay.start()
    with relay.client() as client:
        client.sendmail("app@home.test", ["nobody@there.test"], CONTENT, [], ["NOTIFY=NEVER"])
    eventually(lambda: "status=bounced" in relay.log and "removed" in relay.log)
    trace = json.loads(relay.mta("trace", "nobody@there.test", "--json").stdout)
    assert trace["recipients"][0]["state"] == "bounced"
    assert trace["recipients"][0]["notify"] == "NEVER"
    assert trace["reports"] == []
    assert receiver.envelopes == []


def test_held_then_sent(receivers: Receivers, relays: Relays) -> None:
    """HOLDFOR: the queue and the trace say until when; what was held for less goes, not before."""
    receiver = receivers()
    relay = relays(receiver.port)
    relay.start()
    with relay.client() as client:
        client.ehlo()
        assert client.esmtp_features["futurerelease"].startswith("2592000 ")
        client.sendmail("app@home.test", ["later@there.test"], CONTENT, ["HOLDFOR=3600"])
        client.sendmail("app@home.test", ["soon@there.test"], CONTENT, ["HOLDFOR=3"])
    receiver.wait(1)
    assert receiver.envelopes[0][1] == ("soon@there.test",)
    eventually(lambda: "removed" in relay.log)
    (soon,) = json.loads(f"[{relay.mta('trace', 'soon@there.test', '--json').stdout}]")
    # The hold counts from MAIL; the message is a millisecond or two younger.
    assert soon["attempts"][0]["started_ms"] >= soon["release_ms"] >= soon["created_ms"] + 2990
    assert "(release)" in relay.mta("queue", "list").stdout
    told = relay.mta("trace", "later@there.test").stdout
    assert "released:" in told and "its sender has it held until" in told
    assert "(held until " in relay.log


def test_priority_arrives_through_the_tunnel(receivers: Receivers, relays: Relays) -> None:
    """RFC 6758: the receiving host has no MT-PRIORITY, so the field says it."""
    receiver = receivers()
    relay = relays(receiver.port)
    relay.start()
    with relay.client() as client:
        client.sendmail("app@home.test", ["u@there.test"], CONTENT, ["MT-PRIORITY=4"])
    receiver.wait(1)
    assert receiver.messages()[0]["MT-Priority"] == "4"


def test_a_deadline_that_nobody_keeps_comes_back(receivers: Receivers, relays: Relays) -> None:
    """RFC 2852, mode R: the receiving host has no DELIVERBY, so the message is returned."""
    receiver = receivers()
    relay = relays(receiver.port)
    relay.start()
    with relay.client() as client:
        client.sendmail("app@home.test", ["u@there.test"], CONTENT, ["BY=120;R"])
    receiver.wait(1)
    of_message, of_recipient = groups(report_of(receiver))
    assert of_message["Deliver-By-Date"]
    assert (of_recipient["Action"], of_recipient["Status"]) == ("failed", "5.3.3")
