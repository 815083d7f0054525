"""Local delivery with the real thing at the other end: Dovecot takes LMTP and reads Maildirs."""

from collections.abc import Callable, Iterator
from pathlib import Path

import dovecot
import pytest
from dovecot import Dovecot
from relay_process import Relay, eventually, free_port
from stub_dns import StubDns

pytestmark = [
    pytest.mark.flow,
    pytest.mark.skipif(bool(dovecot.missing()), reason=dovecot.missing() or "all is there"),
]

USERS = {
    "anna@l.test": "",
    "bert@l.test": "",
    "full@l.test": "userdb_quota_rule=*:storage=1B",
}
ROUTE = """
[[route]]
name = "mailboxes"
recipient_domains = ["l.test"]
{}
"""


@pytest.fixture
def relay(relays: Callable[..., Relay]) -> Relay:
    """An installation; its certificate serves Dovecot too."""
    return relays(free_port())


@pytest.fixture
def server(relay: Relay) -> Iterator[Dovecot]:
    one = Dovecot(relay.directory, USERS)
    yield one
    one.close()


def route(relay: Relay, target: str) -> None:
    """Let mail for l.test go to ``target``, before all other routes."""
    text = relay.config.read_text()
    relay.config.write_text(text.replace("\n[[route]]", ROUTE.format(target) + "\n[[route]]", 1))


def trace(relay: Relay, recipient: str) -> str:
    return relay.mta("trace", recipient, check=False).stdout


LMTP = {
    "socket": 'lmtp = {{ socket = "{0.socket}" }}',
    "tcp": 'lmtp = {{ host = "127.0.0.1", port = {0.lmtp} }}',
    "starttls": 'lmtp = {{ host = "relay.test", port = {0.lmtp}, tls = "starttls" }}',
    "implicit": 'lmtp = {{ host = "relay.test", port = {0.lmtps}, tls = "implicit" }}',
}


@pytest.mark.parametrize("way", LMTP)
def test_dovecot_receives_by_lmtp(
    way: str, relay: Relay, server: Dovecot, name_server: StubDns
) -> None:
    """One transaction: two delivered, one unknown at RCPT, one over quota after the dot."""
    name_server.zone[("relay.test", "A")] = ["127.0.0.1"]
    route(relay, LMTP[way].format(server))
    with relay.config.open("a") as config:
        config.write(f'\n[tls]\ntrust = "{relay.directory / "certificate.pem"}"\n')
    relay.start()
    names = ("anna", "nobody", "full", "bert")
    relay.send([f"{name}@l.test" for name in names], "by LMTP")
    eventually(lambda: relay.log.count(" status=") >= 4)
    lines = {name: line for name in names for line in relay.log.splitlines()
             if f"to=<{name}@l.test>" in line}  # fmt: skip
    assert "status=sent" in lines["anna"], server.log
    assert "status=sent" in lines["bert"]
    assert "status=bounced" in lines["nobody"]
    assert "550 5.1.1" in lines["nobody"]
    assert "in reply to RCPT" in lines["nobody"]
    assert "552 5.2.2" in lines["full"]
    assert "in reply to end of data" in lines["full"]
    if way in ("starttls", "implicit"):
        assert "tls=verified/" in lines["anna"]
    for name in ("anna", "bert"):
        (message,) = server.messages(f"{name}@l.test")
        assert b"\r\nSubject: by LMTP\r\n" in message
    assert server.messages("full@l.test") == []


def test_dovecot_reads_our_maildir(relay: Relay, server: Dovecot) -> None:
    """What we have written is read back by IMAP, as new mail, whole and with CRLF."""
    route(relay, f'maildir = {{ path = "{server.mail}/{{domain}}/{{local}}", create = true }}')
    relay.start()
    relay.send(["Anna@L.test", "bert@l.test"], "into a Maildir")
    eventually(lambda: relay.log.count(" status=sent") >= 2)
    server.adopt()
    for name in ("anna", "bert"):
        (message,) = server.messages(f"{name}@l.test")
        assert message.startswith(b"Return-Path: <app@home.test>\r\nDelivered-To: ")
        assert message.endswith(b"\r\n\r\nHello.\r\n")
    (file,) = (server.mail / "l.test" / "anna" / "new").glob("*") or (
        server.mail / "l.test" / "anna" / "cur"
    ).glob("*")
    assert file.stat().st_size == int(file.name.partition(",S=")[2].partition(":")[0])
    told = trace(relay, "bert@l.test")
    assert str(server.mail / "l.test" / "bert") in told
    assert "saved as" in told


def test_unknown_user_of_a_maildir(relay: Relay, tmp_path: Path) -> None:
    """Without a directory there is no user: the sender's mail is refused with 5.1.1."""
    (tmp_path / "mail" / "l.test" / "anna").mkdir(parents=True)
    route(relay, f'maildir = {{ path = "{tmp_path}/mail/{{domain}}/{{local}}" }}')
    relay.start()
    relay.send(["anna@l.test", "nobody@l.test"], "one of two")
    eventually(lambda: relay.log.count(" status=") >= 2)
    assert "to=<nobody@l.test>" in relay.log
    assert "dsn=5.1.1, status=bounced" in relay.log
    assert len(list((tmp_path / "mail/l.test/anna/new").iterdir())) == 1
