"""What was said in an attempt: complete, timed, bounded, and without content or credentials."""

import re
from base64 import b64encode

import pytest

from mta.delivery.routes import Mx, Route, Smarthost
from mta.delivery.transcript import MOST_LINES, WITHHELD, Recorder, Secrets
from mta.mail.outcome import Verdict

PASSWORD = "s3cret pass"


def lines(outcome):
    """Return the lines of a transcript without their times."""
    text = outcome.transcript
    for line in text.split("\n"):
        assert re.match(r" *\d+\.\d{3} [*<>] |          \* \(", line), line
    return [line[10:] for line in text.split("\n")]


def test_a_refused_message(world, job):
    """A failed attempt is kept in full: commands, replies and sizes, in their order."""
    world.host(end_of_data=b"554 5.7.1 Spam\r\n")
    (outcome,) = world.deliver(job())
    assert lines(outcome) == [
        "* connect to mx.test[192.0.2.1]:25",
        "< 220 mx.test ESMTP",
        "> EHLO relay.test",
        "< 250-mx.test",
        "< 250-PIPELINING",
        "< 250-SIZE 10000000",
        "< 250-8BITMIME",
        "< 250 ENHANCEDSTATUSCODES",
        "> MAIL FROM:<a@here.test> SIZE=39",
        "> RCPT TO:<b@there.test>",
        "> DATA",
        "< 250 2.1.0 Ok",
        "< 250 2.1.5 Ok",
        "< 354 Go on",
        "> (44 octets of content)",
        "< 554 5.7.1 Spam",
    ]


def test_times(world, job):
    """Times are seconds since the attempt began."""
    host = world.host(RCPT="stall")
    (outcome,) = world.deliver(job(), within_s=400)
    assert host.connections
    last = outcome.transcript.split("\n")[-1]
    assert last == "  300.000 * timed out waiting for the answer to RCPT"


def test_success_is_not_kept(world, job):
    """A delivery at the first host has no transcript, unless all are wanted."""
    world.host()
    (outcome,) = world.deliver(job())
    assert (outcome.verdict, outcome.transcript) == (Verdict.DELIVERED, "")
    world.use(transcripts="all")
    (outcome,) = world.deliver(job())
    assert lines(outcome)[-1] == "< 250 2.0.0 Taken"


def test_none(world, job):
    """Where none is wanted none is kept, whatever happens."""
    world.host(MAIL=b"451 no\r\n")
    world.use(transcripts="none")
    (outcome,) = world.deliver(job())
    assert (outcome.verdict, outcome.transcript) == (Verdict.DEFERRED, "")


def test_failover_is_kept(world, job):
    """A message that only the second host took tells what the first one said."""
    world.mx["there.test"] = ["one.test", "two.test"]
    world.host("one.test", "192.0.2.1", MAIL=b"451 4.3.2 Not now\r\n")
    world.host("two.test", "192.0.2.2")
    (outcome,) = world.deliver(job())
    assert outcome.verdict is Verdict.DELIVERED
    said = lines(outcome)
    assert said.index("< 451 4.3.2 Not now") < said.index("* connect to two.test[192.0.2.2]:25")


def test_no_connection(world, job):
    """What failed before anything was said stands there too."""
    world.host().refuses = True
    (outcome,) = world.deliver(job())
    assert lines(outcome) == [
        "* connect to mx.test[192.0.2.1]:25",
        "* no session: connect to 192.0.2.1 port 25: Connection was refused by other side",
    ]


def test_reused_connection(world, job):
    """A connection that served another message before says so, and nothing of that message."""
    world.host(MAIL=[b"250 Ok\r\n", b"550 5.7.1 Not you\r\n"])
    world.deliver(job("first@there.test", sender="first@here.test"))
    (outcome,) = world.deliver(job())
    said = lines(outcome)
    assert said[0] == (
        "* connection to mx.test[192.0.2.1]:25 used again, for the message after 1;"
        " in the clear: STARTTLS is not offered"
    )
    assert "first@" not in outcome.transcript
    assert "< 550 5.7.1 Not you" in said


def test_dead_idle_connection_is_no_failure(world, job):
    """That an idle connection had ended is not worth a transcript."""
    host = world.host(MAIL=[b"250 Ok\r\n", b"421 4.4.2 Too long idle\r\n"])
    world.deliver(job())
    (outcome,) = world.deliver(job())
    assert len(host.connections) == 2
    assert (outcome.verdict, outcome.transcript) == (Verdict.DELIVERED, "")


def test_content_is_never_in_it(world, job):
    """Attack on privacy: of the message itself only its size is recorded, streamed or not."""
    world.host(end_of_data=b"451 no\r\n")
    for content in (b"Subject: TOPSECRET\r\n\r\nTOPSECRET\r\n", b"TOPSECRET\r\n" * 60_000):
        (outcome,) = world.deliver(job(content=content))
        assert "TOPSECRET" not in outcome.transcript
        assert re.search(r"> \(\d+ octets of content\)", outcome.transcript)


def test_thousands_of_recipients_are_abbreviated(world, job):
    """Of a long row of RCPT the first stand there; equal answers are counted."""
    world.host(RCPT=lambda line: b"550 5.1.1 Who?\r\n" if b"<u77@" in line else b"250 2.1.5 Ok\r\n")
    outcomes = world.deliver(job(*(f"u{n}@there.test" for n in range(3000))))
    said = lines(outcomes[0])
    assert said.count("> (90 more RCPT)") >= 2
    assert "< 550 5.1.1 Who?" in said
    assert "< 250 2.1.5 Ok   (77 times)" in said
    assert len(said) <= MOST_LINES + 1
    assert len({outcome.transcript for outcome in outcomes}) == 1


def test_endless_replies_are_bounded(world, job):
    """Attack: a peer that never ends its reply fills neither memory nor the spool."""
    world.host(MAIL=b"250-" + b"x" * 3000 + b"\r\n")
    results = world.start(job())
    (wire,) = world.reactor.hosts["192.0.2.1"].connections
    for number in range(400):
        if results:
            break
        wire.say(b"250-%d " % number + b"y" * 3000 + b"\r\n")
        world.reactor.settle()
    (outcome,) = results[0]
    assert outcome.verdict is Verdict.DEFERRED
    assert len(outcome.transcript) < 150_000
    assert "endless reply" in lines(outcome)[-1]


def test_many_small_pieces_are_bounded():
    """Attack: a peer that sends octet by octet costs no more; the end is kept beside the start."""
    recorder = Recorder(lambda: 1.0)
    for _ in range(100_000):
        recorder.received(b"x")
    recorder.fails("the end")
    text = recorder.text()
    assert len(text) < 2000
    assert "more exchanges are left out" in text
    assert text.endswith("* the end")


def test_terminal_escapes(world, job):
    """Attack: what a peer says cannot drive a terminal or pass for a line of ours."""
    world.host(MAIL=b"550 5.7.1 \x1b[2J\x9b\xe2\x80\xae\r    0.000 > DATA\x00\r\n")
    (outcome,) = world.deliver(job())
    (line,) = [one for one in lines(outcome) if "5.7.1" in one]
    assert line == "< 550 5.7.1 \\x1b[2J\\x9b\\u202e\\r    0.000 > DATA\\x00"


PLAIN = b64encode(f"\0app@here.test\0{PASSWORD}".encode())


def said_in_a_log_in(*steps, login="app@here.test", password=PASSWORD):
    """Return the transcript of lines sent (str) and received (bytes) in a log-in and after it."""
    recorder, secrets = Recorder(lambda: 0.0), Secrets(login, password)
    recorder.beware(secrets)
    for step in steps:
        if isinstance(step, bytes):
            recorder.received(step)
        elif step.startswith("MAIL"):
            recorder.sent(step.encode() + b"\r\n")
        else:
            recorder.logged_in(step.encode() + b"\r\n")
            secrets.learn(step.encode() + b"\r\n")
    return [line[10:] for line in recorder.text().split("\n")]


def test_credentials_are_not_recorded():
    """Attack: neither AUTH with its initial response nor a continuation stands in a transcript."""
    word = b64encode(PASSWORD.encode()).decode()
    said = said_in_a_log_in(f"AUTH PLAIN {PLAIN.decode()}", b"334 \r\n", word, b"535 5.7.8 No\r\n")
    assert said == ["> AUTH PLAIN (credentials)", "< 334 ", "> (credentials)", "< 535 5.7.8 No"]


@pytest.mark.parametrize(
    "echo",
    [
        PLAIN,
        PLAIN.lower(),
        PASSWORD.encode(),
        PASSWORD.upper().encode(),
        b"unknown user app@here.test",
        b"who is \x00app@here.test\x00s3cret pass",
    ],
)
def test_echoed_credentials_are_withheld(echo):
    """Attack: a peer that repeats what it was sent to log in does not get it into our spool."""
    said = said_in_a_log_in(f"AUTH PLAIN {PLAIN.decode()}", b"535 5.7.8 " + echo + b"\r\n")
    assert said == ["> AUTH PLAIN (credentials)", f"< 535 {WITHHELD}"]


def test_echo_later_and_in_pieces_is_withheld():
    """Attack: nor does it help to repeat them later, or cut in two."""
    said = said_in_a_log_in(
        f"AUTH PLAIN {PLAIN.decode()}", b"235 Hi\r\n", "MAIL FROM:<app@here.test>",
        b"250 for app@here.test\r\n", b"250 2.1.0 s3cr", b"et pass\r\n",
    )  # fmt: skip
    assert said[2:] == [
        "> MAIL FROM:<app@here.test>",
        "< 250 for app@here.test",
        f"< 250 {WITHHELD}",
    ]


def test_tokens_are_withheld():
    """Attack: a bearer token that comes back, decoded or not, is withheld."""
    token = "ya29.a0AfH6SMBx-token"
    word = b64encode(f"user=a@b.test\1auth=Bearer {token}\1\1".encode()).decode()
    for echo in (token, word):
        said = said_in_a_log_in(
            f"AUTH XOAUTH2 {word}", f"334 {echo}\r\n".encode(), login="a@b.test"
        )
        assert said == ["> AUTH XOAUTH2 (credentials)", f"< 334 {WITHHELD}"]


def test_smarthost_log_in(world, job, monkeypatch):
    """A real session with a smarthost records its log-in without what was sent in it."""
    monkeypatch.setattr(Smarthost, "__post_init__", lambda self: None)
    monkeypatch.setattr("mta.delivery.login._private", lambda connection: True)
    world.host(
        "smart.test", "192.0.2.9", keywords=("AUTH PLAIN",), AUTH=b"535 5.7.8 no " + PLAIN + b"\r\n"
    )
    world.use(Route("smart", Smarthost("smart.test", 587, "none", "app@here.test", PASSWORD)))
    (outcome,) = world.deliver(job())
    assert "> AUTH PLAIN (credentials)" in lines(outcome)
    assert f"< 535 {WITHHELD}" in lines(outcome)
    for secret in (PLAIN.decode(), PASSWORD):
        assert secret not in outcome.transcript
        assert secret not in repr(outcome)


def test_route_without_hosts(world, job):
    """Two routes of one job have a transcript each."""
    world.host(MAIL=b"451 no\r\n")
    world.use(Route("other", Mx(port=26), recipient_domains=("else.test",)))
    one, two = world.deliver(job("a@there.test", "b@else.test"))
    assert "]:25" in one.transcript
    assert "]:26" in two.transcript
