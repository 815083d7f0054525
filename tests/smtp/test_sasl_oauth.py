"""OAUTHBEARER, XOAUTH2 and EXTERNAL without I/O, and AUTH over the core."""

import json
from base64 import b64encode

import pytest

from mta.smtp.mechanisms import MECHANISMS
from mta.smtp.replies import reply
from mta.smtp.sasl import (
    Bearer,
    Binding,
    Challenge,
    External,
    KeysWanted,
    Proved,
    SaslError,
    StoredKeys,
    Surroundings,
    Verdict,
)
from mta.smtp.server import Server, ServerSettings

NO = reply(535, "5.7.8", "No")
RFC_7628 = (
    b"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01"
    b"auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01"
)


def exchange(name):
    """One exchange."""
    return MECHANISMS[name](Surroundings())


def test_rfc_7628_section_4_1():
    """The standard's example, and the same without names."""
    token = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="
    assert exchange("OAUTHBEARER").step(RFC_7628) == Bearer(
        "OAUTHBEARER", "user@example.com", token
    )
    assert exchange("OAUTHBEARER").step(b"y,,\x01auth=bearer  abc\x01\x01") == Bearer(
        "OAUTHBEARER", "", "abc"
    )


def test_xoauth2():
    """Google's example."""
    first = b"user=someuser@example.com\x01auth=Bearer ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdm\x01\x01"
    assert exchange("XOAUTH2").step(first) == Bearer(
        "XOAUTH2", "someuser@example.com", "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdm"
    )


@pytest.mark.parametrize(
    ("name", "response"),
    [
        ("OAUTHBEARER", b""),
        ("OAUTHBEARER", b"n,,\x01\x01"),
        ("OAUTHBEARER", b"p=tls-exporter,,\x01auth=Bearer abc\x01\x01"),
        ("OAUTHBEARER", b"n,,\x01auth=Bearer abc\x01"),
        ("OAUTHBEARER", b"n,,\x01auth=Basic abc\x01\x01"),
        ("OAUTHBEARER", b"n,,\x01auth=Bearer \x01\x01"),
        ("OAUTHBEARER", b"n,,\x01auth=Bearer abc\x01auth=Bearer def\x01\x01"),
        ("OAUTHBEARER", b"n,,\x01auth=Bearer a b\x01\x01"),
        ("OAUTHBEARER", b"n,a=\xff,\x01auth=Bearer abc\x01\x01"),
        ("XOAUTH2", b""),
        ("XOAUTH2", b"user=\x01auth=Bearer abc\x01\x01"),
        ("XOAUTH2", b"user=u\x01auth=Bearer abc\x01"),
        ("XOAUTH2", b"user=u\x01auth=Bearer a\0c\x01\x01"),
    ],
)
def test_attack_malformed(name, response):
    """Attack: messages with too little, too much or two tokens in them."""
    with pytest.raises(SaslError):
        exchange(name).step(response)


@pytest.mark.parametrize("name", ["OAUTHBEARER", "XOAUTH2"])
def test_failure_waits_for_the_client(name):
    """RFC 7628 §3.2.3: JSON in a 334, then whatever the client says, then the 535."""
    one = exchange(name)
    assert one.step(None) == Challenge(b"")
    one.step(RFC_7628 if name == "OAUTHBEARER" else b"user=u\x01auth=Bearer abc\x01\x01")
    challenge = one.denied(NO)
    assert "status" in json.loads(challenge.data)
    assert one.step(b"\x01") == Verdict(NO)


def test_external():
    """RFC 4422 appendix A: an authorization identity, or none."""
    assert exchange("EXTERNAL").step(None) == Challenge(b"")
    assert exchange("EXTERNAL").step(b"") == External("EXTERNAL", "")
    assert exchange("EXTERNAL").step(b"ann") == External("EXTERNAL", "ann")
    with pytest.raises(SaslError):
        exchange("EXTERNAL").step(b"\xff")


def test_tokens_are_not_shown():
    """No representation has a token in it."""
    assert "ya29" not in repr(Bearer("XOAUTH2", "u", "ya29"))


def core(**more):
    """A session inside TLS with every mechanism allowed."""
    settings = ServerSettings("relay.example.net", auth=True, mechanisms=tuple(MECHANISMS))
    made = Server(settings)
    made.secured(**more)
    made.receive(b"EHLO me\r\n")
    assert made.next_event() is None
    return made


def said(made, data=b""):
    """Send, return the event and what was answered."""
    made.receive(data)
    event = made.next_event()
    return event, made.output()


def offered(made):
    """The mechanisms that EHLO offered."""
    lines = made.output().decode().splitlines()
    return next(line[9:].split() for line in lines if line.startswith("250-AUTH "))


def test_offered_where_they_apply():
    """-PLUS only with a binding, EXTERNAL only with a certificate; not offered, not known."""
    plain = core()
    assert offered(plain) == [
        "SCRAM-SHA-256", "SCRAM-SHA-1", "OAUTHBEARER", "XOAUTH2", "PLAIN", "LOGIN",
    ]  # fmt: skip
    for name in (b"EXTERNAL", b"SCRAM-SHA-256-PLUS"):
        assert said(plain, b"AUTH %b\r\n" % name)[1].startswith(b"504 5.5.4 ")
    whole = core(binding=Binding("tls-unique", lambda: b"x"), certificate=True)
    assert offered(whole) == list(MECHANISMS)


def test_scram_over_the_core():
    """Keys are asked for; a response that is pipelined waits for the challenge."""
    made = core()
    made.output()
    first = b64encode(b"n,,n=user,r=abc")
    event, _ = said(made, b"auth scram-sha-256 %b\r\n" % first)
    assert event == KeysWanted("SCRAM-SHA-256", "user", "sha256")
    # what is pipelined meanwhile waits
    assert said(made, b"*\r\n") == (None, b"")
    made.supply(StoredKeys("user", b"salt", 4096, bytes(32), bytes(32)))
    event, answer = said(made)
    assert answer.startswith(b"334 ")
    assert b"501 5.7.0 Authentication cancelled\r\n" in answer
    assert not made.authenticated


def test_denied_over_the_core():
    """334 with the reason, the client's empty turn, 535; and AUTH may be tried again."""
    made = core()
    made.output()
    event, _ = said(made, b"AUTH OAUTHBEARER %b\r\n" % b64encode(RFC_7628))
    assert event.login == "user@example.com"
    made.answer(NO)
    assert made.output().startswith(b"334 ey")
    assert said(made, b"AQ==\r\n") == (None, b"535 5.7.8 No\r\n")
    event, _ = said(made, b"AUTH EXTERNAL\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\n")
    made.output()
    event, _ = said(made)
    made.answer(reply(235, "2.7.0", "Yes"))
    assert made.authenticated


def test_denied_for_now_over_the_core():
    """454 does not wait: the client need not be told what is wrong with its token."""
    made = core()
    made.output()
    said(made, b"AUTH OAUTHBEARER %b\r\n" % b64encode(RFC_7628))
    made.answer(reply(454, "4.7.0", "Later"))
    assert made.output() == b"454 4.7.0 Later\r\n"
    assert said(made, b"NOOP\r\n")[1] == b"250 2.0.0 Ok\r\n"


def test_proved_is_the_last_word():
    """Attack: skipping the proof.  No Proved comes before the signature has gone out."""
    made = core()
    made.output()
    said(made, b"AUTH SCRAM-SHA-256 %b\r\n" % b64encode(b"n,,n=user,r=abc"))
    made.supply(StoredKeys("user", b"salt", 4096, bytes(32), bytes(32)))
    made.output()
    event, answer = said(made, b"\r\n")
    assert not isinstance(event, Proved)
    assert answer.startswith(b"501 5.5.2 ")
