"""Listeners: how many may come, who may relay, how the service stops, new settings."""

import ipaddress
from dataclasses import replace

import pytest

from mta.inbound.settings import AuthMode, ListenerSettings, TlsMode
from mta.mail.events import (
    Authenticated,
    AuthenticationFailed,
    Disconnected,
    Refused,
)
from mta.smtp.sasl import Claim

START = b"HELO me\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n"


def test_connection_limit(world):
    """One connection too many is told so and closed, and one that ends makes room."""
    world.limit(connections=2)
    first, second, third = (world.connect() for _ in range(3))
    assert first.read() == second.read() == b"220 relay.example.net ESMTP\r\n"
    assert third.read() == b"421 4.7.0 Too many connections; try again later\r\n"
    assert third.closed
    assert world.of(Refused)[0].reason == "connection limit"
    third.leave()
    first.leave()
    assert world.connect().read().startswith(b"220 ")


def test_no_descriptor_left(world):
    """A client that there is no descriptor for is told so, and the others stay."""
    first = world.connect()
    world.crowded = True
    second = world.connect()
    assert second.read() == b"421 4.3.2 Too busy; try again later\r\n"
    assert second.closed
    assert not first.closed
    world.crowded = False
    assert world.connect().read().startswith(b"220 ")


def test_connections_of_one_client(world):
    """One address has a limit of its own; others and trusted networks don't feel it."""
    world.limit(connections_per_client=1)
    stranger = [world.connect("smtp", "198.51.100.1") for _ in range(2)]
    assert stranger[0].read().startswith(b"220 ")
    assert stranger[1].read().startswith(b"421 4.7.0 Too many connections from your address")
    assert world.connect("smtp", "198.51.100.2").read().startswith(b"220 ")
    trusted = [world.connect("smtp", "192.0.2.1") for _ in range(3)]
    assert all(client.read().startswith(b"220 ") for client in trusted)
    stranger[0].leave()
    assert world.connect("smtp", "198.51.100.1").read().startswith(b"220 ")


def test_too_many_connections_before_tls(world):
    """Connection flood on the TLS port: a refusal costs a handshake, so few get one."""
    world.limit(connections=0)
    clients = [world.connect("smtps", tls=False) for _ in range(150)]
    assert sum(getattr(client.wire, "aborted", False) for client in clients) == 50
    clients[0].session.handshakeCompleted()
    assert clients[0].read().startswith(b"421 4.7.0 ")


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("192.0.2.1", True),
        ("::ffff:192.0.2.1", True),
        ("192.0.3.1", False),
        ("2001:db8::1", True),
        ("2001:db8::1%eth0", True),
        ("::1", False),
        ("", False),
        ("unix", False),
    ],
)
def test_trusted_networks(address, trusted):
    """IPv4, IPv6, IPv4 mapped into IPv6; what is no address is trusted by nobody."""
    networks = (ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("2001:db8::/32"))
    listener = ListenerSettings("x", "tcp:25", trusted=networks)
    assert listener.trusts(address) is trusted


def test_optional_authentication_over_tls(world):
    """A stranger over TLS is told that authentication would help, and it does."""
    client = world.connect("smtp", "198.51.100.1")
    client.say(b"EHLO me\r\nSTARTTLS\r\n")
    client.session.handshakeCompleted()
    said = client.say(b"EHLO me\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\n")
    assert said.endswith(b"530 5.7.0 Authentication required\r\n")
    said = client.say(b"RSET\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\n" + START[9:])
    assert said.endswith(b"354 End data with <CR><LF>.<CR><LF>\r\n")


def test_required_means_required(world):
    """Where authentication is required a trusted network is no way round it."""
    listener = replace(
        world.LISTENERS["smtps"],
        tls=TlsMode.NONE,
        trusted=(ipaddress.ip_network("192.0.2.0/24"),),
    )
    client = world.dial(world.inbound.factory(listener), "192.0.2.7")
    assert client.read().startswith(b"220 ")
    assert b"530 5.7.0 " in client.say(b"EHLO me\r\nMAIL FROM:<a@example.org>\r\n")


def test_reason_is_for_the_log_only(world):
    """An open relay probe is told nothing but no; the log knows who wanted what and why."""
    client = world.connect("smtp", "198.51.100.66")
    client.say(b"EHLO me\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\n")
    (event,) = world.of(Refused)
    assert event.origin.client_address == "198.51.100.66"
    assert (event.command, event.sender, event.recipient) == (
        "RCPT",
        "a@example.org",
        "b@example.com",
    )
    assert event.reason == "not authenticated and not from a trusted network"
    assert event.reply == "550 5.7.1 Relaying is not permitted from here"


def test_postmaster_with_an_address(world):
    """RFC 5321 §4.5.1: with somebody named for it, everybody may write to <postmaster>."""
    world.settings = replace(world.settings, postmaster="root@example.org")
    world.inbound.use(world.settings)
    client = world.connect("smtp", "198.51.100.66")
    client.say(START.replace(b"b@example.com", b"postmaster"))
    client.say(b"help\r\n.\r\n")
    assert world.spool.accepted[0].recipients[0].address == "root@example.org"


def test_authentication_events(world):
    """The log learns of successes and failures, never of passwords, and no name breaks a line."""
    client = world.connect("smtps")
    # x, newline, y / hunter2
    client.say(b"EHLO me\r\nAUTH PLAIN AHgKeQBodW50ZXIy\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\n")
    (failed,), (succeeded,) = world.of(AuthenticationFailed), world.of(Authenticated)
    assert (failed.login, failed.mechanism, failed.reason) == ("x?y", "PLAIN", "credentials")
    assert (succeeded.origin.login, succeeded.mechanism) == ("ann", "PLAIN")
    assert "hunter2" not in repr(world.events)
    assert "secret" not in repr(world.events)
    assert "secret" not in repr(Claim("PLAIN", "ann", "secret"))


def test_foreseen_by_nobody_is_454(world):
    """Whatever goes wrong with the accounts, it is not the client's fault."""
    world.accounts.error = ZeroDivisionError()
    client = world.connect("smtps")
    assert b"454 4.7.0 " in client.say(b"EHLO me\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\n")
    assert world.of(AuthenticationFailed)[0].reason == "unavailable"


def test_guessing_passwords_ends_the_session(world):
    """Brute force: wrong passwords are errors, and errors are limited."""
    client = world.connect("smtps")
    client.say(b"EHLO me\r\n")
    said = b"".join(client.say(b"AUTH PLAIN AGFubgB4\r\n") for _ in range(40))
    assert said.count(b"535 5.7.8 ") == 21
    assert said.endswith(b"421 4.7.0 Too many errors; closing\r\n")


def test_shutdown_of_idle_sessions(world):
    """SIGTERM: who is idle is told 421, and the end of all is waited for."""
    clients = [world.connect() for _ in range(2)]
    clients[1].say(START[:40])
    clients[0].read()
    done = world.inbound.shutdown(10)
    for client in clients:
        assert client.read() == b"421 4.3.2 The service is stopping; try again later\r\n"
        assert client.closed
    assert not done.called
    for client in clients:
        client.leave()
    assert done.called
    assert [event.reason for event in world.of(Disconnected)] == ["shutdown"] * 2
    assert world.clock.getDelayedCalls() == []


def test_shutdown_lets_a_message_finish(world):
    """A DATA in progress may finish, and is answered before the 421."""
    client = world.connect()
    client.say(START + b"half ")
    done = world.inbound.shutdown(10)
    assert client.read() == b""
    world.spool.held = []
    assert client.say(b"and half\r\n.\r\nMAIL FROM:<a@example.org>\r\n") == b""
    world.spool.pump()
    first, second, third = client.read().split(b"\r\n")
    assert first.startswith(b"250 2.0.0 ")
    assert (second[:4], third) == (b"421 ", b"")
    client.leave()
    assert done.called
    assert len(world.spool.accepted) == 1


def test_shutdown_is_bounded(world):
    """After the grace what is not finished is cut off, and nothing of it is stored."""
    client = world.connect()
    client.say(START + b"half ")
    done = world.inbound.shutdown(10)
    world.clock.advance(11)
    assert client.wire.aborted
    client.leave()
    assert done.called
    assert world.spool.accepted == []


def test_nobody_comes_in_while_closing(world):
    """Who connects while the service stops is told so."""
    assert world.inbound.shutdown(10).called
    assert world.connect().read().startswith(b"421 4.3.2 ")


def test_new_settings(world):
    """A reload is for sessions that begin after it."""
    old = world.connect()
    listeners = tuple(
        replace(listener, auth=AuthMode.REQUIRED, trusted=())
        for listener in world.settings.listeners
    )
    world.inbound.use(replace(world.settings, host_name="new.example.net", listeners=listeners))
    new = world.inbound._factories[0].buildProtocol(None)
    assert new._listener.trusted == ()
    assert new._core._settings.host_name == "new.example.net"
    assert b"250 2.1.5" in old.say(START)


def test_listeners_that_can_not_work(world):
    """TLS without a certificate, AUTH without accounts: said at the start."""
    world.inbound._reception.certificates = None
    with pytest.raises(ValueError, match="smtps needs a certificate"):
        world.inbound.factory(world.LISTENERS["smtps"])
    world.inbound._reception.accounts = None
    listener = ListenerSettings("x", "tcp:25", TlsMode.NONE, AuthMode.OPTIONAL)
    with pytest.raises(ValueError, match="x needs accounts"):
        world.inbound.factory(listener)
