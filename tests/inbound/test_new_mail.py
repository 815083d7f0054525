"""What becomes of the header of new mail, and nothing of others' (RFC 6409 §8)."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.inbound.line_length import Lines
from mta.inbound.settings import SubmissionSettings
from mta.mail.events import Refused, Ruled

LOGIN = b"EHLO me\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\n"
START = b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<b@example.com>\r\n"
DATE = b"Date: Tue, 25 Nov 2025 00:00:00 +0000\r\n"
GIVEN = DATE + b"Message-ID: <1@example.org>\r\n"
AUTHOR = b"From: ann@example.org\r\n"


def by_data(client, content):
    """Send a message as most do."""
    return client.say(START + b"DATA\r\n" + content + b".\r\n")


def by_octets(client, content):
    """The same, octet by octet."""
    client.say(START + b"DATA\r\n")
    pieces = [client.say(content[i : i + 1]) for i in range(len(content))]
    return b"".join(pieces) + client.say(b".\r\n")


def by_chunks(client, content):
    """In chunks of seven octets: the header is divided wherever it hurts."""
    pieces = [content[i : i + 7] for i in range(0, len(content), 7)]
    said = client.say(START)
    for piece in pieces:
        said += client.say(b"BDAT %d\r\n%s" % (len(piece), piece))
    return said + client.say(b"BDAT 0 LAST\r\n")


def by_storing(client, content):
    """With a long body, so that the head goes to the spool long before the end."""
    return by_data(client, content + b"x" * 998 + b"\r\n" + (b"y" * 998 + b"\r\n") * 500)


WAYS = [by_data, by_octets, by_chunks, by_storing]


@pytest.fixture
def ann(world):
    """A client that has logged in."""
    client = world.connect("smtps")
    client.say(LOGIN)
    return client


def arrived(world):
    """The message without our Received field, and without the rest of a long body."""
    item = world.spool.accepted[-1]
    return world.spool.body(item).partition(b"+0000\r\n")[2].partition(b"xxx")[0]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("sent", "becomes", "remark"),
    [
        (GIVEN + b"\r\nhi\r\n", b"From: <ann@example.org>\r\n" + GIVEN, "From added"),
        (AUTHOR + GIVEN + b"\r\nhi\r\n", AUTHOR + GIVEN, ""),
        (
            b"From: ann@example.org, bob@example.org\r\n" + GIVEN + b"\r\nhi\r\n",
            b"Sender: <ann@example.org>\r\nFrom: ann@example.org, bob@example.org\r\n" + GIVEN,
            "Sender added",
        ),
        (
            b"Sender: s@x\r\nFrom: ann@example.org, bob@example.org\r\n" + GIVEN + b"\r\nhi\r\n",
            b"Sender: s@x\r\nFrom: ann@example.org, bob@example.org\r\n" + GIVEN,
            "",
        ),
        (
            AUTHOR + b"Bcc: secret@example.com,\r\n other@example.com\r\n" + GIVEN
            + b"bcc: third@example.com\r\nResent-Bcc: x@y\r\n\r\nhi\r\n",
            AUTHOR + GIVEN,
            "Bcc removed",
        ),
        (
            b"MT-Priority: 3\r\nFrom: ann@example.org, bob@example.org\r\n" + GIVEN
            + b"\r\nhi\r\n",
            b"Sender: <ann@example.org>\r\nFrom: ann@example.org, bob@example.org\r\n" + GIVEN,
            "Sender added",
        ),
        (b"Bcc: secret@example.com\r\n" + GIVEN + b"\r\nhi\r\n",
         b"From: <ann@example.org>\r\n" + GIVEN, "From added, Bcc removed"),
    ],
)  # fmt: skip
def test_completed(world, ann, way, sent, becomes, remark):
    """However it arrives, new mail gets what it lacks and loses Bcc; the history tells."""
    assert b"250 2.0.0 Ok: queued" in way(ann, sent)
    assert arrived(world) == becomes + b"\r\nhi\r\n"
    told = [one.text for one in world.of(Ruled)]
    assert told == ([remark] if remark else [])
    assert [one.text for one in world.spool.accepted[0].remarks] == told


@pytest.mark.parametrize("way", WAYS)
def test_relayed_mail_is_not_repaired(world, way):
    """Foreign mail stays as it is: two From fields, Bcc, nothing of Date."""
    client = world.connect("plain")
    client.say(b"EHLO me\r\n")
    sent = b"From: a@b\r\nFrom: c@d, e@f\r\nBcc: g@h\r\n\r\nhi\r\n"
    assert b"250 2.0.0 Ok: queued" in way(client, sent)
    assert arrived(world) == sent


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [b"From", b"subject", b"To", b"Message-ID"])
def test_repeated_fields_are_refused(world, ann, way, name):
    """Attack: two From fields, of which each reader is shown another; and other doubles."""
    sent = AUTHOR + b"%s: a@b\r\n%s : c@d\r\n\r\nhi\r\n" % (name, name)
    said = way(ann, sent)
    shown = name.decode().title()
    text = f"554 5.6.0 The message has more than one {shown} field, where RFC 5322 allows one\r\n"
    assert said.endswith(text.encode())
    assert world.of(Refused)[-1].reason == f"several {shown} fields"
    assert (world.spool.accepted, world.spool.chunks) == ([], {})


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("space", [b" ", b"\t"])
def test_the_first_line_does_not_continue_ours(world, way, space):
    """Attack: a stranger's message begins with white space, and writes on in our Received."""
    client = world.connect("plain")
    client.say(b"EHLO me\r\n")
    sent = space + b"(really from [192.0.2.99])\r\nSubject: x\r\n\r\nhi\r\n"
    assert b"250 2.0.0 Ok: queued" in way(client, sent)
    assert arrived(world) == b"\r\n" + sent


def test_no_author(world, ann):
    """A missing From is refused where that is set; nobody can be made of the null sender."""
    said = ann.say(START.replace(b"ann@example.org", b"") + b"DATA\r\n" + GIVEN + b"\r\n.\r\n")
    assert said.splitlines()[-1].startswith(b"250 ")
    assert arrived(world) == GIVEN + b"\r\n"
    strict = SubmissionSettings(add_author=False)
    world.inbound.use(replace(world.settings, submission=strict))
    client = world.connect("smtps")
    client.say(LOGIN)
    assert by_data(client, GIVEN + b"\r\n").endswith(b"554 5.6.0 The message has no From field\r\n")
    assert b"250 2.0.0 " in by_data(client, AUTHOR + GIVEN + b"\r\n")


def test_author_beyond_ascii(world, ann):
    """An author that is made of an address in UTF-8 makes the header one in UTF-8."""
    start = "MAIL FROM:<jörg@example.org> SMTPUTF8\r\nRCPT TO:<b@example.com>\r\nDATA\r\n"
    ann.say(start.encode())
    assert ann.say(GIVEN + b"\r\n.\r\n").startswith(b"250 ")
    assert arrived(world) == "From: <jörg@example.org>\r\n".encode() + GIVEN + b"\r\n"
    assert world.spool.accepted[0].envelope.utf8


@pytest.mark.parametrize("listener", ["smtps", "plain"])
@pytest.mark.parametrize("memory", [0, 64 * 1024 * 1024])
def test_size_of_the_header(world, listener, memory):
    """Attack: an endless header; it is refused when it is too large, relayed or not."""
    world.limit(memory=memory)
    client = world.connect(listener, "192.0.2.7")
    client.say(LOGIN)
    line = b"X-%04d: " + b"x" * 990 + b"\r\n"
    client.say(START + b"DATA\r\n")
    for number in range(400):
        client.say(line % number)
        assert world.inbound._reception.held <= 300 * 1024
    said = client.say(b"\r\nhi\r\n.\r\n")
    assert said.startswith(
        b"552 5.3.4 The header of the message is larger than the 131072 octets allowed here"
    )
    assert world.of(Refused)[-1].reason == "header size"
    assert (world.spool.accepted, world.spool.chunks) == ([], {})


@pytest.mark.parametrize("memory", [0, 64 * 1024 * 1024])
def test_a_large_header_is_seen_whole(world, memory):
    """Within the bound all of it is seen, also when memory is short: Bcc at its end goes."""
    world.limit(memory=memory)
    client = world.connect("smtps")
    client.say(LOGIN + START + b"DATA\r\n")
    long = b"".join(b"X-%03d: %s\r\n" % (number, b"x" * 900) for number in range(135))
    client.say(AUTHOR + GIVEN)
    for at in range(0, len(long), 4000):
        client.say(long[at : at + 4000])
    assert client.say(b"Bcc: a@b\r\n\r\nhi\r\n.\r\n").startswith(b"250 ")
    body = world.spool.body(world.spool.accepted[0])
    assert body.endswith(AUTHOR + GIVEN + long + b"\r\nhi\r\n")


def test_no_header_at_all_is_no_large_one(world):
    """A relayed body without a header is as large as it likes."""
    client = world.connect("plain")
    client.say(b"EHLO me\r\n")
    assert by_data(client, (b"no field " * 100 + b"\r\n") * 300).endswith(b"\r\n")
    assert len(world.spool.accepted) == 1


@pytest.mark.parametrize("way", [by_data, by_octets, by_chunks])
def test_long_lines(world, way):
    """Lines above 998 octets are refused on submission where that is set, and else let in."""
    good = AUTHOR + b"X: " + b"x" * 995 + b"\r\n\r\n" + b"y" * 998 + b"\r\n"
    bad = good.replace(b"yy", b"yyy", 1)
    strict = SubmissionSettings(refuse_long_lines=True)
    for settings, content, code in (
        (SubmissionSettings(), bad, b"250 2.0.0 "),
        (strict, good, b"250 2.0.0 "),
        (strict, bad, b"554 5.6.0 A line of the message is longer than 998 octets"),
        (strict, good.replace(b"xx", b"xxx", 1), b"554 5.6.0 A line of the message"),
    ):
        world.inbound.use(replace(world.settings, submission=settings))
        client = world.connect("smtps")
        client.say(LOGIN)
        assert code in way(client, content)
        client.leave()
    relayed = world.connect("plain")
    relayed.say(b"EHLO me\r\n")
    assert b"250 2.0.0 " in way(relayed, bad)


@given(
    lines=st.lists(st.sampled_from([0, 1, 70, 996, 997, 998, 999, 1000, 3000]), max_size=8),
    cuts=st.lists(st.integers(0, 12_000), max_size=6),
    rest=st.sampled_from([0, 5, 998, 1001]),
)
def test_lines_in_pieces(lines, cuts, rest):
    """However a message is divided, a line is too long or is not."""
    octets = b"".join(b"z" * size + b"\r\n" for size in lines) + b"z" * rest
    places = sorted({min(cut, len(octets)) for cut in cuts} | {0, len(octets)})
    found = Lines()
    told = [found.too_long(octets[a:b]) for a, b in pairwise(places)]
    assert any(told) is (max(lines, default=0) > 998 or rest > 999)
