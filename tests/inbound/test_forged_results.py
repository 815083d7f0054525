"""Results of authentication in our name, brought along by whoever is not believed to have them.

RFC 8601 §5: whoever reads our mail believes a field ``Authentication-Results`` with our
authserv-id.  A customer who submits mail with ``dmarc=pass`` of our own making would have our word.
"""

from dataclasses import replace

import pytest

from mta.inbound import relaying

OURS = b"Authentication-Results: relay.example.net; dmarc=pass header.from=bank.example\r\n"
FOLDED = b'aUTHENTICATION-results :\r\n\t(a \\) comment) "relay.example.net" 1;\r\n spf=pass\r\n'
OTHERS = b"Authentication-Results: mx.elsewhere.example; spf=pass\r\n"
REST = (
    b"From: ann@example.org\r\nSubject: x\r\n\r\nAuthentication-Results: relay.example.net; x\r\n"
)
AUTH = b"AUTH PLAIN AGFubgBzZWNyZXQ=\r\n"  # ann, secret
OUTSIDE, TRUSTED = "198.51.100.9", "192.0.2.7"


def send(world, message, *, listener="smtps", address=OUTSIDE, login=True):
    """Send a message; return the answer, and what was accepted."""
    client = world.connect(listener, address)
    client.say(b"EHLO me\r\n")
    if login:
        assert client.say(AUTH).startswith(b"235 ")
    client.say(b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n")
    answer = client.say(message + b".\r\n")
    return answer, world.spool.body(world.spool.accepted[-1]) if world.spool.accepted else b""


def removed(world):
    """What the history of the last message says was removed."""
    remarks = world.spool.accepted[-1].remarks
    return [(one.text, one.who) for one in remarks if one.verb == "removed"]


def test_attack_a_customer_gives_himself_our_word(world):
    """Submission: in any spelling it goes; others' results, and the text of the body, stay."""
    answer, octets = send(world, OURS + OTHERS + FOLDED + REST)
    assert answer.startswith(b"250 ")
    header, _, body = octets.partition(b"\r\n\r\n")
    assert b"dmarc=pass" not in header and b"comment" not in header
    assert header.lower().count(b"authentication-results") == 1
    assert OTHERS in header + b"\r\n"
    assert octets.endswith(b"\r\n" + REST)
    assert body == REST.partition(b"\r\n\r\n")[2]
    assert removed(world) == [("2 Authentication-Results in our name", "submission")]
    assert world.spool.accepted[-1].envelope.size == len(octets)


def test_attack_from_outside_while_nothing_is_verified(world, monkeypatch):
    """Port 25 without SPF, DKIM and DMARC of our own: nobody brings any in our name either."""
    monkeypatch.setattr(relaying, "may_relay", lambda *args, **kwargs: None)
    how = {"listener": "plain", "login": False}
    answer, octets = send(world, OURS + OTHERS + REST, **how)
    assert answer.startswith(b"250 ")
    assert octets.endswith(b"\r\n" + OTHERS + REST)
    assert OURS not in octets
    assert removed(world) == [("1 Authentication-Results in our name", "verify")]
    padding = (b"X-Padding: " + b"x" * 900 + b"\r\n") * 400
    count = len(world.spool.accepted)
    answer, _ = send(world, padding + OURS + REST, **how)
    assert answer.startswith(b"552 5.3.4 ")
    answer, _ = send(world, b"no field\r\n" + padding + OURS + REST, **how)
    assert answer.startswith(b"552 5.3.4 ")
    assert len(world.spool.accepted) == count


def test_who_is_trusted_may_have_results_of_ours(world):
    """Relaying for a trusted network: our own edge may have written them; nothing is touched."""
    answer, octets = send(world, OURS + REST, listener="plain", address=TRUSTED, login=False)
    assert answer.startswith(b"250 ")
    assert octets.endswith(b"\r\n" + OURS + REST)
    assert removed(world) == []


def test_another_name(world):
    """``authserv_id`` is whose name counts."""
    world.settings = replace(world.settings, authserv_id="example.org")
    world.inbound.use(world.settings)
    mine = b"Authentication-Results: EXAMPLE.org; dkim=pass\r\n"
    _, octets = send(world, OURS + mine + REST)
    assert octets.endswith(b"\r\n" + OURS + REST)
    assert mine not in octets


@pytest.mark.parametrize("field", [OURS, FOLDED])
def test_text_without_a_header_is_text(world, field):
    """New mail without a header gets one: what stands below it is no field, and stays."""
    text = b"Dear all:\r\n this is text\r\n" if field is OURS else b"Hello\r\n"
    _, octets = send(world, b"From me to you\r\n" + text + field)
    assert octets.endswith(b"\r\n\r\nFrom me to you\r\n" + text + field)


def test_attack_hidden_behind_a_lone_cr(world, monkeypatch):
    """BINARYMIME may have a lone CR, which some readers take for the end of a line."""
    monkeypatch.setattr(relaying, "may_relay", lambda *args, **kwargs: None)
    client = world.connect("plain", OUTSIDE)
    client.say(b"EHLO me\r\n")
    client.say(b"MAIL FROM:<ann@example.org> BODY=BINARYMIME\r\nRCPT TO:<b@example.com>\r\n")
    message = b"X: y\r" + OURS + REST
    assert client.say(b"BDAT %d LAST\r\n%s" % (len(message), message)).startswith(b"250 ")
    octets = world.spool.body(world.spool.accepted[-1])
    assert b"dmarc=pass" not in octets
    assert removed(world) == [("1 Authentication-Results in our name", "verify")]
