"""Who the client is when a proxy says it: by the PROXY header, and by XCLIENT."""

import ipaddress
import struct
from dataclasses import replace

import pytest
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from mta.inbound.settings import AuthMode, TlsMode
from mta.log.text import lines
from mta.mail.events import Accepted, Authenticated, AuthenticationFailed, Disconnected, Refused
from mta.policy.guard import GuardSettings
from mta.policy.limits import Bound, LimitRule, Limits, Measure, Per
from mta.policy.matching import Who
from mta.policy.rules import Policy
from mta.tls.clients import ClientCertificate

PROXY, STRANGER = "10.0.0.5", "198.51.100.9"
TRUSTED = "192.0.2.7"
START = b"EHLO me\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\n"
GREETING = b"220 relay.example.net ESMTP\r\n"


def text(address):
    """A header of version 1."""
    return f"PROXY TCP4 {address} 198.51.100.1 4711 25\r\n".encode()


def binary(address):
    """A header of version 2, with an additional value."""
    block = ipaddress.ip_address(address).packed + b"\xc6\x33\x64\x01" + struct.pack("!HH", 9, 25)
    block += b"\x04\x00\x01x"
    return b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H", len(block)) + block


@pytest.fixture
def door(world):
    """A listener behind a proxy, which is itself in a trusted network."""
    listener = replace(
        world.LISTENERS["plain"],
        name="fronted",
        proxy=(ipaddress.ip_network("10.0.0.0/8"),),
        trusted=(*world.LISTENERS["plain"].trusted, ipaddress.ip_network("10.0.0.0/8")),
    )
    return world.inbound.factory(listener)


@pytest.mark.parametrize("header", [text, binary])
@pytest.mark.parametrize("way", ["whole", "octet by octet", "with a tail"])
def test_the_client_is_who_the_header_says(world, door, header, way):
    """Trusted networks, Received and the log know the client; the log knows the proxy too."""
    client = world.dial(door, PROXY)
    assert client.read() == b""
    octets = header(TRUSTED) + (START if way == "with a tail" else b"")
    if way == "octet by octet":
        for octet in octets:
            client.wire.protocol.dataReceived(bytes([octet]))
    else:
        client.wire.protocol.dataReceived(octets)
    said = client.read()
    assert said.startswith(GREETING)
    if way != "with a tail":
        said += client.hear(START)
    assert said.endswith(b"250 2.1.5 Ok\r\n")
    assert b"250 2.0.0 " in client.hear(b"DATA\r\nSubject: x\r\n\r\n.\r\n")
    (item,) = world.spool.accepted
    assert item.chunks[0].startswith(b"Received: from me ([192.0.2.7])\r\n")
    assert item.envelope.origin.client_address == TRUSTED
    assert item.envelope.origin.proxy == PROXY
    _, told = lines(world.of(Accepted)[0])[0]
    assert f"client=unknown[{TRUSTED}], listener=fronted, proxy=[{PROXY}], proto=" in told
    client.hear(b"QUIT\r\n")
    client.wire.protocol.connectionLost(Failure(ConnectionDone()))
    assert world.inbound.sessions == 0
    _, told = lines(world.of(Disconnected)[0])[0]
    assert told.startswith(f"disconnect from unknown[{TRUSTED}]")
    assert told.endswith(f" proxy=[{PROXY}]")


@pytest.mark.parametrize("first", [b"", text(TRUSTED), binary(TRUSTED), b"EHLO me\r\n"])
def test_proxy_header_from_an_unlisted_peer(world, door, first):
    """Attack: a stranger writes the header himself to be trusted.  No word is said to him."""
    assert door.buildProtocol(Peer(STRANGER)) is None
    (refused,) = world.of(Refused)
    assert (refused.origin.client_address, refused.command) == (STRANGER, "PROXY")
    assert refused.reason == "not a proxy that is listed"


def test_second_header(world, door):
    """Attack: a client behind the proxy writes a header of its own; it is no command."""
    client = world.dial(door, PROXY)
    client.wire.protocol.dataReceived(text(STRANGER) + text(TRUSTED) + START)
    said = client.read()
    assert b"500 5.5.1 Command not known" in said
    assert said.endswith(b"550 5.7.1 Relaying is not permitted from here\r\n")


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY UNKNOWN\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",  # LOCAL: the proxy looks whether we live
        b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\0",
    ],
)
def test_a_client_that_the_proxy_does_not_name(world, door, header):
    """Attack: a client whose address the proxy cannot tell has not the proxy's own trust."""
    client = world.dial(door, PROXY)
    client.wire.protocol.dataReceived(header)
    assert client.read() == GREETING
    assert client.hear(START).endswith(b"550 5.7.1 Relaying is not permitted from here\r\n")


def test_no_header(world, door):
    """A listed proxy that has forgotten the header is hung up on, and the log says why."""
    client = world.dial(door, PROXY)
    client.wire.protocol.dataReceived(b"EHLO me\r\n")
    assert (client.read(), client.wire.aborted) == (b"", True)
    assert "does not begin with a PROXY header" in world.of(Refused)[0].reason


def test_a_header_that_does_not_come(world, door):
    """Slow peers: there are five seconds for the header; a mere look at the port is no news."""
    client = world.dial(door, PROXY)
    client.wire.protocol.dataReceived(b"PROXY TCP4 ")
    world.clock.advance(4.9)
    assert not client.closed
    world.clock.advance(0.2)
    assert client.wire.aborted
    assert world.of(Refused)[0].reason == "PROXY header: it did not come in time"
    looking = world.dial(door, PROXY)
    looking.wire.protocol.connectionLost(Failure(ConnectionDone()))
    assert len(world.of(Refused)) == 1
    assert world.clock.getDelayedCalls() == []


def test_waiting_connections_are_bounded(world, door):
    """Connections without a header count; those that wait go when the service stops."""
    world.limit(connections=2)
    waiting = [world.dial(door, PROXY) for _ in range(2)]
    assert door.buildProtocol(Peer(PROXY)) is None
    assert world.of(Refused)[0].reason == "connection limit"
    world.inbound.shutdown(1)
    assert all(client.wire.aborted for client in waiting)


def test_connections_are_counted_for_the_client(world):
    """The limit of one client is the client's, not the proxy's."""
    world.limit(connections_per_client=1)
    listener = replace(world.LISTENERS["plain"], trusted=(), proxy=(ipaddress.ip_network(PROXY),))
    door = world.inbound.factory(listener)

    def greeted(address):
        client = world.dial(door, PROXY)
        client.wire.protocol.dataReceived(text(address))
        return client.read()

    assert greeted("198.51.100.1") == GREETING
    assert greeted("198.51.100.2") == GREETING
    assert greeted("198.51.100.1").startswith(b"421 4.7.0 Too many connections from your address")


def test_a_reload_puts_a_proxy_before_a_listener(world):
    """Who stands before a listener can change without a restart."""
    world.connect("plain", STRANGER)
    new = replace(world.LISTENERS["plain"], proxy=(ipaddress.ip_network(PROXY),))
    world.inbound.use(replace(world.settings, listeners=(new,)))
    assert world._factories["plain"].buildProtocol(Peer(STRANGER)) is None


class Peer:
    """An address as Twisted gives it."""

    def __init__(self, host):
        self.host = host


def introduced(world, command, address="203.0.113.5"):
    """A client that has begun with ``command``."""
    client = world.connect("introduced", address)
    client.read()
    client.said = client.say(command + b"\r\n")
    return client


def test_xclient_is_the_client(world):
    """Received and the log know the client by address and name; the log knows the proxy too."""
    client = introduced(world, b"XCLIENT ADDR=192.0.2.7 NAME=app.example.org HELO=app PROTO=ESMTP")
    assert client.said == GREETING
    assert client.say(START).endswith(b"250 2.1.5 Ok\r\n")
    assert b"250 2.0.0 " in client.say(b"DATA\r\nSubject: x\r\n\r\n.\r\n")
    (item,) = world.spool.accepted
    assert item.chunks[0].startswith(b"Received: from me (app.example.org [192.0.2.7])\r\n")
    _, told = lines(world.of(Accepted)[0])[0]
    assert "client=app.example.org[192.0.2.7], listener=introduced, proxy=[203.0.113.5]" in told


def test_hello_of_xclient_is_known_until_ehlo(world):
    """What is refused before EHLO is logged under the name that XCLIENT gave."""
    client = introduced(world, b"XCLIENT ADDR=192.0.2.7 HELO=app.example.org PROTO=ESMTP")
    client.say(b"MAIL FROM:<a@example.org>\r\n")
    origin = world.of(Refused)[-1].origin
    assert (origin.client_name, origin.client_address) == ("app.example.org", "192.0.2.7")


def test_xclient_from_an_unlisted_peer(world):
    """Attack: a stranger says that he is somebody trusted, or somebody who has logged in."""
    client = introduced(world, b"XCLIENT ADDR=192.0.2.7 LOGIN=ann", STRANGER)
    assert client.said == b"550 5.7.0 XCLIENT is not permitted from here\r\n"
    assert world.of(Refused)[0].origin.client_address == STRANGER
    assert client.say(START).endswith(b"550 5.7.1 Relaying is not permitted from here\r\n")


def test_an_introduced_client_cannot_introduce_itself(world):
    """Attack: the client says XCLIENT through a proxy that hands on all it says, as nginx does."""
    client = introduced(world, b"XCLIENT ADDR=198.51.100.9 NAME=app.example.org")
    assert client.said == GREETING
    refusal = b"550 5.7.0 XCLIENT is not permitted from here\r\n"
    assert client.say(b"XCLIENT ADDR=192.0.2.7\r\n") == refusal
    assert client.say(b"XCLIENT LOGIN=ann\r\n") == refusal
    assert b"XCLIENT" not in client.say(b"EHLO me\r\n")
    assert client.say(START).endswith(b"550 5.7.1 Relaying is not permitted from here\r\n")
    origin = world.of(Refused)[-1].origin
    assert (origin.client_address, origin.host_name, origin.proxy) == (
        STRANGER,
        "app.example.org",
        "203.0.113.5",
    )


def test_a_login_is_the_last_word_of_xclient(world):
    """Attack: who has logged in at the proxy says that he is another account."""
    client = introduced(world, b"XCLIENT LOGIN=ann")
    assert client.said == GREETING
    assert client.say(b"XCLIENT LOGIN=bob\r\n").startswith(b"550 5.7.0 ")


def test_xclient_in_parts(world):
    """A proxy whose words do not fit into a line says the address last."""
    client = introduced(world, b"XCLIENT NAME=app.example.org")
    assert client.said == GREETING
    assert client.say(b"XCLIENT ADDR=192.0.2.7\r\n") == GREETING
    assert client.say(START).endswith(b"250 2.1.5 Ok\r\n")


def test_the_certificate_of_the_proxy_is_not_the_clients(world):
    """Attack: a client behind a proxy that shows a certificate logs in with it."""
    listener = replace(
        world.LISTENERS["introduced"],
        tls=TlsMode.STARTTLS,
        auth=AuthMode.REQUIRED,
        mechanisms=("EXTERNAL", "PLAIN"),
    )
    client = world.dial(world.inbound.factory(listener), "203.0.113.5")
    session = client.session
    session._core.secured(certificate=True)
    session._dialogue.secured("TLSv1.3", ClientCertificate("00" * 32))
    assert b"AUTH EXTERNAL PLAIN" in client.say(b"EHLO me\r\n")
    assert client.say(b"XCLIENT ADDR=198.51.100.10\r\n") == GREETING
    assert b"250-AUTH PLAIN\r\n" in client.say(b"EHLO me\r\n")
    assert client.say(b"AUTH EXTERNAL =\r\n").startswith(b"504 5.5.4 ")
    assert session._dialogue._authentication.certificate is None


def test_xclient_behind_a_proxy_is_for_the_client_of_the_proxy(world):
    """Attack: a client behind a listed PROXY peer says XCLIENT; the peer's rights are not its."""
    listener = replace(
        world.LISTENERS["introduced"],
        proxy=(ipaddress.ip_network(PROXY),),
        xclient=(ipaddress.ip_network(PROXY),),
    )
    client = world.dial(world.inbound.factory(listener), PROXY)
    client.wire.protocol.dataReceived(text(STRANGER) + b"XCLIENT ADDR=192.0.2.7\r\n")
    assert client.read().endswith(b"550 5.7.0 XCLIENT is not permitted from here\r\n")
    client = world.dial(world.inbound.factory(listener), PROXY)
    client.wire.protocol.dataReceived(b"PROXY UNKNOWN\r\nXCLIENT ADDR=192.0.2.7\r\n")
    assert client.read().endswith(b"550 5.7.0 XCLIENT is not permitted from here\r\n")


def test_login_of_xclient_needs_the_setting(world):
    """Attack: a proxy that may say addresses says who has logged in."""
    listener = replace(world.LISTENERS["introduced"], xclient_login=False)
    client = world.dial(world.inbound.factory(listener), "203.0.113.5")
    client.read()
    said = client.say(b"XCLIENT ADDR=198.51.100.9 LOGIN=ann\r\n")
    assert said.startswith(b"501 5.5.4 XCLIENT takes NAME ADDR PORT PROTO HELO DESTADDR DESTPORT\r")
    assert b" LOGIN" not in client.say(b"EHLO me\r\n")


def test_login_of_xclient(world):
    """It is an account, it is in the log, and the next client of the proxy has none."""
    client = introduced(world, b"XCLIENT ADDR=198.51.100.9 LOGIN=nobody")
    assert client.said.startswith(b"535 5.7.8 ")
    (failed,) = world.of(AuthenticationFailed)
    assert (failed.mechanism, failed.login, failed.reason) == (
        "XCLIENT", "nobody", "no such account",
    )  # fmt: skip
    assert client.say(b"XCLIENT ADDR=198.51.100.9 LOGIN=ann\r\n") == GREETING
    (known,) = world.of(Authenticated)
    assert (known.origin.login, known.origin.client_address) == ("ann", STRANGER)
    assert client.say(START).endswith(b"250 2.1.5 Ok\r\n")
    client = introduced(world, b"XCLIENT ADDR=198.51.100.10")
    assert client.say(START).endswith(b"550 5.7.1 Relaying is not permitted from here\r\n")


def test_a_login_does_not_outlive_xclient(world):
    """Attack: the next client on the proxy's connection sends under the login of the one before."""
    listener = replace(world.LISTENERS["introduced"], tls=TlsMode.STARTTLS, auth=AuthMode.REQUIRED)
    client = world.dial(world.inbound.factory(listener), "203.0.113.5")
    client.session._core.secure = True
    said = client.say(b"EHLO me\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\n")
    assert said.endswith(b"235 2.7.0 Authentication successful\r\n")
    client.say(b"XCLIENT ADDR=198.51.100.10\r\n")
    assert b"530 5.7.0 " in client.say(START)
    said = client.say(b"AUTH PLAIN AGFubgBzZWNyZXQ=\r\n")
    assert said == b"235 2.7.0 Authentication successful\r\n"


def test_connections_of_a_client_of_xclient(world):
    """A client's limit holds behind XCLIENT; the proxy's connections are not one client's."""
    world.limit(connections_per_client=1)
    clients = [introduced(world, b"XCLIENT ADDR=198.51.100.1") for _ in range(2)]
    assert clients[0].said == GREETING
    assert clients[1].said.startswith(b"421 4.7.0 Too many connections from your address")
    assert clients[1].closed
    clients[1].leave()
    clients[0].leave()
    assert introduced(world, b"XCLIENT ADDR=198.51.100.1").said == GREETING


def test_the_policy_knows_the_client_of_xclient(world):
    """What the policy has against the client ends the connection; the proxy can open another."""
    bound = Bound(Measure.SESSIONS, 0, 1)
    who = Who(clients=(ipaddress.ip_network("198.51.100.0/24"),))
    world.rule(Policy(limits=Limits((LimitRule("few", Per.CLIENT, who, (bound,)),))))
    first = introduced(world, b"XCLIENT ADDR=198.51.100.1")
    second = introduced(world, b"XCLIENT ADDR=198.51.100.1")
    assert first.said == GREETING
    assert second.said.startswith(b"421 4.7.0 Too many connections")
    assert second.closed
    assert world.of(Refused)[0].reason.startswith("limit few: 1 sessions")
    first.leave()
    assert introduced(world, b"XCLIENT ADDR=198.51.100.1").said == GREETING


def test_guessing_behind_a_proxy_blocks_the_client(world):
    """Password guesses behind a proxy count for the client, never for the proxy and all others."""
    world.rule(Policy(guard=GuardSettings(free=100, per_address=2, per_login=2)))
    listener = replace(world.LISTENERS["submission"], proxy=(ipaddress.ip_network(PROXY),))
    door = world.inbound.factory(listener)

    def guess(address, secret=b"AGFubgB3cm9uZw=="):
        client = world.dial(door, PROXY)
        client.wire.protocol.dataReceived(text(address))
        client.wire.protocol._core.secure = True
        return client.hear(b"EHLO me\r\nAUTH PLAIN " + secret + b"\r\n").splitlines()[-1]

    assert guess(STRANGER).startswith(b"535 ")
    assert guess(STRANGER).startswith(b"535 ")
    assert guess(STRANGER).startswith(b"454 ")
    assert guess("198.51.100.10", b"AGFubgBzZWNyZXQ=").startswith(b"235 ")


def test_ipv6_clients_are_counted_by_their_network(world):
    """Attack: one customer connects from many addresses of its /64; IPv4 is counted singly."""
    world.limit(connections_per_client=1)
    assert world.connect("smtp", "2001:0:0:1::1").read() == GREETING
    said = world.connect("smtp", "2001:0:0:1:ffff::2").read()
    assert said.startswith(b"421 4.7.0 Too many connections from your address")
    assert world.connect("smtp", "2001:0:0:2::1").read() == GREETING
    assert world.connect("smtp", "198.51.100.1").read() == GREETING
    assert world.connect("smtp", "198.51.100.2").read() == GREETING
    world.limit(connections_per_client=2, ipv6_prefix=48)
    assert world.connect("smtp", "2001:0:1:1::1").read() == GREETING
    assert world.connect("smtp", "2001:0:1:2::1").read() == GREETING
    assert world.connect("smtp", "2001:0:1:3::1").read().startswith(b"421 ")
