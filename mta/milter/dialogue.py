"""One connection to a filter as a conversation, without the connection: what is sent, and what
the answers mean.

Each step gives octets to send; ``waiting`` tells whether an answer must come before the next
one.  What has come is read with ``next``, one answer at a time.  A filter of which no answer is
wanted must be silent; changes come at the end of the message and nowhere else.

Trusts no length, no flag and no order of the filter's: whatever is not the protocol raises
``Misbehaved``, and the connection is of no use any more.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import replace

from mta.milter import answers, macros
from mta.milter.answers import AddField, Answer, ChangeField, Kind, Progress, Verdict
from mta.milter.macros import Client, Hello
from mta.milter.options import Agreement, Misbehaved, Stage, Steps, agree, offer
from mta.milter.packets import PIECE, Packets, packet, words

_OFFER = b"O"
_MACROS = b"D"
_ABORT = b"A"
_QUIT = b"Q"
_END_OF_MESSAGE = b"E"
_ANYTIME = frozenset({Kind.CONTINUE, Kind.ACCEPT, Kind.REFUSE, Kind.CLOSE})


class Dialogue:
    """One connection."""

    def __init__(self) -> None:
        self.agreement: Agreement | None = None  # once it is negotiated
        self.waiting = False  # for the answer to what was sent last
        self._step = b""
        self._packets = Packets()
        self._known: dict[str, str] = {}  # values of macros

    def receive(self, octets: bytes) -> None:
        """Take what the filter has sent."""
        self._packets.receive(octets)

    @property
    def pending(self) -> int:
        """How many octets wait to be read with ``next``."""
        return self._packets.pending

    def next(self) -> Answer | None:
        """Return the next answer; None until there is one.

        The answer to the offer is CONTINUE.  Raises ``Misbehaved``.
        """
        found = self._packets.next()
        if found is None:
            return None
        if not self.waiting:
            raise Misbehaved("it has spoken without being asked")
        kind, payload = found
        if self._step == _OFFER:
            return self._agreed(kind, payload)
        answer = answers.answer(kind, payload)
        if isinstance(answer, Verdict):
            self._check(answer.kind)
            self.waiting = False
        elif not isinstance(answer, Progress):
            if self._step != _END_OF_MESSAGE:
                raise Misbehaved("it has changed a message before its end")
            if isinstance(answer, AddField | ChangeField) and not self._has(Steps.LEADING_SPACE):
                return replace(answer, value=b" " + answer.value if answer.value else b"")
        return answer

    def _agreed(self, kind: bytes, payload: bytes) -> Answer:
        if kind != _OFFER:
            raise Misbehaved("it has not answered the offer")
        self.agreement = agree(payload)
        self.waiting = False
        return answers.CONTINUE

    def _check(self, kind: Kind) -> None:
        if kind in _ANYTIME:
            return
        if kind is Kind.SKIP and self._step == b"B" and self._has(Steps.SKIP):
            return
        if kind is Kind.DISCARD and self._step not in (b"C", b"H", b"U"):
            return
        raise Misbehaved(f"it has answered {kind} where that has no meaning")

    def _has(self, step: Steps) -> bool:
        return self.agreement is not None and step in self.agreement.steps

    def offer(self) -> bytes:
        """Begin."""
        return self._ask(_OFFER, offer())

    def connect(self, client: Client) -> bytes:
        """Say who is connected."""
        self._known.update(client.macros())
        payload = words([client.name.encode()]) + _where(client.address, client.port)
        return self._send(Stage.CONNECT, b"C", payload, Steps.NO_CONNECT, Steps.UNANSWERED_CONNECT)

    def helo(self, hello: Hello) -> bytes:
        """Say what the client calls itself, and what is known of it since it connected."""
        self._known.update(hello.macros())
        payload = words([hello.name.encode()])
        return self._send(Stage.HELO, b"H", payload, Steps.NO_HELO, Steps.UNANSWERED_HELO)

    def mail(self, sender: str, parameters: tuple[str, ...], queue_id: str) -> bytes:
        """Begin a message."""
        self._known.update(macros.of_mail(sender), i=queue_id)
        payload = words(one.encode() for one in (f"<{sender}>", *parameters))
        return self._send(Stage.MAIL, b"M", payload, Steps.NO_MAIL, Steps.UNANSWERED_MAIL)

    def rcpt(self, address: str, domain: str, parameters: tuple[str, ...]) -> bytes:
        """Name a recipient."""
        self._known.update(macros.of_rcpt(address, domain))
        payload = words(one.encode() for one in (f"<{address}>", *parameters))
        return self._send(Stage.RCPT, b"R", payload, Steps.NO_RCPT, Steps.UNANSWERED_RCPT)

    def data(self) -> bytes:
        """All recipients are named."""
        assert self.agreement is not None
        if self.agreement.version < 4:  # it does not know the command
            return self._silent()
        return self._send(Stage.DATA, b"T", b"", Steps.NO_DATA, Steps.UNANSWERED_DATA)

    def unknown(self, command: str) -> bytes:
        """Tell of a command that is none."""
        assert self.agreement is not None
        if self.agreement.version < 3:
            return self._silent()
        payload = words([command.encode()])
        return self._send(None, b"U", payload, Steps.NO_UNKNOWN, Steps.UNANSWERED_UNKNOWN)

    def field(self, name: bytes, value: bytes) -> bytes:
        """Show a header field; ``value`` is all that stands behind the colon."""
        if not self._has(Steps.LEADING_SPACE) and value[:1] in (b" ", b"\t"):
            value = value[1:]
        payload = words([name, value.replace(b"\r\n", b"\n")])
        return self._send(None, b"L", payload, Steps.NO_HEADERS, Steps.UNANSWERED_HEADER)

    def end_of_header(self) -> bytes:
        """All fields were shown."""
        flags = Steps.NO_END_OF_HEADER, Steps.UNANSWERED_END_OF_HEADER
        return self._send(Stage.END_OF_HEADER, b"N", b"", *flags)

    def body(self, piece: bytes) -> bytes:
        """Show a piece of the body, of up to ``PIECE`` octets."""
        assert len(piece) <= PIECE
        return self._send(None, b"B", piece, Steps.NO_BODY, Steps.UNANSWERED_BODY)

    def end_of_message(self) -> bytes:
        """Ask for the verdict; it is always answered."""
        return self._macros(Stage.END_OF_MESSAGE) + self._ask(_END_OF_MESSAGE, b"")

    def abort(self) -> bytes:
        """Break a message off; there is no answer."""
        self.waiting = False
        return packet(_ABORT)

    def quit(self) -> bytes:
        """End the connection; there is no answer."""
        self.waiting = False
        return packet(_QUIT)

    def _send(
        self, stage: Stage | None, kind: bytes, payload: bytes, unwanted: Steps, unanswered: Steps
    ) -> bytes:
        if self._has(unwanted):
            return self._silent()
        octets = b"" if stage is None else self._macros(stage, kind)
        if self._has(unanswered):
            self.waiting = False
            return octets + packet(kind, payload)
        return octets + self._ask(kind, payload)

    def _ask(self, kind: bytes, payload: bytes) -> bytes:
        self._step, self.waiting = kind, True
        return packet(kind, payload)

    def _silent(self) -> bytes:
        self.waiting = False
        return b""

    def _macros(self, stage: Stage, kind: bytes = _END_OF_MESSAGE) -> bytes:
        wanted = self._wanted.get(stage, macros.DEFAULT[stage])
        pairs = macros.chosen(self._known, wanted)
        return packet(_MACROS, kind + words(text.encode() for pair in pairs for text in pair))

    @property
    def _wanted(self) -> Mapping[Stage, tuple[str, ...]]:
        assert self.agreement is not None
        return self.agreement.macros


def _where(address: str, port: int) -> bytes:
    """Return family, port and address of the client."""
    try:
        version = ipaddress.ip_address(address.partition("%")[0]).version
    except ValueError:
        return b"U"
    family = b"4" if version == 4 else b"6"
    return family + port.to_bytes(2) + words([address.encode()])
