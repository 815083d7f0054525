"""Attacks that no dialog can show: what they cost, and what they leave in a message."""

import tracemalloc

import pytest
from twisted.internet.defer import succeed

from mta.mail.events import Accepted, Refused

LOGIN = b"EHLO me\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\n"  # ann, secret
START = b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n"


@pytest.mark.parametrize(
    "login", ["ann\r\nBcc: eve@evil.test", "ann)\r\n\r\nbody", "ann\n", "a;b", "ä\u202e", "\0"]
)
def test_attack_header_injection_through_an_account_name(world, login):
    """Attack: an account whose name has line ends in it.  No field of ours names an account."""
    world.accounts.check = lambda name, password: succeed(login)
    client = world.connect("smtps")
    assert b"235 2.7.0" in client.say(LOGIN)
    client.say(START)
    client.say(b"Subject: x\r\n\r\n")
    assert client.say(b".\r\n").startswith(b"250 ")
    (item,) = world.spool.accepted
    assert item.envelope.origin.login == login
    header = world.spool.body(item).split(b"Subject: x\r\n")[0]
    names = [line.partition(b":")[0] for line in header.split(b"\r\n") if line[:1].strip()]
    assert names == [b"Received", b"From", b"Date", b"Message-ID"]
    assert login.encode() not in header


@pytest.mark.parametrize("command", [b"MAIL FROM:<a@example.org>", b"RCPT TO:<b@example.com>"])
def test_attack_thousands_of_parameters(world, command):
    """Attack: as many parameters as a line holds, and lines beyond that; each is one error."""
    client = world.connect()
    client.say(b"EHLO me\r\n")
    if command.startswith(b"RCPT"):
        client.say(b"MAIL FROM:<a@example.org>\r\n")
    fits = command + b"".join(b" A%d" % n for n in range(300)) + b"\r\n"
    refusal = b"501 5.5.4 Syntax of the parameters: there are more than 16 parameters\r\n"
    assert client.say(fits) == refusal
    tracemalloc.start()
    for _ in range(1000):
        assert client.say(b" A=b" * 1000 if _ else command) == b""
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 200_000  # of four megabytes
    assert client.say(b"\r\n") == b"500 5.5.2 The line is too long\r\n"
    assert len(world.of(Refused)) == 2


def test_attack_thousands_of_recipients_pipelined(world):
    """Attack: more RCPT than a message may have, in one write; the session goes on behind them."""
    world.limit(recipients=100, errors=10)
    client = world.connect()
    client.say(b"EHLO me\r\nMAIL FROM:<a@example.org>\r\n")
    said = client.say(b"".join(b"RCPT TO:<r%d@example.com>\r\n" % n for n in range(5000)))
    assert said.count(b"250 2.1.5") == 100
    assert said.count(b"452 4.5.3") == 4900
    client.say(b"DATA\r\nSubject: x\r\n\r\n.\r\n")
    assert [len(event.recipients) for event in world.of(Accepted)] == [100]


@pytest.mark.parametrize(
    "sent",
    [
        b"EHLO me\r\n" + b"x" * 2047,  # a command that does not end
        b"EHLO me\r\nAUTH PLAIN " + b"A" * 12_000,  # the longest line that there is
        b"EHLO me\r\nAUTH PLAIN\r\n" + b"A" * 12_000,
        b"x" * 1_000_000,
    ],
)
def test_attack_memory_of_clients_that_have_not_logged_in(world, sent):
    """Attack: many connections, each with as much as it can have held; it stays a few KiB each."""
    world.limit(connections_per_client=1000)
    count = 100
    clients = [world.connect("smtps", f"203.0.113.{n}") for n in range(count)]
    tracemalloc.start()
    for client in clients:
        for at in range(0, len(sent), 4096):
            client.session.dataReceived(bytes(bytearray(sent[at : at + 4096])))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held / count < 24 * 1024
    assert not any(client.closed for client in clients)


def test_attack_content_before_a_log_in(world):
    """Attack: DATA and BDAT by who may not even begin: nothing of it is kept."""
    client = world.connect("smtps")
    client.say(b"EHLO me\r\n")
    assert client.say(START).startswith(b"530 5.7.0 Authentication required\r\n")
    client.say(b"BDAT 1000000\r\n")
    for _ in range(99):
        client.session.dataReceived(b"x" * 10_000)
    assert world.inbound._reception.held == 0
    assert client.session._core.pending <= 10_000
    assert world.spool.writes == 0
    assert b"503 5.5.1" in client.say(b"x" * 10_000)
