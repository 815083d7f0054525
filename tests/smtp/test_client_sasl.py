"""The client's side of AUTH: what is chosen, what is said, and who is not believed."""

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence

import pytest

from mta.smtp import sasl
from mta.smtp.client_sasl import (
    Credentials,
    Exchange,
    NoMechanism,
    Scram,
    Untrusted,
    choose,
)
from mta.smtp.mechanisms import MECHANISMS
from mta.smtp.sasl import Binding, Challenge, KeysWanted, Proved, StoredKeys, Surroundings
from mta.smtp.steps import auth_response, auth_step

US = Credentials("user", "pencil")
BINDING = Binding("tls-exporter", lambda: b"x" * 32)
ALL = ("PLAIN", "LOGIN", "SCRAM-SHA-1", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS")

CHOICES = [
    (ALL, (), BINDING, "SCRAM-SHA-256-PLUS"),
    (ALL, (), None, "SCRAM-SHA-256"),
    (("LOGIN", "PLAIN", "CRAM-MD5"), (), BINDING, "PLAIN"),
    (("LOGIN",), (), None, "LOGIN"),
    (ALL, ("PLAIN", "SCRAM-SHA-1"), BINDING, "SCRAM-SHA-1"),
    (("SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "PLAIN"), (), BINDING, "SCRAM-SHA-1-PLUS"),
]


@pytest.mark.parametrize(("offered", "permitted", "binding", "expected"), CHOICES)
def test_choice(
    offered: Sequence[str], permitted: Sequence[str], binding: Binding | None, expected: str
) -> None:
    """The strongest of what is offered, permitted, and possible on this connection."""
    assert choose(offered, permitted, US, binding).name == expected


def test_no_mechanism() -> None:
    """What is offered is not permitted, or not known: said, with both."""
    with pytest.raises(NoMechanism, match="usable: SCRAM-SHA-256; the server has: PLAIN"):
        choose({"PLAIN"}, ("SCRAM-SHA-256",), US, None)
    with pytest.raises(NoMechanism, match="the server has: none"):
        choose((), (), US, None)


def test_example_of_rfc_7677() -> None:
    """The exchange of RFC 7677 §3, octet for octet."""
    scram = Scram("SCRAM-SHA-256", US, None, False, "rOprNGfwEbeRWgbNEkqO")
    assert scram.begin() == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    nonce = b"rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    assert scram.respond(b"r=%b,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096" % nonce) == (
        b"c=biws,r=%b,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=" % nonce
    )
    assert scram.respond(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=") == b""
    scram.finish()


def test_example_of_rfc_5802() -> None:
    """The exchange of RFC 5802 §5."""
    scram = Scram("SCRAM-SHA-1", US, None, False, "fyko+d2lbbFgONRv9qkxdawL")
    nonce = b"fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j"
    assert scram.respond(b"r=%b,s=QSXCR+Q6sek8bf92,i=4096" % nonce) == (
        b"c=biws,r=%b,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=" % nonce
    )
    assert scram.respond(b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=") == b""
    scram.finish()


def keys(password: str, hash_name: str) -> StoredKeys:
    """Make what a server has stored."""
    salt = b"salt of the server"
    salted = hashlib.pbkdf2_hmac(hash_name, password.encode(), salt, 4096)
    client = hmac.digest(salted, b"Client Key", hash_name)
    stored = hashlib.new(hash_name, client).digest()
    return StoredKeys("user", salt, 4096, stored, hmac.digest(salted, b"Server Key", hash_name))


def converse(client: Exchange, surroundings: Surroundings, password: str = "pencil") -> object:
    """Let our client talk to our server; return what the server comes to."""
    server = MECHANISMS[client.name](surroundings)
    step = server.step(client.begin())
    while True:
        if isinstance(step, KeysWanted):
            step = server.supply(keys(password, step.hash_name))
        elif isinstance(step, Challenge):
            step = server.step(client.respond(step.data))
        else:
            return step


@pytest.mark.parametrize("name", ALL)
def test_against_our_own_server(name: str) -> None:
    """Every mechanism comes to its end, and with SCRAM both have proved who they are."""
    client = choose((name,), (), Credentials("user", "pencil"), BINDING)
    found = converse(client, Surroundings(BINDING, "PLUS" in name))
    client.finish()
    expected = Proved(name, "user") if "SCRAM" in name else sasl.Claim(name, "user", "pencil")
    assert found == expected


def test_attack_in_between_who_takes_plus_off_the_list() -> None:
    """Where we could have bound, the server learns that -PLUS has been hidden from us."""
    client = choose(("SCRAM-SHA-256",), (), US, BINDING)
    assert client.begin() is not None
    found = converse(choose(("SCRAM-SHA-256",), (), US, BINDING), Surroundings(BINDING, True))
    assert getattr(found, "reason", "") == "downgrade"


def test_attack_server_that_does_not_know_the_password() -> None:
    """Somebody who has stolen the server's name cannot sign, and is not sent any mail."""
    client = choose(("SCRAM-SHA-256",), (), US, None)
    nonce = (client.begin() or b"").partition(b"r=")[2]
    client.respond(b"r=%bmore,s=c2FsdA==,i=4096" % nonce)
    with pytest.raises(Untrusted, match="its signature is false"):
        client.respond(b"v=" + b64encode(b"x" * 32))


def test_attack_server_that_lets_everybody_in() -> None:
    """A 235 without the server's signature proves nothing."""
    client = choose(("SCRAM-SHA-256",), (), US, None)
    client.begin()
    with pytest.raises(Untrusted, match="without having proved"):
        client.finish()


BAD = [
    (b"r=other,s=c2FsdA==,i=4096", "nonce"),
    (b"r=%b,s=c2FsdA==,i=4096", "nonce"),
    (b"r=%bmore,s=c2FsdA==,i=100", "100 iterations"),
    (b"r=%bmore,s=c2FsdA==,i=9999999999", "9999999999 iterations"),
    (b"m=x,r=%bmore,s=c2FsdA==,i=4096", "not one of SCRAM"),
    (b"", "not one of SCRAM"),
    (b"r=%bmore,s=c2FsdA==,i=4096" + b",x=" + b"y" * 5000, "too long"),
]


@pytest.mark.parametrize(("first", "why"), BAD)
def test_attack_first_message(first: bytes, why: str) -> None:
    """A first message that would weaken the exchange, or keep us busy, ends it."""
    client = choose(("SCRAM-SHA-256",), (), US, None)
    nonce = (client.begin() or b"").partition(b"r=")[2]
    with pytest.raises(Untrusted, match=why):
        client.respond(first.replace(b"%b", nonce))


def test_names_are_escaped() -> None:
    """A comma in a login ends nothing (RFC 5802 §5.1)."""
    scram = Scram("SCRAM-SHA-1", Credentials("a,b=c", "pw"), None, False, "n")
    assert scram.begin() == b"n,,n=a=2Cb=3Dc,r=n"


def test_commands() -> None:
    """An initial response goes with the command where it fits (RFC 4954 §4)."""
    step, sent = auth_step("PLAIN", b"\0me\0secret")
    assert (step.line, sent) == (b"AUTH PLAIN AG1lAHNlY3JldA==\r\n", True)
    assert auth_step("PLAIN", b"\0me\0" + b"x" * 500)[0].line == b"AUTH PLAIN\r\n"
    assert auth_step("LOGIN", None) == (auth_step("LOGIN", None)[0], False)
    assert b64decode(auth_response(b"pw").line) == b"pw"
    assert "AG1l" not in repr(step)


def test_login_and_plain_are_asked_no_more_than_they_know() -> None:
    """A server that goes on asking gets nothing else."""
    login = choose(("LOGIN",), (), US, None)
    assert login.begin() is None
    assert [login.respond(b""), login.respond(b"?")] == [b"user", b"pencil"]
    with pytest.raises(Untrusted):
        login.respond(b"")
    with pytest.raises(Untrusted):
        choose(("PLAIN",), (), US, None).respond(b"")


def test_nothing_is_shown() -> None:
    """The password is in no representation."""
    assert "pencil" not in repr(US)
