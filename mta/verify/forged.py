"""Results that a message brings along in our name (RFC 8601 §5).

Whoever reads our mail believes a field ``Authentication-Results`` with our authserv-id, so what
comes from outside must not have one.  A field whose authserv-id cannot be told goes too:
another reader might take it for ours.  Those of other hosts stay.
"""

import re

from mta.mail.address import ascii_domain

_FIELD = re.compile(
    rb"(?:^|(?<=\r))authentication-results[ \t]*:([^\n]*\n?(?:[ \t][^\n]*(?:\n|\Z))*)",
    re.IGNORECASE | re.MULTILINE,
)
_TOKEN = re.compile(r"[^\s()<>@,;:\\\"/\[\]?=]+")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_LONGEST = 8192  # octets of a field up to its authserv-id


def without_forged(header: bytes, authserv_id: str) -> tuple[bytes, int]:
    """Return the header without the fields in our name, and how many these were."""
    ours, removed = authserv_id.lower(), 0

    def judged(field: re.Match[bytes]) -> bytes:
        nonlocal removed
        if _authserv_id(field[1]) not in (ours, None):
            return field[0]
        removed += 1
        return b""

    return _FIELD.sub(judged, header), removed


def _authserv_id(said: bytes) -> str | None:
    """Return whose results the field has, in lower case; None if that can't be told."""
    text = said[:_LONGEST].decode("utf-8", "replace")
    start = _after_comments(text)
    if start is None:
        return None
    found = _TOKEN.match(text, start)
    name = found[0] if found else ""
    if not found:
        if (quoted := _QUOTED.match(text, start)) is None:
            return None
        found, name = quoted, re.sub(r"\\(.)", r"\1", quoted[1])
    rest = _after_comments(text, found.end())
    if rest is None or (text[rest : rest + 1] not in ("", ";") and not text[rest].isdigit()):
        return None
    try:
        return ascii_domain(name).strip()
    except ValueError:
        return name.lower()


def _after_comments(text: str, at: int = 0) -> int | None:
    """Return where white space and comments end; None within a comment that has no end."""
    depth = 0
    while at < len(text):
        one = text[at]
        if one == "(":
            depth += 1
        elif one == ")" and depth:
            depth -= 1
        elif one == "\\" and depth:
            at += 1
        elif not depth and not one.isspace():
            return at
        at += 1
    return None if depth else at
