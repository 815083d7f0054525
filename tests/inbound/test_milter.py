"""Mail before filters: what they hear, what their word does, what becomes of it without them."""

import dataclasses

import pytest
from scripted_filter import (
    CONTINUE,
    DIES,
    LEADING_SPACE,
    REFUSED,
    SKIP,
    UNANSWERED,
    ScriptedFilter,
    agreement,
)

from mta.mail.events import Accepted, Finished, Refused, Ruled
from mta.milter.filter import Filter
from mta.milter.milters import Milters
from mta.milter.packets import packet
from mta.milter.settings import Mail, MilterSettings, WhenAway
from mta.smtp.content import BARE_LINE_END

MAIL = b"EHLO me\r\nMAIL FROM:<a@b.example> SIZE=99\r\nRCPT TO:<c@d.example>\r\n"
HEADER = b"From: a@b.example\r\nX-Old: 1\r\nX-Old: 2\r\n"
CONTENT = HEADER + b"\r\nHi\r\n"
LINE = b"x" * 998 + b"\r\n"


def number(value):
    return value.to_bytes(4)


@pytest.fixture
def filtered(world):
    """Put filters before the inbound side; return them."""

    def put(*scripts, **settings):
        scripts = scripts or (ScriptedFilter(),)
        world.inbound.filter(
            Milters(
                [
                    Filter(world.clock, script, settings_of(n, script, settings))
                    for n, script in enumerate(scripts)
                ]
            )
        )
        return scripts[0] if len(scripts) == 1 else scripts

    def settings_of(n, script, settings):
        made = MilterSettings(f"f{n}", "memory", **settings)
        return dataclasses.replace(made, **getattr(script, "settings", {}))

    return put


def submit(client, content=CONTENT, start=MAIL):
    client.read()
    client.say(start + b"DATA\r\n")
    return client.say(content + b".\r\n")


def body(world, index=-1):
    """The octets of an accepted message without our own line on top."""
    whole = world.spool.body(world.spool.accepted[index])
    return b"".join(whole.split(b"\r\n\t")[-1].partition(b"\r\n")[2:])


def ruled(world):
    return [(one.who, one.verb, one.text) for one in world.of(Ruled)]


def test_a_filter_hears_all_in_its_order(world, filtered):
    """From the connection to the end of the message; our own line is not shown to it."""
    script = filtered()
    client = world.connect()
    assert submit(client).startswith(b"250 2.0.0 Ok: queued as")
    assert script.steps() == "OCHMRTLLLNBE"
    assert script.payloads("C") == [b"unknown\x004\x9c\x40192.0.2.7\x00"]
    assert script.payloads("H") == [b"me\0"]
    assert script.payloads("M") == [b"<a@b.example>\0SIZE=99\0"]
    assert script.payloads("R") == [b"<c@d.example>\0"]
    assert script.payloads("L") == [b"From\0 a@b.example\0", b"X-Old\0 1\0", b"X-Old\0 2\0"]
    assert script.payloads("B") == [b"Hi\r\n"]
    assert body(world) == CONTENT
    id = world.of(Accepted)[0].envelope.id
    assert dict(script.macros)["M"][b"i"] == id.encode()
    assert dict(script.macros)["C"][b"{client_port}"] == b"40000"
    assert ruled(world) == [("milter f0", "examined", "continue")]


def test_nothing_costs_anything_before_the_first_message(world, filtered):
    """A client that brings no mail is not made known; the next message uses the connection."""
    script = filtered()
    client = world.connect()
    client.say(b"EHLO me\r\nNOOP\r\nRSET\r\n")
    assert script.asked == 0
    submit(client)
    submit(client, start=MAIL.replace(b"EHLO me", b"NOOP"))
    client.say(b"QUIT\r\n")
    client.leave()
    assert script.asked == 1
    assert script.steps() == "OCHMRTLLLNBEMRTLLLNBEQ"
    assert len(world.spool.accepted) == 2


def test_who_the_client_is_by_now(world, filtered):
    """TLS and AUTH are in the macros of the message that follows them; HELO is said again."""
    script = filtered()
    client = world.connect("smtps")
    client.session._dialogue.tls = "TLSv1.3 TLS_AES_256_GCM_SHA384"
    client.say(b"EHLO me\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\n")
    submit(client)
    said = dict(script.macros)
    assert said["H"] == {
        b"{tls_version}": b"TLSv1.3",
        b"{cipher}": b"TLS_AES_256_GCM_SHA384",
        b"{cipher_bits}": b"256",
    }
    assert said["M"][b"{auth_authen}"] == b"ann"
    assert said["M"][b"{auth_type}"] == b"PLAIN"
    assert said["C"][b"{daemon_name}"] == b"smtps"
    submit(client, start=MAIL.replace(b"me", b"you"))
    assert script.steps().count("H") == 2


@pytest.mark.parametrize(
    ("settings", "listener", "seen"),
    [
        ({"listeners": ("plain",)}, "plain", True),
        ({"listeners": ("smtps",)}, "plain", False),
        ({"mail": Mail.RELAY}, "plain", True),
        ({"mail": Mail.SUBMISSION}, "plain", False),
    ],
)
def test_which_mail_a_filter_sees(world, filtered, settings, listener, seen):
    """By listener, and by what kind of mail it is."""
    script = filtered(**settings)
    assert submit(world.connect(listener)).startswith(b"250")
    assert bool(script.asked) is seen


def test_our_date_and_message_id_are_shown(world, filtered):
    """What is missing of a submission has been added before a filter signs it."""
    script = filtered(mail=Mail.SUBMISSION)
    client = world.connect("smtps")
    client.say(b"EHLO me\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\n")
    submit(client)
    names = [payload.partition(b"\0")[0] for payload in script.payloads("L")]
    assert names == [b"Date", b"Message-ID", b"From", b"X-Old", b"X-Old"]


def changes(*packets):
    return b"".join(packets) + CONTINUE


def test_changes_of_the_header(world, filtered):
    """Added, inserted above and below our line, changed, taken away; trace tells."""
    script = filtered(
        ScriptedFilter(
            E=changes(
                packet(b"h", b"X-Last\0 z\0"),
                packet(b"i", number(1) + b"DKIM-Signature\0 v=1;\n\td=x\0"),
                packet(b"i", number(0) + b"X-Top\0 t\0"),
                packet(b"m", number(1) + b"X-Old\0\0"),
                packet(b"m", number(2) + b"X-Old\0 two\0"),
            )
        )
    )
    assert submit(world.connect()).startswith(b"250")
    whole = world.spool.body(world.spool.accepted[0])
    assert whole.startswith(b"X-Top: t\r\nReceived: from me ")
    assert whole.endswith(
        b"\r\nDKIM-Signature: v=1;\r\n\td=x\r\nFrom: a@b.example\r\nX-Old: two\r\nX-Last: z\r\n"
        b"\r\nHi\r\n"
    )
    assert world.spool.accepted[0].envelope.size == len(whole)
    assert ruled(world)[0][2] == (
        "continue; added X-Last; added DKIM-Signature; added X-Top; removed X-Old; changed X-Old"
    )
    assert script.steps().endswith("E")


def test_changes_of_the_envelope(world, filtered):
    """Recipients and the sender, with their parameters; who was taken away stays in the history."""
    filtered(
        ScriptedFilter(
            E=changes(
                packet(b"+", b"<n@new.example>\0"),
                packet(b"2", b"<m@new.example>\0NOTIFY=NEVER\0"),
                packet(b"-", b"<C@D.example>\0"),
                packet(b"e", b"<s@new.example>\0RET=HDRS\0"),
            )
        )
    )
    assert submit(world.connect()).startswith(b"250")
    item = world.spool.accepted[0]
    assert item.envelope.sender == "s@new.example"
    assert item.envelope.asked.ret == "HDRS"
    assert [(one.address, one.notify) for one in item.recipients] == [
        ("c@d.example", ""),
        ("n@new.example", ""),
        ("m@new.example", "NEVER"),
    ]
    assert item.removed == {0}
    assert [one.address for one in world.queue.handed[0][1]] == ["n@new.example", "m@new.example"]
    assert world.queue.reserved == 2
    assert ("milter f0", "discard", "") in ruled(world)
    assert [one.recipient for one in item.remarks if one.verb == "discard"] == [0]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (packet(b"+", b"<no address>\0"), "<no address>: "),
        (packet(b"+", b"<postmaster>\0"), "<postmaster>: a recipient needs a domain"),
        (packet(b"+", b"a@b.example> SIZE=1\0"), "<a@b.example> SIZE=1>: "),
        (packet(b"2", b"<x@y.example>\0NOTIFY=PERHAPS\0"), "<x@y.example>: "),
        (packet(b"+", "<ü@y.example>\0".encode()), "<ü@y.example>: "),
        (packet(b"-", b"<x@y.example>\0"), "<x@y.example>: is no recipient"),
        (packet(b"e", b"<a@b\r\nRCPT TO:<x@y.example>\0"), "<a@b\r\n"),
    ],
)
def test_changes_that_cannot_be_made(world, filtered, change, text):
    """Attack: what a filter says of addresses is checked as a client's; the trace tells."""
    filtered(ScriptedFilter(E=changes(change)))
    assert submit(world.connect()).startswith(b"250")
    item = world.spool.accepted[0]
    assert [one.address for one in item.recipients] == ["c@d.example"]
    assert item.envelope.sender == "a@b.example"
    said = [one.text for one in item.remarks if one.verb == "not changed"]
    assert len(said) == 1
    assert said[0].startswith(text)


def test_too_many_recipients_of_a_filters(world, filtered):
    """The bound of a message holds for filters too."""
    world.limit(recipients=2)
    added = [packet(b"+", b"<r%d@x.example>\0" % n) for n in range(3)]
    filtered(ScriptedFilter(E=changes(*added)))
    submit(world.connect())
    assert len(world.spool.accepted[0].recipients) == 2


def test_nobody_is_left(world, filtered):
    """All recipients were taken away: it is accepted and finished, not lost."""
    filtered(ScriptedFilter(E=changes(packet(b"-", b"<c@d.example>\0"))))
    assert submit(world.connect()).startswith(b"250")
    assert world.spool.accepted[0].finished
    assert world.queue.handed == []
    assert world.queue.reserved == 0
    assert len(world.of(Finished)) == 1


@pytest.mark.parametrize("step", ["M", "R", "T", "L", "N", "B", "E"])
def test_discarding_is_accepting(world, filtered, step):
    """250, and the history says who has dropped it; nobody else is asked."""
    first, second = filtered(ScriptedFilter(**{step: packet(b"d")}), ScriptedFilter())
    assert submit(world.connect()).startswith(b"250 2.0.0 Ok: queued as")
    item = world.spool.accepted[0]
    assert item.finished
    assert world.queue.handed == []
    assert [(one.who, one.verb) for one in world.of(Ruled)][-1] == ("milter f0", "discard")
    assert "E" not in second.steps()
    assert first.steps().count("E") == (step == "E")


def test_quarantine(world, filtered):
    """It is held, with the filter's reason."""
    filtered(ScriptedFilter(E=changes(packet(b"q", b"looks odd\0"))))
    assert submit(world.connect()).startswith(b"250")
    assert world.spool.accepted[0].held == "milter f0: looks odd"
    assert world.queue.handed == []


@pytest.mark.parametrize("step", ["C", "H", "M"])
def test_refused_before_the_message(world, filtered, step):
    """The word is said at MAIL; a filter that refuses the client refuses all its mail."""
    script = filtered(ScriptedFilter(**{step: packet(b"y", b"554 5.7.1 Not you\0")}))
    client = world.connect()
    said = client.say(b"EHLO me\r\nMAIL FROM:<a@b.example>\r\nMAIL FROM:<a@b.example>\r\n")
    assert said.count(b"554 5.7.1 Not you\r\n") == 2
    assert client.say(b"RCPT TO:<c@d.example>\r\n").startswith(b"503")
    assert script.steps().count("C") == 1
    reasons = {event.reason for event in world.of(Refused) if event.command == "MAIL"}
    assert reasons == {"milter f0: 554 Not you"}


def test_a_recipient_is_refused_alone(world, filtered):
    """The others get the message."""
    answers = iter([packet(b"t"), packet(b"c")])
    filtered(ScriptedFilter(R=lambda _: next(answers)))
    client = world.connect()
    client.say(b"EHLO me\r\nMAIL FROM:<a@b.example>\r\n")
    said = client.say(b"RCPT TO:<x@d.example>\r\nRCPT TO:<c@d.example>\r\n")
    assert said == b"451 4.7.1 Service unavailable; try again later\r\n250 2.1.5 Ok\r\n"
    assert submit(client, start=b"").startswith(b"250")
    assert [one.address for one in world.spool.accepted[0].recipients] == ["c@d.example"]


@pytest.mark.parametrize("step", ["L", "N", "B", "E"])
def test_refused_in_the_message(world, filtered, step):
    """The answer to the message is the filter's, on each line of it; nothing stays."""
    said = packet(b"y", b"550-5.7.1 One\r\n550 5.7.1 Two\0")
    first, second = filtered(ScriptedFilter(**{step: said}), ScriptedFilter())
    client = world.connect()
    assert submit(client) == b"550-5.7.1 One\r\n550 5.7.1 Two\r\n"
    assert world.spool.accepted == []
    assert second.steps() == "OCHMRTA"
    assert world.of(Refused)[-1].reason == "milter f0: 550 One Two"
    first.answers.pop(step)
    assert submit(client, start=MAIL).startswith(b"250")


def test_refused_at_data(world, filtered):
    """DATA is answered with the filter's no; by BDAT it is said behind the chunk."""
    filtered(ScriptedFilter(T=packet(b"r")))
    client = world.connect()
    assert client.say(MAIL + b"DATA\r\n").endswith(b"550 5.7.1 Command rejected\r\n")
    client.say(b"RSET\r\n" + MAIL)
    said = client.say(b"BDAT 9 LAST\r\nSubject: ")
    assert said == b"550 5.7.1 Command rejected\r\n"


@pytest.mark.parametrize("said", [packet(b"4"), packet(b"f"), packet(b"y", b"421 4.3.2 Bye\0")])
@pytest.mark.parametrize("step", ["M", "R", "E"])
def test_shutdown_ends_the_session(world, filtered, said, step):
    """421, and the connection is closed."""
    filtered(ScriptedFilter(**{step: said}))
    client = world.connect()
    client.read()
    client.say(MAIL)
    if step == "E":
        client.say(b"DATA\r\n")
        client.say(CONTENT + b".\r\n")
    assert client.closed
    assert world.spool.accepted == []


def test_accepting_early_ends_the_asking(world, filtered):
    """Of the message, or at the beginning of the client."""
    message, client_as_such = filtered(
        ScriptedFilter(M=packet(b"a")), ScriptedFilter(C=packet(b"a"))
    )
    client = world.connect()
    submit(client)
    submit(client, start=MAIL.replace(b"EHLO me\r\n", b""))
    assert message.steps() == "OCHMAM"
    assert client_as_such.steps() == "OC"
    assert len(world.spool.accepted) == 2


def test_a_filter_may_switch_steps_off(world, filtered):
    """It is asked for its verdict all the same."""
    steps = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20 | 0x40 | 0x200
    script = filtered(ScriptedFilter(O=agreement(steps=steps)))
    assert submit(world.connect()).startswith(b"250")
    assert script.steps() == "OE"


def test_a_filter_that_answers_only_at_the_end(world, filtered):
    """What is not answered is not waited for."""
    script = filtered(
        ScriptedFilter(O=agreement(steps=UNANSWERED | LEADING_SPACE), **dict.fromkeys("CHMRTLNB"))
    )
    assert submit(world.connect()).startswith(b"250")
    assert script.steps() == "OCHMRTLLLNBE"


def test_version_2(world, filtered):
    """An old filter gets what it knows: no DATA, and values without their first space."""
    script = filtered(ScriptedFilter(O=agreement(version=2, actions=0x3F, steps=0)))
    assert submit(world.connect()).startswith(b"250")
    assert script.steps() == "OCHMRLLLNBE"
    assert script.payloads("L")[0] == b"From\0a@b.example\0"


def test_enough_of_the_body(world, filtered):
    """After SKIP nothing more of it is sent."""
    script = filtered(ScriptedFilter(B=packet(b"s"), O=agreement(steps=SKIP)))
    submit(world.connect(), HEADER + b"\r\n" + LINE * 200)
    assert len(script.payloads("B")) == 1
    assert script.steps().endswith("BE")
    assert body(world).endswith(LINE)


def test_each_sees_the_changes_of_those_before(world, filtered):
    """Header and body; the message has the changes of both."""
    first, second = filtered(
        ScriptedFilter(
            E=changes(packet(b"h", b"X-One\0 1\0"), packet(b"b", b"new\n"), packet(b"b", b"body\n"))
        ),
        ScriptedFilter(E=changes(packet(b"h", b"X-Two\0 2\0"))),
    )
    assert submit(world.connect()).startswith(b"250")
    assert second.payloads("L")[-1] == b"X-One\0 1\0"
    assert second.payloads("B") == [b"new\r\nbody\r\n"]
    assert body(world) == HEADER + b"X-One: 1\r\nX-Two: 2\r\n\r\nnew\r\nbody\r\n"
    assert first.payloads("B") == [b"Hi\r\n"]
    assert ruled(world)[0] == ("milter f0", "examined", "continue; added X-One; body replaced")


def test_a_large_message_is_shown_as_it_arrives(world, filtered):
    """The body goes to filter and spool meanwhile; the changed header is chunk 0."""
    script = filtered(ScriptedFilter(E=changes(packet(b"h", b"X-One\0 1\0"))))
    client = world.connect()
    client.say(MAIL + b"DATA\r\n")
    client.say(HEADER + b"\r\n")
    for _ in range(100):
        client.say(LINE * 10)
    assert len(script.payloads("B")) >= 12
    assert world.inbound._reception.held < 300_000
    assert client.say(b".\r\n").startswith(b"250")
    assert b"".join(script.payloads("B")) == LINE * 1000
    assert {len(one) for one in script.payloads("B")} <= {*range(65536)}
    assert body(world) == HEADER + b"X-One: 1\r\n\r\n" + LINE * 1000
    item = world.spool.accepted[0]
    assert item.envelope.size == len(world.spool.body(item))
    assert world.inbound._reception.held == 0


@pytest.mark.parametrize("old", [1, 1000])
@pytest.mark.parametrize("new", [1, 1000])
def test_a_new_body(world, filtered, old, new):
    """Small for small, large for small, small for large, large for large."""
    replaced = b"".join(packet(b"b", b"y" * 99 + b"\r\n" + LINE) for _ in range(new))
    _, second = filtered(ScriptedFilter(E=lambda _: changes(replaced)), ScriptedFilter())
    content = HEADER + b"\r\n" + LINE * old
    client = world.connect()
    client.say(MAIL + b"DATA\r\n")
    for at in range(0, len(content), 50_000):
        client.say(content[at : at + 50_000])
    assert client.say(b".\r\n").startswith(b"250")
    expected = (b"y" * 99 + b"\r\n" + LINE) * new
    assert body(world) == HEADER + b"\r\n" + expected
    assert b"".join(second.payloads("B")) == expected
    item = world.spool.accepted[0]
    assert item.envelope.size == len(world.spool.body(item))
    assert {id for id, _ in world.spool.chunks} <= {item.envelope.id}
    assert world.inbound._reception.held == 0


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ((b"a\nb\n",), b"a\r\nb\r\n"),
        ((b"a\r", b"\nb"), b"a\r\nb\r\n"),
        ((b"a\r", b"b\r"), b"a\r\nb\r\n"),
        ((b".\n.\r\n",), b".\r\n.\r\n"),
        ((b"",), b""),
    ],
)
def test_line_ends_of_a_new_body(world, filtered, pieces, expected):
    """Attack: a filter that hands on bare CR and LF does not make us send them."""
    filtered(ScriptedFilter(E=changes(*(packet(b"b", one) for one in pieces))))
    assert submit(world.connect()).startswith(b"250")
    assert body(world) == HEADER + b"\r\n" + expected


def test_eight_bit_is_found_anew(world, filtered):
    """A new body, and a field, can bring octets above 127 into the message, or take them out."""
    script = filtered(ScriptedFilter(E=changes(packet(b"b", b"\xfc\r\n"))))
    submit(world.connect())
    script.answers["E"] = changes(packet(b"b", b"u\r\n"))
    submit(world.connect(), HEADER + b"\r\n\xfc\r\n")
    script.answers["E"] = changes(packet(b"h", b"X-A\0 \xc3\xbc\0"))
    submit(world.connect())
    assert [one.envelope.eight_bit for one in world.spool.accepted] == [True, False, True]


def answered(world, client, octets):
    """What is said to ``octets``, sooner or later."""
    said = client.say(octets)
    for _ in range(6):
        if said:
            break
        world.clock.advance(61)
        said = client.read()
    return said


AWAY = [
    pytest.param({"M": None}, "it has not answered in time", id="hangs at MAIL"),
    pytest.param({"B": None}, "it has not answered in time", id="hangs in the body"),
    pytest.param({"E": None}, "it has not answered in time", id="hangs at the end"),
    pytest.param({"O": None}, "it has not answered in time", id="never agrees"),
    pytest.param({"M": DIES}, "it has closed the connection", id="dies at MAIL"),
    pytest.param({"R": DIES}, "it has closed the connection", id="dies at RCPT"),
    pytest.param({"B": DIES}, "it has closed the connection", id="dies in the body"),
    pytest.param({"E": DIES}, "it has closed the connection", id="dies at the end"),
    pytest.param({"T": b"\0\0\0\1~"}, "unknown kind b'~'", id="garbage"),
    pytest.param({"L": b"GET / HTTP/1.0"}, "a packet of 1195725856 octets", id="not a milter"),
    pytest.param({"E": b"\xff\xff\xff\xffb"}, "a packet of 4294967295 octets", id="oversize"),
    pytest.param({"O": packet(b"c")}, "has not answered the offer", id="no agreement"),
    pytest.param({"O": agreement(version=9)}, "version 9", id="another version"),
    pytest.param({"M": packet(b"h", b"X\0y\0")}, "before its end", id="changes too soon"),
    pytest.param({"E": packet(b"b", b"x\0y") + CONTINUE}, "NUL", id="NUL in the body"),
    pytest.param(
        {"E": packet(b"h", b"X-A\0" + b"x" * 60_000 + b"\0") * 3 + CONTINUE},
        "changed more than",
        id="too many changes",
    ),
]


@pytest.mark.parametrize("when_away", list(WhenAway))
@pytest.mark.parametrize(("answers", "why"), AWAY)
def test_a_filter_that_fails(world, filtered, answers, why, when_away):
    """However it fails: refused for now, let through, or held; and the reason is told."""
    script = filtered(ScriptedFilter(**answers), when_away=when_away)
    client = world.connect()
    client.read()
    said = client.say(b"EHLO me\r\n")
    for command in (*MAIL.splitlines(True)[1:], b"DATA\r\n"):
        said += answered(world, client, command)
    if b"\r\n354" in said:
        said += answered(world, client, CONTENT + b".\r\n")
    assert script.connections[-1].gone
    if when_away is WhenAway.TEMPFAIL:
        assert b"451 4.7.1 Service unavailable; try again later\r\n" in said
        assert world.spool.accepted == []
        assert why in world.of(Refused)[0].reason
        return
    assert b"250 2.0.0 Ok: queued" in said
    item = world.spool.accepted[0]
    assert body(world) == CONTENT
    assert [one.verb for one in item.remarks] == ["not examined"]
    assert why in item.remarks[0].text
    assert bool(item.held) is (when_away is WhenAway.HOLD)


@pytest.mark.parametrize("when_away", list(WhenAway))
def test_a_filter_that_is_not_there(world, filtered, when_away):
    """A refused connection is tried anew with the next message."""
    script = ScriptedFilter()
    script.refusing = REFUSED
    filtered(script, when_away=when_away)
    client = world.connect()
    client.say(b"EHLO me\r\n")
    first = client.say(b"MAIL FROM:<a@b.example>\r\n")
    assert first.startswith(b"451" if when_away is WhenAway.TEMPFAIL else b"250")
    script.refusing = None
    client.say(b"RSET\r\n")
    assert submit(client).startswith(b"250")
    assert world.spool.accepted[0].held == ""
    assert ruled(world) == [("milter f0", "examined", "continue")]


def test_a_filter_that_cannot_be_reached_is_spared(world, filtered):
    """One message waits until connecting has run out of time; those behind it do not."""
    script = ScriptedFilter()
    script.refusing = "hang"
    filtered(script)
    one, two = world.connect(), world.connect()
    assert b"451" not in one.say(b"EHLO me\r\nMAIL FROM:<a@b.example>\r\n")
    world.clock.advance(10)
    assert one.read() == b"451 4.7.1 Service unavailable; try again later\r\n"
    assert b"451 4.7.1" in two.say(b"EHLO me\r\nMAIL FROM:<a@b.example>\r\n")
    assert script.asked == 1
    script.refusing = None
    world.clock.advance(10)
    assert submit(two).startswith(b"250")


def test_progress_is_waited_for_but_not_for_ever(world, filtered):
    """A filter that says that it works has five minutes more each time, and ten in all."""
    script = filtered(ScriptedFilter(E=None), when_away=WhenAway.ACCEPT)
    client = world.connect()
    assert submit(client) == b""
    for _ in range(5):
        world.clock.advance(110)
        assert client.read() == b""
        script.say(packet(b"p"))
    world.clock.advance(60)
    assert client.read().startswith(b"250")
    assert world.spool.accepted[0].remarks[0].verb == "not examined"


def test_a_filter_that_does_not_read(world, filtered):
    """Our octets do not pile up: it has its time, and is given up then."""
    script = filtered(ScriptedFilter(O=agreement(steps=UNANSWERED), **dict.fromkeys("CHMRTLNB")))
    client = world.connect()
    client.say(MAIL + b"DATA\r\n")
    script.connections[0].producer.pauseProducing()
    assert client.say(CONTENT + b".\r\n") == b""
    world.clock.advance(61)
    assert client.read().startswith(b"451 4.7.1")
    assert script.connections[0].gone


def test_trickling_does_not_buy_time(world, filtered):
    """Attack: an octet now and then is no answer."""
    script = filtered(ScriptedFilter(M=None))
    client = world.connect()
    client.read()
    client.say(MAIL)
    for octet in CONTINUE[:3]:
        world.clock.advance(9)
        script.say(bytes([octet]))
    world.clock.advance(9)
    assert b"451 4.7.1" in client.read()


def test_a_connection_that_was_closed_meanwhile(world, filtered):
    """Between messages that is the filter's good right: it is connected anew."""
    script = filtered()
    client = world.connect()
    submit(client)
    script.close()
    submit(client)
    script.answers["M"] = lambda _: DIES if len(script.connections) == 2 else CONTINUE
    assert submit(client).startswith(b"250")
    assert len(script.connections) == 3
    assert script.steps().count("C") == 3
    assert [text for _, _, text in ruled(world)] == ["continue"] * 3


@pytest.mark.parametrize("when_away", list(WhenAway))
@pytest.mark.parametrize("step", ["M", "B", "E"])
def test_the_client_leaves(world, filtered, step, when_away):
    """Nobody waits any more, and nothing is accepted that nobody will hear of."""
    script = filtered(ScriptedFilter(**{step: None}), when_away=when_away)
    client = world.connect()
    client.say(MAIL + b"DATA\r\n")
    if step != "M":
        client.say(CONTENT + b".\r\n")
    client.leave()
    assert script.connections[0].gone
    assert world.spool.accepted == []
    assert world.inbound.sessions == 0
    assert not world.clock.getDelayedCalls()


def test_broken_off_by_the_client(world, filtered):
    """RSET, and content that cannot be accepted: the next message begins with ABORT before it."""
    script = filtered()
    client = world.connect()
    client.say(MAIL + b"RSET\r\n" + MAIL + b"DATA\r\n")
    assert script.steps() == "OCHMRAMRT"
    assert client.say(HEADER + b"\r\nx\ny\r\n.\r\n") == BARE_LINE_END.to_bytes()
    assert script.steps() == "OCHMRAMRTA"


def test_a_body_that_is_too_large_for_a_filter(world, filtered):
    """It passes without it, and the history says so."""
    script = filtered(max_body=1000)
    assert submit(world.connect(), HEADER + b"\r\n" + LINE * 2).startswith(b"250")
    assert script.steps() == "OCHMRTLLLNA"
    assert ruled(world) == [("milter f0", "not examined", "its body has more than 1000 octets")]


def test_a_header_without_end(world, filtered):
    """A header that cannot be shown whole is refused, however it is divided."""
    script = filtered()
    client = world.connect()
    client.say(MAIL + b"DATA\r\n")
    for _ in range(40):
        client.say(b"X-A: " + b"y" * 10_000 + b"\r\n")
    assert client.say(b"\r\nHi\r\n.\r\n").startswith(b"552 5.3.4")
    assert "L" not in script.steps()
    assert world.spool.chunks == {}


def test_a_message_without_body_or_header(world, filtered):
    """What there is of it is shown, and goes on as it came."""
    script = filtered()
    for content in (b"", b"\r\n", b"From: a@b.example\r\n", b"\r\nHi\r\n", b"no header\r\n"):
        assert submit(world.connect(), content).startswith(b"250")
        assert body(world) == content
    assert script.payloads("B") == [b"Hi\r\n"]


def test_unknown_commands(world, filtered):
    """A filter hears that there was one, with the next message, and has no say in it.

    Not which: it may have been a password that a client has sent too late.
    """
    script = filtered(ScriptedFilter(U=packet(b"r")))
    client = world.connect()
    submit(client)
    client.say(b"FOO bar\r\n")
    assert submit(client, start=MAIL.replace(b"EHLO me\r\n", b"")).startswith(b"250")
    assert script.payloads("U") == [b"\0"]


def test_in_chunks(world, filtered):
    """BDAT: the same message, the same steps."""
    script = filtered(ScriptedFilter(E=changes(packet(b"h", b"X-One\0 1\0"))))
    client = world.connect()
    client.say(MAIL)
    client.say(b"BDAT %d\r\n%b" % (len(HEADER), HEADER))
    assert client.say(b"BDAT 6 LAST\r\n\r\nHi\r\n").startswith(b"250")
    assert script.steps() == "OCHMRTLLLNBE"
    assert body(world) == HEADER + b"X-One: 1\r\n\r\nHi\r\n"


def test_a_reload_is_for_sessions_to_come(world, filtered):
    """A session keeps its filters."""
    old = filtered()
    client = world.connect()
    submit(client)
    world.inbound.filter(None)
    submit(client)
    submit(world.connect())
    assert old.steps().count("E") == 2
    assert len(world.spool.accepted) == 3
