"""ESMTP extensions from end to end: smtplib submits, aiosmtpd receives."""

import json
import os
import smtplib
import socket
import subprocess
import threading
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import dkim
import pytest
from receiver import Receiver
from relay_process import LOGIN, PASSWORD, Relay, eventually, installed

pytestmark = pytest.mark.flow

Receivers = Callable[..., Receiver]
Relays = Callable[..., Relay]


def utf8_message() -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"] = "jörg@home.test", "用户@there.test"
    message["Subject"] = "Grüße"
    message.set_content("Hello.\n")
    return message


def test_smtputf8_from_smtplib_to_aiosmtpd(receivers: Receivers, relays: Relays) -> None:
    """Addresses and header arrive in UTF-8 as they were sent, and the trace shows them."""
    receiver = receivers(enable_SMTPUTF8=True)
    relay = relays(receiver.port)
    relay.start()
    with relay.client() as client:
        client.send_message(utf8_message())
    receiver.wait(1)
    sender, recipients, content = receiver.envelopes[0]
    assert (sender, recipients) == ("jörg@home.test", ("用户@there.test",))
    assert "\r\nSubject: Grüße\r\n".encode() in content
    assert b"with UTF8SMTPSA" in content
    eventually(lambda: "status=sent" in relay.log)
    assert "to=<用户@there.test>" in relay.log
    told = relay.mta("trace", "用户@there.test").stdout
    assert "jörg@home.test" in told
    assert "SMTPUTF8" in told


@pytest.mark.skipif(not installed("curl"), reason="curl is not installed")
def test_curl_submits_with_smtputf8(tmp_path: Path, receivers: Receivers, relays: Relays) -> None:
    """curl gives the parameter by itself where an address is not ASCII."""
    receiver = receivers(enable_SMTPUTF8=True)
    relay = relays(receiver.port)
    relay.start()
    upload = tmp_path / "message"
    upload.write_text("From: jörg@home.test\r\nSubject: Grüße\r\n\r\nHello.\r\n", newline="")
    port = relay.smtps_port
    done = subprocess.run(
        [
            "curl", "--silent", "--show-error", "--url", f"smtps://relay.test:{port}",
            "--connect-to", f"relay.test:{port}:127.0.0.1:{port}",
            "--cacert", str(relay.directory / "certificate.pem"), "--user", f"{LOGIN}:{PASSWORD}",
            "--mail-from", "jörg@home.test", "--mail-rcpt", "bücher@there.test",
            "--upload-file", str(upload),
        ],
        check=False, capture_output=True, text=True, timeout=60,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    receiver.wait(1)
    assert receiver.envelopes[0][:2] == ("jörg@home.test", ("bücher@there.test",))


def test_smtputf8_to_a_host_without_it_is_bounced(receivers: Receivers, relays: Relays) -> None:
    """5.6.7, in the log and in the trace; nothing of the message has gone out in another form."""
    receiver = receivers(enable_SMTPUTF8=False)
    relay = relays(receiver.port)
    relay.start()
    with relay.client() as client:
        client.send_message(utf8_message())
    eventually(lambda: "dsn=5.6.7, status=bounced" in relay.log)
    assert receiver.envelopes == []


def test_report_about_a_utf8_recipient_reaches_an_ascii_sender(
    receivers: Receivers, relays: Relays
) -> None:
    """RFC 6533: the address is in the report in its ASCII form, the header as it was."""
    receiver = receivers(enable_SMTPUTF8=False)
    relay = relays(receiver.port)
    relay.start()
    message = utf8_message()
    message.replace_header("From", "app@home.test")
    with relay.client() as client:
        client.send_message(message)
    receiver.wait(1)
    (report,) = receiver.messages()
    assert report.get_content_type() == "multipart/report"
    text = report.as_string()
    assert "Final-Recipient: utf-8; \\x{7528}\\x{6237}@there.test" in text
    assert "message/global-headers" in text


def test_chunks_over_tls(receivers: Receivers, relays: Relays) -> None:
    """CHUNKING in, DATA out: dots are stuffed for the next hop, and come out as they went in."""
    receiver = receivers(enable_SMTPUTF8=False)
    relay = relays(receiver.port)
    relay.start()
    body = b"Subject: chunks\r\n\r\n.\r\n..two\r\n.\r\nMAIL FROM:<evil@there.test>\r\n"
    with relay.client() as client:
        client.ehlo()
        assert client.has_extn("chunking")
        client.mail("app@home.test")
        client.rcpt("u@there.test")
        first, last = body[:22], body[22:]
        client.send(b"BDAT %d\r\n%s" % (len(first), first))
        assert client.getreply()[0] == 250
        client.send(b"BDAT %d LAST\r\n%s" % (len(last), last))
        assert client.getreply()[0] == 250
    receiver.wait(1)
    assert receiver.envelopes[0][2].endswith(body[17:])
    assert len(receiver.envelopes) == 1


def test_binarymime_to_a_host_without_it_is_bounced(receivers: Receivers, relays: Relays) -> None:
    """5.6.3, not converted; the sender gets a report."""
    receiver = receivers(enable_SMTPUTF8=False)
    relay = relays(receiver.port)
    relay.start()
    with relay.client() as client:
        client.ehlo()
        client.mail("app@home.test", ["BODY=BINARYMIME"])
        client.rcpt("u@there.test")
        client.send(b"BDAT 14 LAST\r\nA: b\r\n\r\n\0\n\xff\r\n!")
        assert client.getreply()[0] == 250
    receiver.wait(1)
    assert "Status: 5.6.3" in receiver.messages()[0].as_string()


def test_requiretls_by_mail_exchangers_is_bounced(receivers: Receivers, relays: Relays) -> None:
    """5.7.30 with its reason: nothing proves the exchanger; no host hears of the message.

    The report is not lost for that: it goes, without the body (RFC 8689 §5).
    """
    receiver = receivers(enable_SMTPUTF8=False)
    relay = relays(receiver.port)
    relay.start()
    message = utf8_message()
    message.replace_header("From", "app@home.test")
    message.replace_header("To", "u@there.test")
    message.replace_header("Subject", "secret")
    with relay.client() as client:
        assert client.ehlo()[0] == 250
        assert client.has_extn("requiretls")
        client.send_message(message, mail_options=["REQUIRETLS"])
    eventually(lambda: "dsn=5.7.30, status=bounced" in relay.log)
    assert "requires=REQUIRETLS" in relay.log
    traced = json.loads(relay.mta("trace", "u@there.test", "--json").stdout.splitlines()[0])
    assert "neither DNSSEC nor MTA-STS" in json.dumps(traced)
    eventually(lambda: receiver.envelopes)
    ((sender, recipients, _),) = receiver.envelopes
    assert (sender, recipients) == ("", ("app@home.test",))
    assert "Status: 5.7.30" in receiver.messages()[0].as_string()


def test_limits_are_announced(relays: Relays) -> None:
    """smtplib sees what RFC 9422 says, and the 452 comes where it says."""
    relay = relays(1, extra="\n[limits]\nrecipients = 100\n")
    relay.start()
    with relay.client() as client:
        client.ehlo()
        assert client.esmtp_features["limits"] == "RCPTMAX=100"
        client.mail("app@home.test")
        codes = [client.rcpt(f"r{n}@there.test")[0] for n in range(101)]
    assert codes == [250] * 100 + [452]
    assert isinstance(client, smtplib.SMTP_SSL)


class DsnHost:
    """A host that has DSN and takes one connection; ``said`` is what it was told."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.said: list[bytes] = []
        self.content = b""
        self.done = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        connection, _ = self._listening.accept()
        with self._listening, connection, connection.makefile("rwb", 0) as stream:
            stream.write(b"220 there.test ESMTP\r\n")
            while line := stream.readline():
                self.said.append(line)
                if line.startswith(b"EHLO"):
                    stream.write(b"250-there.test\r\n250-DSN\r\n250 SIZE\r\n")
                elif line.startswith(b"DATA"):
                    stream.write(b"354 Go\r\n")
                    while (line := stream.readline()) != b".\r\n":
                        self.content += line.removeprefix(b".")
                    stream.write(b"250 2.0.0 Taken\r\n")
                    self.done.set()
                else:
                    stream.write(b"250 2.0.0 Ok\r\n")


def test_chunks_with_dsn_parameters_arrive_signed(relays: Relays) -> None:
    """BDAT in, NOTIFY and RET handed on, and a signature that verifies where it arrives."""
    host = DsnHost()
    relay = relays(host.port)
    relay.mta("dkim", "generate", "home.test", "--type", "ed25519", "--selector", "s1")
    relay.start()
    content = b"From: app@home.test\r\nSubject: all\r\n\r\n.dot  \r\n\r\n"
    with relay.client() as client:
        client.ehlo()
        client.mail("app@home.test", ["RET=HDRS", "ENVID=e1"])
        client.rcpt("u@there.test", ["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;first@there.test"])
        for piece, last in ((content[:30], b""), (content[30:], b" LAST")):
            client.send(b"BDAT %d%s\r\n%s" % (len(piece), last, piece))
            assert client.getreply()[0] == 250
    assert host.done.wait(30)
    told = [line for line in host.said if line.startswith((b"MAIL", b"RCPT"))]
    assert told[0].endswith(b" RET=HDRS ENVID=e1\r\n")
    orcpt = b"ORCPT=rfc822;first@there.test"
    assert told[1:] == [b"RCPT TO:<u@there.test> NOTIFY=SUCCESS,FAILURE " + orcpt + b"\r\n"]
    record = relay.mta("dkim", "dns", "home.test").stdout.partition("IN TXT ( ")[2]
    published = "".join(record.split('"')[1::2]).encode()
    assert dkim.DKIM(host.content).verify(dnsfunc=lambda name, timeout=5: published)
    eventually(lambda: "status=sent" in relay.log)
