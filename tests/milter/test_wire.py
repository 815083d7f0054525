"""The milter protocol without a connection: packets, what is agreed, what answers mean."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.milter import answers
from mta.milter.answers import AddField, AddRecipient, ChangeField, ChangeSender, Kind, Verdict
from mta.milter.dialogue import Dialogue
from mta.milter.macros import Client, Hello
from mta.milter.options import Actions, Misbehaved, Stage, Steps, agree, offer
from mta.milter.packets import LONGEST, LONGEST_BODY, PIECE, Packets, packet, words

CLIENT = Client("relay.example.net", "smtps", "mta 1", "192.0.2.7", 40000)


def numbers(*values):
    return b"".join(value.to_bytes(4) for value in values)


def read(packets):
    found = []
    while (one := packets.next()) is not None:
        found.append(one)
    return found


STREAM = packet(b"c") + packet(b"h", b"X-A\0b\0") + packet(b"b", b"new body\r\n") + packet(b"p")


def merged(found):
    """Pieces of one body are one."""
    result = []
    for kind, payload in found:
        if kind == b"b" and result and result[-1][0] == b"b":
            result[-1] = (b"b", result[-1][1] + payload)
        else:
            result.append((kind, payload))
    return result


def test_packets_come_out_whole_byte_by_byte_and_with_a_tail():
    """However the octets are divided, the packets are the same."""
    expected = [(b"c", b""), (b"h", b"X-A\0b\0"), (b"b", b"new body\r\n"), (b"p", b"")]
    whole = Packets()
    whole.receive(STREAM)
    assert read(whole) == expected
    single, found = Packets(), []
    for octet in STREAM:
        single.receive(bytes([octet]))
        found += read(single)
    assert merged(found) == expected
    tail = Packets()
    tail.receive(STREAM + packet(b"c")[:3])
    assert read(tail) == expected
    assert tail.pending == 3


def test_an_oversize_packet_is_no_reason_to_wait_for_it():
    """Attack: a length that would have us keep gigabytes is refused when it is announced."""
    for length in (LONGEST + 1, 0xFFFFFFFF):
        packets = Packets()
        packets.receive(length.to_bytes(4) + b"h")
        with pytest.raises(Misbehaved, match="announced"):
            packets.next()
    packets = Packets()
    packets.receive((LONGEST_BODY + 1).to_bytes(4) + b"b")
    with pytest.raises(Misbehaved, match="announced"):
        packets.next()
    packets = Packets()
    packets.receive(bytes(5))
    with pytest.raises(Misbehaved, match="nothing"):
        packets.next()


def test_a_new_body_is_handed_on_as_it_comes():
    """A packet of megabytes is never kept whole."""
    packets = Packets()
    packets.receive((1_000_001).to_bytes(4) + b"b")
    assert packets.next() is None
    for _ in range(10):
        packets.receive(b"x" * 100_000)
        assert packets.next() == (b"b", b"x" * 100_000)
        assert packets.pending == 0
    packets.receive(packet(b"c"))
    assert packets.next() == (b"c", b"")


def test_a_nul_does_not_end_a_text_sooner():
    """Attack: a NUL in a text would make two of one."""
    assert words([b"X-A", b"b\0X-B\0c"]) == b"X-A\0bX-Bc\0"


def test_the_offer():
    """Version 6, all changes, all steps but those of refused recipients, no larger blocks."""
    assert offer() == numbers(6, 0x1FF, 0x1FF7FF)


def test_agreement_of_version_6_with_lists_of_macros():
    """The filter's flags, and the macros it wants instead of ours."""
    lists = numbers(2) + b"i {auth_authen}\0" + numbers(5) + b"i,{nothing}\0"
    agreed = agree(numbers(6, 0x101, 0x100400) + lists)
    assert agreed.actions == Actions.ADD_HEADERS | Actions.SET_MACROS
    assert agreed.steps == Steps.LEADING_SPACE | Steps.SKIP
    assert agreed.macros == {
        Stage.MAIL: ("i", "{auth_authen}"),
        Stage.END_OF_MESSAGE: ("i", "{nothing}"),
    }


def test_agreement_of_version_2_knows_only_its_flags():
    """What a filter of version 2 cannot mean is off."""
    agreed = agree(numbers(2, 0xFF, 0x1FF47F))
    assert (agreed.version, int(agreed.actions), int(agreed.steps)) == (2, 0x3F, 0x7F)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        numbers(6, 0)[:7],
        numbers(1, 0, 0),
        numbers(7, 0, 0),
        numbers(6, 0x200, 0),
        numbers(6, 0, 0x800),
        numbers(6, 0, 0x10000000),
        numbers(6, 0x100, 0) + b"\0\0\0",
        numbers(6, 0x100, 0, 9) + b"i\0",
        numbers(6, 0x100, 0, 2) + b"i",
        numbers(6, 0x100, 0, 2) + b"x " * 101 + b"\0",
    ],
)
def test_what_is_no_agreement(payload):
    """Too short, another version, more than was offered, lists that are none."""
    with pytest.raises(Misbehaved):
        agree(payload)


@pytest.mark.parametrize(
    ("payload", "code", "enhanced", "lines"),
    [
        (b"550 5.7.9 No\0", 550, "5.7.9", ("No",)),
        (b"451 Later\0", 451, "4.7.1", ("Later",)),
        (b"550\0", 550, "5.7.1", ("Command rejected",)),
        (b"550-5.7.1 A\r\n550-5.7.1 B\r\n550 5.7.1 C\0", 550, "5.7.1", ("A", "B", "C")),
        (b"550 4.7.9 Odd\0", 550, "5.7.1", ("Odd",)),
        (b"554 5.7.1 100%% spam\0", 554, "5.7.1", ("100% spam",)),
        (b"550 5.7.1 a\0b", 550, "5.7.1", ("a",)),
    ],
)  # fmt: skip
def test_replies_of_a_filters_own(payload, code, enhanced, lines):
    """One line and several, with an enhanced code, without one, with one that does not fit."""
    verdict = answers.answer(b"y", payload)
    assert verdict.kind is Kind.REFUSE
    assert (verdict.reply.code, verdict.reply.enhanced, verdict.reply.lines) == (
        code, enhanced, lines,
    )  # fmt: skip


def test_a_421_ends_the_session():
    """As the code says; so do shutdown and the failure of the connection."""
    assert answers.answer(b"y", b"421 4.3.2 Going down\0").kind is Kind.CLOSE
    assert answers.answer(b"4", b"").reply.code == 421
    assert answers.answer(b"f", b"").reply.code == 421


@pytest.mark.parametrize("payload", [b"\0", b"250 2.0.0 Fine\0", b"no\0", b"5500 x\0", b"354 go\0"])
def test_a_reply_that_is_no_refusal(payload):
    """Attack: a filter cannot make us say 250 for it."""
    with pytest.raises(Misbehaved):
        answers.answer(b"y", payload)


def test_words_for_the_client_stay_in_their_line():
    """Attack: control characters and endless text do not reach the client."""
    verdict = answers.answer(b"y", b"550 5.7.1 a\x1b[2Jb\t" + b"x" * 5000 + b"\0")
    assert verdict.reply.lines[0].startswith("a?[2Jb?xxx")
    assert len(verdict.reply.to_bytes()) < 512
    many = answers.answer(b"y", b"".join(b"550-%d\r\n" % n for n in range(500)) + b"550 end\0")
    assert len(many.reply.lines) == 32


def test_changes():
    """Each of them with its arguments."""
    answer = answers.answer
    assert answer(b"h", b"X-A\0 b\0") == AddField(b"X-A", b" b")
    assert answer(b"i", numbers(1) + b"X-A\0b\0") == AddField(b"X-A", b"b", 1)
    assert answer(b"m", numbers(2) + b"X-A\0\0") == ChangeField(b"X-A", b"", 2)
    assert answer(b"+", b"<a@b.example>\0") == AddRecipient("a@b.example")
    assert answer(b"2", b"<a@b.example>\0NOTIFY=NEVER\0") == AddRecipient(
        "a@b.example", "NOTIFY=NEVER"
    )
    assert answer(b"e", b"<>\0") == ChangeSender("")
    assert answer(b"e", b"a@b.example\0RET=HDRS\0") == ChangeSender("a@b.example", "RET=HDRS")
    assert answer(b"q", b"smells\x07\0").reason == "smells?"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b"a\n b", b"a\r\n b"),
        (b"a\r\n\tb\r\n", b"a\r\n\tb"),
        (b"a\nX-Forged: b", b"a\r\n\tX-Forged: b"),
        (b"a\r\n\r\nbody", b"a\r\n\tbody"),
        (b"a\rb", b"a\r\n\tb"),
        (b"\n", b""),
    ],
)
def test_a_value_cannot_end_its_field(sent, kept):
    """Attack: a line end in a stranger's words that a filter hands on adds no field, no body."""
    assert answers.answer(b"h", b"X-A\0" + sent + b"\0").value == kept


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (b"?", b""),
        (b"h", b"X-A\0b"),
        (b"h", b"X A\0b\0"),
        (b"h", b"X-A:\0b\0"),
        (b"h", b"\0b\0"),
        (b"i", b"\0\0"),
        (b"+", b"<a@b.example>"),
        (b"+", b"\xff\0"),
    ],
)
def test_what_is_no_change(kind, payload):
    """Unknown kinds, names that are none, texts without an end."""
    with pytest.raises(Misbehaved):
        answers.answer(kind, payload)


def agreed(version=6, steps=0, macros=b""):
    dialogue = Dialogue()
    dialogue.offer()
    actions = 0xFF | (0x100 if macros else 0)
    dialogue.receive(packet(b"O", numbers(version, actions, steps) + macros))
    assert dialogue.next() == answers.CONTINUE
    return dialogue


def sent(octets):
    packets = Packets()
    packets.receive(octets)
    return read(packets)


def test_a_message_as_it_is_sent():
    """Commands in the order and form of the protocol, the macros of each before it."""
    dialogue = agreed()
    name, macros = sent(dialogue.connect(CLIENT))[::-1]
    assert name == (b"C", b"unknown\x004\x9c\x40192.0.2.7\x00")
    assert macros[1].startswith(b"Cj\0relay.example.net\0_\0unknown [192.0.2.7]\0v\0mta 1\0")
    hello = Hello("me.example", "TLSv1.3 TLS_AES_256_GCM_SHA384", login="ann", mechanism="PLAIN")
    assert sent(dialogue.helo(hello)) == [
        (
            b"D",
            b"H{tls_version}\0TLSv1.3\0{cipher}\0TLS_AES_256_GCM_SHA384\0{cipher_bits}\x00256\0",
        ),
        (b"H", b"me.example\0"),
    ]
    assert sent(dialogue.mail("a@b.example", ("SIZE=9",), "Q1")) == [
        (
            b"D",
            b"Mi\0Q1\0{auth_type}\0PLAIN\0{auth_authen}\0ann\0"
            b"{mail_addr}\0a@b.example\0{mail_host}\0b.example\0{mail_mailer}\0smtp\0",
        ),
        (b"M", b"<a@b.example>\0SIZE=9\0"),
    ]
    assert sent(dialogue.rcpt("c@d.example", "d.example", ())) == [
        (b"D", b"Ri\0Q1\0{rcpt_addr}\0c@d.example\0{rcpt_host}\0d.example\0{rcpt_mailer}\0smtp\0"),
        (b"R", b"<c@d.example>\0"),
    ]
    assert sent(dialogue.data()) == [(b"D", b"Ti\0Q1\0"), (b"T", b"")]
    assert sent(dialogue.field(b"Subject", b" a\r\n b")) == [(b"L", b"Subject\0a\n b\0")]
    assert sent(dialogue.end_of_header()) == [(b"D", b"Ni\0Q1\0"), (b"N", b"")]
    assert sent(dialogue.body(b"x" * PIECE)) == [(b"B", b"x" * PIECE)]
    assert sent(dialogue.end_of_message()) == [(b"D", b"Ei\0Q1\0"), (b"E", b"")]


def test_what_a_filter_does_not_want_is_not_sent():
    """Switched off is silent, unanswered is not waited for, leading space is kept if wanted."""
    off = agreed(steps=0x1 | 0x10 | 0x40)
    assert (off.connect(CLIENT), off.body(b"x"), off.end_of_header()) == (b"", b"", b"")
    assert not off.waiting
    unanswered = agreed(steps=0x80 | 0x80000 | 0x100000)
    assert sent(unanswered.field(b"Subject", b"  x")) == [(b"L", b"Subject\0  x\0")]
    assert not unanswered.waiting
    assert unanswered.mail("a@b.example", (), "Q1")
    assert unanswered.waiting


def test_version_2_is_spared_what_it_does_not_know():
    """DATA came with version 4, unknown commands with 3."""
    old = agreed(version=2)
    assert old.data() == old.unknown("FOO") == b""


def test_macros_that_the_filter_has_asked_for():
    """Its own list takes the place of ours; what is not known is left out."""
    dialogue = agreed(macros=numbers(2) + b"{client_addr} {nothing} {i}\0")
    dialogue.connect(CLIENT)
    dialogue.receive(packet(b"c"))
    dialogue.next()
    assert sent(dialogue.mail("", (), "Q1"))[0] == (b"D", b"M{client_addr}\x00192.0.2.7\0i\0Q1\0")


def test_clients_of_all_families():
    """IPv6, and one that has no address."""
    six = Client("r.example", "x", "v", "2001:db8::1", 1)
    assert sent(agreed().connect(six))[1] == (b"C", b"unknown\x006\x00\x012001:db8::1\0")
    none = Client("r.example", "x", "v", "")
    assert sent(agreed().connect(none))[1] == (b"C", b"unknown\0U")


@pytest.mark.parametrize(
    "said",
    [
        packet(b"h", b"X-A\0b\0"),
        packet(b"b", b"x"),
        packet(b"s"),
        packet(b"d"),
        packet(b"q", b"\0"),
    ],
)
def test_changes_have_their_time(said):
    """Attack: no change, no discarding where there is no message yet."""
    dialogue = agreed()
    dialogue.connect(CLIENT)
    dialogue.receive(said)
    with pytest.raises(Misbehaved):
        dialogue.next()


def test_a_filter_that_was_not_asked_is_silent():
    """Attack: a verdict said in advance is not taken for the answer to what comes."""
    dialogue = agreed()
    dialogue.connect(CLIENT)
    dialogue.receive(packet(b"c") + packet(b"a"))
    assert dialogue.next() == Verdict(Kind.CONTINUE)
    with pytest.raises(Misbehaved, match="without being asked"):
        dialogue.next()


def test_values_without_leading_space_get_one():
    """What is added reads "Name: value", whatever was agreed of leading space."""
    said = packet(b"h", b"X-A\0b\0") + packet(b"i", numbers(0) + b"X-B\0c\0") + packet(b"c")
    plain, spaced = agreed(), agreed(steps=0x100000)
    for dialogue, value in ((plain, b" b"), (spaced, b"b")):
        dialogue.end_of_message()
        dialogue.receive(said)
        assert dialogue.next() == AddField(b"X-A", value)
        assert dialogue.next().at == 0
        assert dialogue.next() == answers.CONTINUE


@given(st.binary(max_size=400), st.integers(1, 50))
def test_garbage_is_refused_or_read_and_never_more(octets, step):
    """Whatever a filter sends, only ``Misbehaved`` comes out, and the answers end."""
    dialogue = agreed()
    dialogue.end_of_message()
    with contextlib.suppress(Misbehaved):
        for at in range(0, len(octets), step):
            dialogue.receive(octets[at : at + step])
            while dialogue.next() is not None:
                pass


@given(st.sampled_from(b"+-24abcdefhimpqrsty"), st.binary(max_size=200))
def test_each_kind_with_any_payload(kind, payload):
    """The same for every kind that there is."""
    with contextlib.suppress(Misbehaved):
        found = answers.answer(bytes([kind]), payload)
        if isinstance(found, AddField | ChangeField):
            assert b"\n" not in found.value.replace(b"\r\n\t", b"").replace(b"\r\n ", b"")
            assert b"\0" not in found.value
