"""What is fuzzed: each function takes any octets at all and says, by an assertion, what must hold.

A target states what is true of *every* input, mostly by saying the same thing twice: what
comes whole and what comes octet by octet must be answered alike, what was read must be read
again from how it is written, and what ends a message is known independently of ``framing``.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from headers import addresses_of_bounces, header_of_mail, signatures_of_mail, xtext_of_parameters
from peers import filters, logging_in, name_servers, proxy_headers, tokens

from mta.causes.pattern import Pattern
from mta.causes.rules import Facts, Rules
from mta.config.build_causes import shipped
from mta.mail.cause import Cause
from mta.mail.outcome import Outcome, Peer, Verdict
from mta.smtp import grammar
from mta.smtp.client import Client, DotStuffing
from mta.smtp.commands import Mail, Rcpt
from mta.smtp.content import BARE_LINE_END, NUL_OCTET
from mta.smtp.events import Content, Data, EndOfChunk, EndOfData, Forget, Rejected, StartTls
from mta.smtp.extensions import ServerSettings
from mta.smtp.framing import BareLineFeed, Incoming, LineTooLong
from mta.smtp.replies import reply
from mta.smtp.reply_parser import RemoteProtocolError, ReplyParser
from mta.smtp.requests import Offer
from mta.smtp.sasl import Attempt, KeysWanted
from mta.smtp.server import Server
from mta.smtp.states import State
from mta.smtp.steps import Stage, Step, parse_extensions
from mta.sts import policy, record
from mta.tlsrpt.record import MOST as MOST_PLACES
from mta.tlsrpt.record import address_of, is_https, places

OK = reply(250, "2.0.0", "Ok")
GO = reply(354, "", "Go on")
NO = reply(550, "5.7.1", "No")
LATER = reply(451, "4.3.0", "Later")
# Of two things that are wrong with a message, which one is seen first depends on the pieces.
NUL, BARE = NUL_OCTET.to_bytes(), BARE_LINE_END.to_bytes()

_OFFER = Offer(hold_s=86400, by_s=60, priority=True)


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    """Cut ``data`` into pieces of ``size`` octets."""
    return (data[at : at + size] for at in range(0, len(data), size))


def grammar_of_addresses(data: bytes) -> None:
    """A path is read or refused in words; what was read is read again as itself."""
    text = data.decode("utf-8", "replace")
    try:
        address, end = grammar.path(text)
    except grammar.GrammarError as error:
        assert str(error)
    else:
        assert 0 < end <= len(text)
        assert not set("\r\n\0") & set(address)
        assert grammar.path(f"<{address}>") == (address, len(address) + 2)
    try:
        found = grammar.parameters(text, 16)
    except grammar.GrammarError:
        return
    assert len(found) <= 16
    again = " ".join(f"{name}={value}" if value else name for name, value in found.items())
    assert grammar.parameters(again, 16) == found


def framing_of_content(data: bytes) -> None:
    """CRLF.CRLF ends a message and nothing else does, however the octets come."""
    end = (b"\r\n" + data).find(b"\r\n.\r\n")
    whole = data[: max(end, 0)] if end >= 0 else None
    for size in (1, 3, 65536):
        incoming, taken, last = Incoming(), [], False
        incoming.begin_content()
        for piece in pieces(data, size):
            incoming.append(piece)
            while not last and (found := incoming.content()) is not None:
                taken.append(found.data)
                last = found.last
        got = b"".join(taken)
        assert last is (whole is not None)
        if whole is not None:
            assert got == unstuffed(whole)
            assert len(incoming) == len(data) - end - 3
        else:
            assert unstuffed(data).startswith(got)
            assert len(incoming) <= 5


def unstuffed(content: bytes) -> bytes:
    """Remove the first dot of each line that has one (RFC 5321 §4.5.2)."""
    lines = content.split(b"\r\n")
    return b"\r\n".join(line[1:] if line.startswith(b".") else line for line in lines)


def framing_of_lines(data: bytes) -> None:
    """Lines end with CRLF, errors are told once, and nothing overlong is kept."""
    said = []
    for size in (1, 7, 65536):
        incoming, lines = Incoming(), []
        for piece in pieces(data, size):
            incoming.append(piece)
            while True:
                try:
                    line = incoming.line(32)
                except (LineTooLong, BareLineFeed) as error:
                    lines.append(type(error).__name__.encode())
                    continue
                if line is None:
                    break
                assert b"\n" not in line
                lines.append(line)
            assert len(incoming) <= 32 or data[:5].upper() == b"AUTH " or b"UTH " in data.upper()
        said.append(lines)
    assert said[0] == said[1] == said[2]


def dot_stuffing(data: bytes) -> None:
    """What goes out is what was there, and the next hop finds its end where we put it."""
    content = data.replace(b"\r", b"").replace(b"\n", b"\r\n")
    for size in (1, 5, 65536):
        stuffing = DotStuffing()
        sent = b"".join(stuffing.feed(piece) for piece in pieces(content, size))
        sent += stuffing.finish()
        assert (b"\r\n" + sent).find(b"\r\n.\r\n") == len(sent) - 3
        kept = unstuffed(sent[:-3])
        assert kept == content or kept == content + b"\r\n"


def replies(data: bytes) -> None:
    """Any server at all: replies are printable, or it is told what is wrong, whole or in pieces."""
    said = []
    for size in (1, 3, 65536):
        parser, found = ReplyParser(), []
        try:
            for piece in pieces(data, size):
                parser.feed(piece)
                while (one := parser.next()) is not None:
                    assert 200 <= one.code <= 599
                    assert all(line.isprintable() for line in one.lines)
                    parse_extensions(one)
                    found.append(one)
        except RemoteProtocolError as error:
            found.append(str(error).isprintable())
        said.append(found)
    assert said[0] == said[1] == said[2]


def client(data: bytes) -> None:
    """Whatever a server says, no message counts as accepted before it has been sent."""
    one, at = Client(), 0
    one.receive(b"220 mx\r\n")
    one.extensions = parse_extensions(reply(250, "", "mx", *["PIPELINING"][: data[:1] > b"\x7f"]))
    answers = list(pieces(data, 24))
    one.command(Step(Stage.EHLO, b"EHLO me\r\n"))
    transaction = None
    try:
        while at < len(answers):
            one.output()
            if one.body_due:
                one.body_sent()
            elif one.at_rest:
                if transaction is not None and not one.reusable:
                    return
                transaction = one.begin(b"MAIL FROM:<a@b>\r\n", [b"RCPT TO:<c@d>\r\n"] * 2)
                continue
            one.receive(answers[at])
            at += 1
            end = None if transaction is None else transaction.end_of_data
            if end is not None and end.code < 300 and transaction.accepted:
                assert transaction.body_sent
    except RemoteProtocolError as error:
        assert str(error).isprintable()


def server(data: bytes) -> None:
    """A session says the same however its octets come, one reply to a command, and never breaks."""
    if not data:
        return
    mode, said = data[0], []
    for size in (1, 11, 65536):
        talk = _Talk(mode)
        for piece in pieces(data[1:], size):
            talk.hear(piece)
        said.append((talk.said.replace(NUL, BARE), talk.events, talk.core.state, talk.core.closing))
    assert said[0] == said[1] == said[2]


def assert_replies(octets: bytes) -> None:
    """What is said is whole replies."""
    parser = ReplyParser()
    parser.feed(octets)
    while parser.next() is not None:
        pass
    assert not parser.pending


class _Talk:
    """A session with a decision for everything, the same for the same input."""

    def __init__(self, mode: int) -> None:
        secure = bool(mode & 1)
        settings = ServerSettings(
            "relay.test", message_size=4096, auth=True, errors=5, idle_commands=20, requests=_OFFER
        )
        self.core = Server(settings, secure=secure)
        self.said = b""
        self.events: list[object] = []
        self._refusing = mode >> 1
        self._content = b""
        self._binary = False
        self.core.greet()

    def hear(self, data: bytes) -> None:
        self.core.receive(data)
        while (event := self.core.next_event()) is not None:
            self._answer(event)
        octets = self.core.output()
        if octets:
            self.said += octets
            assert_replies(octets)

    def _answer(self, event: object) -> None:
        core = self.core
        match event:
            case Rejected():
                assert event.reply.code >= 400
                self.events.append(event)
            case Content():
                self._take(event.data)
                core.proceed()
            case EndOfData() | EndOfChunk():
                self._take(event.data)
                if isinstance(event, EndOfData):
                    refused = event.refusal is not None  # then how much came out may differ
                    self.events.append(refused or (self._content, event.eight_bit))
                    if not (refused or self._binary):
                        lines = self._content.count(b"\r\n")
                        assert self._content.count(b"\r") == lines == self._content.count(b"\n")
                        assert b"\0" not in self._content
                        assert len(self._content) <= 4096
                    self._content = b""
                elif event.refusal is not None:
                    self._content = b""
                core.answer(event.refusal or OK)
            case Forget():
                self._content = b""
                core.answer(event.reply)
            case Data():
                assert core.state is State.RECIPIENTS
                self._content = b""
                core.answer(self._decide(event, GO))
            case Mail() | Rcpt():
                self.events.append(event)
                if isinstance(event, Mail):
                    assert core.state is State.READY
                    assert not event.require_tls or core.secure
                    self._binary = event.binary
                core.answer(self._decide(event, OK))
            case KeysWanted():
                raise AssertionError("no SCRAM is offered here")
            case StartTls():
                raise AssertionError("no TLS is offered here")
            case _:
                assert isinstance(event, Attempt)
                assert core.secure, "AUTH in the clear"
                core.answer(self._decide(event, reply(235, "2.7.0", "Ok")))

    def _take(self, data: bytes) -> None:
        self._content += data

    def _decide(self, event: object, positive: object):
        """Refuse some, by what has been heard and not by how it came."""
        kind = len(type(event).__name__) + len(self.events)
        if self._refusing >> (kind % 7) & 1:
            return NO if kind % 2 else LATER
        return positive


def sts_policies(data: bytes) -> None:
    """A policy of MTA-STS, or its record, is refused in words, or is read again as itself."""
    try:
        found = policy.parse(data)
    except policy.PolicyInvalid as error:
        assert str(error).isprintable()
    else:
        assert policy.kept(found.lines) == found
        assert 0 <= found.max_age_s <= policy.LONGEST_AGE_S
        assert found.mx or found.mode == "none"
        for pattern in found.mx:
            assert pattern.isascii() and pattern == pattern.lower()
            assert found.names(pattern.replace("*.", "one."))
            if pattern.startswith("*."):
                below = f"two.{pattern[2:]}"
                assert found.names(f"one.{below}") is bool(
                    {f"*.{below}", f"one.{below}"} & {*found.mx}
                )
    try:
        known = record.policy_id([data])
    except record.RecordInvalid as error:
        assert str(error).isprintable()
    else:
        assert known is None or (known.isascii() and known.isalnum() and 1 <= len(known) <= 32)


def places_of_reports(data: bytes) -> None:
    """A record leads to addresses and HTTPS servers alone; what was read is read again."""
    found = places([data])
    assert found is None or len(found) <= MOST_PLACES
    for uri in found or ():
        address = address_of(uri)
        assert bool(address) != is_https(uri)
        assert uri.isascii() and uri.isprintable() and not set(" ,;") & set(uri)
        assert not set('\r\n\0 <>"') & set(address)
        if address:
            assert grammar.path(f"<{address}>") == (address, len(address) + 2)
    again = places([b"v=TLSRPTv1;rua=" + ",".join(found or ()).encode()])
    assert again == (found or ())
    assert places([data, data]) is None


_CAUSES = Rules(shipped())


def causes(data: bytes) -> None:
    """A reply has a cause of the list, in letters of either case; a pattern is good or refused."""
    text = data.decode("utf-8", "replace")
    code = data[0] if data else 0
    outcome = Outcome(0, Verdict.FAILED, code, "5.0.0", text, "RCPT", peer=Peer("mx.example"))
    facts = Facts.of(outcome)
    found = _CAUSES.find(facts)
    assert found.cause in list(Cause)
    assert found == _CAUSES.find(Facts.of(replace(outcome, text=text[: len(facts.text)])))
    if text.isascii():
        assert found == _CAUSES.find(replace(facts, text=facts.text.swapcase()))
    try:
        pattern = Pattern(text)
    except ValueError as error:
        assert str(error)
    else:
        assert pattern.found_in(text * 9) in (True, False)


PROPERTIES: dict[str, Callable[[bytes], None]] = {
    one.__name__: one
    for one in (
        addresses_of_bounces, causes, client, dot_stuffing, filters, framing_of_content,
        framing_of_lines, grammar_of_addresses, header_of_mail, logging_in, name_servers,
        places_of_reports, proxy_headers, replies, server, signatures_of_mail, sts_policies,
        tokens, xtext_of_parameters,
    )
}  # fmt: skip
