"""Framing: the same lines and the same content however the octets are split."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.smtp.framing import (
    BLOCK,
    COMMAND_LINE,
    BareLineFeed,
    Incoming,
    LineTooLong,
    has_bare_line_end,
)

# What framing is about, dense enough that every border is met.
CRITICAL = st.lists(
    st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"\r\n.\r\n", b"..", b"a", b"\0", b"\xff"]),
    max_size=40,
).map(b"".join)


def split(data, cuts):
    """Cut ``data`` at the places given."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


def read_content(pieces):
    """Feed pieces; return content, whether it ended, whether it is flawed, and the rest."""
    incoming = Incoming()
    incoming.begin_content()
    content, ended, bare = b"", False, False
    for data in pieces:
        incoming.append(data)
        while not ended and (piece := incoming.content()) is not None:
            content += piece.data
            bare = bare or has_bare_line_end(piece.data)
            ended = piece.last
    rest = incoming._data[incoming._at :] if ended else b""
    return content, ended, bare, rest


def reference(data):
    """The same by the letter of RFC 5321 §4.5.2, slowly."""
    stream = b"\r\n" + data
    end = stream.find(b"\r\n.\r\n")
    if end < 0:
        return None
    body = stream[: end + 2]
    lines = body.split(b"\r\n")[1:-1]
    content = b"".join(line.removeprefix(b".") + b"\r\n" for line in lines)
    bare = any(b"\r" in line or b"\n" in line for line in lines)
    return content, bare, stream[end + 5 :]


@given(CRITICAL, st.lists(st.integers(0, 200), max_size=12))
def test_content_is_the_same_however_it_is_split(data, cuts):
    """Any split gives what the standard says of the whole."""
    content, ended, bare, rest = read_content(split(data, cuts))
    expected = reference(data)
    assert ended is (expected is not None)
    if expected is not None:
        assert (content, bare, rest) == expected


@given(CRITICAL)
def test_content_octet_by_octet(data):
    """Each octet alone gives the same as all of them at once."""
    octets = [data[i : i + 1] for i in range(len(data))]
    content, ended, bare, rest = read_content(octets)
    whole = read_content([data])
    assert (content, ended, bare) == whole[:3] or not ended
    if ended:
        # what comes in later packets has not been appended when the end was seen
        assert whole[3].endswith(rest)


def read_lines(pieces, limit):
    """Feed pieces; return lines and errors in order."""
    incoming, found = Incoming(), []
    for data in pieces:
        incoming.append(data)
        while True:
            try:
                line = incoming.line(limit)
            except (BareLineFeed, LineTooLong) as error:
                found.append(type(error))
                continue
            if line is None:
                break
            found.append(line)
    return found


@given(CRITICAL, st.lists(st.integers(0, 200), max_size=12), st.sampled_from([4, 7, 100]))
def test_lines_are_the_same_however_they_are_split(data, cuts, limit):
    """Any split gives the same lines, the same too long ones and the same bare line feeds."""
    assert read_lines(split(data, cuts), limit) == read_lines([data], limit)


def test_lines():
    """Lines come without their CRLF; one that is not complete does not come."""
    assert read_lines([b"NOOP\r\n\r\nQUIT\r\nRS"], 100) == [b"NOOP", b"", b"QUIT"]


def test_bare_line_feed_is_told():
    """A line that ends with LF alone is an error, and the next one is read."""
    assert read_lines([b"NOOP\nQUIT\r\n"], 100) == [BareLineFeed, b"QUIT"]


@pytest.mark.parametrize("length", [COMMAND_LINE - 2, COMMAND_LINE - 1])
def test_longest_line(length):
    """The limit counts CRLF."""
    found = read_lines([b"x" * length + b"\r\nNOOP\r\n"], COMMAND_LINE)
    assert found == [b"x" * length if length == COMMAND_LINE - 2 else LineTooLong, b"NOOP"]


def test_auth_lines_may_be_long():
    """RFC 4954 §4: 12288 octets of base64, in the command as well."""
    line = b"AUTH PLAIN " + b"A" * 12288
    assert read_lines([line + b"\r\n"], COMMAND_LINE) == [line]
    assert read_lines([line[:9000], line[9000:] + b"\r\n"], COMMAND_LINE) == [line]


def test_endless_line_is_not_kept():
    """A line without an end takes no memory: over-long commands are thrown away as they come."""
    incoming = Incoming()
    for _ in range(1000):
        incoming.append(b"x" * 1000)
        assert incoming.line() is None
        assert len(incoming) <= COMMAND_LINE
    incoming.append(b"\r\nNOOP\r\n")
    with pytest.raises(LineTooLong):
        incoming.line()
    assert incoming.line() == b"NOOP"


def test_content_comes_in_bounded_pieces():
    """However much is received at once, one piece is one block at most."""
    incoming = Incoming()
    incoming.begin_content()
    data = b"x" * 998 + b"\r\n"
    incoming.append(data * 200 + b".\r\nNOOP\r\n")
    pieces = []
    while not (pieces and pieces[-1].last):
        piece = incoming.content()
        assert piece is not None
        assert len(piece.data) <= BLOCK
        pieces.append(piece)
    assert b"".join(piece.data for piece in pieces) == data * 200
    assert incoming.line() == b"NOOP"


@pytest.mark.parametrize(
    ("data", "bare"),
    [
        (b"", False),
        (b"a\r\nb\r\n", False),
        (b"a\nb\r\n", True),
        (b"a\rb\r\n", True),
        (b"a\r\r\n", True),
        (b"a\n\r\n", True),
        (b"\n\r", True),
        (b"a\rb\nc\r\n", True),  # a pair only if nothing stands between
        (b"\r.\n\r\n", True),
    ],
)
def test_bare_line_ends(data, bare):
    """CR and LF only count as a pair, in this order."""
    assert has_bare_line_end(data) is bare


@given(st.binary(max_size=60), st.binary(max_size=20), st.lists(st.integers(0, 200), max_size=12))
def test_a_chunk_is_counted_however_it_is_split(data, rest, cuts):
    """RFC 3030 §2: exactly as many octets as announced, and not one of what follows."""
    incoming = Incoming()
    incoming.begin_chunk(len(data))
    got, ended = b"", False
    for piece in split(data + rest, cuts):
        incoming.append(piece)
        while not ended and (part := incoming.chunk()) is not None:
            got, ended = got + part.data, part.last
    ended = ended or (incoming.chunk() is not None)
    assert (got, ended) == (data, True)
    assert incoming._data[incoming._at :] == rest
