"""LMTP's difference: after the message one answer for each recipient that was accepted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.smtp.client import Client, Transaction, UnsolicitedReply
from mta.smtp.steps import QUIT, Extensions, Stage, hello

PIPELINING = Extensions(frozenset({"PIPELINING", "CHUNKING", "BINARYMIME"}))
MAIL = b"MAIL FROM:<a@x.test>\r\n"


def rcpts(count: int) -> list[bytes]:
    return [b"RCPT TO:<r%d@y.test>\r\n" % number for number in range(count)]


def greeted(extensions: Extensions = PIPELINING) -> Client:
    client = Client(lmtp=True)
    client.receive(b"220 hi\r\n")
    client.extensions = extensions
    return client


def hear(client: Client, octets: bytes, cut: int | None) -> None:
    """Let ``octets`` arrive, ``cut`` at a time, and send what may be sent."""
    step = cut or len(octets) or 1
    for start in range(0, len(octets), step):
        client.receive(octets[start : start + step])
        client.output()


def to_the_body(client: Client, codes: list[int], cut: int | None) -> Transaction:
    """Come to where the message is due, ``codes`` being the answers to RCPT."""
    transaction = client.begin(MAIL, rcpts(len(codes)))
    answers = [b"250 ok\r\n", *(b"%d r\r\n" % code for code in codes), b"354 go\r\n"]
    if client.extensions.pipelining:
        client.output()
        hear(client, b"".join(answers), cut)
    else:
        for answer in answers:
            client.output()
            hear(client, answer, cut)
    return transaction


def codes_of(transaction: Transaction) -> list[int | None]:
    assert transaction.endings is not None
    return [None if reply is None else reply.code for reply in transaction.endings]


def test_lhlo() -> None:
    """The greeting is LHLO (RFC 2033 §4.1)."""
    assert hello("relay.test", lmtp=True).line == b"LHLO relay.test\r\n"


@pytest.mark.parametrize("cut", [None, 1, 7])
@pytest.mark.parametrize("extensions", [PIPELINING, Extensions()])
def test_one_answer_for_each_accepted(extensions: Extensions, cut: int | None) -> None:
    """Two of three were accepted: two answers come, and each belongs to its recipient."""
    client = greeted(extensions)
    transaction = to_the_body(client, [250, 550, 250], cut)
    assert client.body_due
    client.body_sent()
    hear(client, b"250 kept\r\n", cut)
    assert not client.at_rest
    assert not client.reusable
    hear(client, b"452 4.2.2 full\r\n", cut)
    assert codes_of(transaction) == [250, None, 452]
    assert transaction.end_of_data is None
    assert client.reusable
    client.begin(MAIL, rcpts(1))
    assert client.output().startswith(MAIL), "no RSET after a whole transaction"


@given(
    taken=st.lists(st.booleans(), min_size=1, max_size=6).filter(any),
    endings=st.lists(st.sampled_from([250, 450, 452, 550, 552]), min_size=6, max_size=6),
    cut=st.one_of(st.none(), st.integers(1, 9)),
    heard=st.integers(0, 6),
    pipelining=st.booleans(),
)
def test_answers_find_their_recipients(
    taken: list[bool], endings: list[int], cut: int | None, heard: int, pipelining: bool
) -> None:
    """Whoever was accepted, however the answers are cut and wherever they stop."""
    client = greeted(PIPELINING if pipelining else Extensions())
    transaction = to_the_body(client, [250 if one else 550 for one in taken], cut)
    client.body_sent()
    takers = [number for number, one in enumerate(taken) if one]
    said = endings[: min(heard, len(takers))]
    hear(client, b"".join(b"%d x\r\n" % code for code in said), cut)
    expected: list[int | None] = [None] * len(taken)
    for number, code in zip(takers, said, strict=False):
        expected[number] = code
    assert codes_of(transaction) == expected
    assert client.reusable is (len(said) == len(takers))


@pytest.mark.parametrize("cut", [None, 1])
def test_one_answer_too_many(cut: int | None) -> None:
    """An answer more than there are recipients ends the connection, and changes no answer."""
    client = greeted()
    transaction = to_the_body(client, [250, 250], None)
    client.body_sent()
    with pytest.raises(UnsolicitedReply):
        hear(client, b"250 a\r\n550 b\r\n250 c\r\n", cut)
    assert codes_of(transaction) == [250, 550]


def test_answers_before_the_dot_are_none() -> None:
    """Attack: answers sent early must not make an unsent message look delivered."""
    client = greeted()
    transaction = client.begin(MAIL, rcpts(1))
    client.output()
    with pytest.raises(UnsolicitedReply):
        client.receive(b"250 a\r\n250 b\r\n354 go\r\n250 kept\r\n")
    assert codes_of(transaction) == [None]


def test_354_for_nobody() -> None:
    """A server that wants a message for nobody (RFC 2033 §4.2 forbids it) is not answered."""
    client = greeted()
    transaction = to_the_body(client, [550, 550], None)
    assert client.output() == b""
    assert client.at_rest
    assert not client.body_due
    assert not client.reusable
    assert codes_of(transaction) == [None, None]


def test_503_for_nobody() -> None:
    """What the RFC says there: the connection stays good."""
    client = greeted()
    client.begin(MAIL, rcpts(1))
    client.output()
    hear(client, b"250 a\r\n550 b\r\n503 no recipients\r\n", None)
    assert client.reusable


@pytest.mark.parametrize("cut", [None, 1])
def test_bdat(cut: int | None) -> None:
    """BDAT has one answer, BDAT LAST one for each accepted recipient (RFC 3030, RFC 2033)."""
    client = greeted()
    transaction = client.begin(MAIL, rcpts(3), chunked=True)
    client.output()
    hear(client, b"250 ok\r\n250 a\r\n550 b\r\n250 c\r\n", cut)
    assert client.body_due
    client.chunk_sent()
    hear(client, b"250 chunk\r\n", cut)
    assert client.body_due
    client.body_sent()
    hear(client, b"250 kept\r\n550 5.7.1 not for me\r\n", cut)
    assert codes_of(transaction) == [250, None, 550]
    assert client.reusable


def test_bdat_refused_in_the_middle() -> None:
    """A chunk that is refused is the end for everybody, and there is nothing more to answer."""
    client = greeted()
    transaction = client.begin(MAIL, rcpts(2), chunked=True)
    client.output()
    hear(client, b"250 ok\r\n250 a\r\n250 b\r\n", None)
    client.chunk_sent()
    hear(client, b"452 4.3.1 full\r\n", None)
    assert transaction.end_of_data is not None
    assert transaction.end_of_data.code == 452
    assert client.at_rest


def test_421_among_the_answers() -> None:
    """421 answers one recipient; the server closes, so there is no other transaction."""
    client = greeted()
    transaction = to_the_body(client, [250, 250], None)
    client.body_sent()
    hear(client, b"250 kept\r\n421 4.3.2 going\r\n", None)
    assert codes_of(transaction) == [250, 421]
    assert not client.reusable


def test_quit_after_lmtp() -> None:
    """The farewell is the same."""
    client = greeted()
    client.command(QUIT)
    assert client.output() == b"QUIT\r\n"
    assert client.awaited is not None
    assert client.awaited.stage is Stage.QUIT
