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
transaction, or twice (RFC 4954 §4).  Commands are printable ASCII or refused.

Bounded: lines and pieces by ``framing``; the rest by the caller, who stops reading
while ``pending`` is large.  Does not do: time (no clock), SMTPUTF8, CHUNKING.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from mta.smtp import sasl
from mta.smtp.commands import (
    CommandError,
    no_argument,
    parse_hello,
    parse_mail,
    parse_rcpt,
)
from mta.smtp.content import Inspection, too_big
from mta.smtp.events import Content, Data, EndOfData, Event, Rejected, StartTls
from mta.smtp.extensions import offer
from mta.smtp.framing import (
    AUTH_LINE,
    COMMAND_LINE,
    BareLineFeed,
    Incoming,
    LineTooLong,
)
from mta.smtp.mechanisms import PASSWORDS, Authentication
from mta.smtp.replies import Reply, reply
from mta.smtp.requests import DSN_ONLY, Offer
from mta.smtp.states import NEXT, State, out_of_order


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What the core needs to know."""

    host_name: str
    message_size: int = 50 * 1024 * 1024  # octets, as they are counted for SIZE
    starttls: bool = False  # there is a certificate
    auth: bool = False  # there are accounts
    mechanisms: tuple[str, ...] = PASSWORDS  # of AUTH, where the connection has what they need
    errors: int = 20
    idle_commands: int = 100
    requests: Offer = DSN_ONLY  # DSN and its like


# Known, and not done here: 502, not 500 (RFC 5321 §4.2.4).
_NOT_HERE = frozenset({"EXPN", "TURN", "ETRN", "ATRN", "BDAT", "SEND", "SOML", "SAML", "BURL"})

_OK = reply(250, "2.0.0", "Ok")
_DONE = Rejected("", _OK)  # never leaves this module: answered here, go on
_CONTENT = "content"  # asked about, beside the verbs
_HELP = reply(
    214,
    "2.0.0",
    "Commands: EHLO HELO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT STARTTLS AUTH",
    "See RFC 5321; the answer to EHLO says what is possible now",
)


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
        self._inspection = Inspection(settings.message_size)

    @property
    def pending(self) -> int:
        """Octets received and not used."""
        return len(self._incoming)

    @property
    def waiting(self) -> bool:
        """Whether an event waits for its answer."""
        return bool(self._asked)

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
            event = self._content() if self.state is State.CONTENT else self._line()
            if event is None:
                return None
            if event is not _DONE:
                return event
        return None

    def answer(self, answer: Reply) -> None:
        """Answer the event that came last."""
        verb, self._asked = self._asked, ""
        if not verb:
            raise RuntimeError("there is nothing to answer")
        if verb == "AUTH" and self._put_off(answer):
            return
        self._say(answer)
        if verb == _CONTENT:
            self.state = State.READY
            if answer.positive:
                self._errors = self._idle = 0
        elif answer.positive:
            self._advance(verb)
        if answer.permanent:
            self._count_error()

    def proceed(self) -> None:
        """Answer a ``Content``: go on."""
        self._asked = ""

    def supply(self, keys: sasl.StoredKeys) -> None:
        """Answer a ``KeysWanted``."""
        self._asked = ""
        self._challenge(self._authentication.supply(keys))

    def _advance(self, verb: str) -> None:
        self.state = NEXT[verb][self.state]
        if verb == "DATA":
            self._incoming.begin_content()
            self._inspection = Inspection(self._settings.message_size)
        elif verb == "AUTH":
            self.authenticated = True
        elif verb == "STARTTLS":
            self.client_name, self.extended = "", False
            self._incoming.clear()

    def _say(self, answer: Reply) -> None:
        self._output.append(answer.to_bytes())

    def _count_error(self) -> None:
        self._errors += 1
        if self._errors > self._settings.errors:
            self.close(reply(421, "4.7.0", "Too many errors; closing"), "too many errors")

    def _reject(self, verb: str, answer: Reply) -> Rejected:
        self._say(answer)
        self._count_error()
        return Rejected(verb, answer)

    def _reject_and_close(self, verb: str, answer: Reply, reason: str) -> Rejected:
        self.close(answer, reason)
        return Rejected(verb, answer)

    def _content(self) -> Event | None:
        piece = self._incoming.content()
        if piece is None:
            return None
        inspection = self._inspection
        data = piece.data if inspection.accepts(piece.data) else b""
        if piece.last:
            return self._ask(_CONTENT, EndOfData(data, inspection.refusal, inspection.eight_bit))
        if data:
            return self._ask(_CONTENT, Content(data))
        if inspection.refusal is not None and inspection.endless:
            return self._reject_and_close("DATA", inspection.refusal, "endless message")
        return _DONE

    def _line(self) -> Event | None:
        limit = AUTH_LINE if self.state is State.RESPONSE else COMMAND_LINE
        try:
            line = self._incoming.line(limit)
        except LineTooLong:
            self._end_exchange()
            return self._reject("", reply(500, "5.5.2", "The line is too long"))
        except BareLineFeed:
            # To go on would be to guess where commands end.  Postfix closes as well.
            answer = reply(521, "5.5.2", "Bare LF: commands must end with CR LF; closing")
            return self._reject_and_close("", answer, "bare LF")
        if line is None:
            return None
        if self.state is State.RESPONSE:
            return self._exchange_step(self._authentication.respond, line.decode("latin-1"))
        self.commands += 1
        return self._command(line)

    def _command(self, line: bytes) -> Event:
        text = line.decode("latin-1")
        verb, _, argument = text.partition(" ")
        verb = verb.upper()
        if not (text.isascii() and text.isprintable()):
            return self._reject(verb if verb in NEXT else "", _unprintable(verb, text))
        states = NEXT.get(verb)
        if states is None:
            return self._reject("", _unknown(verb))
        if self.state not in states:
            return self._reject(verb, out_of_order(verb, self.state))
        try:
            return _ACTIONS[verb](self, argument)
        except CommandError as error:
            return self._reject(verb, error.reply)

    def _idle_answer(self, answer: Reply) -> Event:
        """Answer something that moves no mail; a client may only do so much of it."""
        self._say(answer)
        self._idle += 1
        if self._idle > self._settings.idle_commands:
            self.close(
                reply(421, "4.7.0", "Too many commands without a message; closing"),
                "too many commands",
            )
        return _DONE

    def _ask(self, verb: str, event: Event) -> Event:
        self._asked = verb
        return event

    def _ehlo(self, argument: str) -> Event:
        self._hello("EHLO", argument)
        settings = self._settings
        return self._idle_answer(
            offer(
                settings.host_name,
                settings.message_size,
                starttls=settings.starttls and not self.secure,
                mechanisms=self._authentication.offered if self.secure else (),
                more=settings.requests.lines(auth=settings.auth and self.secure),
            )
        )

    def _helo(self, argument: str) -> Event:
        self._hello("HELO", argument)
        return self._idle_answer(reply(250, "", self._settings.host_name))

    def _hello(self, verb: str, argument: str) -> None:
        self.client_name = parse_hello(verb, argument)
        self.extended = verb == "EHLO"
        self.state = NEXT[verb][self.state]

    def _mail(self, argument: str) -> Event:
        mail = parse_mail(argument, extended=self.extended, offered=self._requests)
        if mail.size is not None and mail.size > self._settings.message_size:
            raise CommandError(too_big(self._settings.message_size))
        return self._ask("MAIL", mail)

    def _rcpt(self, argument: str) -> Event:
        return self._ask(
            "RCPT", parse_rcpt(argument, extended=self.extended, offered=self._requests)
        )

    def _requests(self) -> frozenset[str]:
        return self._settings.requests.keywords(auth=self._settings.auth and self.secure)

    def _data(self, argument: str) -> Event:
        no_argument("DATA", argument)
        return self._ask("DATA", Data())

    def _rset(self, argument: str) -> Event:
        no_argument("RSET", argument)
        self.state = NEXT["RSET"][self.state]
        return self._idle_answer(_OK)

    def _noop(self, argument: str) -> Event:
        return self._idle_answer(_OK)

    def _help(self, argument: str) -> Event:
        return self._idle_answer(_HELP)

    def _vrfy(self, argument: str) -> Event:
        if not argument.strip(" "):
            raise CommandError(reply(501, "5.5.4", "VRFY must be followed by an address"))
        # RFC 5321 §7.3: an honest "cannot say", whoever asks.
        return self._idle_answer(
            reply(252, "2.0.0", "Cannot verify the address, but will try to deliver to it")
        )

    def _quit(self, argument: str) -> Event:
        no_argument("QUIT", argument)
        self.close(reply(221, "2.0.0", f"{self._settings.host_name} closing"), "quit")
        return _DONE

    def _starttls(self, argument: str) -> Event:
        no_argument("STARTTLS", argument)
        if self.secure:
            raise CommandError(reply(503, "5.5.1", "TLS is on already"))
        if not self._settings.starttls:
            raise CommandError(reply(502, "5.5.1", "STARTTLS is not offered here"))
        if not self.extended:
            raise CommandError(reply(503, "5.5.1", "Send EHLO first"))
        if self._incoming:
            answer = reply(554, "5.5.1", "Nothing may follow STARTTLS before its answer; closing")
            return self._reject_and_close("STARTTLS", answer, "command injection")
        return self._ask("STARTTLS", StartTls())

    def _auth(self, argument: str) -> Event:
        self._authentication.permit(self)
        return self._exchange_step(self._authentication.begin, argument)

    def _exchange_step(self, go_on: Callable[[str], sasl.Step], text: str) -> Event:
        try:
            step = go_on(text)
        except sasl.SaslError as error:
            self._end_exchange()
            return self._reject("AUTH", reply(501, error.enhanced, str(error)))
        if isinstance(step, sasl.Challenge):
            return self._challenge(step)
        if isinstance(step, sasl.Verdict):
            self._end_exchange()
            self._say(step.reply)
            self._count_error()
            return _DONE
        return self._ask("AUTH", step)

    def _challenge(self, challenge: sasl.Challenge) -> Event:
        self.state = State.RESPONSE
        self._say(reply(334, "", sasl.encode(challenge)))
        return _DONE

    def _put_off(self, answer: Reply) -> bool:
        """Tell whether something is to be said, and heard, before ``answer``."""
        challenge = None if answer.positive else self._authentication.denied(answer)
        if challenge is None:
            self._end_exchange()
            return False
        self._challenge(challenge)
        return True

    def _end_exchange(self) -> None:
        self._authentication.end()
        if self.state is State.RESPONSE:
            self.state = State.READY


def _unprintable(verb: str, text: str) -> Reply:
    if text.isascii():
        return reply(500, "5.5.2", "The command has a control character in it")
    if verb in ("MAIL", "RCPT"):
        return reply(553, "5.6.7", "Addresses must be ASCII here; SMTPUTF8 is not offered")
    return reply(500, "5.5.2", "The command is not ASCII")


def _unknown(verb: str) -> Reply:
    if verb in _NOT_HERE:
        return reply(502, "5.5.1", f"{verb} is not implemented here")
    return reply(500, "5.5.1", "Command not known; HELP lists what is")


_ACTIONS: Mapping[str, Callable[[Server, str], Event]] = MappingProxyType(
    {
        "EHLO": Server._ehlo,
        "HELO": Server._helo,
        "MAIL": Server._mail,
        "RCPT": Server._rcpt,
        "DATA": Server._data,
        "RSET": Server._rset,
        "NOOP": Server._noop,
        "VRFY": Server._vrfy,
        "HELP": Server._help,
        "AUTH": Server._auth,
        "STARTTLS": Server._starttls,
        "QUIT": Server._quit,
    }
)
