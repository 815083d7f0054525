"""Replies as they come off the wire: bytes in, ``Reply`` values out (RFC 5321 §4.2).

A client has to live with what servers really send.  Survived: a code without text, a
separator that is neither space nor hyphen, bare LF line ends, lines of one reply with
differing codes (the last line's counts, §4.2.1), octets that are not UTF-8, control
characters.  What does not begin with a code of 2xx to 5xx is garbage, and so is a reply
that does not end within reason; both raise ``GarbageReply``, after which the
connection is of no more use.

Nothing the peer sends is trusted: memory is bounded, and the text of a reply is printable,
on lines of its own, whatever came.
"""

import re
from collections import deque
from functools import lru_cache

from mta.smtp.replies import Reply

MAX_LINE_OCTETS = 4096  # RFC 5321 §4.5.3.1.5 allows 512; some texts are longer
MAX_REPLY_OCTETS = 256 * 1024
KEPT_LINES = 128  # of the text of one reply; EHLO has the longest, some twenty lines

_LINE = re.compile(rb"([2-5][0-9][0-9])(?![0-9])(-?)(.*)", re.DOTALL)
# RFC 3463 §2; RFC 2034 §4: the class is the first digit of the code
_ENHANCED = re.compile(r"([245])\.([0-9]{1,3})\.([0-9]{1,3})(?:[ \t]+|$)")
_GARBAGE_SHOWN = 200
_COMMON_LINE = 64  # octets; longer ones are seldom said twice


class RemoteProtocolError(Exception):
    """The peer does not speak SMTP as it should."""


class GarbageReply(RemoteProtocolError):
    """What came is not a reply.  ``garbage`` is its beginning, made printable."""

    def __init__(self, why: str, garbage: bytes) -> None:
        self.garbage = printable(garbage[:_GARBAGE_SHOWN])
        super().__init__(f'{why}: "{self.garbage}"')


def printable(octets: bytes) -> str:
    """Return text for ``octets`` with whatever cannot be shown as ``\\xNN``."""
    text = octets.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else " " if c == "\t" else c.encode("unicode_escape").decode("ascii")
        for c in text
    )


class ReplyParser:
    """Cuts the stream from the server into replies.

    ``feed`` takes octets as they come, ``next`` gives one reply at a time: so the caller has
    acted on the good ones before a bad one raises.
    """

    def __init__(self) -> None:
        self._buffer = b""
        self._lines: deque[bytes] = deque()
        self._texts: list[str] = []
        self._octets = 0  # of the reply so far

    @property
    def pending(self) -> bool:
        """Whether anything has come that is not a complete reply handed out."""
        return bool(self._buffer or self._lines or self._octets)

    def feed(self, data: bytes) -> None:
        """Take what has arrived."""
        lines = (self._buffer + data).split(b"\n")
        self._buffer = lines.pop()
        self._lines.extend(lines)

    def next(self) -> Reply | None:
        """Return the next complete reply, or None; raises ``GarbageReply``."""
        while self._lines:
            reply = self._line(self._lines.popleft())
            if reply is not None:
                return reply
        if len(self._buffer) > MAX_LINE_OCTETS:
            raise GarbageReply("endless line from the server", self._buffer)
        return None

    def _line(self, line: bytes) -> Reply | None:
        if not self._octets and len(line) <= _COMMON_LINE:
            reply = _common(line)
            if reply is not None:
                return reply
        self._octets += len(line) + 1
        found = _LINE.match(line)
        if found is None:
            raise GarbageReply("not a reply", line)
        if len(line) > MAX_LINE_OCTETS or self._octets > MAX_REPLY_OCTETS:
            raise GarbageReply("endless reply from the server", line)
        code, hyphen, rest = found.groups()
        if len(self._texts) < KEPT_LINES:
            self._texts.append(printable(rest.strip()))
        if hyphen:
            return None
        texts, self._texts, self._octets = self._texts, [], 0
        return _reply(int(code), texts)


@lru_cache(maxsize=128)
def _common(line: bytes) -> Reply | None:
    """Return the reply that is this one line, None where it takes more than the line to tell.

    A server says the same few things of every message: "250 2.1.0 Ok" is read once.
    """
    found = _LINE.match(line)
    if found is None or found[2]:
        return None
    return _reply(int(found[1]), [printable(found[3].strip())])


def _reply(code: int, texts: list[str]) -> Reply:
    """Take the enhanced status code off the lines, where it agrees with the code."""
    found = _ENHANCED.match(texts[-1]) or _ENHANCED.match(texts[0])
    if found is None or code // 100 != int(found[1]):
        return Reply(code, "", tuple(texts))
    enhanced = f"{found[1]}.{int(found[2])}.{int(found[3])}"
    prefix = found[0].rstrip()
    return Reply(code, enhanced, tuple(_without(prefix, text) for text in texts))


def _without(prefix: str, text: str) -> str:
    if text == prefix or text.startswith(prefix + " "):
        return text[len(prefix) :].lstrip()
    return text
