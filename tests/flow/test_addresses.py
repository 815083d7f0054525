"""The real program: a domain of ours, an alias, SRS there and back, reload, and what is told."""

import json
import signal
import smtplib
from collections.abc import Callable

import pytest
from receiver import Receiver
from relay_process import Relay, eventually, free_port

pytestmark = pytest.mark.flow

Receivers = Callable[..., Receiver]
Relays = Callable[..., Relay]

TABLES = """
[[listener]]
name = "smtp"
endpoint = "127.0.0.1:{port}"
tls = "none"
auth = "none"

[[domain]]
name = "home.test"
recipients = ["ann"]
alias_files = ["aliases"]

[srs]
domain = "home.test"
secret_file = "srs-secret"

[[route]]
name = "news"
sender_domains = ["news.test"]
mx = {{ port = {mx_port} }}
verp = true

[[route]]
name = "test-bed"
mx = {{ port = {mx_port} }}
"""
CONTENT = b"From: x@there.test\r\nTo: staff@home.test\r\nSubject: x\r\n\r\nHello.\r\n"


def ready(relays: Relays, receiver: Receiver) -> tuple[Relay, int]:
    """A running relay with a port 25 for strangers."""
    port = free_port()
    tables = TABLES.format(port=port, mx_port=receiver.port)
    relay = relays(receiver.port, extra=tables)
    head, _, rest = relay.config.read_text().partition("\n[[route]]")  # our routes are in ``rest``
    relay.config.write_text(head + rest[rest.index("\n[[listener]]") :])
    (relay.directory / "aliases").write_text("staff: ann, u@there.test\n")
    (relay.directory / "srs-secret").write_text("a secret\n")
    relay.start()
    return relay, port


def test_forwarded_and_back(receivers: Receivers, relays: Relays) -> None:
    """A stranger's mail goes by an alias to outside with SRS, and a bounce finds its way home."""
    receiver = receivers()
    relay, port = ready(relays, receiver)
    with smtplib.SMTP("127.0.0.1", port, "stranger.test") as client:
        client.sendmail("x@there.test", ["staff@home.test"], CONTENT)
        with pytest.raises(smtplib.SMTPRecipientsRefused) as caught:
            client.sendmail("x@there.test", ["nobody@home.test"], CONTENT)
        assert caught.value.recipients["nobody@home.test"][0] == 550
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            client.sendmail("x@there.test", ["victim@there.test"], CONTENT)
    receiver.wait(2)
    senders = {one[1][0]: one[0] for one in receiver.envelopes}
    signed = senders["u@there.test"]
    assert senders["ann@home.test"] == "x@there.test"
    assert signed.startswith("SRS0=")
    assert signed.endswith("=there.test=x@home.test")
    with smtplib.SMTP("127.0.0.1", port, "there.test") as client:
        client.sendmail("", [signed], b"Subject: bounce\r\n\r\n")
    receiver.wait(3)
    assert receiver.envelopes[-1][:2] == ("", ("x@there.test",))
    found = json.loads(relay.mta("trace", "staff@home.test", "--json").stdout)
    assert [one["given"] for one in found["recipients"]] == ["staff@home.test"] * 2
    assert [one["sender"] for one in found["attempts"] if one["sender"]] == [signed]
    story = relay.mta("trace", "staff@home.test").stdout
    assert "staff@home.test -> ann@home.test, u@there.test (aliases:1)" in " ".join(story.split())
    assert "orig_to=<staff@home.test>" in relay.log


def test_alias_files_are_read_again(receivers: Receivers, relays: Relays) -> None:
    """SIGHUP: a bad file leaves the old one in force and says so; a good one counts at once."""
    receiver = receivers()
    relay, port = ready(relays, receiver)

    def answer(address: str) -> int:
        with smtplib.SMTP("127.0.0.1", port, "stranger.test") as client:
            client.ehlo()
            client.mail("x@there.test")
            return client.rcpt(address)[0]

    assert answer("info@home.test") == 550
    aliases = relay.directory / "aliases"
    aliases.write_text("info: ann\nbad: |/bin/cat\n")
    relay.tell(signal.SIGHUP)
    eventually(lambda: "aliases:2" in relay.log and "the old configuration stays" in relay.log)
    assert (answer("info@home.test"), answer("staff@home.test")) == (550, 250)
    aliases.write_text("info: ann\n")
    relay.tell(signal.SIGHUP)
    eventually(lambda: "certificates reloaded" in relay.log)
    assert (answer("info@home.test"), answer("staff@home.test")) == (250, 550)


def test_verp(receivers: Receivers, relays: Relays) -> None:
    """Each recipient of the newsletter has a sender of its own."""
    receiver = receivers()
    relay, _ = ready(relays, receiver)
    with relay.client() as client:
        client.sendmail("n@news.test", ["u@there.test", "v@there.test"], CONTENT)
    receiver.wait(2)
    assert sorted(one[0] for one in receiver.envelopes) == [
        "n+u=there.test@news.test",
        "n+v=there.test@news.test",
    ]


def test_an_expanded_alias_is_reported(receivers: Receivers, relays: Relays) -> None:
    """NOTIFY=SUCCESS for an alias of several: "expanded", from here, at once (RFC 3461 §5.2.7)."""
    receiver = receivers()
    relay, _ = ready(relays, receiver)
    with relay.client() as client:
        client.sendmail("u@there.test", ["staff@home.test"], CONTENT, [], ["NOTIFY=SUCCESS"])
    receiver.wait(3)
    (report,) = [m for m in receiver.messages() if m.get_content_type() == "multipart/report"]
    status = list(report.iter_parts())[1].get_payload()
    assert [(one["Final-Recipient"], one["Action"]) for one in status[1:]] == [
        ("rfc822; staff@home.test", "expanded")
    ]
