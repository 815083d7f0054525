"""The server's side of SMTP without I/O: octets in, events out, replies in, octets out.

Theory of operation.  ``receive`` takes octets as they come.  ``next_event`` gives one
event; until ``answer`` has been called for it, no further event comes out, however much
has been pipelined (RFC 2920), so that an answer may take its time and replies are in order
all the same.  ``output`` gives the octets to send.  Rule 1: what may follow what stands in
``states`` and nowhere else.  Rule 2: everything that needs only the command itself is
answered here (HELP, syntax, wrong order, ...); whatever needs a decision is an event.

SECURITY.  The end of data is CRLF.CRLF alone; content with a lone CR, LF or NUL is
swallowed to its end and refused (smuggling).  What is pipelined behind STARTTLS is never
executed and ends the session (RFC 3207 §6, CVE-2011-0411).  No AUTH in the clear, in a
transaction, or twice (RFC 4954 §4).  No XCLIENT but for whom the settings name.  Commands are
printable, and ASCII but for addresses, or refused.  The octets that BDAT announces are swallowed
whatever becomes of it, so that content is never taken for commands; when their number is not
clear the session ends (RFC 3030 §2).

Bounded: lines and pieces by ``framing``; the rest by the caller, who stops reading
while ``pending`` is large.  Does not do: time (no clock).
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from mta.smtp import refusals, sasl
from mta.smtp.arrival import Arrival, Endless, Swallowed, Swallowing
from mta.smtp.commands import (
    Bdat,
    CommandError,
    Mail,
    check_mail,
    check_vrfy,
    no_argument,
    parse_bdat,
    parse_hello,
    parse_mail,
    parse_rcpt,
)
from mta.smtp.content import endless, too_big
from mta.smtp.events import Data, EndOfChunk, Event, Forget, Rejected, StartTls
from mta.smtp.extensions import ServerSettings, introduced, offer, permit_starttls
from mta.smtp.framing import (
    AUTH_LINE,
    COMMAND_LINE,
    BareLineFeed,
    Incoming,
    LineTooLong,
)
from mta.smtp.mechanisms import Authentication, Turn
from mta.smtp.replies import Reply, reply
from mta.smtp.states import NEXT, State, out_of_order
from mta.smtp.xclient import XClient, parse_xclient

_OK = reply(250, "2.0.0", "Ok")
_DONE = Rejected("", _OK)  # never leaves this module: answered here, go on
_CONTENT, _CHUNK = "content", "chunk"  # asked about, beside the verbs
_NO_MAIL, _NOBODY, _NO_CHUNK = Mail(""), XClient(), Bdat(0, last=False)


class Server:
    """One session.  ``state``, ``client_name`` and ``closing`` are for reading."""

    def __init__(self, settings: ServerSettings, *, secure: bool = False) -> None:
        self.state = State.CONNECTED
        self.client_name = ""  # what EHLO or HELO said
        self.extended = False  # it was EHLO
        self.secure = secure
        self.authenticated = False
        self.closing = ""  # why the session ends: "quit", "too many errors", ...
        self.commands = 0
        self._settings = settings
        self._incoming = Incoming()
        self._output: list[bytes] = []
        self._asked = ""  # the verb that waits for an answer
        self._authentication = Authentication(settings.mechanisms if settings.auth else ())
        self._errors = self._idle = 0
        self._begun = _NO_MAIL  # of the transaction
        self._introduced = _NOBODY  # what XCLIENT said last
        self._arrival: Arrival | Swallowing  # while there is content or a chunk
        self._bdat = _NO_CHUNK  # the last one
        self._chunks_failed = False  # what was pipelined behind is no further error

    @property
    def pending(self) -> int:
        """Octets received and not used."""
        return len(self._incoming)

    def receive(self, data: bytes) -> None:
        """Take octets from the client."""
        if self.state is not State.CLOSED:
            self._incoming.append(data)

    def output(self) -> bytes:
        """Return, once, what is to be sent."""
        octets = b"".join(self._output)
        self._output.clear()
        return octets

    def greet(self) -> None:
        """Say who we are; no enhanced code (RFC 2034 §4)."""
        self._say(reply(220, "", f"{self._settings.host_name} ESMTP"))

    def secured(self, binding: sasl.Binding | None = None, *, certificate: bool = False) -> None:
        """TLS has begun; with a channel binding, and a certificate of the client's, or without."""
        self.secure = True
        self._authentication.secured(binding, certificate=certificate)

    def close(self, answer: Reply | None, reason: str) -> None:
        """End the session, with a last reply where one is due (421, RFC 5321 §3.8)."""
        if self.state is State.CLOSED:
            return
        if answer is not None:
            self._say(answer)
        self.state, self.closing, self._asked = State.CLOSED, reason, ""
        self._incoming.clear()

    def next_event(self) -> Event | None:
        """Return the next event, or None: more octets, or an answer, must come first."""
        while not self._asked and self.state is not State.CLOSED:
            if self.state is State.CONTENT or self.state is State.CHUNK:
                event = self._content()
            elif self._incoming:
                event = self._line()
            else:
                return None
            if event is not _DONE:
                return event
        return None

    def answer(self, answer: Reply) -> None:
        """Answer the event that came last."""
        verb, self._asked = self._asked, ""
        if not verb:
            raise RuntimeError("there is nothing to answer")
        if verb == "BDAT":  # to ``Data``; what is said comes behind the chunk
            self._begin_chunk(None if answer.positive else answer)
            return
        if verb == "AUTH" and self._put_off(answer):
            return
        self._say(answer)
        if verb == _CONTENT:
            self.state = State.READY
            if answer.positive:
                self._errors = self._idle = 0
        elif verb == _CHUNK:
            self.state = State.CHUNKS if answer.positive else State.READY
            self._chunks_failed = not answer.positive
        elif answer.positive:
            self._advance(verb)
        if answer.code == 421:  # which says that we close (RFC 5321 §3.8)
            self.close(None, "refused")
        if answer.permanent:
            self._count_error()

    def proceed(self) -> None:
        """Answer a ``Content``: go on."""
        self._asked = ""

    def supply(self, keys: sasl.StoredKeys) -> None:
        """Answer a ``KeysWanted``."""
        self._asked = ""
        self._turn(self._authentication.supply(keys))

    def _advance(self, verb: str) -> None:
        self.state = NEXT[verb][self.state]
        if verb == "MAIL":
            self._chunks_failed = False
        elif verb == "DATA":
            self._arrival = arrival = Arrival(self._incoming, self._settings.message_size)
            arrival.begin_data()
        elif verb == "AUTH":
            self.authenticated = True
        elif verb == "STARTTLS":
            self.client_name, self.extended = "", False
            self._incoming.clear()
        elif verb == "XCLIENT":
            said = self._introduced
            self.client_name, self.extended = said.hello or "", bool(said.extended)
            self.authenticated = bool(said.login)
            self._settings = introduced(self._settings, said)

    def _say(self, answer: Reply) -> None:
        self._output.append(answer.to_bytes())

    def _count_error(self) -> None:
        self._errors += 1
        if self._errors > self._settings.errors:
            self.close(refusals.TOO_MANY_ERRORS, "too many errors")

    def _reject(self, verb: str, answer: Reply) -> Rejected:
        self._say(answer)
        self._count_error()
        return Rejected(verb, answer)

    def _reject_and_close(self, verb: str, answer: Reply, reason: str) -> Rejected:
        self.close(answer, reason)
        return Rejected(verb, answer)

    def _content(self) -> Event | None:
        event = self._arrival.next()
        if event is None:
            return None
        if isinstance(event, Endless):
            return self._reject_and_close("DATA", event.reply, "endless message")
        if isinstance(event, Swallowed):
            self.state = State.READY if self.client_name else State.CONNECTED
            if self._chunks_failed:
                return self._idle_answer(event.reply)
            self._chunks_failed = True
            return self._reject("BDAT", event.reply)
        return self._ask(_CHUNK if isinstance(event, EndOfChunk) else _CONTENT, event)

    def _line(self) -> Event | None:
        in_auth = self.state is State.RESPONSE
        try:
            line = self._incoming.line(AUTH_LINE if in_auth else COMMAND_LINE)
        except LineTooLong:
            self._end_exchange()
            if in_auth:  # RFC 4954 §4
                return self._reject("AUTH", reply(500, "5.5.6", "The response is too long"))
            return self._reject("", reply(500, "5.5.2", "The line is too long"))
        except BareLineFeed:
            # To go on would be to guess where commands end.  Postfix closes as well.
            return self._reject_and_close("", refusals.BARE_LF, "bare LF")
        if line is None:
            return None
        if in_auth:
            return self._turn(self._authentication.respond(line.decode("latin-1")))
        self.commands += 1
        return self._command(line)

    def _command(self, line: bytes) -> Event:
        text = line.decode("utf-8", "surrogateescape")
        verb, _, argument = text.partition(" ")
        verb = verb.upper()
        refusal = refusals.at_sight(verb, text, self.state)
        if refusal is not None:
            return self._reject(verb if verb in NEXT else "", refusal)
        try:
            return _ACTIONS[verb](self, argument)
        except CommandError as error:
            return self._reject(verb, error.reply)

    def _idle_answer(self, answer: Reply | None) -> Event:
        """Answer something that moves no mail; a client may only do so much of it."""
        if answer is not None:  # else that comes later
            self._say(answer)
        self._idle += 1
        if self._idle > self._settings.idle_commands:
            self.close(refusals.TOO_MANY_COMMANDS, "too many commands")
        return _DONE

    def _ask(self, verb: str, event: Event) -> Event:
        self._asked = verb
        return event

    def _ehlo(self, argument: str) -> Event:
        offered = offer(self._settings, self._authentication.offered, secure=self.secure)
        return self._hello("EHLO", argument, offered)

    def _helo(self, argument: str) -> Event:
        return self._hello("HELO", argument, reply(250, "", self._settings.host_name))

    def _hello(self, verb: str, argument: str, answer: Reply) -> Event:
        self.client_name = parse_hello(verb, argument)
        self.extended = verb == "EHLO"
        return self._reset(verb, answer)

    def _reset(self, verb: str, answer: Reply) -> Event:
        """Nothing is left of a transaction (RFC 5321 §4.1.1.5, §4.1.4)."""
        if self.state is State.CHUNKS:
            return self._ask(verb, Forget(answer))
        self.state = NEXT[verb][self.state]
        return self._idle_answer(answer)

    def _mail(self, argument: str) -> Event:
        mail = parse_mail(argument, extended=self.extended, offered=self._requests)
        check_mail(mail, message_size=self._settings.message_size, secure=self.secure)
        self._begun = mail
        return self._ask("MAIL", mail)

    def _rcpt(self, argument: str) -> Event:
        rcpt = parse_rcpt(
            argument, extended=self.extended, utf8=self._begun.utf8, offered=self._requests
        )
        return self._ask("RCPT", rcpt)

    def _requests(self) -> frozenset[str]:
        return self._settings.requests.keywords(auth=self._settings.auth and self.secure)

    def _data(self, argument: str) -> Event:
        no_argument("DATA", argument)
        if self._begun.binary:  # RFC 3030 §3
            raise CommandError(reply(503, "5.5.1", "BODY=BINARYMIME goes with BDAT, not with DATA"))
        return self._ask("DATA", Data())

    def _chunk(self, argument: str) -> Event:
        try:
            self._bdat = bdat = parse_bdat(argument)
        except CommandError as error:
            return self._reject_and_close("BDAT", error.reply, "unclear BDAT")
        size = self._settings.message_size
        if bdat.size > endless(size):
            return self._reject_and_close("BDAT", too_big(size), "endless message")
        before = self.state
        if not (bdat.size or bdat.last):
            self._idle_answer(None)
            if self.closing:
                return _DONE
        if before is State.CHUNKS:
            return self._begin_chunk(None)
        if before is State.RECIPIENTS and self.extended:
            self._arrival = Arrival(self._incoming, size, binary=self._begun.binary)
            return self._ask("BDAT", Data())
        self.state = State.CHUNK
        answer = out_of_order("BDAT", before if self.extended else State.CONNECTED)
        self._arrival = Swallowing(self._incoming, bdat.size, answer)
        return _DONE

    def _begin_chunk(self, refusal: Reply | None) -> Event:
        """Take a chunk, or only swallow it; an answer to it waits until it has come."""
        bdat, arrival = self._bdat, self._arrival
        assert isinstance(arrival, Arrival)
        arrival.begin_chunk(bdat.size, last=bdat.last, refusal=refusal or bdat.refusal)
        self.state = State.CHUNK
        return _DONE

    def _rset(self, argument: str) -> Event:
        no_argument("RSET", argument)
        return self._reset("RSET", _OK)

    def _vrfy(self, argument: str) -> Event:
        check_vrfy(argument)
        return self._idle_answer(refusals.CANNOT_VERIFY)

    def _quit(self, argument: str) -> Event:
        no_argument("QUIT", argument)
        self.close(reply(221, "2.0.0", f"{self._settings.host_name} closing"), "quit")
        return _DONE

    def _starttls(self, argument: str) -> Event:
        no_argument("STARTTLS", argument)
        permit_starttls(self._settings, secure=self.secure, extended=self.extended)
        if self._incoming:
            return self._reject_and_close("STARTTLS", refusals.INJECTION, "command injection")
        return self._ask("STARTTLS", StartTls())

    def _xclient(self, argument: str) -> Event:
        self._introduced = said = parse_xclient(argument, self._settings.xclient)
        return self._ask("XCLIENT", said)

    def _auth(self, argument: str) -> Event:
        self._authentication.permit(self)
        return self._turn(self._authentication.begin(argument))

    def _turn(self, turn: Turn) -> Event:
        if turn.asked is not None:
            return self._ask("AUTH", turn.asked)
        assert turn.said is not None
        if turn.said.code == 334:
            self.state = State.RESPONSE
            self._say(turn.said)
            return _DONE
        self._end_exchange()
        rejected = self._reject("AUTH", turn.said)
        return rejected if turn.fault else _DONE

    def _put_off(self, answer: Reply) -> bool:
        """Tell whether something is to be said, and heard, before ``answer``."""
        turn = None if answer.positive else self._authentication.denied(answer)
        if turn is None:
            self._end_exchange()
            return False
        self._turn(turn)
        return True

    def _end_exchange(self) -> None:
        self._authentication.end()
        if self.state is State.RESPONSE:
            self.state = State.READY


_ACTIONS: Mapping[str, Callable[[Server, str], Event]] = MappingProxyType(
    {
        "EHLO": Server._ehlo,
        "HELO": Server._helo,
        "MAIL": Server._mail,
        "RCPT": Server._rcpt,
        "DATA": Server._data,
        "BDAT": Server._chunk,
        "RSET": Server._rset,
        "NOOP": lambda core, _: core._idle_answer(_OK),
        "VRFY": Server._vrfy,
        "HELP": lambda core, _: core._idle_answer(refusals.HELP),
        "AUTH": Server._auth,
        "STARTTLS": Server._starttls,
        "XCLIENT": Server._xclient,
        "QUIT": Server._quit,
    }
)
