"""Mail from outside in the running service: verified, traced, refused after a reload."""

import re
import signal
import smtplib
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from receiver import Receiver
from relay_process import Relay, eventually, free_port
from stub_dns import StubDns

from mta.dkim.keys import Key, strings
from mta.dkim.rules import Keyring, Rules

pytestmark = pytest.mark.flow

OUTSIDE = """
[[listener]]
name = "mx"
endpoint = "127.0.0.1:{port}"
tls = "none"
auth = "none"
trusted_networks = ["192.0.2.0/24"]

[reports]
postmaster = "pm@there.test"

[incoming]
authserv_id = "home.test"

[[sender]]
name = "people"
addresses = ["home.test"]

[[dnsbl]]
zone = "bl.test"

[[dnsbl]]
zone = "gone.test"
"""
MESSAGE = b"From: Ann <ann@sender.test>\r\nSubject: verified\r\n\r\nHello\r\n"
FORGED = b"Authentication-Results: home.test; dmarc=pass\r\n"


def send(port: int, sender: str, message: bytes) -> None:
    """Bring a message from outside, for the postmaster."""
    with smtplib.SMTP("127.0.0.1", port, "mail.sender.test", 30) as client:
        client.sendmail(sender, ["postmaster"], message)


def test_mail_from_outside(
    receivers: Callable[..., Receiver], relays: Callable[..., Relay], name_server: StubDns
) -> None:
    """Results arrive on top, forged ones don't; trace and log tell; refusing is a reload away."""
    key = Key("sender.test", "k", rsa.generate_private_key(public_exponent=65537, key_size=2048))
    name_server.zone |= {
        ("sender.test", "TXT"): ['"v=spf1 ip4:127.0.0.1 -all"'],
        ("_dmarc.sender.test", "TXT"): ['"v=DMARC1; p=reject"'],
        (key.record_name, "TXT"): [" ".join(f'"{one}"' for one in strings(key.record))],
        ("2.0.0.127.bl.test", "A"): ["127.0.0.2"],
    }
    receiver, port = receivers(), free_port()
    relay = relays(receiver.port, OUTSIDE.format(port=port))
    relay.start()
    eventually(lambda: "bl.test is in force for IPv4" in relay.log)
    eventually(lambda: "gone.test is out of force: 127.0.0.2, which" in relay.log)

    signing, _ = Rules(Keyring([key])).begin(MESSAGE, 1_764_028_800, whole=True) or (None, 0)
    assert signing is not None
    send(port, "ann@sender.test", FORGED + signing.finish() + MESSAGE)
    receiver.wait(1)
    octets = receiver.envelopes[0][2]
    assert octets.startswith(b"Authentication-Results: home.test;\r\n\tspf=pass"), octets
    assert b"dkim=pass header.d=sender.test" in octets
    assert b"dmarc=pass" in octets
    assert octets.count(b"Authentication-Results") == 1
    said = "spf=pass(sender.test) dkim=pass(d=sender.test) dmarc=pass(sender.test)"
    eventually(lambda: f"verified: {said}" in relay.log)
    (id_,) = re.findall(r"(\S+): verified: ", relay.log)
    assert said in relay.mta("trace", id_).stdout

    text = relay.config.read_text()
    relay.config.write_text(text.replace("[incoming]\n", '[incoming]\ndmarc_reject = "refuse"\n'))
    relay.tell(signal.SIGHUP)
    eventually(lambda: "reloaded" in relay.log)
    with pytest.raises(smtplib.SMTPDataError) as refused:
        send(port, "x@evil.test", MESSAGE)
    assert refused.value.smtp_code == 550
    assert refused.value.smtp_error.startswith(b"5.7.26 ")
    eventually(lambda: "dmarc=fail(sender.test)" in relay.log)
    send(port, "ann@sender.test", MESSAGE)
    receiver.wait(2)
    relay.send(["u@there.test"], "submitted")
    receiver.wait(3)
    assert b"Authentication-Results" not in receiver.envelopes[2][2]
    assert relay.stop() == 0
    assert "Traceback" not in relay.log


OWN = """
[[domain]]
name = "there.test"
"""


def test_listed_clients_and_domains_of_ours(
    receivers: Callable[..., Receiver], relays: Callable[..., Relay], name_server: StubDns
) -> None:
    """A client on a list brings no mail for a domain of ours, others do, and it is verified."""
    name_server.zone |= {
        ("2.0.0.127.bl.test", "A"): ["127.0.0.2"],
        ("9.0.0.127.bl.test", "A"): ["127.0.0.4"],
    }
    receiver, port = receivers(), free_port()
    text = OUTSIDE.replace('auth = "none"\n', 'auth = "none"\nincoming = true\n')
    relay = relays(receiver.port, text.format(port=port) + OWN)
    relay.start()
    eventually(lambda: "bl.test is in force for IPv4" in relay.log)
    with smtplib.SMTP("127.0.0.1", port, "x.test", 30, ("127.0.0.9", 0)) as client:
        client.ehlo()
        client.mail("a@sender.test")
        said = client.rcpt("u@there.test")
        assert said == (550, b"5.7.1 Client host [127.0.0.9] is listed by bl.test")
        assert client.rcpt("postmaster@there.test")[0] == 250
    with smtplib.SMTP("127.0.0.1", port, "x.test", 30) as client:
        client.sendmail("a@sender.test", ["u@there.test"], MESSAGE)
        assert client.docmd("MAIL FROM:<a@sender.test>")[0] == 250
        assert client.rcpt("u@elsewhere.test")[0] == 550
    receiver.wait(1)
    assert receiver.envelopes[0][2].startswith(b"Authentication-Results: home.test;")
    eventually(lambda: "listed by bl.test: 127.0.0.9 (127.0.0.4)" in relay.log)
