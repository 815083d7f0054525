"""The server's core against a model of RFC 5321 §4.1.4 that shares nothing with its table."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mta.smtp.commands import Mail, Rcpt
from mta.smtp.events import Content, Data, EndOfChunk, EndOfData, Forget, Rejected, StartTls
from mta.smtp.extensions import ServerSettings
from mta.smtp.replies import reply
from mta.smtp.reply_parser import ReplyParser
from mta.smtp.sasl import Claim
from mta.smtp.server import Server
from mta.smtp.states import State

YES = reply(250, "2.0.0", "Ok")
NO = reply(550, "5.7.1", "No")
LATER = reply(451, "4.3.0", "Later")
DECISIONS = st.sampled_from([YES, YES, YES, NO, LATER])
PLAIN = b"AUTH PLAIN AGFubgBzZWNyZXQ=\r\n"


class Conversation(RuleBasedStateMachine):
    """A client that says anything, a host that decides anything, and what must then be true."""

    @initialize(secure=st.booleans())
    def begin(self, secure):
        self.core = Server(
            ServerSettings("relay.test", 5000, starttls=True, auth=True, errors=10**6,
                           idle_commands=10**6),
            secure=secure,
        )  # fmt: skip
        self.secure = secure
        self.hello = self.extended = self.authenticated = False
        self.sender = False
        self.recipients = 0
        self.chunked = False  # a chunk of a message has been accepted
        self.core.greet()
        assert self.codes() == [220]

    def codes(self):
        """Give the codes of what was said."""
        parser, codes = ReplyParser(), []
        parser.feed(self.core.output())
        while (one := parser.next()) is not None:
            codes.append(one.code)
        assert not parser.pending
        return codes

    def say(self, octets):
        self.core.receive(octets)
        return self.core.next_event()

    def refused(self, event, *codes):
        """It was refused by the core itself, with one of the codes."""
        assert isinstance(event, Rejected)
        assert event.reply.code in codes
        assert self.codes() == [event.reply.code]

    def forget(self):
        self.sender, self.recipients, self.chunked = False, 0, False

    @rule(verb=st.sampled_from([b"EHLO", b"HELO", b"ehlo"]))
    def greets(self, verb):
        event = self.say(verb + b" me\r\n")
        if self.chunked:
            assert isinstance(event, Forget)
            self.core.answer(event.reply)
        else:
            assert event is None
        assert self.codes() == [250]
        self.hello, self.extended = True, verb.upper() == b"EHLO"
        self.forget()

    @rule(answer=DECISIONS)
    def mail(self, answer):
        event = self.say(b"MAIL FROM:<a@b.test>\r\n")
        if not self.hello or self.sender:
            self.refused(event, 503)
            return
        assert event == Mail("a@b.test")
        self.core.answer(answer)
        assert self.codes() == [answer.code]
        self.sender = answer is YES

    @rule(answer=DECISIONS)
    def rcpt(self, answer):
        event = self.say(b"RCPT TO:<c@d.test>\r\n")
        if not self.sender or self.chunked:
            self.refused(event, 503)
            return
        assert event == Rcpt("c@d.test")
        self.core.answer(answer)
        assert self.codes() == [answer.code]
        self.recipients += answer is YES

    @rule(go=DECISIONS, answer=DECISIONS, bare=st.booleans())
    def data(self, go, answer, bare):
        event = self.say(b"DATA\r\n")
        if not self.recipients or self.chunked:
            self.refused(event, 503, 554)
            return
        assert event == Data()
        self.core.answer(reply(354, "", "go") if go is YES else go)
        assert self.codes() == [354 if go is YES else go.code]
        if go is not YES:
            return
        event = self.say(b"a: b\n" * bare + b"x\r\n..y\r\n.\r\n")
        self.ends(event, answer, b"x\r\n.y\r\n", bad=bare)

    def ends(self, event, answer, content, *, bad=False):
        """The message is complete and is answered; then it is over."""
        assert isinstance(event, EndOfData)
        assert (event.refusal is not None) is bad
        if not bad:
            assert event.data == content
        answer = event.refusal or answer
        self.core.answer(answer)
        assert self.codes() == [answer.code]
        self.forget()

    @rule(go=DECISIONS, answer=DECISIONS, last=st.booleans(), size=st.sampled_from([0, 7]))
    def bdat(self, go, answer, last, size):
        """The octets of a chunk are never commands, whatever is answered (RFC 3030 §2)."""
        chunk = b"QUIT\r\n\r"[:size] if size == 0 or not last else b"QUIT\r\nx"
        event = self.say(b"BDAT %d%s\r\n" % (size, b" LAST" if last else b"") + chunk)
        if not (self.extended and self.recipients):  # the transaction, if there is one, is over
            assert event is None or isinstance(event, Rejected)
            assert self.codes() in ([503], [554])
            self.forget()
            return
        if not self.chunked:
            assert event == Data()
            self.core.answer(reply(250, "", "go") if go is YES else go)
            event = self.core.next_event()
        refused = not self.chunked and go is not YES
        if isinstance(event, Content):
            self.core.proceed()
            event = self.core.next_event()
        if last:
            assert isinstance(event, EndOfData)
            bad = event.refusal is not None
            assert bad or not refused
            self.ends(event, answer, event.data, bad=bad)
            return
        assert isinstance(event, EndOfChunk)
        assert (event.refusal is not None) is refused
        answer = event.refusal or answer
        self.core.answer(answer)
        assert self.codes() == [answer.code]
        if answer is YES:
            self.chunked = True
        else:
            self.forget()

    @rule()
    def reset(self):
        event = self.say(b"RSET\r\n")
        if self.chunked:
            assert isinstance(event, Forget)
            self.core.answer(event.reply)
        else:
            assert event is None
        assert self.codes() == [250]
        self.forget()

    @rule(good=st.booleans())
    def logs_in(self, good):
        event = self.say(PLAIN)
        if self.authenticated or not self.hello or self.sender:
            self.refused(event, 503)
        elif not self.secure:
            self.refused(event, 538)
        elif not self.extended:
            self.refused(event, 503)
        else:
            assert event == Claim("PLAIN", "ann", "secret")
            self.core.answer(reply(235, "2.7.0", "Ok") if good else reply(535, "5.7.8", "No"))
            assert self.codes() == [235 if good else 535]
            self.authenticated = good

    @rule()
    def begins_tls(self):
        event = self.say(b"STARTTLS\r\n")
        if isinstance(event, StartTls):
            assert not self.secure
            assert self.extended
            assert not self.sender
            self.core.answer(reply(220, "2.0.0", "go"))
            assert self.codes() == [220]
            self.core.secured()
            self.secure, self.hello, self.extended = True, False, False
            self.forget()
        else:
            assert self.secure or not self.extended or self.sender
            assert isinstance(event, Rejected)
            assert self.codes() == [event.reply.code]

    @rule(word=st.sampled_from([b"NOOP", b"HELP", b"VRFY x", b"noop with words"]))
    def chats(self, word):
        assert self.say(word + b"\r\n") is None
        assert len(self.codes()) == 1

    @rule(line=st.binary(max_size=30).filter(lambda line: b"\n" not in line and b"\r" not in line))
    def babbles(self, line):
        """Anything else is one reply, and moves nothing."""
        state = self.core.state
        verb = line.decode("latin-1").partition(" ")[0].upper()
        if verb in (
            "QUIT",
            "EHLO",
            "HELO",
            "RSET",
            "MAIL",
            "RCPT",
            "DATA",
            "BDAT",
            "AUTH",
            "STARTTLS",
        ):
            return
        event = self.say(line + b"\r\n")
        assert event is None or isinstance(event, Rejected)
        assert len(self.codes()) == 1
        assert self.core.state is state

    @invariant()
    def agrees(self):
        """What the core says of itself is what the model knows."""
        if not hasattr(self, "core"):
            return
        assert self.core.authenticated is self.authenticated
        assert self.core.secure is self.secure
        assert not self.core._asked
        expected = State.CONNECTED
        if self.hello:
            expected = State.READY
        if self.sender:
            expected = State.RECIPIENTS if self.recipients else State.SENDER
        if self.chunked:
            expected = State.CHUNKS
        assert self.core.state is expected


TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
