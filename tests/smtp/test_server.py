"""The core alone: one event at a time, order by the table, state forgotten after STARTTLS."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.smtp.arrival import Arrival
from mta.smtp.commands import Mail, Rcpt
from mta.smtp.events import Content, Data, EndOfChunk, EndOfData, Forget, Rejected, StartTls
from mta.smtp.extensions import ServerSettings
from mta.smtp.replies import reply
from mta.smtp.sasl import Claim
from mta.smtp.server import _ACTIONS, Server
from mta.smtp.states import NEXT, State

OK = reply(250, "2.0.0", "Ok")
GO = reply(354, "", "go")
NO = reply(550, "5.7.1", "no")


def server(**options):
    """A core that has been greeted."""
    secure = options.pop("secure", False)
    core = Server(ServerSettings("relay.example.net", **options), secure=secure)
    core.greet()
    core.output()
    return core


def feed(core, data):
    """Receive and give the next event."""
    core.receive(data)
    return core.next_event()


def test_one_event_at_a_time():
    """Until an event has been answered nothing else comes out, however much was pipelined."""
    core = server()
    mail = feed(core, b"EHLO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nNOOP\r\n")
    assert mail == Mail("a@b")
    assert core.next_event() is None
    assert core.output().startswith(b"250-relay.example.net\r\n")
    core.answer(OK)
    assert core.next_event() == Rcpt("c@d")
    core.answer(NO)
    assert core.next_event() is None
    assert core.output() == b"250 2.0.0 Ok\r\n550 5.7.1 no\r\n250 2.0.0 Ok\r\n"


def test_a_small_message_is_one_event():
    """Content and its end come together when they have arrived together."""
    core = server()
    core.receive(b"EHLO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n")
    for answer in (OK, OK, GO):
        assert core.next_event() is not None
        core.answer(answer)
    assert core.state is State.CONTENT
    assert feed(core, b"text\r\n.\r\n") == EndOfData(b"text\r\n", None, False)
    core.answer(OK)
    assert core.state is State.READY


def test_content_waits_for_its_answer():
    """A piece of content is out until ``proceed``."""
    core = server()
    core.receive(b"EHLO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n")
    for answer in (OK, OK, GO):
        core.next_event()
        core.answer(answer)
    assert feed(core, b"some") == Content(b"some")
    assert feed(core, b" more\xff\r\n.\r\n") is None
    core.proceed()
    assert core.next_event() == EndOfData(b" more\xff\r\n", None, True)


def test_refused_data_reads_commands():
    """Without a 354 what follows is commands, as RFC 5321 §4.1.1.4 has it."""
    core = server()
    core.receive(b"EHLO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nNOOP\r\n")
    core.next_event()
    core.answer(OK)
    core.next_event()
    core.answer(OK)
    assert core.next_event() == Data()
    core.answer(reply(451, "4.3.0", "later"))
    assert core.next_event() is None
    assert core.output().endswith(b"451 4.3.0 later\r\n250 2.0.0 Ok\r\n")


def test_starttls_forgets():
    """RFC 3207 §4.2: what EHLO said is forgotten, and nothing of the clear text is kept."""
    core = server(starttls=True, auth=True)
    assert feed(core, b"EHLO me\r\nSTARTTLS\r\n") == StartTls()
    core.receive(b"MAIL FROM:<evil@b>\r\n")  # came in the clear while the answer was made
    core.answer(reply(220, "2.0.0", "go"))
    core.secured()
    assert (core.client_name, core.extended, core.state) == ("", False, State.CONNECTED)
    assert core.next_event() is None
    assert core.pending == 0


def test_nothing_happens_after_the_end():
    """A closed session reads nothing and says nothing more."""
    core = server()
    assert feed(core, b"QUIT\r\nNOOP\r\n") is None
    assert core.closing == "quit"
    assert core.output().count(b"\r\n") == 1
    assert feed(core, b"NOOP\r\n") is None
    assert (core.output(), core.pending) == (b"", 0)


def test_claims():
    """AUTH comes out as a claim; the answer decides."""
    core = server(auth=True, secure=True)
    core.receive(b"EHLO me\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\n")
    assert core.next_event() == Claim("PLAIN", "ann", "secret")
    core.answer(reply(535, "5.7.8", "no"))
    assert not core.authenticated
    assert feed(core, b"AUTH PLAIN AGFubgBzZWNyZXQ=\r\n") == Claim("PLAIN", "ann", "secret")
    core.answer(reply(235, "2.7.0", "yes"))
    assert core.authenticated


def test_over_long_lines():
    """500 5.5.2 for a command; within AUTH 500 5.5.6, which ends it (RFC 4954 §4)."""
    core = server(auth=True, secure=True)
    assert feed(core, b"x" * 5000 + b"\r\n").reply.code == 500
    core.output()
    assert feed(core, b"EHLO me\r\nAUTH LOGIN\r\n") is None
    assert core.state is State.RESPONSE
    assert feed(core, b"A" * 12288 + b"\r\n") is None
    assert core.state is State.RESPONSE
    rejected = feed(core, b"A" * 12300 + b"\r\n")
    assert rejected == Rejected("AUTH", reply(500, "5.5.6", "The response is too long"))
    assert core.state is State.READY


def test_the_table_is_complete():
    """Each verb of the table has its action and the other way round."""
    assert set(NEXT) == set(_ACTIONS)
    assert all(State.CLOSED not in states for states in NEXT.values())


LINES = {
    "EHLO": b"EHLO me",
    "HELO": b"HELO me",
    "MAIL": b"MAIL FROM:<a@b>",
    "RCPT": b"RCPT TO:<c@d>",
    "VRFY": b"VRFY x",
    "BDAT": b"BDAT 0",
    "AUTH": b"AUTH PLAIN AGFubgBzZWNyZXQ=",
    "XCLIENT": b"XCLIENT NAME=x",
}


@pytest.mark.parametrize("verb", sorted(NEXT))
@pytest.mark.parametrize("state", [*list(State)[:4], State.CHUNKS])
def test_states_and_commands(state, verb):
    """What the table does not list is refused and changes nothing."""
    core = server(starttls=True, auth=True, xclient=("NAME",), secure=verb != "STARTTLS")
    core.state, core.extended = state, True
    core.client_name = "" if state is State.CONNECTED else "me"
    core._arrival = Arrival(core._incoming, 1000)  # as after a first BDAT
    core._arrival.begin_chunk(0, last=False)
    event = feed(core, LINES.get(verb, verb.encode()) + b"\r\n")
    if state not in NEXT[verb]:
        assert isinstance(event, Rejected)
        assert event.reply.code in (503, 554)
        # a transaction whose BDAT was out of place is over (RFC 3030 §2)
        over = verb == "BDAT" and state is State.SENDER
        assert core.state is (State.READY if over else state)
        return
    assert not isinstance(event, Rejected)
    if isinstance(event, EndOfChunk):
        assert (verb, core.state) == ("BDAT", NEXT[verb][state])
        return
    if event is not None:
        core.answer(GO if verb in ("DATA", "BDAT") else OK)
    assert core.state is NEXT[verb][state]


REPLY = rb"(?:\d{3}-[ -~]*\r\n)*\d{3} [ -~]*\r\n"


@settings(max_examples=200)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                [
                    *LINES.values(),
                    b"DATA",
                    b"BDAT 3",
                    b"BDAT 9 LAST",
                    b"RSET",
                    b"STARTTLS",
                    b"QUIT",
                    b".",
                    b"*",
                ]
            ),
            st.binary(max_size=30),
        ),
        max_size=12,
    )
)
def test_nonsense(lines):
    """Whatever comes, replies are replies and the core does not fall over."""
    core = server(starttls=True, auth=True)
    core.receive(b"".join(line + b"\r\n" for line in lines))
    while (event := core.next_event()) is not None:
        if isinstance(event, Content):
            core.proceed()
        elif isinstance(event, Data):
            core.answer(GO)
        elif not isinstance(event, Rejected):
            core.answer(OK)
    assert re.fullmatch(rb"(?:" + REPLY + rb")*", core.output())


def in_transaction(parameters=b""):
    """A core with a sender and a recipient."""
    core = server()
    core.receive(b"EHLO me\r\nMAIL FROM:<a@b>%s\r\nRCPT TO:<c@d>\r\n" % parameters)
    for _ in range(2):
        core.next_event()
        core.answer(OK)
    core.output()
    return core


def test_first_chunk_asks_as_data_does():
    """BDAT passes the same decision as DATA; its 354 is not said, its refusal behind the chunk."""
    core = in_transaction()
    assert feed(core, b"BDAT 5 LAST\r\nab") == Data()
    core.answer(GO)
    assert core.next_event() == Content(b"ab")
    core.proceed()
    assert feed(core, b"c\r\n") == EndOfData(b"c\r\n", None, False)
    assert core.output() == b""
    core = in_transaction()
    assert feed(core, b"BDAT 5 LAST\r\nRSET") == Data()
    later = reply(451, "4.3.0", "later")
    core.answer(later)
    assert core.next_event() is None
    assert core.output() == b""
    assert feed(core, b"\n") == EndOfData(b"", later, False)
    core.answer(later)
    assert core.state is State.READY


def test_cr_at_the_end_of_a_chunk_is_judged_with_what_follows():
    """CR LF may be torn apart by two chunks; a CR that stays alone at the very end is bare."""
    core = in_transaction()
    feed(core, b"BDAT 2\r\na\r")
    core.answer(GO)
    assert core.next_event() == EndOfChunk(b"a", None, 2)
    core.answer(OK)
    assert feed(core, b"BDAT 1 LAST\r\n\n") == EndOfData(b"\r\n", None, False)
    core = in_transaction()
    feed(core, b"BDAT 2 LAST\r\na\r")
    core.answer(GO)
    assert core.next_event().refusal.enhanced == "5.6.11"


def test_reset_between_chunks_is_asked_about():
    """What has been stored must be forgotten before RSET is answered."""
    core = in_transaction()
    feed(core, b"BDAT 1\r\na")
    core.answer(GO)
    core.next_event()
    core.answer(OK)
    event = feed(core, b"RSET\r\nNOOP\r\n")
    assert event == Forget(OK)
    assert core.next_event() is None
    core.answer(event.reply)
    assert core.state is State.READY
