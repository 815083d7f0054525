"""The canonical forms of header and body (RFC 6376 §3.4).

The body is hashed while it arrives, in blocks of any size: whole blocks are searched and
replaced, there is no loop over lines.  Of a body nothing is kept but the hash, one space,
one CR and a count of the empty lines that may turn out to be the last ones; a message
of any size is hashed in the memory of one block.

CR and LF that stand alone are octets like any other here.  Does not do: the hash of a part of
the body, ``l=`` (a signature over a part lets anybody append to it); ``octets`` tells a verifier
whether such a signature covers all.
"""

import hashlib
import re
from typing import Literal, TypeAlias

Form: TypeAlias = Literal["simple", "relaxed"]

_BLANK_LINES = 32 * 1024  # how many are hashed at a time
_BLANKS = re.compile(rb"[ \t]+")


class BodyHash:
    """SHA-256 of the canonical form of a body that comes in pieces."""

    def __init__(self, form: Form) -> None:
        self._relaxed = form == "relaxed"
        self._hash = hashlib.sha256()
        self._carry = b""  # what the next piece may change: a space, a CR
        self._ends = 0  # CRLFs held back: they may be empty lines at the end
        self._empty = True  # nothing but line ends so far
        self.octets = 0  # that were hashed

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        text = self._carry + data if self._carry else data
        self._carry = b""
        if text.endswith(b"\r"):
            text, self._carry = text[:-1], b"\r"
        if self._relaxed:
            text = reduced(text)
            if text.endswith(b" "):
                text, self._carry = text[:-1], b" " + self._carry
        self._take(text)

    def digest(self) -> bytes:
        """Return the hash; the body has come to its end."""
        if self._carry.endswith(b"\r"):  # not the beginning of a CRLF after all
            self._emit(self._carry)
        if not self._relaxed or not self._empty:
            self._hash.update(b"\r\n")  # §3.4.3, §3.4.4: one line end, whatever was there
            self.octets += 2
        return self._hash.digest()

    def _take(self, text: bytes) -> None:
        end = _content_end(text)
        if end:
            self._emit(text[:end] if end < len(text) else text)
        self._ends += (len(text) - end) // 2

    def _emit(self, text: bytes) -> None:
        """Hash content, and before it the empty lines that have turned out not to be the last."""
        while self._ends:
            some = min(self._ends, _BLANK_LINES)
            self._hash.update(b"\r\n" * some)
            self._ends -= some
            self.octets += 2 * some
        self._hash.update(text)
        self.octets += len(text)
        self._empty = False


def reduced(text: bytes) -> bytes:
    """Return ``text`` with runs of white space as one space, and none at line ends (§3.4.4).

    White space at the very end stays, as one space: what comes next decides about it.
    """
    if b"\t" in text:
        text = text.replace(b"\t", b" ")
    while b"  " in text:
        text = text.replace(b"        ", b" ").replace(b"  ", b" ")
    return text.replace(b" \r\n", b"\r\n")


def _content_end(text: bytes) -> int:
    """Return where the CRLFs at the end of ``text``, which does not end with a CR, begin."""
    if not text.endswith(b"\r\n"):
        return len(text)
    start = len(text.rstrip(b"\r\n"))
    tail = text[start:]
    if len(tail) == 2:
        return start
    # A CR or LF alone is content: the line ends begin after the last of them.
    alone = tail.rfind(b"\n\n")
    return start + max(
        1 if tail.startswith(b"\n") else 0, alone + 2 if alone >= 0 else 0, tail.rfind(b"\r\r") + 1
    )


def field(octets: bytes, form: Form) -> bytes:
    """Return the canonical form of one header field, its CRLF included (§3.4.1, §3.4.2)."""
    if form == "simple":
        return octets
    name, _, value = octets.partition(b":")
    value = _BLANKS.sub(b" ", value.replace(b"\r\n", b"")).strip(b" ")
    return name.rstrip(b" \t").lower() + b":" + value + b"\r\n"
