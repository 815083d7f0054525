"""What a client says, step by step, and what it learns from EHLO (RFC 5321 §4.1).

Addresses are checked here once more, whoever let them in: none can end its command early.
"""

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from mta.mail.value import value
from mta.smtp.replies import Reply


class Stage(Enum):
    """What a step is, in the words that logs and outcomes use."""

    # Enum's own is a function in Python, and these are looked up twenty times a message.
    __hash__ = object.__hash__

    GREETING = "greeting"
    EHLO = "EHLO"
    HELO = "HELO"
    LHLO = "LHLO"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"
    RSET = "RSET"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    BDAT = "BDAT"  # a chunk that is not the last
    END_OF_DATA = "end of data"
    QUIT = "QUIT"


@value
class Step:
    """One thing to be answered.  The line may hold a secret, so it is not shown."""

    stage: Stage
    line: bytes = field(default=b"", repr=False)  # with its CRLF; empty: nothing to send
    number: int = 0  # of the recipient, in the order of the transaction


@dataclass(frozen=True, slots=True)
class Limits:
    """What the server takes (RFC 9422); 0 where it does not say."""

    mails: int = 0  # MAILMAX: transactions of one connection
    recipients: int = 0  # RCPTMAX: of one transaction
    domains: int = 0  # RCPTDOMAINMAX: different ones among the recipients of one transaction


NO_LIMITS = Limits()


@value
class Extensions:
    """What the server announced in its answer to EHLO (RFC 5321 §4.1.1.1)."""

    keywords: frozenset[str] = frozenset()
    size: int = 0  # RFC 1870: the largest message in octets, 0 if it does not say
    auth: frozenset[str] = frozenset()
    deliver_by_s: int = 0  # RFC 2852 §4: the shortest time to return by, 0 if it does not say
    limits: Limits = NO_LIMITS

    @property
    def pipelining(self) -> bool:
        """RFC 2920."""
        return "PIPELINING" in self.keywords

    @property
    def eight_bit_mime(self) -> bool:
        """RFC 6152."""
        return "8BITMIME" in self.keywords

    @property
    def binary_mime(self) -> bool:
        """RFC 3030 §3, which goes with BDAT only."""
        return {"BINARYMIME", "CHUNKING"} <= self.keywords

    @property
    def smtp_utf8(self) -> bool:
        """RFC 6531."""
        return "SMTPUTF8" in self.keywords

    @property
    def require_tls(self) -> bool:
        """RFC 8689."""
        return "REQUIRETLS" in self.keywords

    @property
    def starttls(self) -> bool:
        """RFC 3207."""
        return "STARTTLS" in self.keywords

    @property
    def announces_size(self) -> bool:
        """RFC 1870: SIZE= may be given on MAIL."""
        return "SIZE" in self.keywords


def parse_extensions(reply: Reply) -> Extensions:
    """Read a positive answer to EHLO; what cannot be read counts as not said."""
    keywords = set()
    size = deliver_by_s = 0
    auth: set[str] = set()
    limits = NO_LIMITS
    for line in reply.lines[1:]:
        # Some old servers announce "AUTH=LOGIN", so that old clients see it
        words = line.upper().replace("AUTH=", "AUTH ", 1).split()
        if not words:
            continue
        keywords.add(words[0])
        if words[0] == "AUTH":
            auth.update(words[1:])
        elif words[0] == "SIZE" and len(words) > 1 and re.fullmatch("[0-9]{1,20}", words[1]):
            size = int(words[1])
        elif words[0] == "DELIVERBY" and len(words) > 1:
            least = words[1].partition(",")[0]  # options of times to come follow (RFC 2852 §2)
            deliver_by_s = int(least) if re.fullmatch("[0-9]{1,9}", least) else 0
        elif words[0] == "LIMITS":
            limits = _limits(words[1:])
    return Extensions(frozenset(keywords), size, frozenset(auth), deliver_by_s, limits)


def _limits(words: Sequence[str]) -> Limits:
    """Read ``NAME=value`` ...; unknown names and what is no number above 0 are passed over."""
    known = {}
    for word in words:
        name, _, value = word.partition("=")
        if re.fullmatch("[0-9]{1,6}", value):
            known[name] = int(value)
    return Limits(known.get("MAILMAX", 0), known.get("RCPTMAX", 0), known.get("RCPTDOMAINMAX", 0))


class UnsafeAddress(ValueError):
    """An address that cannot stand in a command."""


# A dot-string or a quoted string (RFC 5321 §4.1.2), generous about what is in them, but
# never a control character, and nothing that could end the path outside quotes
_PATH = re.compile(
    r'(?:(?:[^\x00-\x20\x7f<>"]+|"(?:[^\x00-\x1f\x7f"\\]|\\[\x20-\x7e])*")(?:@[^\x00-\x20\x7f<>"@]+)?)?'
)


def _path(address: str, *, utf8: bool) -> bytes:
    if _PATH.fullmatch(address) is None or not (utf8 or address.isascii()):
        raise UnsafeAddress(f"{address!a} cannot be sent in an SMTP command")
    return b"<" + address.encode("utf-8") + b">"


def mail_line(
    sender: str,
    size: int,
    eight_bit: bool,
    extensions: Extensions,
    *,
    utf8: bool = False,
    binary: bool = False,
    more: bytes = b"",
) -> bytes:
    """Return the MAIL command; ``sender`` "" is the null sender.  Raises ``UnsafeAddress``.

    ``utf8``: with SMTPUTF8 (RFC 6531 §3.4); ``binary``: BINARYMIME (RFC 3030 §3);
    ``more``: further parameters, as they stand.
    """
    line = b"MAIL FROM:" + _path(sender, utf8=utf8)
    if extensions.announces_size:
        line += b" SIZE=%d" % size
    if binary:
        line += b" BODY=BINARYMIME"
    elif eight_bit and extensions.eight_bit_mime:
        line += b" BODY=8BITMIME"
    if utf8:
        line += b" SMTPUTF8"
    return line + more + b"\r\n"


def rcpt_line(recipient: str, *, utf8: bool = False) -> bytes:
    """Return the RCPT command; ``utf8``: MAIL has SMTPUTF8.  Raises ``UnsafeAddress``."""
    if not recipient:
        raise UnsafeAddress("a recipient without an address")
    return b"RCPT TO:" + _path(recipient, utf8=utf8) + b"\r\n"


def hello(host_name: str, *, extended: bool = True, lmtp: bool = False) -> Step:
    """Return EHLO, or HELO for a server that does not know EHLO (RFC 5321 §3.2).

    ``lmtp``: LHLO (RFC 2033 §4.1), which has no older form.
    """
    stage = Stage.LHLO if lmtp else Stage.EHLO if extended else Stage.HELO
    if not host_name.isascii() or not host_name.isprintable() or " " in host_name:
        raise ValueError(f"{host_name!a} is not a name for {stage.value}")
    return Step(stage, f"{stage.value} {host_name}\r\n".encode("ascii"))


STARTTLS = Step(Stage.STARTTLS, b"STARTTLS\r\n")
QUIT = Step(Stage.QUIT, b"QUIT\r\n")


def auth_step(name: str, initial: bytes | None) -> tuple[Step, bool]:
    """Return the AUTH command, and whether ``initial`` is in it.

    RFC 4954 §4: an initial response must fit in the 512 octets of a command line.
    """
    line = b"AUTH " + name.encode("ascii")
    if initial is not None:
        whole = line + b" " + (b64encode(initial) or b"=") + b"\r\n"
        if len(whole) <= 512:
            return Step(Stage.AUTH, whole), True
    return Step(Stage.AUTH, line + b"\r\n"), False


def auth_response(response: bytes) -> Step:
    """Return a line that answers a challenge."""
    return Step(Stage.AUTH, b64encode(response) + b"\r\n")
