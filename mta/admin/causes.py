"""Replies that mean the same, made the same: without the ids and numbers that differ each time.

Peers put queue ids, addresses, times and session names into their replies, and a thousand
recipients put off for one reason seem to have a thousand.  Only what cannot be wording goes:
codes stay, and so does every plain word.
"""

import re

_VARYING = re.compile(
    r"<[^<>\s]*>"  # an address in its brackets
    r"|[^\s<>@]+@[^\s<>@]+"
    r"|\[[0-9A-Fa-f.:]+\]"  # an IP address
    r"|\b\d{1,3}(?:\.\d{1,3}){3}\b"
    r"|\b(?=[\w.-]*\d)[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]+)*\b"  # an id: long, with digits in it
    r"|\b\d+\b"
)
_MOST = 200  # characters


def cause(code: int, enhanced: str, text: str) -> str:
    """Return what ``text`` says without what varies; "" if there was nothing at all."""
    words = " ".join(_VARYING.sub("…", text).split())
    return " ".join(part for part in (str(code or ""), enhanced, words[:_MOST]) if part)
