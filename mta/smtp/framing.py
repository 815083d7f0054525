"""From octets as they arrive to command lines and message content (RFC 5321 §2.3.8, §4.5.2).

One buffer for both, because a pipelining client sends both in one packet.  A command
line ends with CRLF; a lone LF is an error that is told at once.  Content ends with
CRLF.CRLF **and nothing else**: a relay that takes LF.LF or CR.CR for the end lets a sender
smuggle a second message past the next one (CVE-2023-51764 and its many sisters).  A chunk
(RFC 3030 §2) ends where its command said, whatever is in it: no dot means anything there.

Content is never looked at line by line: the terminator, the stuffed dots and what is
forbidden are looked for in blocks, with the searches that CPython has in C.

Bounded: a line that grows too long is thrown away while it arrives, content is given out
in pieces; how much is received ahead of that is the caller's to hold back.
"""

import re

from mta.mail.value import value

BLOCK = 64 * 1024  # octets of content taken in one piece at most

# RFC 5321 §4.5.3.1.4 asks for 512, and extensions for a few hundred more at MAIL and RCPT
# (RFC 1870 §3, RFC 4954 §3, RFC 3461 §4.2); the same generous bound serves all.
COMMAND_LINE = 2048
AUTH_LINE = 12288 + 2  # RFC 4954 §4.  "base64 strings up to 12288 octets"
_AUTH_COMMAND_LINE = len("AUTH OAUTHBEARER ") + AUTH_LINE

# A search for CR of this kind is memchr; ``bytes.find`` of so short a pattern is five times slower.
DOT_AT_LINE = re.compile(rb"\r\n\.").search
_END = re.compile(rb"\r\n\.\r\n").search
_CR_ALONE = re.compile(rb"\r(?!\n)").search
_ALL_BUT_LINE_ENDS = bytes(octet for octet in range(256) if octet not in b"\r\n")


class FramingError(Exception):
    """A command line is not one."""


class LineTooLong(FramingError):
    """More octets than allowed; they have been thrown away up to the end of the line."""


class BareLineFeed(FramingError):
    """A line ends with LF without CR before it; the line has been thrown away."""


@value
class Piece:
    """Some content, unstuffed, and whether it was the last."""

    data: bytes
    last: bool


class Incoming:
    """Octets received and not yet used."""

    def __init__(self) -> None:
        self._data = b""
        self._at = 0  # what lies before is used
        self._overlong = False  # in a line that is being thrown away
        self._begun = False  # in content: the first octets have been looked at
        self._chunk = 0  # octets of the chunk that are still to come

    def append(self, data: bytes) -> None:
        """Take octets from the wire."""
        if self._at == len(self._data):
            self._data = data
        else:
            self._data = self._data[self._at :] + data
        self._at = 0

    def __len__(self) -> int:
        """How many octets wait to be used."""
        return len(self._data) - self._at

    def clear(self) -> None:
        """Throw everything away (RFC 3207 §4.2)."""
        self._data = b""
        self._at = 0

    def line(self, limit: int = COMMAND_LINE) -> bytes | None:
        """Return the next line without its CRLF, or None while it is not complete.

        ``limit`` counts the CRLF; AUTH commands always have theirs.  Raises
        ``LineTooLong`` and ``BareLineFeed``, after which the next call goes on behind it.
        """
        data, start = self._data, self._at
        end = data.find(b"\n", start)
        if end < 0:
            length = len(data) - start
            if length >= limit and length >= _longest(data, start, limit):
                self._overlong = True
            if self._overlong:  # the last octet decides whether the coming LF is bare
                self._data, self._at = data[-1:], 0
            return None
        self._used(end + 1)
        overlong, self._overlong = self._overlong, False
        if end == start or data[end - 1] != 0x0D:
            raise BareLineFeed
        length = end + 1 - start
        if overlong or (length > limit and length > _longest(data, start, limit)):
            raise LineTooLong
        return data[start : end - 1]

    def begin_content(self) -> None:
        """From here on, until its last piece, it is content."""
        self._begun = False

    def content(self) -> Piece | None:
        """Return the next piece of content, or None while there is none.

        A piece never ends within CRLF or what may become the end of data, so that each can
        be judged alone (``has_bare_line_end``).
        """
        block = self._data
        if self._at or len(block) > BLOCK:
            block = block[self._at : self._at + BLOCK]
        if not self._begun:
            if len(block) < 3 and b".\r\n".startswith(block):
                return None  # nothing, or too little to tell
            self._begun = True
            if block.startswith(b".\r\n"):
                return self._use(3, b"", last=True)
            if block.startswith(b"."):
                self._at += 1
                block = block[1:]
        # Most blocks have no line that begins with a dot: one search settles two questions.
        dot = DOT_AT_LINE(block)
        if dot is not None:
            end = _END(block, dot.start())
            if end is not None:
                data = block[: end.start() + 2]
                stuffed = dot.start() < end.start()
                return self._use(end.end(), _unstuffed(data) if stuffed else data, last=True)
        keep = _undecided(block)
        used = len(block) - keep
        if not used:
            return None
        data = block[:used] if keep else block
        return self._use(used, data if dot is None else _unstuffed(data), last=False)

    def begin_chunk(self, size: int) -> None:
        """From here on, ``size`` octets are a chunk (RFC 3030 §2)."""
        self._chunk = size

    def chunk(self) -> Piece | None:
        """Return the next piece of the chunk, as it is, or None while there is none."""
        data = self._data[self._at : self._at + min(self._chunk, BLOCK)]
        if not data and self._chunk:
            return None
        self._chunk -= len(data)
        return self._use(len(data), data, last=self._chunk == 0)

    def _use(self, used: int, data: bytes, *, last: bool) -> Piece:
        self._used(self._at + used)
        return Piece(data, last)

    def _used(self, at: int) -> None:
        """What lies before ``at`` is used; an idle connection holds no memory for it."""
        self._at = at
        if at == len(self._data):
            self._data, self._at = b"", 0


def _longest(data: bytes, start: int, limit: int) -> int:
    """How long the line may be that begins at ``start``."""
    auth = data[start : start + 5].upper() == b"AUTH "
    return max(limit, _AUTH_COMMAND_LINE) if auth else limit


def _unstuffed(data: bytes) -> bytes:
    """Remove the dot that a line begins with (RFC 5321 §4.5.2)."""
    return data.replace(b"\r\n.", b"\r\n")


def _undecided(block: bytes) -> int:
    """Return how many octets at the end may be the beginning of CRLF.CRLF."""
    last = block[-1:]
    if last == b"\r":
        return 4 if block.endswith(b"\r\n.\r") else 1
    if last == b"\n":
        return 2 if block.endswith(b"\r\n") else 0
    if last == b".":
        return 3 if block.endswith(b"\r\n.") else 0
    return 0


def has_bare_line_end(data: bytes) -> bool:
    """Tell whether CR or LF stands alone somewhere in a piece of content."""
    ends = data.translate(None, _ALL_BUT_LINE_ENDS)
    return ends != b"\r\n" * (len(ends) // 2) or _CR_ALONE(data) is not None
