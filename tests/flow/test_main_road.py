"""What an organisation sees: submitted over SMTPS, delivered, deferred, bounced, traced."""

import json
import re
import smtplib
import socket
import ssl
from collections.abc import Callable
from email.message import EmailMessage

import pytest
from receiver import Receiver
from relay_process import LOGIN, PASSWORD, Relay, eventually

pytestmark = pytest.mark.flow

Receivers = Callable[..., Receiver]
Relays = Callable[..., Relay]


def greylist() -> Callable[[str], str | None]:
    """Defer each recipient once."""
    seen: set[str] = set()

    def judge(recipient: str) -> str | None:
        if recipient in seen or "grey" not in recipient:
            return "550 5.1.1 No such user" if "nobody" in recipient else None
        seen.add(recipient)
        return "450 4.7.1 Greylisted"

    return judge


def test_one_message_from_smtps_to_the_receiving_host(receivers: Receivers, relays: Relays) -> None:
    """What goes in over SMTPS arrives with its envelope, its content and one Received line."""
    receiver = receivers()
    relay = relays(receiver.port)
    relay.start()
    relay.send(["u@there.test", "v@there.test"], "hello")
    receiver.wait(1)
    sender, recipients, content = receiver.envelopes[0]
    assert (sender, recipients) == ("app@home.test", ("u@there.test", "v@there.test"))
    message = receiver.messages()[0]
    assert message.get_content() == "Hello.\n"
    received = message.get_all("Received")
    assert received is not None and len(received) == 1
    assert "with ESMTPSA" in received[0] and "by relay.test" in received[0]
    assert message["Date"] and message["Message-ID"].endswith("@relay.test>")
    assert content.count(b"\nMessage-ID:") == 1
    assert relay.stop() == 0
    assert PASSWORD not in relay.log


def test_deferred_then_delivered_and_bounced(receivers: Receivers, relays: Relays) -> None:
    """A greylisted recipient gets the message on the retry; an unknown one becomes a report."""
    receiver = receivers(greylist())
    relay = relays(receiver.port)
    relay.start()
    relay.send(["grey@there.test", "nobody@there.test", "plain@there.test"], "mixed")
    receiver.wait(3)
    by_recipient = {one[1][0]: one for one in receiver.envelopes}
    assert set(by_recipient) == {"grey@there.test", "plain@there.test", "app@home.test"}
    assert by_recipient["app@home.test"][0] == ""
    report = next(m for m in receiver.messages() if m.get_content_type() == "multipart/report")
    assert "nobody@there.test" in report.as_string()
    assert "Status: 5.1.1" in report.as_string()
    eventually(lambda: json.loads(relay.mta("queue", "list", "--json").stdout or "[]") == [])


def test_null_mx_is_refused_by_default(receivers: Receivers, relays: Relays) -> None:
    """RFC 7505: a domain that takes no mail is refused at RCPT, and nobody is sent a report."""
    receiver = receivers()
    relay = relays(receiver.port)
    relay.start()
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        relay.send(["x@nomail.test"], "no")
    code, text = refused.value.recipients["x@nomail.test"]
    assert (code, text[:7]) == (556, b"5.1.10 ")


def test_null_mx_and_unknown_domains_are_reported_at_once(
    receivers: Receivers, relays: Relays
) -> None:
    """RFC 7505: no delivery is tried where a domain says that it takes no mail."""
    receiver = receivers()
    relay = relays(receiver.port, "[recipients]\nrefuse_null_mx = false\n")
    relay.start()
    relay.send(["x@nomail.test", "y@nowhere.test"], "no")
    receiver.wait(2)
    reports = "".join(message.as_string() for message in receiver.messages())
    assert "Status: 5.1.10" in reports
    assert "Status: 5.1.2" in reports


def test_trace_tells_the_whole_life_after_it_has_left(receivers: Receivers, relays: Relays) -> None:
    """The trace of a finished message has its acceptance, both attempts and their replies."""
    receiver = receivers(greylist())
    relay = relays(receiver.port)
    relay.start()
    relay.send(["grey@there.test"], "traced")
    receiver.wait(1)
    identity = ""

    def finished() -> bool:
        nonlocal identity
        found = re.search(r"(\w{16}): removed", relay.log)
        identity = found[1] if found else ""
        return found is not None

    eventually(finished)
    told = relay.mta("trace", identity).stdout
    assert "450 4.7.1 Greylisted" in told
    assert "250 2.0.0 Ok: taken" in told
    assert LOGIN in told
    traced = json.loads(relay.mta("trace", identity, "--json").stdout.splitlines()[0])
    assert identity in json.dumps(traced)
    again = relay.mta("trace", "grey@there.test").stdout
    assert identity in again


def test_smtps_client_that_does_not_trust_the_certificate_is_not_served(
    receivers: Receivers, relays: Relays
) -> None:
    """A client with the system's authorities refuses the self-signed certificate."""
    relay = relays(receivers().port)
    relay.start()
    context = ssl.create_default_context()
    with (
        pytest.raises(ssl.SSLCertVerificationError),
        socket.create_connection(("127.0.0.1", relay.smtps_port), 10) as plain,
    ):
        context.wrap_socket(plain, server_hostname="relay.test")


def test_operators_verbs_reach_a_running_service(receivers: Receivers, relays: Relays) -> None:
    """Retried mail goes at once though its time has not come; held mail stays until released."""
    answers = ["451 4.3.0 not now"]
    receiver = receivers(lambda recipient: answers[0] if answers else None)
    relay = relays(receiver.port, extra='\n[retry]\nsteps = ["1h"]\n')
    relay.start()
    relay.send(["u@there.test"], "held")
    relay.send(["v@there.test"], "retried")
    eventually(lambda: relay.log.count("status=deferred") == 2)
    relay.mta("queue", "hold", "--to", "u@there.test", "--yes")
    answers.clear()
    relay.mta("queue", "retry", "--domain", "there.test", "--yes")
    receiver.wait(1)
    assert receiver.subjects() == {"retried": 1}
    relay.mta("queue", "release", "--domain", "there.test", "--yes")
    receiver.wait(2)
    assert receiver.subjects() == {"retried": 1, "held": 1}


def test_a_large_message_arrives_whole(receivers: Receivers, relays: Relays) -> None:
    """Eight megabytes with dots at line starts come out as they went in."""
    receiver = receivers(data_size_limit=40_000_000)
    relay = relays(receiver.port)
    relay.start()
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "app@home.test", "u@there.test", "big"
    lines = "".join(f".{number} {'x' * 60}\r\n..\r\n" for number in range(110_000))
    message.set_content("placeholder")
    raw = message.as_bytes().replace(b"\n", b"\r\n").replace(b"placeholder\r\n", lines.encode())
    with relay.client() as client:
        client.sendmail("app@home.test", ["u@there.test"], raw)
    receiver.wait(1)
    content = receiver.envelopes[0][2]
    assert content[content.index(b"\r\n\r\n") + 4 :] == lines.encode()
