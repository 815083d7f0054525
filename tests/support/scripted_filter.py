"""A filter that says what the test has written down for it, in memory."""

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from mta.milter.packets import packet

CONTINUE = packet(b"c")
ALL_STEPS = 0
UNANSWERED = 0xFF080  # none of the steps is answered, nor is a field
LEADING_SPACE = 0x100000
SKIP = 0x400
STEPS = b"CHMRTLNBE"


def agreement(version=6, actions=0xFF, steps=LEADING_SPACE | SKIP, macros=b""):
    numbers = b"".join(number.to_bytes(4) for number in (version, actions, steps))
    return packet(b"O", numbers + macros)


class ScriptedFilter:
    """Endpoint and filter in one.  ``answers``: a step's letter to what is answered.

    An answer is octets, an exception to lose the connection with, None to hang, or a function
    of the payload that gives one of these.
    """

    def __init__(self, **answers):
        self.answers = {"O": agreement(), **answers}
        self.heard = []  # (letter, payload) of all connections, without macros
        self.macros = []  # (letter of the step, {name: value})
        self.connections = []  # the transports
        self.refusing = None  # an exception, or "hang"
        self.full = False  # it does not read
        self.asked = 0

    def connect(self, factory):
        self.asked += 1
        if self.refusing == "hang":
            return Deferred(lambda _: None)
        if self.refusing is not None:
            return fail(self.refusing)
        protocol = factory.buildProtocol(None)
        wire = _Wire(self, protocol)
        self.connections.append(wire)
        protocol.makeConnection(wire)
        return succeed(protocol)

    def say(self, octets):
        """Say something that it was not asked for, or was waited for."""
        self.connections[-1].protocol.dataReceived(octets)

    def close(self):
        """Close the connection."""
        self.connections[-1].lose(ConnectionDone())

    def steps(self):
        """The letters of all that it heard, as a word."""
        return b"".join(letter for letter, _ in self.heard).decode()

    def payloads(self, letter):
        return [payload for one, payload in self.heard if one == letter.encode()]


REFUSED = ConnectionRefusedError()
DIES = ConnectionLost()


class _Wire(StringTransport):
    def __init__(self, filter, protocol):
        super().__init__()
        self.filter = filter
        self.protocol = protocol
        self.octets = b""
        self.gone = False

    def lose(self, reason):
        if not self.gone:
            self.gone = True
            self.protocol.connectionLost(Failure(reason))

    def loseConnection(self):
        self.lose(ConnectionDone())

    def abortConnection(self):
        self.lose(ConnectionLost())

    def write(self, data):
        self.octets += data
        while len(self.octets) >= 4 and not self.gone:
            length = int.from_bytes(self.octets[:4])
            if len(self.octets) < 4 + length:
                break
            letter, payload = self.octets[4:5], self.octets[5 : 4 + length]
            self.octets = self.octets[4 + length :]
            if letter == b"D":
                words = payload[1:].split(b"\0")[:-1]
                self.filter.macros.append(
                    (payload[:1].decode(), dict(zip(words[::2], words[1::2], strict=True)))
                )
                continue
            self.filter.heard.append((letter, payload))
            self._answer(letter, payload)

    def _answer(self, letter, payload):
        default = CONTINUE if letter in STEPS + b"U" else None
        answer = self.filter.answers.get(letter.decode(), default)
        if callable(answer):
            answer = answer(payload)
        if isinstance(answer, Exception):
            self.lose(answer)
        elif answer is not None:
            self.protocol.dataReceived(answer)
