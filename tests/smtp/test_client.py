"""The client's steps: what is sent when, what each answer leads to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.smtp.client import Client, DotStuffing, ServiceClosing, UnsolicitedReply
from mta.smtp.replies import Reply
from mta.smtp.reply_parser import GarbageReply
from mta.smtp.steps import (
    QUIT,
    STARTTLS,
    Extensions,
    Stage,
    UnsafeAddress,
    hello,
    mail_line,
    parse_extensions,
    rcpt_line,
)

PIPELINING = Extensions(frozenset({"PIPELINING", "SIZE", "8BITMIME"}))
MAIL = b"MAIL FROM:<a@x.test>\r\n"
RCPTS = [b"RCPT TO:<b@y.test>\r\n", b"RCPT TO:<c@y.test>\r\n"]
# an answer is text that does not begin with ">"; what goes out is checked after ">"
BODY = object()


def greeted(extensions: Extensions) -> Client:
    client = Client()
    client.receive(b"220 hi\r\n")
    client.extensions = extensions
    return client


DIALOGS: dict[str, tuple[Extensions, list[object]]] = {
    "pipelined": (
        PIPELINING,
        [
            b">" + MAIL + b"".join(RCPTS) + b"DATA\r\n",
            b"250 a\r\n250 b\r\n550 no\r\n354 go\r\n",
            BODY,
            b"250 taken\r\n",
        ],
    ),
    "one at a time": (
        Extensions(),
        [
            b">" + MAIL,
            b"250 a\r\n",
            b">" + RCPTS[0],
            b"250 b\r\n",
            b">" + RCPTS[1],
            b"550 no\r\n",
            b">DATA\r\n",
            b"354 go\r\n",
            BODY,
            b"250 taken\r\n",
        ],
    ),
    "one at a time, MAIL refused: nothing more is sent": (
        Extensions(),
        [b">" + MAIL, b"550 no\r\n", b">"],
    ),
    "one at a time, no recipient taken: no DATA": (
        Extensions(),
        [b">" + MAIL, b"250 a\r\n", b">" + RCPTS[0], b"550 no\r\n", b">" + RCPTS[1], b"450 no\r\n"],
    ),
    "pipelined, no recipient taken, 354 nevertheless: only the dot (RFC 2920 §3.1)": (
        PIPELINING,
        [
            b">" + MAIL + b"".join(RCPTS) + b"DATA\r\n",
            b"250 a\r\n550 no\r\n550 no\r\n354 go\r\n",
            b">.\r\n",
            b"554 no valid recipients\r\n",
        ],
    ),
    "pipelined, MAIL refused, all the rest taken: still only the dot": (
        PIPELINING,
        [
            b">" + MAIL + b"".join(RCPTS) + b"DATA\r\n",
            b"550 no\r\n250 b\r\n250 c\r\n354 go\r\n",
            b">.\r\n",
            b"250 hm\r\n",
        ],
    ),
    "pipelined, all refused": (
        PIPELINING,
        [
            b">" + MAIL + b"".join(RCPTS) + b"DATA\r\n",
            b"550 no\r\n503 no\r\n503 no\r\n503 no\r\n",
            b">",
        ],
    ),
}


def play(client: Client, dialog: list[object], pieces: int | None) -> None:
    """Walk through ``dialog``; ``pieces`` is how many octets arrive at once."""
    for line in dialog:
        if line is BODY:
            assert client.body_due
            assert client.output() == b""
            client.body_sent()
            continue
        assert isinstance(line, bytes)
        if line.startswith(b">"):
            assert client.output() == line[1:]
            assert client.output() == b"", "nothing is sent twice"
            continue
        step = pieces or len(line)
        for start in range(0, len(line), step):
            client.receive(line[start : start + step])


@pytest.mark.parametrize("pieces", [None, 1, 7])
@pytest.mark.parametrize("case", DIALOGS)
def test_dialogs(case: str, pieces: int | None) -> None:
    """Each dialog goes as written, however the answers are cut, and leaves the client at rest."""
    extensions, dialog = DIALOGS[case]
    client = greeted(extensions)
    client.begin(MAIL, RCPTS)
    play(client, dialog, pieces)
    assert client.at_rest
    assert client.reusable
    assert client.awaited is None


def test_answers_are_kept_with_their_steps() -> None:
    """The transaction says who was answered what."""
    client = greeted(PIPELINING)
    transaction = client.begin(MAIL, RCPTS)
    play(client, DIALOGS["pipelined"][1], None)
    assert transaction.mail == Reply(250, "", ("a",))
    assert transaction.recipients == [Reply(250, "", ("b",)), Reply(550, "", ("no",))]
    assert transaction.data == Reply(354, "", ("go",))
    assert transaction.end_of_data == Reply(250, "", ("taken",))
    assert transaction.body_sent


def test_reset_after_a_transaction_that_was_left_open() -> None:
    """RSET goes before the next MAIL, in the same write, when there was no end of data."""
    client = greeted(PIPELINING)
    client.begin(MAIL, RCPTS)
    play(client, DIALOGS["pipelined, all refused"][1], None)
    client.begin(MAIL, RCPTS)
    assert client.output() == b"RSET\r\n" + MAIL + b"".join(RCPTS) + b"DATA\r\n"


def test_no_reset_after_a_complete_transaction() -> None:
    """A message that was taken leaves nothing to reset."""
    client = greeted(PIPELINING)
    client.begin(MAIL, RCPTS)
    play(client, DIALOGS["pipelined"][1], None)
    client.begin(MAIL, RCPTS)
    assert client.output().startswith(MAIL)


def test_refused_reset_ends_the_transaction() -> None:
    """A server that refuses RSET is not sent a MAIL on top."""
    client = greeted(Extensions())
    client.begin(MAIL, RCPTS)
    play(client, DIALOGS["one at a time, MAIL refused: nothing more is sent"][1], None)
    transaction = client.begin(MAIL, RCPTS)
    play(client, [b">RSET\r\n", b"502 what?\r\n", b">"], None)
    assert client.at_rest
    assert transaction.mail == Reply(502, "", ("what?",))


def test_body_is_not_due_before_354() -> None:
    """The body waits for the server's word."""
    client = greeted(PIPELINING)
    client.begin(MAIL, RCPTS)
    client.output()
    client.receive(b"250 a\r\n250 b\r\n250 c\r\n")
    assert not client.body_due
    assert not client.at_rest
    assert client.awaited is not None
    assert client.awaited.stage is Stage.DATA


def test_reply_before_the_dot_is_not_an_answer_to_it() -> None:
    """Attack: a 250 sent early must not make an unsent message look delivered."""
    client = greeted(PIPELINING)
    transaction = client.begin(MAIL, RCPTS)
    client.output()
    with pytest.raises(UnsolicitedReply):
        client.receive(b"250 a\r\n250 b\r\n250 c\r\n354 go\r\n250 taken\r\n")
    assert transaction.end_of_data is None


def test_unsolicited_reply_while_idle() -> None:
    """A server that speaks unasked is closing or out of step."""
    client = greeted(PIPELINING)
    with pytest.raises(UnsolicitedReply) as caught:
        client.receive(b"421 4.4.2 idle too long\r\n")
    assert caught.value.reply.code == 421


@pytest.mark.parametrize("answered", [0, 1, 2, 3])
def test_421_answers_nothing(answered: int) -> None:
    """421 is about the connection, not about sender or recipient; what came before it stays."""
    client = greeted(PIPELINING)
    transaction = client.begin(MAIL, RCPTS)
    client.output()
    with pytest.raises(ServiceClosing) as caught:
        client.receive(b"250 ok\r\n" * answered + b"421 bye\r\n")
    assert caught.value.stage is [Stage.MAIL, Stage.RCPT, Stage.RCPT, Stage.DATA][answered]
    replies = [transaction.mail, *transaction.recipients, transaction.data]
    assert [reply is not None for reply in replies] == [n < answered for n in range(4)]


def test_421_to_the_end_of_data_is_an_answer() -> None:
    """There it says that the message was not taken; the connection is done with."""
    client = greeted(PIPELINING)
    transaction = client.begin(MAIL, RCPTS)
    play(client, [*DIALOGS["pipelined"][1][:3], b"421 bye\r\n"], None)
    assert transaction.end_of_data == Reply(421, "", ("bye",))
    assert not client.reusable


def test_good_answers_before_garbage_are_kept() -> None:
    """A recipient refused before the stream went bad stays refused."""
    client = greeted(PIPELINING)
    transaction = client.begin(MAIL, RCPTS)
    client.output()
    with pytest.raises(GarbageReply):
        client.receive(b"250 a\r\n550 no\r\n\x00\x01\r\n")
    assert transaction.recipients == [Reply(550, "", ("no",)), None]


def test_a_trickle_is_no_answer() -> None:
    """Attack: octets that do not complete an answer do not count as one (slow loris)."""
    client = greeted(PIPELINING)
    client.command(QUIT)
    client.output()
    assert not client.receive(b"250-still")
    assert not client.receive(b"\r\n250-there\r\n")
    assert client.receive(b"250 done\r\n")


def test_input_behind_the_answer_to_starttls_is_seen() -> None:
    """Attack: plaintext injected behind the 220 (RFC 3207 §6, CVE-2011-0411)."""
    client = greeted(Extensions(frozenset({"STARTTLS"})))
    client.command(STARTTLS)
    client.output()
    client.receive(b"220 go\r\n250-x")
    assert client.pending_input
    client.forget()
    assert not client.pending_input
    assert client.extensions == Extensions()


def test_commands_may_not_overtake() -> None:
    """Beginning a step while another one waits is a mistake of ours, said aloud."""
    client = Client()
    with pytest.raises(RuntimeError):
        client.command(QUIT)


def test_extensions() -> None:
    """EHLO's answer is read without regard to case, legacy AUTH= included."""
    lines = (
        "mx.test at your service",
        "Pipelining",
        "size 1000",
        "8bitmime",
        "AUTH PLAIN",
        "AUTH=login",
        "",
        "x-odd",
    )
    extensions = parse_extensions(Reply(250, "", lines))
    assert extensions.pipelining
    assert extensions.eight_bit_mime
    assert not extensions.starttls
    assert extensions.size == 1000
    assert extensions.auth == {"PLAIN", "LOGIN"}
    assert "X-ODD" in extensions.keywords


@pytest.mark.parametrize("line", ["SIZE", "SIZE 0", "SIZE -1", "SIZE 1e9", "SIZE " + "9" * 50])
def test_a_size_that_says_nothing(line: str) -> None:
    """No size, zero and nonsense mean: no limit is known (RFC 1870 §4)."""
    extensions = parse_extensions(Reply(250, "", ("mx.test", line)))
    assert extensions.size == 0
    assert extensions.announces_size


def test_the_greeting_line_is_no_keyword() -> None:
    """The first line holds the server's name, whatever it looks like."""
    assert not parse_extensions(Reply(250, "", ("PIPELINING",))).pipelining


@pytest.mark.parametrize(
    "inner",
    [
        b".\r\n",
        b"\r\n.\r\n",
        b"x\r\n.\r\n",
        b"..\r\n.\r\n",
        b"\r\n..\r\n",
        b".",
        b"\r\n.",
        b"\r\n.\r\n.\r\n",
    ],
)
def test_attack_smuggling_on_the_way_out(inner: bytes) -> None:
    """Attack: content with an end of data in it, cut anywhere; the next hop sees one message."""
    content = (
        inner + b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<victim@example.com>\r\nDATA\r\n" + inner
    )
    for at in range(len(inner) + 2):
        for back in range(len(inner) + 2):
            stuffing, cut = DotStuffing(), len(content) - back
            chunks = [content[:at], content[at:cut], content[cut:]]
            wire = b"".join([*map(stuffing.feed, chunks), stuffing.finish()])
            assert (b"\r\n" + wire).find(b"\r\n.\r\n") == len(wire) - 3
            assert (b"\r\n" + wire[:-3]).replace(b"\r\n.", b"\r\n")[2:].startswith(content)


@given(st.lists(st.sampled_from([b"\r\n", b".", b"a", b"\r\n.", b"\r\n.\r\n", b".."])), st.data())
def test_dot_stuffing(parts: list[bytes], data: st.DataObject) -> None:
    """However the content is cut, each line that begins with a dot gets another, and only these."""
    content = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=6)))
    stuffing = DotStuffing()
    chunks = [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)]
    wire = b"".join([*map(stuffing.feed, chunks), stuffing.finish()])
    expected = b"".join(
        b"." + line if line.startswith(b".") else line for line in content.splitlines(keepends=True)
    )
    end = b"" if not content or content.endswith(b"\r\n") else b"\r\n"
    assert wire == expected + end + b".\r\n"
    assert wire.find(b"\r\n.\r\n") in (-1, len(wire) - 5), "nothing ends the message early"


GOOD_PATHS = ["a@b.test", "", "postmaster", '"a b"@c.test', '"a\\"b>"@c.test', "a@[192.0.2.1]"]


@pytest.mark.parametrize("address", GOOD_PATHS)
def test_addresses(address: str) -> None:
    """Addresses go out as they are, in angle brackets."""
    assert mail_line(address, 1, False, Extensions()) == f"MAIL FROM:<{address}>\r\n".encode()


BAD_PATHS = [
    "a@b.test\r\nRSET",
    "a@b.test\nRSET",
    "a\r@b.test",
    "a@b.test> SIZE=1",
    "a@b.test>\r\nDATA\r\n",
    "a b@c.test",
    '"a"b"@c.test',
    '"a\r\n"@c.test',
    '"a\\\r\n"@c.test',
    "a@b.test\x00",
    "<a@b.test>",
    "ü@b.test",
    "a@b@c.test c",
]


@pytest.mark.parametrize("address", BAD_PATHS)
def test_injection(address: str) -> None:
    """Attack: an address that would end the path or the command early is never sent."""
    with pytest.raises(UnsafeAddress):
        rcpt_line(address)
    with pytest.raises(UnsafeAddress):
        mail_line(address, 1, False, Extensions())


def test_parameters_of_mail() -> None:
    """SIZE and BODY only where the server has announced them, BODY only if it is needed."""
    assert mail_line("", 5, True, PIPELINING) == b"MAIL FROM:<> SIZE=5 BODY=8BITMIME\r\n"
    assert mail_line("", 5, False, PIPELINING) == b"MAIL FROM:<> SIZE=5\r\n"
    assert mail_line("", 5, True, Extensions()) == b"MAIL FROM:<>\r\n"


def test_a_recipient_has_an_address() -> None:
    """The null path is the sender's alone."""
    with pytest.raises(UnsafeAddress):
        rcpt_line("")


def test_hello() -> None:
    """EHLO, HELO, and no host name that is not one."""
    assert hello("relay.test").line == b"EHLO relay.test\r\n"
    assert hello("[192.0.2.1]", extended=False).line == b"HELO [192.0.2.1]\r\n"
    with pytest.raises(ValueError, match="not a name"):
        hello("relay.test\r\nMAIL")
