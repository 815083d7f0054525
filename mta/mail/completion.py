"""What a submission server does to a header that lacks something (RFC 6409 §8).

New mail only: whoever has put a message into the world may complete it, nobody else may.
The header comes as a block (``headers.scan``); of fields that stay nothing is changed.
"""

import re
from collections.abc import Iterable

ONCE = (
    b"from", b"sender", b"reply-to", b"to", b"cc", b"date", b"message-id", b"subject",
    b"in-reply-to", b"references",
)  # fmt: skip
"""Fields that a message has at most once (RFC 5322 §3.6), ``Bcc``, which goes anyway, left out."""

_HIDDEN = frozenset({b"bcc", b"resent-bcc"})
# To the end of the field whatever is in it: in a message of BINARYMIME a lone CR may be
_HIDDEN_FIELD = re.compile(
    rb"(?:\A|(?<=\r\n))(?:resent-)?bcc[ \t]*:.*?(?:\r\n(?![ \t])|\Z)", re.IGNORECASE | re.DOTALL
)


def repeated(names: Iterable[bytes]) -> str:
    """Return the name of a field that is there more often than it may be, or ""."""
    found = list(names)
    if len(found) == len(set(found)):
        return ""
    return next((name.decode().title() for name in ONCE if found.count(name) > 1), "")


def has_hidden(names: Iterable[bytes]) -> bool:
    """Tell whether ``Bcc`` or ``Resent-Bcc`` is among the names of the fields."""
    return not _HIDDEN.isdisjoint(names)


def without_hidden(block: bytes, end: int) -> bytes:
    """Return ``block`` without Bcc and Resent-Bcc in its header of ``end`` octets (§3.6.3).

    Whom they name is in the envelope, and is nobody else's business.
    """
    return _HIDDEN_FIELD.sub(b"", block[:end]) + block[end:]


def author(name: str, sender: str) -> bytes:
    """Return a field ``name`` ("From", "Sender") with the envelope sender, its CRLF included."""
    return f"{name}: <{sender}>\r\n".encode()
