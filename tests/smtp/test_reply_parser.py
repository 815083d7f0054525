"""Replies: good ones, odd ones that are survived, and garbage."""

import pytest

from mta.smtp.replies import Reply
from mta.smtp.reply_parser import (
    KEPT_LINES,
    MAX_LINE_OCTETS,
    MAX_REPLY_OCTETS,
    GarbageReply,
    ReplyParser,
    printable,
)

CASES = {
    "plain": (b"250 Ok\r\n", [Reply(250, "", ("Ok",))]),
    "enhanced": (b"250 2.1.5 Ok\r\n", [Reply(250, "2.1.5", ("Ok",))]),
    "enhanced alone": (b"550 5.1.1\r\n", [Reply(550, "5.1.1", ("",))]),
    "leading zeros": (b"550 5.001.01 No\r\n", [Reply(550, "5.1.1", ("No",))]),
    "multi-line": (
        b"550-5.7.1 No\r\n550-5.7.10 of that\r\n550 5.7.1 here\r\n",
        [Reply(550, "5.7.1", ("No", "5.7.10 of that", "here"))],
    ),
    "enhanced on the first line only": (
        b"451-4.7.1 Come\r\n451 again\r\n",
        [Reply(451, "4.7.1", ("Come", "again"))],
    ),
    "class of the enhanced code lies": (
        b"550 2.0.0 Ok\r\n",
        [Reply(550, "", ("2.0.0 Ok",))],
    ),
    "looks like an enhanced code": (b"250 2.0.0.1 x\r\n", [Reply(250, "", ("2.0.0.1 x",))]),
    "code only": (b"250\r\n", [Reply(250, "", ("",))]),
    "code and space": (b"250 \r\n", [Reply(250, "", ("",))]),
    "wrong separator": (b"250_Ok\r\n", [Reply(250, "", ("_Ok",))]),
    "tab as separator": (b"250\tOk\r\n", [Reply(250, "", ("Ok",))]),
    "no separator": (b"250Ok\r\n", [Reply(250, "", ("Ok",))]),
    "bare LF": (b"250-a\n250 b\n", [Reply(250, "", ("a", "b"))]),
    "differing codes: the last one counts": (
        b"250-fine\r\n550 not so\r\n",
        [Reply(550, "", ("fine", "not so"))],
    ),
    "unknown second digit": (b"299 hm\r\n", [Reply(299, "", ("hm",))]),
    "not UTF-8": (b"550 gr\xfc\xdfe\r\n", [Reply(550, "", ("gr\\xfc\\xdfe",))]),
    "UTF-8": ("550 grüße\r\n".encode(), [Reply(550, "", ("grüße",))]),
    "terminal escapes and NUL": (
        b"550 \x1b[2J\x00bad\r\n",
        [Reply(550, "", ("\\x1b[2J\\x00bad",))],
    ),
    "CR in the middle": (b"550 a\rb\r\n", [Reply(550, "", ("a\\rb",))]),
    "two replies": (b"250 a\r\n354 b\r\n", [Reply(250, "", ("a",)), Reply(354, "", ("b",))]),
    "longest line": (
        b"250 " + b"x" * (MAX_LINE_OCTETS - 5) + b"\r\n",
        [Reply(250, "", ("x" * (MAX_LINE_OCTETS - 5),))],
    ),
}


def parse(parser: ReplyParser, data: bytes) -> list[Reply]:
    parser.feed(data)
    replies = []
    while (reply := parser.next()) is not None:
        replies.append(reply)
    return replies


@pytest.mark.parametrize("case", CASES)
def test_whole(case: str) -> None:
    """A reply that arrives in one piece is read, and nothing is left."""
    data, replies = CASES[case]
    parser = ReplyParser()
    assert parse(parser, data) == replies
    assert not parser.pending


@pytest.mark.parametrize("case", CASES)
def test_byte_by_byte(case: str) -> None:
    """The same when every octet arrives by itself."""
    data, replies = CASES[case]
    parser = ReplyParser()
    found = [reply for octet in data for reply in parse(parser, bytes([octet]))]
    assert found == replies
    assert not parser.pending


@pytest.mark.parametrize("case", CASES)
def test_with_a_tail(case: str) -> None:
    """What follows a reply is neither lost nor taken for part of it."""
    data, replies = CASES[case]
    parser = ReplyParser()
    assert parse(parser, data + b"250-tail\r\n25") == replies
    assert parser.pending
    assert parse(parser, b"0 end\r\n") == [Reply(250, "", ("tail", "end"))]


GARBAGE = {
    "words": b"HTTP/1.1 400 Bad Request\r\n",
    "empty line": b"\r\n",
    "first digit 1": b"150 hm\r\n",
    "first digit 6": b"650 hm\r\n",
    "two digits": b"25 Ok\r\n",
    "four digits": b"2500 Ok\r\n",
    "binary": bytes(range(128, 256)) + b"\n",
    "garbage inside a reply": b"250-a\r\nwhat?\r\n",
    "endless line": b"250 " + b"x" * (MAX_LINE_OCTETS + 1),
    "too long a line": b"250 " + b"x" * MAX_LINE_OCTETS + b"\r\n",
    "endless reply": b"250-more\r\n" * (MAX_REPLY_OCTETS // 10 + 1),
}


@pytest.mark.parametrize("case", GARBAGE)
def test_garbage(case: str) -> None:
    """Attack: whatever a hostile server sends, it is an error with a bounded, printable excerpt."""
    with pytest.raises(GarbageReply) as caught:
        parse(ReplyParser(), GARBAGE[case])
    assert len(str(caught.value)) < 1000
    assert str(caught.value).isprintable()


def test_garbage_byte_by_byte() -> None:
    """An endless line that trickles in is given up as soon as it is too long."""
    parser = ReplyParser()
    with pytest.raises(GarbageReply):
        for octet in b"250 " + b"x" * (MAX_LINE_OCTETS + 1):
            parse(parser, bytes([octet]))


def test_good_replies_before_garbage_count() -> None:
    """What was answered before the garbage has been answered."""
    parser = ReplyParser()
    parser.feed(b"250 Ok\r\n<html>\r\n")
    assert parser.next() == Reply(250, "", ("Ok",))
    with pytest.raises(GarbageReply, match="<html>"):
        parser.next()


def test_thousands_of_lines() -> None:
    """A very long reply is survived; of its text only the beginning is kept."""
    parser = ReplyParser()
    (reply,) = parse(parser, b"250-x\r\n" * 5000 + b"550 end\r\n")
    assert reply.code == 550
    assert len(reply.lines) == KEPT_LINES


def test_printable_is_one_line() -> None:
    """Nothing that moves a cursor or ends a line survives."""
    assert printable(b"a\r\nb\tc\x7f\xff") == "a\\r\\nb c\\x7f\\xff"
