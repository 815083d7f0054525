"""What was said in one attempt, for people to read afterwards.

While the attempt runs, a ``Recorder`` only appends to a list: what was sent and received, as
it was, and when.  It is made into text where the attempt is worth keeping, which as a rule
it is not: an attempt that delivered to everybody at the first host is told by its outcomes.

* No content: of the message there is the number of its octets.
* No credentials.  What is sent in a log-in is never recorded, and a peer's line that repeats any
  part of it is withheld, as it was sent or decoded; the login itself is withheld only in the
  answers to AUTH, for elsewhere it may well be the sender's address.  What a peer has turned
  into something else, a hash or half of it, cannot be recognised.
* Bounded: the beginning and the end of what was said, whatever a peer sends.  Lines that are the
  same are counted, and of many RCPT commands the first are shown.
* Nothing that a peer says can be taken for a line of ours or obeyed by a terminal: each line has
  its mark, and what is not printable is an escape.
"""

import re
from base64 import b64decode
from binascii import Error
from collections import deque
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Literal, TypeAlias

from mta.mail.outcome import Tls, TlsLevel
from mta.smtp.reply_parser import printable

Keep: TypeAlias = Literal["failures", "all", "none"]
Mark: TypeAlias = Literal["*", ">", "<", "auth"]
Entry: TypeAlias = tuple[float, Mark, bytes]

MOST_ENTRIES = 600  # from the beginning; then the last ``_TAIL`` of the rest
MOST_OCTETS = 48 * 1024
MOST_LINES = 400  # of the text
MOST_LINE = 300  # characters of one line
_TAIL = 40
_TAIL_OCTETS = 512  # kept of one entry there
_RCPT_SHOWN = 10  # of a row of them

WITHHELD = "(withheld: it repeats the credentials)"
_SHORTEST = 4  # octets of a part of the credentials that is recognised outside of AUTH
_MECHANISM = re.compile(rb"AUTH [A-Z0-9_-]{1,20}")


class Secrets:
    """What was sent to log in on one connection, to be recognised if the peer repeats it."""

    def __init__(self, login: str, password: str) -> None:
        """``login`` is no secret outside of AUTH."""
        self._login = login.encode().lower()
        self._password = password.encode().lower()
        self._words = {self._login, self._password}

    def __repr__(self) -> str:
        return "Secrets()"

    def learn(self, line: bytes) -> None:
        """Take a line of a log-in: what stands in it, and what that means decoded."""
        words = line.split()
        for word in words[2:] if words[:1] == [b"AUTH"] else words:
            self._words.add(word.lower())
            try:
                decoded = b64decode(word, validate=True).lower()
            except (Error, ValueError):
                continue
            # PLAIN has NUL between its parts, the mechanisms of tokens \1 and "auth=Bearer "
            self._words.update((decoded, *re.split(rb"[\x00\x01\s=]+", decoded)))

    def repeated_in(self, line: bytes, in_auth: bool) -> bool:
        """Tell whether ``line`` repeats any of it; letters count in either case."""
        if in_auth and line.startswith(b"334 ") and self.repeated_in(_decoded(line[4:]), True):
            return True
        line = line.lower()
        if self._password and self._password in line:
            return True
        return any(
            word in line
            for word in self._words
            if (word if in_auth else len(word) >= _SHORTEST and word != self._login)
        )


def _decoded(challenge: bytes) -> bytes:
    """Return what a challenge says; what is not in base64 says nothing."""
    try:
        return b64decode(challenge.strip(), validate=True)
    except (Error, ValueError):
        return b""


class Recorder:
    """One attempt: what was said on its connections, one after the other."""

    __slots__ = (
        "_began",
        "_dropped",
        "_entries",
        "_octets",
        "_seconds",
        "_secrets",
        "_tail",
        "trouble",
    )

    def __init__(self, seconds: Callable[[], float]) -> None:
        """``seconds`` is a monotonic clock; the attempt begins now."""
        self._seconds = seconds
        self._began = seconds()
        self._entries: list[Entry] = []
        self._octets = 0
        self._tail: deque[Entry] | None = None
        self._dropped = 0
        self._secrets: tuple[Secrets, ...] = ()
        self.trouble = False  # something has failed on the way

    def beware(self, secrets: Secrets) -> None:
        """Withhold ``secrets`` where the peer repeats them."""
        self._secrets += (secrets,)

    def note(self, text: str) -> None:
        """Write a remark of ours."""
        self._add("*", text.encode("utf-8", "backslashreplace"))

    def fails(self, text: str) -> None:
        """Write what has gone wrong: the attempt is worth keeping."""
        self.trouble = True
        self.note(text)

    def sent(self, octets: bytes) -> None:
        """Take commands as they went out."""
        self._add(">", octets)

    def logged_in(self, octets: bytes) -> None:
        """Take a line of a log-in: only that it was sent, and with which mechanism, is kept."""
        found = _MECHANISM.match(octets)
        self._add("auth", found[0] + b" " if found else b"")

    def received(self, octets: bytes) -> None:
        """Take what came in, wherever it is cut."""
        self._add("<", octets)

    def _add(self, mark: Mark, octets: bytes) -> None:
        at = self._seconds()
        if self._tail is None:
            room = MOST_OCTETS - self._octets
            self._octets += len(octets)
            if len(octets) <= room and len(self._entries) < MOST_ENTRIES:
                self._entries.append((at, mark, octets))
                return
            self._tail = deque(maxlen=_TAIL)
            self._entries.append((at, mark, octets[:room]))
            octets = octets[room:]
        self._dropped += len(self._tail) == _TAIL
        self._tail.append((at, mark, octets[-_TAIL_OCTETS:]))

    def text(self) -> str:
        """Return the transcript: lines of seconds since the beginning, mark and words."""
        lines = list(self._lines(self._entries))
        if self._tail is not None:
            lines.append(f"          * ({self._dropped} more exchanges are left out)")
            lines += self._lines(self._tail)
        if len(lines) > MOST_LINES:
            half = MOST_LINES // 2
            left_out = f"          * ({len(lines) - 2 * half} lines are left out)"
            lines = [*lines[:half], left_out, *lines[-half:]]
        return "\n".join(lines)

    def _lines(self, entries: "deque[Entry] | list[Entry]") -> Iterator[str]:
        in_auth = False
        for mark, some in groupby(entries, key=lambda entry: entry[1]):
            part = list(some)
            if mark == "<":
                yield from self._heard(part, in_auth)
                continue
            in_auth = mark == "auth"
            for at, _, octets in part:
                stamp = f"{at - self._began:9.3f}"
                if in_auth:
                    yield f"{stamp} > {octets.decode()}(credentials)"
                else:
                    yield from _said(stamp, mark, octets)

    def _heard(self, entries: list[Entry], in_auth: bool) -> Iterator[str]:
        """Yield the lines of replies, joined over the pieces in which they came."""
        pending: list[tuple[float, bytes]] = []
        rest, began = b"", 0.0
        for at, _, octets in entries:
            began = began if rest else at
            *whole, rest = (rest + octets).split(b"\n")
            for line in whole:
                pending.append((began, line.rstrip(b"\r")))
                began = at
        if rest:
            pending.append((began, rest))
        for line, same in groupby(pending, key=lambda one: one[1]):
            (at, _), *more = same
            withheld = any(one.repeated_in(line, in_auth) for one in self._secrets)
            words = f"{printable(line[:4])}{WITHHELD}" if withheld else _cut(printable(line))
            times = f"   ({len(more) + 1} times)" if more else ""
            yield f"{at - self._began:9.3f} < {words}{times}"


def _said(stamp: str, mark: str, octets: bytes) -> Iterator[str]:
    """Yield lines of ours; of a long row of RCPT only the first."""
    lines = octets.split(b"\r\n")
    for is_rcpt, row in groupby(filter(None, lines), key=lambda line: line.startswith(b"RCPT ")):
        some = list(row)
        shown = some[:_RCPT_SHOWN] if is_rcpt and len(some) > _RCPT_SHOWN + 1 else some
        for line in shown:
            yield f"{stamp} {mark} {_cut(printable(line))}"
        if len(shown) < len(some):
            yield f"{stamp} {mark} ({len(some) - len(shown)} more RCPT)"


def _cut(text: str) -> str:
    return text if len(text) <= MOST_LINE else f"{text[:MOST_LINE]} ({len(text)} characters)"


def told(tls: Tls) -> str:
    """Say how private a connection is."""
    if tls.level is TlsLevel.NONE:
        return f"in the clear: {tls.why}" if tls.why else "in the clear"
    how = " ".join(part for part in (tls.version, tls.cipher) if part)
    text = f"TLS {tls.level.value} ({how})" + (f", not verified: {tls.why}" if tls.why else "")
    return text + (f"; observed only: {tls.observed}" if tls.observed else "")
