"""Whose message it is: the domain in the From field (RFC 5322 §3.6.2).

The field is what a stranger wrote, and what a reader will be shown: an address that is only
quoted, or only stands in a comment, must not choose the key.
"""

import re

from mta.mail.address import ascii_domain

# What is not closed is matched too, and left as it is: to try again behind each backslash in it
# would take time in the square of its length, on the word of a stranger.
_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*+("?)', re.DOTALL)
_INNERMOST_COMMENT = re.compile(rb"\((?:[^()\\]|\\.)*+(\)?)", re.DOTALL)
_ANGLE = re.compile(rb"<[^<>]*@([^<>@]*)>")
_BARE = re.compile(rb"@([^\s<>@,;:]+)")
_DEEPEST = 10  # comments in comments
LONGEST = 16 * 1024  # octets of a From field


def author_domain(value: bytes) -> str:
    """Return the domain of the first address in a From field's value; "" if there is none.

    In lower case, with A-labels, as the keys have it.
    """
    bare = _without_asides(value)
    return _domain(_ANGLE.search(bare) or _BARE.search(bare))


def author_domains(value: bytes) -> tuple[str, ...]:
    """Return the domain of each address in a From field's value, each once; "" for none."""
    parts = _without_asides(value).split(b",")
    found = [_domain(_ANGLE.search(part) or _BARE.search(part)) for part in parts if part.strip()]
    return tuple(dict.fromkeys(found))


def _without_asides(value: bytes) -> bytes:
    """Return the value without quoted strings and comments."""
    if len(value) > LONGEST:
        return b""
    bare = _QUOTED.sub(_unclosed, value)
    for _ in range(_DEEPEST):
        before, bare = bare, _INNERMOST_COMMENT.sub(_unclosed, bare)
        if before == bare:
            break
    return bare


def _unclosed(aside: re.Match[bytes]) -> bytes:
    return b"" if aside[1] else aside[0]


def _domain(at: re.Match[bytes] | None) -> str:
    if at is None:
        return ""
    try:
        return ascii_domain(b"".join(at[1].split()).decode("utf-8"))
    except ValueError:
        return ""
