"""Whether the content of a message can be accepted, judged piece by piece as it arrives.

A lone CR or LF is what SMTP smuggling is made of: the next hop may take it for the end
of a line, and LF.LF for the end of the message.  RFC 5321 §2.3.8 forbids to send it, so
it is refused, never "repaired", which would break signatures.  NUL is refused for the
same section's sake.  Line length (RFC 5321 §4.5.3.1.6) is not looked at here: many senders
don't keep it, and whether new mail must is a setting (``inbound.line_length``).

The same holds for what comes by BDAT, though no dot ends anything there: it leaves by DATA,
and what was only odd here would be the end of the message there.  Only
``BODY=BINARYMIME`` (RFC 3030 §3) lets such octets in, and such a message leaves by BDAT or not
at all.
"""

from mta.smtp.framing import has_bare_line_end
from mta.smtp.replies import Reply, reply

BARE_LINE_END = reply(
    550,
    "5.6.11",
    "The message has a bare CR or LF in it; lines must end with CR LF. It was not accepted",
)
NUL_OCTET = reply(550, "5.6.0", "The message has a NUL octet in it. It was not accepted")

_SLACK = 1024 * 1024


def too_big(limit: int) -> Reply:
    """Return the refusal of a message larger than ``limit`` octets (RFC 1870 §6)."""
    return reply(552, "5.3.4", f"The message is larger than the {limit} octets allowed here")


def endless(message_size: int) -> int:
    """Return how many octets are swallowed at most where so many would be accepted."""
    return 2 * message_size + _SLACK


class Inspection:
    """What is known about the content of one message."""

    def __init__(self, message_size: int, *, binary: bool = False) -> None:
        self.refusal: Reply | None = None  # the first reason why it can't be accepted
        self.octets = 0
        self.eight_bit = False
        self._message_size = message_size
        self._binary = binary

    @property
    def endless(self) -> bool:
        """Whether so much was swallowed that nobody can be waiting for an answer."""
        return self.octets > endless(self._message_size)

    def announce(self, octets: int) -> None:
        """So many more octets will come: what will be too much is known now."""
        if self.refusal is None and self.octets + octets > self._message_size:
            self.refusal = too_big(self._message_size)

    def accepts(self, data: bytes) -> bool:
        """Judge one more piece; false once the message is lost."""
        self.octets += len(data)
        if self.refusal is None:
            self.refusal = self._judge(data)
        return self.refusal is None

    def _judge(self, data: bytes) -> Reply | None:
        if self.octets > self._message_size:
            return too_big(self._message_size)
        if not self._binary:
            if has_bare_line_end(data):
                return BARE_LINE_END
            if b"\0" in data:
                return NUL_OCTET
        if not self.eight_bit and not data.isascii():
            self.eight_bit = True
        return None
