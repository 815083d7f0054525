"""Logging in by token, the client's side: what is chosen, and every octet that is said."""

import pytest

from mta.smtp.client_oauth import bearer, choose_bearer
from mta.smtp.client_sasl import NoMechanism, Untrusted
from mta.smtp.mechanisms import MECHANISMS
from mta.smtp.sasl import Bearer, Surroundings
from mta.smtp.steps import auth_response, auth_step

TOKEN = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="
WHERE = ("server.example.com", 587)


@pytest.mark.parametrize(
    ("offered", "permitted", "expected"),
    [
        (("PLAIN", "XOAUTH2", "OAUTHBEARER"), (), "OAUTHBEARER"),
        (("PLAIN", "XOAUTH2"), (), "XOAUTH2"),
        (("XOAUTH2", "OAUTHBEARER"), ("XOAUTH2", "PLAIN"), "XOAUTH2"),
    ],
)
def test_choice(offered, permitted, expected):
    """The better of those that are offered and permitted."""
    assert choose_bearer(offered, permitted) == expected


def test_no_password_instead():
    """Attack: an offer without the mechanisms of tokens does not bring us to another one."""
    with pytest.raises(NoMechanism, match=r"usable: OAUTHBEARER XOAUTH2; the server has: PLAIN"):
        choose_bearer(("PLAIN",), ())


def test_the_example_of_the_rfc():
    """RFC 7628 §4.1, in its octets: the initial response for SMTP, and of it the whole line."""
    exchange = bearer("OAUTHBEARER", "user@example.com", TOKEN, *WHERE)
    step, sent = auth_step(exchange.name, exchange.begin())
    assert sent
    assert step.line == (
        b"AUTH OAUTHBEARER bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2Vy"
        b"dmVyLmV4YW1wbGUuY29tAXBvcnQ9NTg3AWF1dGg9QmVhcmVyIHZGOWRmd"
        b"DRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB\r\n"
    )
    exchange.finish()


def test_xoauth2():
    """Login and token between ^A, and no host."""
    exchange = bearer("XOAUTH2", "user@example.com", "ya29.x", *WHERE)
    assert exchange.begin() == b"user=user@example.com\x01auth=Bearer ya29.x\x01\x01"


@pytest.mark.parametrize("name", ["OAUTHBEARER", "XOAUTH2"])
def test_our_own_server_understands_it(name):
    """Each is read by the other side as it was meant, also a login with signs of the grammar."""
    login = "a=b,c@example.com" if name == "OAUTHBEARER" else "ab@example.com"
    said = bearer(name, login, "to.k/e-n~+==", *WHERE).begin()
    step = MECHANISMS[name](Surroundings(None, True)).step(said)
    assert step == Bearer(name, login, "to.k/e-n~+==")


def test_a_long_token_waits_for_its_turn():
    """RFC 4954 §4: what does not fit in a command goes after an empty challenge."""
    exchange = bearer("XOAUTH2", "u", "x" * 2000, *WHERE)
    step, sent = auth_step(exchange.name, exchange.begin())
    assert (step.line, sent) == (b"AUTH XOAUTH2\r\n", False)


@pytest.mark.parametrize(("name", "answer"), [("OAUTHBEARER", b"AQ==\r\n"), ("XOAUTH2", b"\r\n")])
def test_refusal(name, answer):
    """RFC 7628 §3.2.3: the reason is answered, so that the 535 can come; and only once."""
    exchange = bearer(name, "u", "t", *WHERE)
    exchange.begin()
    assert auth_response(exchange.respond(b'{"status":"invalid_token"}')).line == answer
    with pytest.raises(Untrusted, match="goes on"):
        exchange.respond(b"and another thing")
    with pytest.raises(Untrusted, match="after it has refused"):
        exchange.finish()
