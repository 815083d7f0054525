"""What can go wrong on a connection, as one exception.  What follows from it: ``attempt``."""

from enum import Enum, auto

from mta.mail.outcome import Tls
from mta.mail.security import Result
from mta.smtp.replies import Reply
from mta.smtp.steps import Stage


class Kind(Enum):
    """What sort of trouble."""

    CONNECT = auto()  # no TCP connection
    SOURCE = auto()  # nor an attempt at one: the source address is not ours
    LOST = auto()  # the connection ended
    TIMEOUT = auto()
    GARBAGE = auto()  # the peer does not speak SMTP
    REFUSED = auto()  # a reply, and not the one that was needed
    TLS = auto()  # handshake failed, or certificate not good enough
    ATTACK = auto()  # somebody in between
    TOKEN = auto()  # there is none to log in with
    UNMARKED = auto()  # the final dot could not be written down, and was not sent (``doubt``)
    CUT_OFF = auto()  # by ourselves: time is over, or the service stops


class Trouble(Exception):
    """The session cannot go on.

    ``command`` is what was waited for, in the words of ``Outcome.command``; ``reply`` is what the
    peer said, where it said something; ``result`` is for TLS reports, where TLS is at fault.
    """

    def __init__(
        self,
        kind: Kind,
        command: str | Stage,
        text: str,
        reply: Reply | None = None,
        result: Result | None = None,
    ) -> None:
        self.kind = kind
        self.result = result
        self.tls: Tls | None = None  # what a handshake came to that was not good enough
        # Whether a machine has answered, where there is no connection; None: it is another trouble
        self.reached: bool | None = None
        self.local = ""  # our address, and the peer's greeting: where sessions are counted
        self.greeted: Reply | None = None
        self.command = command.value if isinstance(command, Stage) else command
        self.reply = reply
        super().__init__(text)
